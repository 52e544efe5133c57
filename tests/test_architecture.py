"""Rules about the package that no single module can keep by itself, checked on its syntax trees."""

import ast
import re
from pathlib import Path

import pytest

import brainalign_utils

PACKAGE = Path(brainalign_utils.__file__).parent
NAME = PACKAGE.name
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARIES = sorted(PACKAGE.parent.glob("packages/*/src/**/*.py"))

ROOMS = ["stats", "nsd", "features", "encoding", "results", "figures", "running", "publishing"]
"""From the ground up: a room imports rooms before it, and modules at the root of the package."""
NO_FILES = {"stats": "", "figures": "tables titles models settings artifacts style"}
"""Rooms that take arrays or tables and read no file, and the modules they may import: no other room.  So
results do not draw (figures stand above them) and figures do not look results up."""
HEAVY = {
    "h5py": "nsd", "nibabel": "nsd", "zarr": "features store",
    "transformers": "features",
    "torch": "features encoding", "voxelridge": "encoding",
    "boto3": "nsd", "botocore": "nsd", "himalaya": "encoding",
    "cortex": "results", "nilearn": "results figures", "matplotlib": "figures",
}  # fmt: skip
"""Libraries that take long to import or touch files, and the rooms that may."""
FORBIDDEN_IMPORTS = {"pickle", "dill", "joblib", "marshal", "shelve", "torchvision"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def room_of(path: Path) -> str:
    """Folder of the package that holds a file; for a module at its root, the module itself."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path):
    """(top-level package, room inside this package or None, line) of every import, lazy ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            root = next(f for f in path.parents if not (f.parent / "__init__.py").is_file())
            inside = [root.name, *path.relative_to(root).parts]
            base = ".".join(inside[: -node.level] + [node.module or ""]) if node.level else node.module
            names = [f"{base.strip('.')}.{alias.name}" for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in names):
            yield parts[0], parts[1] if parts[0] == NAME and len(parts) > 1 else None, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = room_of(path)
    for top, inner, line in imports(path):
        where = f"{path.relative_to(PACKAGE)}:{line}"
        assert top not in FORBIDDEN_IMPORTS, f"{where} imports {top}"
        assert top not in HEAVY or room in HEAVY[top].split(), f"{where} imports {top}; only {HEAVY[top]} may"
        if room in ROOMS and inner in ROOMS:
            assert ROOMS.index(inner) <= ROOMS.index(room), (
                f"{where} imports {inner}, which stands above {room}"
            )
        allowed = {room, None, *NO_FILES.get(room, "").split()}
        assert room not in NO_FILES or inner in allowed, f"{where} imports {inner}"


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda p: str(p.relative_to(PACKAGE.parent)))
def test_libraries_stand_alone(path):
    name = path.relative_to(PACKAGE.parent).parts[3]
    others = {NAME, "tests", *(p.name for p in PACKAGE.parent.glob("packages/*/src/*"))} - {name}
    assert not others & {top for top, _, _ in imports(path)}


@pytest.mark.parametrize("path", FILES + LIBRARIES, ids=lambda p: str(p.relative_to(PACKAGE.parent)))
def test_only_the_path_of_its_weights_is_taken_from_the_miniature(path):
    """Nothing reads with the code that wrote; training stands outside, and nothing imports it."""
    tops = {top for top, _, _ in imports(path)}
    assert "training" not in tops
    if "nsd_phantom" in tops and path in FILES:
        assert path.relative_to(PACKAGE).as_posix() == "features/checkpoints.py"
        assert path.read_text(encoding="utf-8").count("nsd_phantom") == 1


def test_imports_are_found(tmp_path):
    assert ("h5py", None) in {found[:2] for found in imports(PACKAGE / "nsd/files.py")}
    assert (NAME, "stats") in {found[:2] for found in imports(PACKAGE / "encoding/fitting.py")}


@pytest.mark.parametrize("path", FILES + LIBRARIES, ids=lambda p: str(p.relative_to(PACKAGE.parent)))
def test_no_unsafe_or_silent_code(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        where = f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            caught = set(re.findall(r"\w+", ast.unparse(node.type))) if node.type else {"BaseException"}
            broad = caught & {"Exception", "BaseException"}
            assert isinstance(node.body[-1], ast.Raise) or not broad, f"{where} catches too much"
            assert not all(isinstance(n, ast.Pass) for n in node.body), f"{where} swallows an error"
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            assert name not in FORBIDDEN_CALLS, f"{where} calls {name}"
            for keyword in node.keywords:
                true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                unsafe = keyword.arg in ("shell", "allow_pickle", "trust_remote_code") and true
                assert not unsafe, f"{where} sets {keyword.arg}=True"
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text), f"{path.name} holds an unfinished mark"
