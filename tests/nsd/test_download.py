"""Against a real S3 server on this machine (moto), holding a phantom tree under NSD's keys."""

import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time

import boto3
import pytest
from filelock import FileLock
from fixtures.cut_proxy import CutProxy
from fixtures.unprivileged import nobody, reachable_folder
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from brainalign_utils import cli
from brainalign_utils.nsd import doctor
from brainalign_utils.nsd import download as downloads
from brainalign_utils.nsd.download import DownloadError, Remote, client, plan, transfer
from brainalign_utils.nsd.layout import STIM_INFO, STIMULI, session_key, study_keys

BUCKET = "natural-scenes-dataset"
LARGE = "nsddata/large.bin"  # several blocks, uploaded in parts of 5 MiB
LARGE_CONTENT = bytes(range(256)) * 4096 * 11 + b"the end"  # 11.5 MB


@pytest.fixture(scope="module")
def server(phantom_tree):
    patch = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    s3.create_bucket(Bucket=BUCKET, ACL="public-read")
    root = phantom_tree / "nsd"
    for path in root.rglob("*"):
        if path.is_file() and "session02.nii.gz" not in path.name:
            s3.put_object(
                Bucket=BUCKET, Key=str(path.relative_to(root)), Body=path.read_bytes(), ACL="public-read"
            )
    put_in_parts(s3, LARGE, LARGE_CONTENT)
    s3.put_object(Bucket=BUCKET, Key="nsddata/empty.txt", Body=b"", ACL="public-read")
    yield moto, url, port
    moto.stop()
    patch.undo()


