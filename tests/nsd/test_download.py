"""Against a real S3 server on this machine (moto), holding a phantom tree under NSD's keys."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
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
from brainalign_utils.nsd.download import DownloadError
from brainalign_utils.nsd.layout import EXPDESIGN, STIM_INFO, STIMULI, roi_key, session_key, study_keys

BUCKET = "natural-scenes-dataset"
LARGE = "nsddata/large.bin"  # uploaded in parts of 5 MiB, fetched in parts of 8 MiB
LARGE_CONTENT = bytes(range(256)) * 4096 * 20 + b"the end"  # 21 MB


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


KEYS = study_keys({1: 2})


def test_tree_from_the_bucket_passes_the_doctor(phantom_tree, tmp_path, url):
    root = tmp_path / "données nsd"
    done = fetch(root, study_keys({1: 2, 7: 1}), url)
    assert len(done.todo) > 40 and not done.done
    findings = doctor.examine(root, [1, 7], expected=doctor.load_expected(phantom_tree / "nsd"))
    assert {f.status for f in findings} == {"ok"} and not parts(root)
    for remote in done.todo:
        assert (root / remote.key).read_bytes() == (phantom_tree / "nsd" / remote.key).read_bytes()


def test_only_what_is_asked_for(tmp_path, url):
    fetch(tmp_path, study_keys({7: 1}, "nii.gz", stimuli=False), url)
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert session_key(7, 1, "nii.gz") in names and session_key(7, 1, "hdf5") not in names
    assert STIMULI not in names and not any("subj01" in name for name in names)


def test_second_run_transfers_nothing(tmp_path, server):
    _, url, port = server
    keys = [*KEYS, LARGE]
    fetch(tmp_path, keys, url)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with CutProxy(port) as proxy:
        again = fetch(tmp_path, keys, proxy.url)
        assert not again.todo and len(again.done) == len(keys)
        assert proxy.n_bytes < 1500 * len(keys)  # heads only
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("key", [STIM_INFO, LARGE])
def test_files_fetched_by_other_means_are_verified_and_kept(tmp_path, server, key):
    _, url, port = server
    fetch(tmp_path, [key], url)
    path = tmp_path / key
    content = path.read_bytes()
    path.write_bytes(content)  # the same, at another time
    with CutProxy(port) as proxy:
        assert [r.key for r in fetch(tmp_path, [key], proxy.url).done] == [key]
        assert proxy.n_bytes < 3000
    path.write_bytes(b"?" + content[1:])  # same size, other content
    assert [r.key for r in fetch(tmp_path, [key], url).todo] == [key]
    assert path.read_bytes() == content
    path.write_bytes(content[:-1])  # cut short
    assert [r.key for r in fetch(tmp_path, [key], url).todo] == [key]
    assert path.read_bytes() == content


def test_broken_connections_are_mended(tmp_path, server):
    with CutProxy(server[2], cut_each=3 << 20, n_cuts=4) as proxy:
        fetch(tmp_path, [LARGE], proxy.url)
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT and not parts(tmp_path)


def test_interrupted_download_goes_on_with_the_next_file(tmp_path, server, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    port = server[2]
    with CutProxy(port, cut_after=12 << 20) as proxy:
        message = "the connection broke .*; whole files are kept: run the same command again"
        with pytest.raises(DownloadError, match=message):
            fetch(tmp_path, [STIM_INFO, LARGE], proxy.url)
    assert (tmp_path / STIM_INFO).is_file() and not (tmp_path / LARGE).exists() and not parts(tmp_path)
    with CutProxy(port) as proxy:
        again = fetch(tmp_path, [STIM_INFO, LARGE], proxy.url)
        assert [r.key for r in again.done] == [STIM_INFO]
        assert proxy.n_bytes < len(LARGE_CONTENT) + 65536
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT


def test_killed_process_leaves_no_half_file_under_its_name(tmp_path, server):
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
    assert len(parts(tmp_path)) == 1 and not (tmp_path / LARGE).exists()
    fetch(tmp_path, [LARGE], server[1])
    assert (tmp_path / LARGE).read_bytes() == LARGE_CONTENT and not parts(tmp_path)


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
    with pytest.raises(
        DownloadError, match=rf"corrupted on the way.*not kept .*: {STIM_INFO} \(\d+ of \d+ bytes"
    ):
        fetch(tmp_path, KEYS, url)
    assert not (tmp_path / corrupted).exists() and not parts(tmp_path)
    assert {key for key in KEYS if (tmp_path / key).is_file()} == set(KEYS) - {corrupted}


def test_missing_key_is_named_before_anything_is_written(tmp_path, url):
    root = tmp_path / "nsd"
    message = rf"does not have 1 of {len(KEYS) + 1} files:\n  {session_key(1, 3, 'hdf5')}\nLeave n_sessions"
    with pytest.raises(DownloadError, match=message):
        fetch(root, study_keys({1: 3}), url)
    assert not root.exists()


def test_missing_bucket(tmp_path, url):
    with pytest.raises(DownloadError, match="bucket nowhere does not have 1 of 1 files"):
        downloads.download(tmp_path, [STIM_INFO], "nowhere", url, progress_bar=False)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:9", r"127\.0\.0\.1:9 cannot be reached"),
        ("s3.example", r"Invalid endpoint: s3\.example; --endpoint-url looks like"),
    ],
)
def test_server_that_is_not_there(tmp_path, address, message):
    with pytest.raises(DownloadError, match=message):
        fetch(tmp_path / "nsd", [STIM_INFO], address)
    assert not (tmp_path / "nsd").exists()


def test_folders_may_be_links_to_other_disks(tmp_path, url, phantom_tree):
    root, disk = tmp_path / "nsd", tmp_path / "large disk"
    root.mkdir()
    disk.mkdir()
    (root / "nsddata_betas").symlink_to(disk)
    fetch(root, KEYS, url)
    key = session_key(1, 2, "hdf5")
    assert (disk / key.removeprefix("nsddata_betas/")).is_file()
    assert (root / key).read_bytes() == (phantom_tree / "nsd" / key).read_bytes()


def test_link_that_leads_nowhere(tmp_path, url):
    (tmp_path / "nsddata_betas").symlink_to(tmp_path / "not mounted")
    with pytest.raises(
        DownloadError, match=r"nsddata_betas is a link to \S+/not mounted, which is not there"
    ):
        fetch(tmp_path, KEYS, url)


def test_folder_too_high_or_too_low(tmp_path, url):
    root = tmp_path / "nsd"
    fetch(root, [EXPDESIGN], url)
    for wrong in (tmp_path, root / "nsddata", root / "nsddata_betas"):
        with pytest.raises(DownloadError, match=f"is not the folder that holds nsddata: give {root}"):
            fetch(wrong, [STIM_INFO], url)


def test_too_little_room_is_seen_before(tmp_path, url, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=70_000_000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: usage)
    root = tmp_path / "nsd"
    with pytest.raises(DownloadError, match=r"0\.02 GB are needed in .*, 0\.07 GB are free; make room"):
        fetch(root, [LARGE], url)
    assert not root.exists()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_room_is_that_of_the_disk_that_a_folder_is_linked_to(tmp_path, url, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "nsddata").symlink_to(other)

        def little_there(folder):
            there = os.stat(folder).st_dev == os.stat(other).st_dev
            return usage._replace(free=70_000_000 if there else 10**12)

        monkeypatch.setattr(downloads.shutil, "disk_usage", little_there)
        with pytest.raises(DownloadError, match=rf"are needed in {tmp_path}/nsddata, 0\.07 GB are free"):
            fetch(tmp_path, [LARGE], url)


SMALL_DISK = """
mount -t tmpfs -o size=16m tmpfs "$1" || exit 77
"$2" -c '
import sys
from brainalign_utils.nsd import download
download.check_space = lambda plan: None
try:
    download.download(sys.argv[1], sys.argv[2:4], sys.argv[4], sys.argv[5], progress_bar=False)
