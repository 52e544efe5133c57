"""A job depends on the modules its notebook imports, transitively, and on no other."""

from brainalign_utils.dependencies import PACKAGE, imported_modules, sources_needed


def test_imports_of_every_form(tmp_path):
    notebook = tmp_path / "n.py"
    notebook.write_text(
        "import numpy\nimport brainalign_utils.tables\nfrom brainalign_utils import settings\n"
        "from brainalign_utils.provenance import file_hash\nfrom os import path\n"
    )
    expected = {"brainalign_utils", *(f"brainalign_utils.{m}" for m in ("tables", "settings", "provenance"))}
    assert imported_modules(notebook) == expected


def test_dependencies_are_transitive(tmp_path):
    notebook = tmp_path / "n.py"
    notebook.write_text("from brainalign_utils import settings\n")
    needed = {path.name for path in sources_needed(notebook)}
    assert {"settings.py", "models.py", "tables.py"} <= needed
    assert "figures.py" not in needed
    assert not any("figures" in path.parts for path in sources_needed(notebook))


def test_relative_imports_resolve_inside_the_package():
    assert "brainalign_utils.tables" in imported_modules(PACKAGE / "settings.py")


def test_an_edit_of_the_solver_reruns_fits_and_nothing_before_them():
    root = PACKAGE.parent
    fits, loading = (
        {str(path.relative_to(root)) for path in sources_needed(root / f"notebooks/{name}.py")}
        for name in ("03_fit_encoding", "01_load_responses")
    )
    solver = {"packages/voxelridge/src/voxelridge/solver.py", "packages/voxelridge/src/voxelridge/folds.py"}
    assert solver <= fits and not solver & loading