def put_in_parts(s3, key, content, size=5 << 20):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key, ACL="public-read")["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(content), size), 1):
        answer = s3.upload_part(
            Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=content[start : start + size]
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.fixture
def url(server):
    return server[1]


def fetch(root, keys, url, **options):
    return downloads.download(root, keys, BUCKET, url, progress_bar=False, **options)


def parts(root):
    return sorted(root.rglob("*.part"))


KEYS = study_keys([1], 2)


def test_tree_from_the_bucket_passes_the_doctor(phantom_tree, tmp_path, url):
    root = tmp_path / "données nsd"
    done = fetch(root, study_keys([1, 7], {1: 2, 7: 1}), url)
    assert len(done.todo) > 40 and not done.done
    expected = doctor.load_expected(phantom_tree / "nsd")
    findings = doctor.examine(root, expected)
    assert {f.status for f in findings} == {"ok"} and not parts(root)
    for remote in done.todo:
        assert (root / remote.key).read_bytes() == (phantom_tree / "nsd" / remote.key).read_bytes()


def test_only_what_the_settings_need(tmp_path, url):
    fetch(tmp_path, study_keys([7], 1, ["floc-faces"], "nii.gz", stimuli=False), url)
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert session_key(7, 1, "nii.gz") in names and session_key(7, 1, "hdf5") not in names
    assert STIMULI not in names and not any("subj01" in name for name in names)
    rois = {name.rsplit("/", 1)[1] for name in names if "/roi/" in name}
    assert rois == {"nsdgeneral.nii.gz", "floc-faces.nii.gz"}


def test_second_run_transfers_nothing(tmp_path, server):
    _, url, port = server
    fetch(tmp_path, KEYS, url)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with CutProxy(port) as proxy:
        again = fetch(tmp_path, KEYS, proxy.url)
        assert not again.todo and len(again.done) == len(KEYS)
        assert proxy.n_bytes < 1500 * len(KEYS)  # heads only
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_manifest_says_what_was_verified(tmp_path, url):
    fetch(tmp_path, [STIM_INFO, LARGE], url)
    manifest = json.loads((tmp_path / downloads.MANIFEST).read_text())
    entry = manifest["files"][STIM_INFO]
    assert manifest["bucket"] == BUCKET and entry["verified"] == "checksum"
    assert entry["etag"] == hashlib.md5((tmp_path / STIM_INFO).read_bytes()).hexdigest()
    assert entry["size"] == (tmp_path / STIM_INFO).stat().st_size
    assert manifest["files"][LARGE]["etag"].endswith("-3")


def test_files_fetched_by_other_means_are_verified_and_kept(tmp_path, phantom_tree, url):
    (tmp_path / STIM_INFO).parent.mkdir(parents=True)
    shutil.copy(phantom_tree / "nsd" / STIM_INFO, tmp_path / STIM_INFO)
    result = fetch(tmp_path, [STIM_INFO], url)
    assert [r.key for r in result.done] == [STIM_INFO]
    content = bytearray((tmp_path / STIM_INFO).read_bytes())
    content[1000] ^= 1
    (tmp_path / STIM_INFO).write_bytes(content)  # same size, other content, other time
    result = fetch(tmp_path, [STIM_INFO], url)
    assert [r.key for r in result.todo] == [STIM_INFO]
    assert (tmp_path / STIM_INFO).read_bytes() == (phantom_tree / "nsd" / STIM_INFO).read_bytes()


def test_broken_line_is_taken_up_where_it_stopped(tmp_path, server):
    """The line breaks every 3 MB; 11.5 MB arrive, and hardly more than once."""
    with CutProxy(server[2], cut_each=3 << 20) as proxy:
        fetch(tmp_path, [LARGE], proxy.url)
        assert proxy.n_bytes < 1.1 * len(LARGE_CONTENT) + 4 * 65536
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT


def test_interrupted_download_resumes(tmp_path, server, monkeypatch):
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    port = server[2]
    with CutProxy(port, cut_after=6 << 20) as proxy:
        with pytest.raises(DownloadError, match=rf"connection broke while fetching {LARGE}.*it resumes"):
            fetch(tmp_path, [LARGE], proxy.url)
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    assert kept > 1 << 20 and not (tmp_path / LARGE).exists()
    with CutProxy(port) as proxy:
        fetch(tmp_path, [LARGE], proxy.url)
        assert proxy.n_bytes < len(LARGE_CONTENT) - kept + 65536
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT and not parts(tmp_path)


def test_killed_process_resumes(tmp_path, server):
    with CutProxy(server[2], pause=0.01) as slow:
        code = (
            "import sys; from brainalign_utils.nsd.download import download; "
            "download(sys.argv[1], [sys.argv[2]], sys.argv[3], sys.argv[4], progress_bar=False)"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), LARGE, BUCKET, slow.url])
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size > 1 << 20 for part in parts(tmp_path)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
    (part,) = parts(tmp_path)
    assert 0 < part.stat().st_size < len(LARGE_CONTENT) and not (tmp_path / LARGE).exists()
    fetch(tmp_path, [LARGE], server[1])
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT and not parts(tmp_path)


def test_damaged_part_is_fetched_afresh(tmp_path, url):
    (remote,) = plan.describe(client.Client(url), BUCKET, [LARGE], 1)
    part = plan.part_path(tmp_path, remote)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 4_000_000)
    fetch(tmp_path, [LARGE], url)
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT and not parts(tmp_path)


def test_part_of_an_older_version_is_not_mixed_in(tmp_path, url):
    (remote,) = plan.describe(client.Client(url), BUCKET, [STIM_INFO], 1)
    old = Remote(STIM_INFO, remote.size, "0" * 32)
    assert plan.part_path(tmp_path, old) != plan.part_path(tmp_path, remote)


@pytest.fixture
def corrupted(server):
    """The object's content changes in the server, its checksum does not."""
    key = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys.getlist(STIM_INFO)[-1]
    value = key.value
    etag = key.etag
    key.value = b"#" + value[1:]
    key._etag = etag.strip('"')
    assert key.etag == etag
    yield STIM_INFO
    key.value = value


def test_corrupted_object_is_caught_and_the_others_arrive(tmp_path, url, corrupted):
    message = rf"{STIM_INFO} is corrupted: \d+ bytes with checksum \w{{32}}, expected \d+ bytes with"
    with pytest.raises(DownloadError, match=message):
        fetch(tmp_path, KEYS, url)
    assert not (tmp_path / corrupted).exists() and not parts(tmp_path)
    there = json.loads((tmp_path / downloads.MANIFEST).read_text())["files"]
    assert set(there) == set(KEYS) - {corrupted}