except download.DownloadError as error:
    print(error)
' "$1" "$3" "$4" "$5" "$6"
find "$1" -type f
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk")
def test_full_disk(tmp_path, url):
    """A tmpfs of 16 MB in a namespace of its own; the check before is switched off."""
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = [str(disk), sys.executable, EXPDESIGN, LARGE]
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", *arguments, BUCKET, url],
        capture_output=True, text=True, timeout=120, cwd=os.getcwd(),
    )  # fmt: skip
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip("mounting is not allowed here")
    assert "is full (No space left on device); make room; whole files are kept" in result.stdout
    assert "nsd_expdesign.mat\n" in result.stdout and "large.bin" not in result.stdout
    assert "Traceback" not in result.stderr


def test_two_downloads_into_one_folder(tmp_path, url):
    with FileLock(tmp_path / ".brainalign_download.lock"):
        with pytest.raises(DownloadError, match=r"another download into .* is running"):
            fetch(tmp_path, [STIM_INFO], url)


def test_folder_that_may_not_be_written(url):
    with reachable_folder() as folder:
        folder.chmod(0o555)
        message = rf"{folder}\S* may not be read or written \(Permission denied\).*another folder"
        with nobody(), pytest.raises(DownloadError, match=message):
            fetch(folder / "nsd", [STIM_INFO], url)
        assert not any(folder.iterdir())


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 250])
@pytest.mark.parametrize("part_size", [None, 100])
def test_etag_equals_that_of_s3(tmp_path, size, part_size):
    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    etag = downloads.etag_of(tmp_path / "x", part_size)
    if not part_size:
        assert etag == hashlib.md5(content).hexdigest()
        return
    pieces = [content[i : i + part_size] for i in range(0, size, part_size)]
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    assert etag == f"{hashlib.md5(digests).hexdigest()}-{len(pieces)}"


