"""The manifest of an archive: what it holds, with checksums, and a digest of the manifest itself."""

import hashlib
import json
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ... import BrainalignError

FORMAT = "brainalign-scores"
SCHEMA_VERSION = 1
FOLDERS = (
    "ceilings",
    "choices",
    "cortex.zarr",
    "figures",
    "notebooks",
    "nulls",
    "partition",
    "samples",
    "scores",
)
FOLDERS += ("tables", "voxels")
FILES = ("cost.md", "settings.json")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


class ArchiveError(BrainalignError):
    """An archive that cannot be used or made; the message says why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Entry(_Strict):
    """One file of an archive."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Strict):
    """What an archive holds.

    Attributes
    ----------
    name, data : str
        Of the study.
    git_revision, lock_hash : str
        Of the code and environment that made it.
    files : dict of path to Entry
        Relative paths with forward slashes.
    """

    format: Literal["brainalign-scores"] = FORMAT
    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    data: Literal["phantom", "nsd"]
    git_revision: str
    lock_hash: str
    files: dict[str, Entry]

    @property
    def digest(self) -> str:
        """sha256 of everything above, in one canonical form."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> bytes:
        values = self.model_dump() | {"digest": self.digest}
        return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()


def parse_manifest(raw: bytes) -> Manifest:
    """Read and check a manifest.

    Raises
    ------
    ArchiveError
        It is not JSON, of another format or schema version, altered, or names a file that an archive may
        not hold: an absolute path, one that climbs out of its folder, or one of an unknown kind.
    """
    try:
        values = json.loads(raw.decode(), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"the manifest is not valid JSON ({error}); get the archive again") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ArchiveError(f"this is not a score archive: its manifest lacks format {FORMAT!r}")
    version = values.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ArchiveError(
            f"the archive has schema version {version!r}, this program reads {SCHEMA_VERSION}; "
            "use the version of brainalign that made it (git_revision in its manifest.json)"
        )
    digest = values.pop("digest", None)
    try:
        manifest = Manifest(**values)
        found = manifest.digest
    except (ValidationError, ValueError, TypeError) as error:
        raise ArchiveError(f"the manifest is damaged: {error}") from None
    if digest != found:
        raise ArchiveError(f"the manifest was altered: its digest is {digest!r}, its content gives {found!r}")
    for path in manifest.files:
        check_path(path)
    return manifest


def _without_repeats(pairs):
    if len(values := dict(pairs)) < len(pairs):
        raise ValueError("a key is repeated")
    return values


def check_path(path: str) -> None:
    """Refuse a path that an archive may not hold.

    Raises
    ------
    ArchiveError
    """
    parts = path.split("/")
    if not all(PART.fullmatch(part) for part in parts):
        raise ArchiveError(f"the archive names the path {path!r}, which could lead out of its folder")
    if path not in FILES and (parts[0] not in FOLDERS or len(parts) < 2):
        raise ArchiveError(f"the archive names {path!r}; it may hold {', '.join((*FOLDERS, *FILES))}")