def test_missing_key_is_named_before_anything_is_written(tmp_path, url):
    root = tmp_path / "nsd"
    message = rf"does not have 1 of {len(KEYS) + 1} files:\n  {session_key(1, 3, 'hdf5')}"
    with pytest.raises(DownloadError, match=message):
        fetch(root, study_keys([1], 3), url)
    assert not root.exists()


def test_missing_bucket(tmp_path, url):
    with pytest.raises(DownloadError, match="bucket nowhere does not have 1 of 1 files"):
        downloads.download(tmp_path, [STIM_INFO], "nowhere", url, progress_bar=False)


def test_server_that_is_not_there(tmp_path):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 cannot be reached"):
        fetch(tmp_path / "nsd", [STIM_INFO], "http://127.0.0.1:9")
    assert not (tmp_path / "nsd").exists()


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "", "a/\0"])
def test_names_cannot_climb_out(tmp_path, url, key):
    with pytest.raises(DownloadError, match="leads out of"):
        fetch(tmp_path / "nsd", [key], url)
    assert not any(tmp_path.iterdir())


def test_a_link_cannot_lead_out(tmp_path, url):
    root = tmp_path / "nsd"
    root.mkdir()
    (root / "nsddata").symlink_to(tmp_path)
    with pytest.raises(DownloadError, match="leads out of"):
        fetch(root, [STIM_INFO], url)


def test_too_little_room_is_seen_before(tmp_path, url, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=70_000_000)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda path: usage)
    root = tmp_path / "nsd"
    with pytest.raises(DownloadError, match=r"0\.01 GB are needed in .*, 0\.07 GB are free; make room"):
        fetch(root, [LARGE], url)
    assert not root.exists()


class FullDisk:
    """A file that the disk stops taking after some bytes, as a full file system does."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def write(self, content):
        if self._file.tell() + len(content) > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(content)


def test_disk_that_fills_up_on_the_way(tmp_path, url, monkeypatch):
    real_open = transfer.Path.open

    def limited(path, mode="r", **options):
        file = real_open(path, mode, **options)
        return FullDisk(file, 3 << 20) if mode == "ab" else file

    with monkeypatch.context() as patch:
        patch.setattr(transfer.Path, "open", limited)
        with pytest.raises(DownloadError, match=r"disk of .* is full \(No space left.*it resumes"):
            fetch(tmp_path, [LARGE], url)
    assert not (tmp_path / LARGE).exists()
    assert [part.stat().st_size > 1 << 20 for part in parts(tmp_path)] == [True]
    fetch(tmp_path, [LARGE], url)
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT


SMALL_DISK = """
mount -t tmpfs -o size=6m tmpfs "$1" || exit 77
"$2" -c '
import sys
from brainalign_utils.nsd.download import DownloadError, download, transfer
transfer.check_space = lambda plan: None
try:
    download(sys.argv[1], sys.argv[2:4], sys.argv[4], sys.argv[5], n_workers=1, progress_bar=False)
except DownloadError as error:
    print(error)
' "$1" "$3" "$4" "$5" "$6"
find "$1" -type f
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk")
def test_really_full_disk(tmp_path, url):
    """A tmpfs of 6 MB in a namespace of its own; the check before is switched off."""
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = [str(disk), sys.executable, STIM_INFO.replace("stim_info_merged.csv", "expdesign.mat"), LARGE]
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", *arguments, BUCKET, url],
        capture_output=True, text=True, timeout=120, cwd=os.getcwd(),
    )  # fmt: skip
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip("mounting is not allowed here")
    assert "is full (No space left on device); verified files and .part files are kept" in result.stdout
    assert "nsd_expdesign.mat\n" in result.stdout and "large.bin\n" not in result.stdout
    assert "Traceback" not in result.stderr


def test_two_downloads_into_one_folder(tmp_path, url):
    with FileLock(tmp_path / f".{downloads.MANIFEST}.lock"):
        with pytest.raises(DownloadError, match=r"another download into .* is running"):
            fetch(tmp_path, [STIM_INFO], url)


