"""Settings of a study, validated.

A settings file is YAML 1.2: ``yes`` and ``1:30`` are text.  Keys that are unknown or stand twice, wrong
types, empty lists, and subjects, models or instructions that do not exist are refused with the value given
and the remedy.
"""

import difflib
import hashlib
import json
import os
import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from . import BrainalignError
from .artifacts import Paths
from .models import MODEL_BY_ID, marker_in, template_markers, without_phantom
from .tables import (
    BETA_VERSIONS,
    INSTRUCTION_BY_ID,
    NO_INSTRUCTION,
    SPACES,
    SUBJECTS,
    Instruction,
    subject_number,
)

REFERENCE = "vit-h"
"""Model with which others are compared, as in the paper."""
POOLINGS = ("generated", "prompt", "last", "image", "authors-all-tokens", "authors-sampled")
RULES = (
    "make_phantom", "load_responses", "extract_features", "fit_encoding", "partition_variance",
    "vary_choices", "result", "book",
)  # fmt: skip
"""Kinds of jobs, as the workflow names them."""


class SettingsError(BrainalignError):
    """A settings file that cannot be used; the message says which key, and what to do."""


def _near(value: str, known) -> str:
    """The end of a sentence that says what was meant, and what is known."""
    by_letters = {str(name).lower(): name for name in known}
    near = difflib.get_close_matches(str(value).lower(), by_letters, 1)
    return f"; did you mean {by_letters[near[0]]!r}?" if near else f"; known: {', '.join(map(str, known))}"


def _known(value: str, known, what: str, remedy: str = "") -> str:
    if value in known:
        return value
    raise ValueError(f"unknown {what} {value!r}{_near(value, known)}{remedy}")


def _expanded(value):
    """A path with ``~`` and ``$VARIABLES`` replaced; anything but text is left to the check of types."""
    if not isinstance(value, str):
        return value
    if not value.strip() or "\0" in value:
        raise ValueError("the path is empty; name a folder, or delete the line")
    path = os.path.expanduser(os.path.expandvars(value))
    if "$" in path or path.startswith("~"):
        raise ValueError("names a variable or a user that this machine does not have; write the whole path")
    return path