def test_empty_file(tmp_path, url):
    fetch(tmp_path, ["nsddata/empty.txt"], url)
    assert (tmp_path / "nsddata/empty.txt").read_bytes() == b""


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
    assert command(tmp_path / "nsd", url, "--yes", "--no-stimuli") == 0
    assert not (tmp_path / "nsd" / STIMULI).exists()
    assert command(tmp_path / "nsd", url, "--yes", "--no-stimuli") == 0
    assert "0 files downloaded and verified" in capsys.readouterr().out


def test_command_takes_a_settings_file(tmp_path, url):
    settings = tmp_path / "nsd.yml"
    settings.write_text(f"data: nsd\nnsd_root: {tmp_path / 'from settings'}\nsubjects: [1]\nn_sessions: 1\n")
    options = ["--settings", str(settings), "--endpoint-url", url, "--no-stimuli", "--yes"]
    assert cli.main(["download", *options]) == 0
    assert (tmp_path / "from settings" / session_key(1, 1, "hdf5")).is_file()
    assert not (tmp_path / "from settings" / session_key(1, 2, "hdf5")).exists()


def test_command_takes_version_and_space_from_the_settings(tmp_path, url, capsys):
    settings = tmp_path / "nsd.yml"
    settings.write_text("data: nsd\nnsd_root: x\nsubjects: [1]\nbetas: betas_fithrf\nspace: func1mm\n")
    options = ["--settings", str(settings), "--to", str(tmp_path / "nsd"), "--endpoint-url", url, "--yes"]
    assert cli.main(["download", *options]) == 1
    error = capsys.readouterr().err
    assert roi_key(1, "nsdgeneral", "func1mm") in error and "func1pt8" not in error
    assert session_key(1, 1, "hdf5", "betas_fithrf", "func1mm") in error


def test_command_asked_for_more_sessions_than_there_are(tmp_path, capsys):
    assert cli.main(["download", "--to", str(tmp_path), "--subjects", "1", "8", "--sessions", "32"]) == 1
    says = "subj08 has 30 sessions, but 32 are asked for; leave n_sessions and --sessions out to take all"
    assert says in capsys.readouterr().err


def test_the_doctor_names_the_command_that_makes_a_tree_whole(tmp_path, url, phantom_tree, capsys):
    root = tmp_path / "nsd"
    shutil.copytree(phantom_tree / "nsd", root, copy_function=os.link)
    whole = session_key(1, 2, "hdf5")
    (root / session_key(1, 2, "nii.gz")).unlink()
    (root / whole).unlink()
    (root / whole).write_bytes((phantom_tree / "nsd" / whole).read_bytes()[:9999])
    (root / roi_key(1, "streams")).unlink()
    expected = ["--expected", str(phantom_tree / "truth/expected.yml")]
    options = ["doctor", "--nsd", str(root), "--subjects", "1", *expected, "--sessions", "2"]
    assert cli.main(options) == 1
    remedy = capsys.readouterr().out.split("brainalign ")[-1]
    assert cli.main([*remedy.split(), "--endpoint-url", url, "--yes"]) == 0
    assert "2 files downloaded and verified" in capsys.readouterr().out
    assert cli.main(options) == 0
