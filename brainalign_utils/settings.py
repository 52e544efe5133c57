"""Settings of a study, validated.

A settings file is YAML.  Unknown keys, wrong types, empty lists and unknown subjects,
models or instructions are refused with both values and the remedy.
"""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .artifacts import Paths
from .cluster import ClusterSettings
from .models import MODEL_BY_ID, without_phantom
from .settings_errors import explain
from .tables import BETA_VERSIONS, INSTRUCTION_BY_ID, SPACES, SUBJECTS, Instruction

POOLINGS = ("generated", "prompt", "last", "image", "authors-all-tokens", "authors-sampled")


class SettingsError(ValueError):
    """A settings file that cannot be used; the message says which key, and what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _known(value: str, known, what: str, remedy: str) -> str:
    if value in known:
        return value
    near = difflib.get_close_matches(value, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {what} {value!r}{hint} Known: {', '.join(known)}. {remedy}")


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
    device: str = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    stimuli_per_block: int = Field(256, ge=1)
    storage: Literal["auto", "float32", "float16"] = "auto"
    n_shards: int = Field(1, ge=1, description="feature jobs a model, each on every n-th block of images")
    replace_stale: bool = Field(False, description="delete stored features made with other settings")

    @field_validator("pooling")
    @classmethod
    def _pooling(cls, value):
        return _known(value, POOLINGS, "pooling", "")


class EncodingSettings(_Section):
    """Voxelwise ridge regression."""

    solver: Literal["brainalign", "himalaya"] = "brainalign"
    log10_alpha_min: float = Field(1.0, ge=-12, le=12)
    log10_alpha_max: float = Field(4.0, ge=-12, le=12)
    n_alphas: int = Field(60, ge=1, le=1000)
    n_folds: int = Field(5, ge=2)
    selection: Literal["r2", "r"] = "r2"
    fit_intercept: bool = False
    device: str = "auto"
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
        return tuple(_known(pooling, POOLINGS, "pooling", "") for pooling in value)


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
        Folder below ``build_root`` that holds every artifact of the study.
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

    name: str = Field("phantom", pattern=r"^\w[\w.-]*$")
    data: Literal["phantom", "nsd"] = "phantom"
    build_root: Path = Path("_build")
    scores_only: bool = Field(
        False, description="unpacked from an archive of scores: no responses, no features"
    )
    nsd_root: Path | None = None
    coco_root: Path | None = None
    subjects: Annotated[tuple[int, ...], Field(min_length=1)] = SUBJECTS
    n_sessions: int | None = Field(None, ge=1, le=40)
    betas: Literal[BETA_VERSIONS] = Field("betas_fithrf_GLMdenoise_RR", description="NSD's GLM for the betas")
    space: Literal[SPACES] = Field("func1pt8mm", description="grid of betas and regions; 1.8 mm or 1 mm")
    session_zscore: bool = True
    convention: Literal["default", "authors"] = "default"
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("vit-h", "clip-image", "instructblip")
    checkpoints: Literal["phantom", "hub"] | Path = "phantom"
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

    @field_validator("subjects")
    @classmethod
    def _subjects(cls, value):
        for subject in value:
            if not 1 <= subject <= 8:
                raise ValueError(f"subject {subject} does not exist; NSD has subjects 1 to 8")
        return value

    @field_validator("models")
    @classmethod
    def _models(cls, value):
        for model in value:
            _known(model, MODEL_BY_ID, "model", "Run `brainalign models` for the table.")
        return value

    @model_validator(mode="after")
    def _consistent(self):
        known = [*INSTRUCTION_BY_ID, *(row.id for row in self.extra_instructions)]
        for instruction in self.instructions:
            _known(instruction, known, "instruction", "Add new ones under extra_instructions.")
        triples = () if self.partition.triples == "all" else self.partition.triples
        for instruction in {name for triple in triples for name in triple}:
            _known(instruction, self.instructions, "instruction in partition.triples", "")
        if self.checkpoints == "phantom" and (missing := without_phantom(self.models)):
            raise ValueError(
                f"no phantom checkpoint for {', '.join(missing)}; leave these models out, "
                "or set checkpoints: hub"
            )
        if self.data == "nsd" and self.nsd_root is None and not self.scores_only:
            raise ValueError(
                "data is 'nsd' but nsd_root is empty; set nsd_root to the folder that holds nsddata"
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


def load_settings(path: str | Path | None = None, **overrides) -> Settings:
    """Read and validate a settings file.

    Parameters
    ----------
    path : path or None
        YAML file, from the working folder or else from the project root; None gives the phantom defaults.
    overrides
        Top-level keys that replace those of the file.

    Raises
    ------
    SettingsError
        With the key, the value given and the values allowed.
    """
    values = {}
    if path is not None:
        given, path = path, next((p for p in (Path(path), project_root() / path) if p.is_file()), None)
        if path is None:
            raise SettingsError(
                f"settings file {given} does not exist (looked in {Path.cwd()}, {project_root()})"
            )
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, a 99th of May
            raise SettingsError(f"{path} is not valid YAML: {error}") from error
        if not isinstance(values, dict):
            raise SettingsError(
                f"{path} holds a {type(values).__name__}; expected a mapping of keys to values"
            )
    try:
        settings = Settings.model_validate({**values, **overrides})
        return settings.model_copy(update=_absolute_paths(settings))
    except ValidationError as error:
        raise SettingsError(explain(error, path, Settings)) from None


def project_root() -> Path:
    """The checkout (the folder with ``_toc.yml``) around the working folder, else the one of this package."""
    folders = (Path.cwd(), *Path.cwd().parents, *Path(__file__).parents)
    return next((folder for folder in folders if (folder / "_toc.yml").is_file()), Path.cwd())


def _absolute_paths(settings: Settings) -> dict:
    """Relative paths of a settings file count from the project root, wherever a notebook is opened."""
    root = project_root()
    names = ("build_root", "nsd_root", "coco_root", "checkpoints")
    return {n: root / v for n in names if isinstance(v := getattr(settings, n), Path)}


def fingerprint(values: dict) -> str:
    """Short stable hash of a JSON-able mapping."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