def _name(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{,99}", value):
        better = re.sub(r"[^\w.-]+", "_", value).strip("._-")[:40] or "my_study"
        raise ValueError(
            "names a folder: at most 100 letters, digits, '_', '-' and '.', the first a letter or digit; "
            f"write {better}"
        )
    return value


def _cluster_name(value: str) -> str:
    if not re.fullmatch(r"[\w.,:-]{1,100}", value):
        raise ValueError("is an argument of sbatch: letters, digits and '_.,:-' without spaces")
    return value


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    return value


Subject = Annotated[int, BeforeValidator(subject_number)]
UserPath = Annotated[Path, BeforeValidator(_expanded)]
Name = Annotated[str, AfterValidator(_name)]
Device = Annotated[str, AfterValidator(_device)]
ClusterName = Annotated[str, AfterValidator(_cluster_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values):
        """A section whose lines are all commented out has its defaults."""
        if not isinstance(values, dict):
            return values
        sections = {key for key, field in cls.model_fields.items() if isinstance(field.default, BaseModel)}
        return {key: value for key, value in values.items() if value is not None or key not in sections}

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value, info):
        is_switch = cls.model_fields[info.field_name].annotation is bool
        return str(value).lower() if isinstance(value, bool) and not is_switch else value


class PhantomSettings(_Section):
    """Size and seed of the simulated dataset."""

    n_sessions: int = Field(3, ge=1, le=40)
    n_voxels: int = Field(1500, ge=100, description="nsdgeneral voxels a subject, about")
    n_shared: int = Field(150, ge=20, description="shared images of which trials are drawn")
    seed: int = Field(0, ge=0)


class FeatureSettings(_Section):
    """How hidden states become one vector per layer and stimulus."""

    pooling: str = "generated"
    image_size: Literal["native", 227] = "native"
    max_new_tokens: int = Field(30, ge=1)
    max_new_tokens_random: int | None = Field(
        None,
        ge=1,
        description="the same for random models, which never end their answers; null: as the others",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Device = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    stimuli_per_block: int = Field(256, ge=1)
    storage: Literal["auto", "float32", "float16"] = "auto"
    n_shards: int = Field(1, ge=1, description="feature jobs a model, each on every n-th block of images")
    replace_stale: bool = Field(False, description="delete stored features made with other settings")

    @field_validator("pooling")
    @classmethod
    def _pooling(cls, value):
        return _known(value, POOLINGS, "pooling")


class EncodingSettings(_Section):
    """Voxelwise ridge regression."""

    solver: Literal["brainalign", "himalaya"] = "brainalign"
    log10_alpha_min: float = Field(1.0, ge=-12, le=12)
    log10_alpha_max: float = Field(4.0, ge=-12, le=12)
    n_alphas: int = Field(60, ge=1, le=1000)
    n_folds: int = Field(5, ge=2)
    selection: Literal["r2", "r"] = "r2"
    fit_intercept: bool = False
    device: Device = "auto"
    test_zscore: Literal["train", "test"] = Field(
        "train", description="whose statistics z-score the test features; the authors' code takes their own"
    )

    @model_validator(mode="after")
    def _order(self):
        if self.log10_alpha_max < self.log10_alpha_min:
            raise ValueError(
                f"log10_alpha_max ({self.log10_alpha_max}) is below log10_alpha_min "
                f"({self.log10_alpha_min}); swap them"
            )
        return self


class PartitionSettings(_Section):
    """Variance partitioning between instructions."""

    estimator: Literal["banded", "concatenated", "himalaya"] = "banded"
    n_ratios: int = Field(11, ge=1)
    models: tuple[str, ...] = ("instructblip", "idefics", "mplug-owl")
    layers: Literal["common", "roi", "all"] = Field(
        "common", description="one layer for all voxels, the best of each region on training folds, or all"
    )
    triples: Literal["all"] | tuple[tuple[str, str, str], ...] = Field(
        (), description="instructions whose seven common and unique parts are told apart"
    )

    @field_validator("models")
    @classmethod
    def _models(cls, value):
        for model in value:
            _known(
                model, [id for id, row in MODEL_BY_ID.items() if row.role == "mllm"], "instructed model", ""
            )
        return value

    @field_validator("triples")
    @classmethod
    def _triples(cls, value):
        for triple in () if value == "all" else value:
            if len(set(triple)) < 3:
                raise ValueError(f"triple {', '.join(triple)} names an instruction twice; name three")
        return value


class StatsSettings(_Section):
    """Ceilings, permutations and bootstraps."""

    min_ceiling: float = Field(0.05, ge=0, lt=1)
    n_permutations: int = Field(5000, ge=99)
    n_bootstraps: int = Field(1000, ge=10)
    n_shuffles: int = Field(5, ge=1, description="regressions on shuffled rows, for the null range")
    alpha: float = Field(0.05, gt=0, lt=1)
    seed: int = Field(0, ge=0)


class MultiverseSettings(_Section):
    """Other choices under which the ledger looks at one question."""

    poolings: tuple[str, ...] = ("prompt", "last", "image", "authors-all-tokens")

    @field_validator("poolings")
    @classmethod
    def _poolings(cls, value):
        return tuple(_known(pooling, POOLINGS, "pooling") for pooling in value)


class JobRequest(_Section):
    """One kind of job; what is left out follows from the plan.

    Attributes
    ----------
    cpus, gpus : int or None
    mem_mb : int or None
        Megabytes of memory of the first attempt; doubled at each retry.
    minutes : int or None
        Wall time of the first attempt; doubled at each retry.
    partition : str or None
        Instead of the section's ``partition`` or ``gpu_partition``.
    """

    cpus: int | None = Field(None, ge=1, le=512)
    gpus: int | None = Field(None, ge=0, le=8)
    mem_mb: int | None = Field(None, ge=1)
    minutes: int | None = Field(None, ge=1)
    partition: ClusterName | None = None


class ClusterSettings(_Section):
    """Partitions and requests.

    Attributes
    ----------
    partition, gpu_partition : str or None
        For jobs without and with a GPU; null takes the cluster's default.
    account : str or None
    subjects_per_job : int or None
        Subjects whose responses one job loads or fits; null takes one for real data, all for the miniature.
    rules : dict of str to JobRequest
        Keys are names of :data:`RULES`.
    """

    partition: ClusterName | None = None
    gpu_partition: ClusterName | None = None
    account: ClusterName | None = None
    subjects_per_job: int | None = Field(None, ge=1)
    rules: dict[Literal[RULES], JobRequest] = {}

    def request(self, rule: str, planned: JobRequest) -> JobRequest:
        """What a job asks for: the settings where they say something, else what was planned.

        Parameters
        ----------
        rule : str
            One of :data:`RULES`.
        planned : JobRequest

        Returns
        -------
        JobRequest
            The partition may still be None; all else has a value.
        """
        given = self.rules.get(rule, JobRequest()).model_dump(exclude_none=True)
        request = planned.model_copy(update=given)
        if request.partition is None:
            name = (self.gpu_partition or self.partition) if request.gpus else self.partition
            request = request.model_copy(update={"partition": name})
        return request


CONVENTIONS = {
    "default": {},
    "authors": {
        "session_zscore": False,
        "encoding": {"test_zscore": "test"},
        "features": {"pooling": "authors-sampled", "image_size": 227},
    },
}
"""What a convention sets where the settings file does not.  The authors' regions and their mean over layers
are computed beside the default in any case (:func:`brainalign_utils.results.alignment.authors_table`)."""


class Settings(_Section):
    """One study.

    Attributes
    ----------
    name : str
        Folder below ``build_root`` that holds every artifact of the study; the name of the settings file
        by default.
    data : {"phantom", "nsd"}
        Simulated or real data; the word stands on every page and figure.
    nsd_root : Path or None
        NSD's tree (the folder that holds ``nsddata``).  The phantom makes its own.
    coco_root : Path or None
        Folder with COCO's ``annotations``; needed for captions and concepts.
    n_sessions : int or None
        Sessions to use; None takes all that are on disk.
    convention : {"default", "authors"}
        "authors" prepares responses, pictures and features as the authors' public code does.
    checkpoints : {"phantom", "hub"} or Path
        Tiny checkpoints shipped with the package, the pinned ones of the Hugging Face hub,
        or a folder that holds one folder per checkpoint.
    """

    name: Name = "phantom"
    data: Literal["phantom", "nsd"] = "phantom"
    build_root: UserPath = Path("_build")
    scores_only: bool = Field(
        False, description="unpacked from an archive of scores: no responses, no features"
    )
    nsd_root: UserPath | None = None
    coco_root: UserPath | None = None
    subjects: Annotated[tuple[Subject, ...], Field(min_length=1)] = SUBJECTS
    n_sessions: int | None = Field(None, ge=1, le=40)
    betas: Literal[BETA_VERSIONS] = Field("betas_fithrf_GLMdenoise_RR", description="NSD's GLM for the betas")
    space: Literal[SPACES] = Field("func1pt8mm", description="grid of betas and regions; 1.8 mm or 1 mm")
    session_zscore: bool = True
    convention: Literal["default", "authors"] = "default"
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("vit-h", "clip-image", "instructblip")
    checkpoints: Literal["phantom", "hub"] | UserPath = "phantom"
    instructions: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(INSTRUCTION_BY_ID)
    extra_instructions: tuple[Instruction, ...] = ()
    phantom: PhantomSettings = PhantomSettings()
    features: FeatureSettings = FeatureSettings()
    encoding: EncodingSettings = EncodingSettings()
    partition: PartitionSettings = PartitionSettings()
    stats: StatsSettings = StatsSettings()
    cluster: ClusterSettings = ClusterSettings()
    multiverse: MultiverseSettings = MultiverseSettings()

    @model_validator(mode="before")
    @classmethod
    def _convention(cls, values):
        name = values.get("convention", "default")
        wanted = CONVENTIONS.get(name, {}) if isinstance(name, str) else {}  # anything else is refused later
        for key, value in wanted.items():
            given = values.get(key)
            if isinstance(value, dict) and isinstance(given, (dict, type(None))):
                values = {**values, key: {**value, **(given or {})}}
            elif key not in values:
                values = {**values, key: value}
        return values

    @field_validator("subjects", "models", "instructions")
    @classmethod
    def _once(cls, value):
        if twice := sorted({str(item) for item in value if value.count(item) > 1}):
            raise ValueError(f"{', '.join(twice)} named twice; name each once")
        return value

    @field_validator("models")
    @classmethod
    def _models(cls, value):
        for model in value:
            _known(model, MODEL_BY_ID, "model", " (`brainalign models` prints the table)")
        return value

    @model_validator(mode="after")
    def _consistent(self):
        extra = [row.id for row in self.extra_instructions]
        for instruction in self.instructions:
            known = [*INSTRUCTION_BY_ID, *extra]
            _known(instruction, known, "instruction", " (new ones stand under extra_instructions)")
        if len(self.instructions) < 2:
            raise ValueError(f"{instruction} has no other instruction to be compared with; name at least two")
        for id in extra:
            if id in INSTRUCTION_BY_ID or id == NO_INSTRUCTION or extra.count(id) > 1:
                raise ValueError(f"extra_instructions gives {id!r} a second meaning; choose another id")
            if id not in self.instructions:
                raise ValueError(f"instructions does not name {id!r} of extra_instructions; add or delete it")
        for row in self.extra_instructions:
            for model in self.models:
                if marker := marker_in(row.text, template_markers(MODEL_BY_ID[model])):
                    raise ValueError(
                        f"instruction {row.id!r} contains {marker!r}, a marker of model {model!r}; reword it"
                    )
        triples = () if self.partition.triples == "all" else self.partition.triples
        for instruction in {name for triple in triples for name in triple}:
            _known(instruction, self.instructions, "instruction in partition.triples")
        if self.checkpoints == "phantom" and (missing := without_phantom(self.models)):
            raise ValueError(
                f"no phantom checkpoint for {', '.join(missing)}; leave these models out, "
                "or set checkpoints: hub"
            )
        if self.data == "phantom" and (self.n_sessions or 0) > self.phantom.n_sessions and not self.nsd_root:
            raise ValueError(
                f"n_sessions is {self.n_sessions} but phantom.n_sessions is {self.phantom.n_sessions}; raise "
                "that"
            )
        if self.data == "nsd" and self.nsd_root is None and not self.scores_only:
            raise ValueError(
                "data is 'nsd' but nsd_root is empty; set it (NSD= of make) to the folder that holds nsddata"
            )
        return self

    def instruction_rows(self) -> tuple[Instruction, ...]:
        """Chosen instructions, ordered from low to high level."""
        rows = {**INSTRUCTION_BY_ID, **{row.id: row for row in self.extra_instructions}}
        return tuple(sorted((rows[i] for i in self.instructions), key=lambda row: row.level))

    def caption_id(self) -> str:
        """Instruction that stands for a model where only one is used: captioning, if it is chosen."""
        ids = [row.id for row in self.instruction_rows()]
        return "IC" if "IC" in ids else ids[-1]

    def lead_model(self) -> str:
        """Model that a page shows where it shows one: the first instruction-tuned one."""
        return next((m for m in self.partition.models if m in self.models), self.models[0])

    def alphas(self):
        """Grid of ridge penalties as a list of floats, ascending."""
        e = self.encoding
        step = (e.log10_alpha_max - e.log10_alpha_min) / max(e.n_alphas - 1, 1)
        return [10 ** (e.log10_alpha_min + step * i) for i in range(e.n_alphas)]

    @property
    def paths(self) -> Paths:
        return Paths(self)


class _Loader(yaml.SafeLoader):
    """YAML 1.2, in which a key stands once; by PyYAML's own rules 1:30 is 90 and 037 is 31."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def construct_mapping(self, node, deep=False):
        lines = {}
        for key, _ in node.value:
            lines.setdefault(str(key.value), []).append(str(key.start_mark.line + 1))
        for key, found in lines.items():
            if len(found) > 1:
                raise SettingsError(f"{key} stands in line {' and in line '.join(found)}; keep one")
        return super().construct_mapping(node, deep)

    def construct_integer(self, node):
        sign, digits = re.fullmatch(r"([-+]?)0*(\d+)", node.value).groups()
        if node.value != sign + digits:
            raise SettingsError(
                f"line {node.start_mark.line + 1}: {node.value} could be octal; write {sign}{digits}"
            )
        return int(node.value)


for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?\d+",
    "float": r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"({_pattern})\Z"), None)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def _read(path: Path) -> dict:
    """Keys and values of a settings file.

    Raises
    ------
    SettingsError
        With the line, where it is no YAML, and with what it holds instead of keys and values.
    """
    try:
        values = yaml.load(path.read_bytes(), _Loader)
    except OSError as error:
        raise SettingsError(f"settings {path} cannot be read ({error.strerror}); name a file") from error
    except SettingsError as error:
        raise SettingsError(f"settings {path}: {error}") from None
    except yaml.reader.ReaderError as error:
        raise SettingsError(f"settings {path} is not valid YAML: {error.reason}; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1
        remedy = (
            "indent with spaces" if "'\\t'" in error.problem else "check colons, indentation and brackets"
        )
        raise SettingsError(
            f"settings {path} is not valid YAML: line {line}: {error.problem}; {remedy}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"settings {path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        held = "nothing" if values is None else f"a {'list' if isinstance(values, list) else 'text'}"
        raise SettingsError(f"settings {path} holds {held}; expected lines such as `name: my_study`")
    return values


def load_settings(path: str | Path | None = None, **overrides) -> Settings:
    """Read and validate a settings file.

    Parameters
    ----------
    path : path or None
        YAML file, from the working folder or else from the project root; None gives the default values.
    overrides
        Top-level keys that replace those of the file.

    Raises
    ------
    SettingsError
        With the key, the value given and the values allowed.
    """
    values = {}
    if path is not None:
        given = Path(path).expanduser()
        path = next((p for p in (given, project_root() / given) if p.exists() and str(given)), None)
        if path is None:
            folders = " and ".join(dict.fromkeys(map(str, (Path.cwd(), project_root()))))
            looked = "" if given.is_absolute() else f" (looked in {folders})"
            raise SettingsError(f"settings file {given} does not exist{looked}")
        values = {"name": path.stem} | _read(path)
    try:
        settings = Settings.model_validate({**values, **overrides})
        return settings.model_copy(update=_absolute_paths(settings))
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from None


def check_study(settings: Settings) -> None:
    """Refuse models that leave a page of the book, made hours later, without anything to compare.

    Raises
    ------
    SettingsError
    """
    instructed = [model for model in settings.partition.models if model in settings.models]
    if not instructed or REFERENCE not in settings.models:
        raise SettingsError(
            f"models is {', '.join(settings.models)}; the pages compare instructed models with {REFERENCE}: "
            f"name it and one of partition.models ({', '.join(settings.partition.models)})"
        )


def check_folders(settings: Settings) -> None:
    """Refuse folders that are not there, hold something else or cannot be written.

    Raises
    ------
    SettingsError
        With the key, the folder and the remedy.
    """
    for root, key, holds in (
        (settings.nsd_root, "nsd_root (NSD=)", "nsddata"),
        (settings.coco_root, "coco_root (COCO=)", "annotations"),
        (settings.checkpoints, "checkpoints", ""),
    ):
        if settings.scores_only or not isinstance(root, Path):
            continue
        if settings.data == "phantom" and holds:
            raise SettingsError(
                f"{key} is {root}, but data is 'phantom', which makes its own; delete it, or use "
                "workflow/config/nsd.yml"
            )
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise SettingsError(f"{key}: the folder {root} {what}")
        if not (root / holds).is_dir():
            near = [folder for folder in (root.parent, *sorted(root.iterdir())) if (folder / holds).is_dir()]
            hint = f"did you mean {near[0]}?" if near else f"name the folder that holds {holds}"
            raise SettingsError(f"{key}: {root} holds no folder {holds}; {hint}")
    if settings.data == "nsd" and not settings.scores_only and settings.coco_root is None:
        raise SettingsError(
            "coco_root is empty, and captions and concepts need it; set it (COCO= of make) to the folder "
            "that holds annotations"
        )
    there = next(folder for folder in (settings.paths.root, *settings.paths.root.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        kind = "may not be written" if there.is_dir() else "is a file"
        raise SettingsError(f"{there} {kind}; set build_root to a folder of yours")
    for path in (settings.paths.root, settings.paths.nsd):
        if set("{}") & set(str(path)):
            raise SettingsError(f"the workflow cannot use {path}, whose braces are wildcards; choose another")


PLAIN = {
    "int": "expected a whole number",
    "float": "expected a number",
    "bool": "expected true or false",
    "string_type": "expected text",
    "path_type": "expected a path",
}
"""Words for what pydantic calls wrong types, by the start of its name for them."""


def _explain(error: ValidationError, path: Path | None) -> str:
    """Each wrong key of a settings file with the value given and the remedy."""
    problems = {}
    for item in error.errors():
        key, message = _explain_one(item)
        if message:
            problems.setdefault(key, {})[message] = item["input"]
    deepest = [key for key in problems if not any(other.startswith(f"{key}.") for other in problems)]
    lines = []
    for key in deepest:
        value = next(iter(problems[key].values()))
        given = "" if isinstance(value, dict | BaseModel | None) else f" (given: {value!r})"
        lines.append(f"{key}{': ' if key else ''}{', or '.join(problems[key])}{given}")
    head = f"settings {path or '(defaults)'}:"
    return f"{head} {lines[0]}" if len(lines) == 1 else "\n  ".join([head, *lines])


def _explain_one(item) -> tuple[str, str]:
    """Dotted key and message of one problem; the message is empty where another says the same."""
    kind, keys = Settings, []
    for name in item["loc"]:
        fields, inner = _fields(kind), get_args(kind)
        if fields or isinstance(name, int) or get_origin(kind) is dict:  # else a branch of a union
            keys.append(str(name))
            if fields:
                kind = fields.get(name, kind)
            else:
                kind = (
                    inner[-1] if get_origin(kind) is dict else inner[0] if get_origin(kind) is tuple else None
                )
    value, wrong = item["input"], item["type"]
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if wrong in ("extra_forbidden", "unexpected_keyword_argument"):
        message = _unknown_key(keys[-1], _fields(kind))
    elif wrong == "too_short":
        message = "" if value else "empty list; name at least one"
    elif wrong == "missing":
        message = "is missing"
    elif value is None:
        message = "has no value; write one, or delete the line"
    elif wrong == "tuple_type":
        message = "expected a list" if isinstance(value, dict) else f"expected a list; write [{value}]"
    elif wrong == "string_type" and isinstance(value, int | float):
        message = f'expected text; write "{value}" in quotes'
    elif wrong in ("model_type", "dataclass_type"):
        message = f"expected keys below it, such as {next(iter(_fields(kind)))}: ..."
    elif wrong == "literal_error":
        message = f"expected {item['ctx']['expected']}"
    else:
        message = next((words for start, words in PLAIN.items() if wrong.startswith(start)), message)
    return ".".join(keys), message


def _fields(kind) -> dict:
    """Names and types of the keys below a key."""
    if not isinstance(kind, type):
        return {}
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return kind.__annotations__ if is_dataclass(kind) else {}


def _unknown_key(name: str, here) -> str:
    """What is meant by a key that is not known: one of another section, or one with a similar name."""
    paths = {path.rpartition(".")[2]: path for path in _paths(Settings)}
    near = _near(name, here)
    if name in paths or (near.startswith("; known") and difflib.get_close_matches(name, paths, 1, 0.8)):
        near = f"; did you mean {paths[difflib.get_close_matches(name, paths, 1)[0]]!r}?"
    return f"unknown key{near}"


def _paths(kind, above=""):
    """Dotted names of all keys."""
    for name, annotation in _fields(kind).items():
        yield above + name
        yield from _paths(annotation, f"{above}{name}.")


def project_root() -> Path:
    """The checkout (the folder with ``_toc.yml``): around the working folder, else of this package.

    The working folder, where there is neither.
    """
    here = Path.cwd()
    folders = (here, *here.parents, Path(__file__).parents[1])
    return next((folder for folder in folders if (folder / "_toc.yml").is_file()), here)


def _absolute_paths(settings: Settings) -> dict:
    """Relative paths of a settings file count from the project root, wherever a notebook is opened."""
    root = project_root()
    names = ("build_root", "nsd_root", "coco_root", "checkpoints")
    return {n: root / v for n in names if isinstance(v := getattr(settings, n), Path)}


def fingerprint(values: dict) -> str:
    """Short stable hash of a JSON-able mapping."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