def test_folder_that_may_not_be_written(url):
    with reachable_folder() as folder:
        folder.chmod(0o555)
        message = rf"{folder}\S* may not be read or written \(Permission denied\).*another folder"
        with nobody(), pytest.raises(DownloadError, match=message):
            fetch(folder / "nsd", [STIM_INFO], url)
        assert not any(folder.iterdir())


def test_damaged_manifest(tmp_path, url):
    (tmp_path / downloads.MANIFEST).write_text("{")
    with pytest.raises(DownloadError, match=r"manifest\.json is damaged .*delete it"):
        fetch(tmp_path, [STIM_INFO], url)


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 250])
@pytest.mark.parametrize("part_size", [0, 100])
def test_checksum_equals_that_of_s3(tmp_path, monkeypatch, size, part_size):
    monkeypatch.setattr(transfer, "BLOCK", 32)
    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    etag = transfer.checksum(tmp_path / "x", Remote("x", size, "", part_size))
    if not part_size:
        assert etag == hashlib.md5(content).hexdigest()
        return
    pieces = [content[i : i + part_size] for i in range(0, size, part_size)] or [b""]
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    assert etag == f"{hashlib.md5(digests).hexdigest()}-{len(pieces)}"


def test_empty_file(tmp_path, url):
    fetch(tmp_path, ["nsddata/empty.txt"], url)
    assert (tmp_path / "nsddata/empty.txt").read_bytes() == b""


def test_size_only_verification_is_recorded(tmp_path, url, corrupted):
    fetch(tmp_path, [STIM_INFO], url, verify="size")
    entry = json.loads((tmp_path / downloads.MANIFEST).read_text())["files"][STIM_INFO]
    assert entry["verified"] == "size"
    with pytest.raises(DownloadError, match="is corrupted"):
        fetch(tmp_path, [STIM_INFO], url)


# --- Command -------------------------------------------------------------------------------------


def command(root, url, *options):
    return cli.main(
        ["download", "--to", str(root), "--endpoint-url", url, "--subjects", "7", "--sessions", "1", *options]
    )


def test_command_shows_sizes_and_terms_and_asks(tmp_path, url, capsys, monkeypatch):
    root = tmp_path / "nsd"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert command(root, url) == 1
    output = capsys.readouterr()
    assert "naturalscenesdataset.org" in output.out and "not confirmed" in output.err
    assert "betas" in output.out and "free" in output.out and not root.exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert command(root, url) == 0
    assert (root / session_key(7, 1, "hdf5")).is_file()


def test_command_in_a_batch_job(tmp_path, url, capsys):
    assert command(tmp_path / "nsd", url) == 1
    assert "pass --yes if you accept the terms" in capsys.readouterr().err
    assert command(tmp_path / "nsd", url, "--yes", "--no-stimuli", "--rois", "prf-visualrois") == 0
    assert not (tmp_path / "nsd" / STIMULI).exists()
    assert command(tmp_path / "nsd", url, "--yes", "--no-stimuli", "--rois", "prf-visualrois") == 0
    assert "0 files downloaded and verified" in capsys.readouterr().out


def test_command_takes_a_settings_file(tmp_path, url):
    settings = tmp_path / "nsd.yml"
    settings.write_text(f"data: nsd\nnsd_root: {tmp_path / 'from settings'}\nsubjects: [1]\nn_sessions: 1\n")
    options = ["--settings", str(settings), "--endpoint-url", url, "--no-stimuli", "--yes"]
    assert cli.main(["download", *options]) == 0
    assert (tmp_path / "from settings" / session_key(1, 1, "hdf5")).is_file()
    assert not (tmp_path / "from settings" / session_key(1, 2, "hdf5")).exists()


def test_command_refuses_names_that_climb(tmp_path, url, capsys):
    assert command(tmp_path / "nsd", url, "--yes", "--rois", "../../../../../x") == 1
    assert "leads out of" in capsys.readouterr().err
