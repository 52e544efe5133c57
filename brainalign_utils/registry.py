"""The notebooks of the study: what each reads, writes and runs over.

A notebook says it once, in its own header (Jupyter keeps it in the notebook's metadata)::

    # jupyter:
    #   brainalign:
    #     over: subjects model
    #     reads: features responses
    #     settings: encoding stats
    #     writes: scores predictions samples nulls

The workflow, the archive, the plan, the book and the messages of missing files all follow from these headers.
"""

import ast
import itertools
import operator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from . import BrainalignError
from .artifacts import file_hash
from .settings import Settings, SettingsError, fingerprint, project_root
from .tables import subject_name

PLACES = ("nsd_root", "coco_root")
"""Settings that say where files are, not what is computed: they differ where scores are unpacked."""


class RegistryError(BrainalignError):
    """A header that cannot be used, or a notebook that is not there; the message says what to do."""


def _words(value):
    return tuple(value.split()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class Notebook(BaseModel):
    """What the header of a notebook says.

    Attributes
    ----------
    path : Path
        The py:percent source.
    over : tuple of {"subjects", "model", "shard"}
        Parameters that differ between runs; empty for a notebook that runs once per study.
    models : str
        Setting that lists the models it runs over, such as ``partition.models``.
    reads, writes : tuple of str
        Artifacts: folders and tables below the study's, ``dataset`` (raw data) and ``truth`` (ground truth of
        simulated data) among them.
    settings : tuple of str
        Keys of the settings file that concern it: a change of another key does not make it run again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    over: Annotated[tuple[Literal["subjects", "model", "shard"], ...], BeforeValidator(_words)] = ()
    models: str = "models"
    reads: Words = ()
    writes: Words = ()
    settings: Words = ()

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def is_simulation(self) -> bool:
        """Whether it needs, or makes, data whose ground truth is known."""
        return "dataset" in self.writes or "truth" in self.reads

    def runs(self, settings: Settings) -> list[dict[str, str]]:
        """Every run in a study, as the value of each entry of ``over``."""
        shards = [f"{k}of{settings.features.n_shards}" for k in range(settings.features.n_shards)]
        models = [m for m in operator.attrgetter(self.models)(settings) if m in settings.models]
        values = {"subjects": subject_groups(settings), "model": models, "shard": shards}
        return [
            dict(zip(self.over, run, strict=True)) for run in itertools.product(*map(values.get, self.over))
        ]

    def executed(self, settings: Settings, run: dict[str, str]) -> Path:
        """Executed copy of one run."""
        return settings.paths.executed(self.name, *(run[key] for key in self.over))

    def copies(self, settings: Settings) -> list[Path]:
        """Executed copies of every run, in the order of the settings."""
        return [self.executed(settings, run) for run in self.runs(settings)]


def subject_groups(settings: Settings) -> list[str]:
    """Subjects that share a job, each group as one word, such as ``subj01-subj02``."""
    size = settings.cluster.subjects_per_job or (1 if settings.data == "nsd" else len(settings.subjects))
    names = list(map(subject_name, settings.subjects))
    return ["-".join(names[i : i + size]) for i in range(0, len(names), size)]


def parameters(run: dict[str, str]) -> dict:
    """Values of a notebook's parameters in one run.

    Examples
    --------
    >>> parameters({"subjects": "subj01-subj05", "model": "vit-h"})
    {'subjects': [1, 5], 'model': 'vit-h'}
    >>> parameters({"model": "vit-h", "shard": "0of4"})
    {'model': 'vit-h', 'shard': 0, 'n_shards': 4}
    """
    found = dict(run)
    if "subjects" in run:
        found["subjects"] = [int(name.removeprefix("subj")) for name in run["subjects"].split("-")]
    if "shard" in run:
        found["shard"], found["n_shards"] = map(int, run["shard"].split("of"))
    return found


def check_parameters(settings: Settings, *, subjects=None, model=None, shard=None, n_shards=1) -> None:
    """Refuse parameters of a run that the study does not have.

    Raises
    ------
    SettingsError
        With the value given and the values allowed.
    """
    if subjects is not None:
        if not isinstance(subjects, list | tuple):
            raise SettingsError(
                f"subjects is {subjects!r}; it takes a list, such as [{settings.subjects[0]}]"
            )
        for subject in subjects:
            if isinstance(subject, bool) or subject not in settings.subjects:
                known = ", ".join(map(str, settings.subjects))
                raise SettingsError(f"subjects is {subjects!r}; this study has the subjects {known}")
    if model is not None and model not in settings.models:
        raise SettingsError(f"model is {model!r}; this study has the models {', '.join(settings.models)}")
    if shard is not None:
        known = all(isinstance(k, int) and not isinstance(k, bool) for k in (shard, n_shards))
        if not (known and 0 <= shard < n_shards):
            raise SettingsError(
                f"shard is {shard!r} of n_shards {n_shards!r}; shards count from 0 and are fewer"
            )


def read_header(path: Path) -> Notebook:
    """The entry of one notebook.

    Raises
    ------
    RegistryError
        The header is not there or says something unknown.
    """
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
    header = [line[2:] for line in lines if line.rstrip() != "# ---"]
    try:
        entry = yaml.safe_load("\n".join(header))["jupyter"]["brainalign"]
        return Notebook(path=path, **entry)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise RegistryError(
            f"{path} has no entry 'brainalign' in its header; copy that of another notebook and say what it "
            "reads, writes and runs over"
        ) from error
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(map(str, wrong["loc"]))
        raise RegistryError(f"{path}, header, {key}: {wrong['msg']} (given: {wrong['input']!r})") from None


def read_notebooks(folder: Path | None = None) -> dict[str, Notebook]:
    """Every notebook of a folder (that of the checkout by default) by its name, in order.

    Raises
    ------
    RegistryError
        A header cannot be used, an artifact is read that no notebook writes, or two write it.
    """
    folder = folder or project_root() / "notebooks"
    return _read_notebooks(tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.py"))))


@cache
def _read_notebooks(sources):
    notebooks = {path.stem: read_header(path) for path, _ in sources}
    writer = {}
    for notebook in notebooks.values():
        for artifact in notebook.writes:
            if artifact in writer:
                raise RegistryError(
                    f"{writer[artifact]} and {notebook.name} both write {artifact}; one must not"
                )
            writer[artifact] = notebook.name
    for notebook in notebooks.values():
        if unknown := [artifact for artifact in notebook.reads if artifact not in writer]:
            raise RegistryError(
                f"{notebook.path} reads {unknown[0]}, which no notebook writes; correct its header"
            )
        if unknown := [key for key in notebook.settings if key not in Settings.model_fields]:
            raise RegistryError(f"{notebook.path} names the setting {unknown[0]}, which does not exist")
    return notebooks


def of_study(settings: Settings) -> dict[str, Notebook]:
    """Notebooks that a study runs: real data have no ground truth to recover and need no simulation."""
    simulated = settings.data == "phantom"
    return {name: n for name, n in read_notebooks().items() if simulated or not n.is_simulation}


def writer(artifact: str) -> Notebook | None:
    """The notebook that writes an artifact."""
    return next((n for n in read_notebooks().values() if artifact in n.writes), None)


def inputs(settings: Settings, name: str, run: dict[str, str]) -> list[Path]:
    """Executed copies that one run of a notebook needs.

    Parameters
    ----------
    name : str
        Of the notebook.
    run : dict of str to str
        One of :meth:`Notebook.runs`: it needs the runs of other notebooks that agree with it.
    """
    notebooks = of_study(settings)
    needed = [n for n in notebooks.values() if set(n.writes) & set(notebooks[name].reads)]
    return [
        n.executed(settings, other)
        for n in needed
        for other in n.runs(settings)
        if all(run.get(key, value) == value for key, value in other.items())
    ]


def settings_part(settings: Settings, name: str) -> dict:
    """Settings that concern a notebook, JSON-able."""
    return settings.model_dump(mode="json", include=set(read_notebooks()[name].settings))


# ---- code -------------------------------------------------------------------------------------------------

PACKAGE = Path(__file__).parent
ROOTS = {folder.name: folder for folder in (PACKAGE, *PACKAGE.parent.glob("packages/*/src/*"))}
"""Folders of importable packages of the checkout: this one, and the libraries under ``packages``."""


def module_file(module: str) -> Path | None:
    """Source of ``brainalign_utils.x.y``; None for anything that is not a module of the checkout."""
    name, *inside = module.split(".")
    if name not in ROOTS:
        return None
    path = ROOTS[name].joinpath(*inside)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported_modules(source: Path) -> frozenset[str]:
    """Modules of the checkout that a file imports, at its top or inside functions."""
    return _imported_modules(source, source.stat().st_mtime_ns)


@cache
def _imported_modules(source, _changed):
    package = []
    for name, root in ROOTS.items():
        if source.is_relative_to(root):
            package = [name, *source.relative_to(root).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if module_file(name))


def sources_needed(notebook: Path) -> list[Path]:
    """Files of the checkout that a notebook depends on, through any number of imports."""
    found, todo = set(), [notebook]
    while todo:
        for module in imported_modules(todo.pop()):
            source = module_file(module)
            if source not in found:
                found.add(source)
                todo.append(source)
    return sorted(found)


def input_hashes(notebook: Path, settings: Settings | None = None) -> dict[str, str]:
    """Hashes of what a notebook was, or would be, made from; stored with its executed copy.

    Parameters
    ----------
    notebook : Path
        The py:percent source.
    settings : Settings, optional
        Left out where the notebook reads none.

    Returns
    -------
    hashes : dict
        File name of the notebook, modules relative to the checkout, and ``settings``.
    """
    hashes = {notebook.name: file_hash(notebook)}
    hashes |= {str(p.relative_to(PACKAGE.parent)): file_hash(p) for p in sources_needed(notebook.resolve())}
    if settings and notebook.stem in read_notebooks():
        part = settings_part(settings, notebook.stem)
        hashes["settings"] = fingerprint({k: v for k, v in part.items() if k not in PLACES})
    return hashes
