"""Archives on disk: written reproducibly, read with distrust."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from ...artifacts import file_hash, git_revision
from ...settings import Settings, SettingsError, load_settings, project_root
from .contents import collect
from .manifest import ArchiveError, Entry, Manifest, parse_manifest

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 256 * 2**20
BLOCK = 2**20
METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
TEXT = {".json", ".csv", ".svg", ".ipynb", ".md"}


def create(settings: Settings, target: Path) -> Manifest:
    """Write the scores of a finished study into an archive; the same study gives the same bytes.

    Raises
    ------
    ArchiveError
        Something that an archive needs is missing, or something in the study may not be published.
    """
    with tempfile.TemporaryDirectory(prefix="brainalign-") as folder:
        return pack(collect(settings, Path(folder)), target, settings.name, settings.data)


def pack(files: dict[str, Path], target: Path, name: str, data: str) -> Manifest:
    """Write files, by their names in the archive, with a manifest in front."""
    root = project_root()
    manifest = Manifest(
        name=name,
        data=data,
        git_revision=git_revision(root),
        lock_hash=file_hash(root / "requirements.lock"),
        files={path: _entry(files[path]) for path in sorted(files)},
    )
    parse_manifest(manifest.to_json())
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            _add(archive, MANIFEST, manifest.to_json())
            for path in manifest.files:
                _add(archive, path, files[path].read_bytes())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def _entry(path: Path) -> Entry:
    return Entry(bytes=path.stat().st_size, sha256=file_hash(path, 64))


def _add(archive, name, content):
    member = zipfile.ZipInfo(name)  # its date is a constant
    member.external_attr = 0o644 << 16
    stored, deflated = METHODS
    member.compress_type = deflated if Path(name).suffix in TEXT else stored
    archive.writestr(member, content)


def unpack(source: Path, build_root: Path = Path("_build")) -> Path:
    """Check an archive to its last byte and put it where a study of its own lies.

    Parameters
    ----------
    source : path
    build_root : path
        Gets the folder ``<name>-scores``; one of the same archive is left as it is.

    Returns
    -------
    settings : Path
        Settings file of the study that was unpacked.

    Raises
    ------
    ArchiveError
        The archive is missing, altered, cut off, of another schema version, or names files outside its
        folder; nothing is left behind then.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = _read_manifest(archive)
            target = Path(build_root) / f"{manifest.name}-scores"
            if (known := target / MANIFEST).is_file() and known.read_bytes() == manifest.to_json():
                return target / "study.json"
            partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                for name, entry in manifest.files.items():
                    _extract(archive, name, entry, partial / name)
                _write_settings(partial, target)
                (partial / MANIFEST).write_bytes(manifest.to_json())
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except FileNotFoundError as error:
        raise ArchiveError(f"{error.filename or source} does not exist") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _broken(source, error) from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _broken(source, error) from None  # an altered offset points before the file's beginning
    return target / "study.json"


def _broken(source, error):
    return ArchiveError(f"{source} is no whole zip archive ({error}); get it again")


def _read_manifest(archive):
    """The manifest, after the list of members was compared with it."""
    members = archive.infolist()
    for member in members:  # before anything is read: other methods' decoders fail in ways of their own
        if member.compress_type not in METHODS:
            raise ArchiveError(f"{member.filename!r} is compressed in an unknown way; get the archive again")
    names = [member.filename for member in members]
    if repeated := {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ():
        raise ArchiveError(f"the archive holds {sorted(repeated)[0]!r} twice")
    if MANIFEST not in names:
        raise ArchiveError(f"this is not a score archive: it holds no {MANIFEST}")
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
        raise ArchiveError(f"{MANIFEST} says it is {archive.getinfo(MANIFEST).file_size} bytes long")
    manifest = parse_manifest(archive.read(MANIFEST))
    if different := sorted(set(names) ^ {MANIFEST, *manifest.files}):
        what = "lacks" if different[0] in manifest.files else "holds, unannounced,"
        raise ArchiveError(f"the archive {what} {different[0]!r}; get it again")
    for member in members:
        kind = (member.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000):
            raise ArchiveError(f"{member.filename!r} in the archive is a link or a device, not a file")
    return manifest


def _extract(archive, name, entry, target):
    """Write one member, no more bytes than announced, and compare its checksum."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry.bytes
    with archive.open(name) as content, target.open("xb") as file:
        while block := content.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise ArchiveError(f"{name} in the archive is longer than {entry.bytes} bytes")
            digest.update(block)
            file.write(block)
    if left or digest.hexdigest() != entry.sha256:
        raise ArchiveError(f"{name} in the archive was altered or cut off: its checksum differs")


def _write_settings(partial: Path, target: Path):
    """The archive's settings, with the place where it lies now."""
    try:
        values = json.loads((partial / "settings.json").read_text())
        values |= {"name": target.name, "build_root": str(target.parent.resolve()), "scores_only": True}
        (partial / "study.json").write_text(json.dumps(values, indent=1))
        load_settings(partial / "study.json")
    except (ValueError, TypeError, OSError) as error:
        known = isinstance(error, SettingsError)
        raise ArchiveError(
            f"the archive's settings cannot be used: {error if known else repr(error)}"
        ) from None
