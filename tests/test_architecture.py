"""Rules about the package that no single module can keep by itself, checked on its syntax trees."""

import ast
import re
import sys
from pathlib import Path

import pytest

import brainalign_utils

ROOT = Path(brainalign_utils.__file__).parent
NAME = "brainalign_utils"
FILES = sorted(p for p in ROOT.rglob("*.py") if "checkpoints" not in p.parts)
MAX_LINES = 360

LEVEL_0 = {"tables", "config", "settings_errors", "paths", "cluster", "model_table", "claim_table"}
LEVEL_1 = {
    "alignment", "claim_rules", "claims", "concepts", "cross_subject", "design", "intervals", "multiverse",
    "paired", "partition.algebra", "partition.regions", "recovery", "reliability", "resampling",
    "scoring", "similarity", "stats",
}  # fmt: skip
"""Arrays and tables in, arrays and tables out.  Everything else is level 2."""

LIGHT = {"numpy", "scipy", "pandas", "xarray", "statsmodels", "tqdm"}
CONFIGURATION = {"pydantic", "yaml", "pandas"}

HEAVY = {
    "h5py": ("nsd", "phantom"),
    "nibabel": ("nsd", "phantom", "surface"),
    "zarr": ("store",),
    "google_crc32c": ("store",),
    "transformers": ("models", "mplug_owl", "extraction", "phantom"),
    "torch": ("models", "mplug_owl", "extraction", "phantom", "ridge", "partition", "encoding", "store"),
    "himalaya": ("encoding", "partition"),
    "boto3": ("download",),
    "botocore": ("download",),
    "cortex": ("surface",),
    "snakemake": ("scheduling",),
    "nilearn": ("surface", "phantom"),
    "matplotlib": ("figures", "flat", "surface"),
    "seaborn": ("figures",),
}
"""Heavy libraries and who may import them: modules ``<name>`` or ``<name>_*``, or folders."""

FORBIDDEN_IMPORTS = {"pickle", "dill", "joblib", "marshal", "shelve", "torchvision"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def module_of(path: Path) -> str:
    """First part of the module's name below the package, ``models`` for ``models/vit.py``."""
    return level_name(path.relative_to(ROOT).with_suffix("").parts)


def level_name(parts) -> str:
    """First part of a name, or the first two where a folder holds modules of different levels."""
    return ".".join(parts[:2]) if ".".join(parts[:2]) in LEVEL_1 else parts[0]


def imports(tree: ast.AST, path: Path):
    """Yield (top-level package, first module inside this package or None, line), lazy imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                inside = level_name(parts[1:]) if parts[0] == NAME and len(parts) > 1 else None
                yield parts[0], inside, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                depth = len(path.relative_to(ROOT).parts) - node.level
                base = [NAME, *path.relative_to(ROOT).parts[:depth], *base]
            inside = base[1:] or [a.name for a in node.names]
            for name in [level_name(inside)] if len(base) > 1 else inside:
                yield base[0], (name if base[0] == NAME else None), node.lineno


@pytest.fixture(params=FILES, ids=lambda p: str(p.relative_to(ROOT)))
def source(request):
    text = request.param.read_text(encoding="utf-8")
    return request.param, text, ast.parse(text)


def test_the_walker_sees_every_form_of_import(tmp_path):
    text = (
        "import h5py\nfrom . import scoring\nfrom .stats import fdr\n"
        "from brainalign_utils import nsd, store\n"
        "import brainalign_utils.ridge as r\ndef f():\n    from himalaya.ridge import RidgeCV\n"
    )
    found = {(top, inner) for top, inner, _ in imports(ast.parse(text), ROOT / "x.py")}
    assert found == {
        ("h5py", None), (NAME, "scoring"), (NAME, "stats"), (NAME, "nsd"), (NAME, "store"), (NAME, "ridge"),
        ("himalaya", None),
    }  # fmt: skip
    nested = {
        inner for _, inner, _ in imports(ast.parse("from ..tables import ROIS"), ROOT / "models" / "a.py")
    }
    assert nested == {"tables"}
    sibling = {inner for _, inner, _ in imports(ast.parse("from .base import A"), ROOT / "models" / "a.py")}
    assert sibling == {"models"}


def test_level_names_exist():
    modules = {module_of(path) for path in FILES}
    assert modules >= LEVEL_0 and {"scoring", "stats", "claims", "cross_subject"} <= modules


def test_imports_go_down_and_levels_stay_light(source):
    path, _, tree = source
    module = module_of(path)
    if module not in LEVEL_0 | LEVEL_1:
        return
    lower = LEVEL_0 if module in LEVEL_0 else LEVEL_0 | LEVEL_1
    allowed = CONFIGURATION if module in LEVEL_0 else LIGHT
    for top, inner, line in imports(tree, path):
        if top == NAME:
            assert inner in lower, f"{path.name}:{line} imports {inner} from a level above"
        else:
            assert top in allowed or top in sys.stdlib_module_names, f"{path.name}:{line} imports {top}"


def test_heavy_libraries_stay_in_their_modules(source):
    path, _, tree = source
    module = module_of(path)
    for top, _, line in imports(tree, path):
        assert top not in FORBIDDEN_IMPORTS, f"{path.name}:{line} imports {top}"
        concepts = HEAVY.get(top)
        if concepts is not None:
            fits = any(module == c or module.startswith(f"{c}_") for c in concepts)
            assert fits, f"{path.relative_to(ROOT)}:{line} imports {top}; only {', '.join(concepts)} may"


def test_no_unsafe_or_silent_code(source):
    path, text, tree = source
    for node in ast.walk(tree):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            caught = set(re.findall(r"\w+", ast.unparse(node.type))) if node.type else {"BaseException"}
            broad = caught & {"Exception", "BaseException"}
            passes_on = isinstance(node.body[-1], ast.Raise)
            assert passes_on or not broad, f"{where} catches too much"
            assert not all(isinstance(n, ast.Pass) for n in node.body), f"{where} swallows an error"
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            assert name not in FORBIDDEN_CALLS, f"{where} calls {name}"
            for keyword in node.keywords:
                true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                unsafe = keyword.arg in ("shell", "allow_pickle", "trust_remote_code") and true
                assert not unsafe, f"{where} sets {keyword.arg}=True"
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text), f"{path.name} holds an unfinished mark"


def test_modules_are_short(source):
    path, text, _ = source
    assert len(text.splitlines()) <= MAX_LINES, f"{path.name} has {len(text.splitlines())} lines; split it"


def test_public_functions_of_the_arrays_level_are_documented(source):
    path, _, tree = source
    if module_of(path) not in LEVEL_0 | LEVEL_1:
        return
    assert ast.get_docstring(tree), path.name
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_arrays_level_never_prints_or_opens_files(source):
    path, _, tree = source
    if module_of(path) not in LEVEL_1:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "open"), f"{path.name}:{node.lineno} calls {node.func.id}"
