"""The examples in docstrings are true.

Examples that read a finished study are run by ``make test-book`` on the small one.
"""

import doctest
import importlib
from pathlib import Path

import pytest

import brainalign_utils

PACKAGE = Path(brainalign_utils.__file__).parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
READS_A_STUDY = "load_settings("


def modules() -> list[str]:
    """Names of all modules of the package that have examples."""
    paths = (p for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8"))
    names = (".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in paths)
    return [name.removesuffix(".__init__") for name in names]


def examples(module: str, of_studies: bool, **names):
    """Doctests of a module: those that read a finished study, or the others."""
    found = doctest.DocTestFinder(exclude_empty=True).find(
        importlib.import_module(module), extraglobs={**names}
    )
    return [t for t in found if t.examples and (READS_A_STUDY in t.docstring) == of_studies]


def run(tests):
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    said = []
    for test in tests:
        runner.run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("module", modules())
def test_examples_are_true(module, tmp_path, monkeypatch):
    tests = examples(module, of_studies=False)
    monkeypatch.chdir(tmp_path)
    assert not (said := run(tests)), said
