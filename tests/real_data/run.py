"""README's section on real data, followed command by command on a phantom behind a local S3 server.

    python tests/real_data/run.py [--record FILE.json]          # make test-real-data

1. A small phantom study runs here: the reference.
2. Its dataset is put into a bucket of a local S3 server under NSD's keys, its COCO annotations behind a web
   server.
3. The commands of README's section "Real data" run as they stand, but for folders, addresses and sizes (see
   ``stand_ins``): download, doctor, plan, the study as if on NSD, its book and its archive.
4. Arrays and figures' tables are compared with those of the reference.  Exit status 0: the same but for
   rounding.
"""

import argparse
import functools
import http.server
import json
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import boto3
import yaml
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fixtures import studies  # noqa: E402

from brainalign_utils import artifacts  # noqa: E402

SMALL = Path(__file__).with_name("study.yml")
BUCKET, COCO_ZIP = "natural-scenes-dataset", "annotations/annotations_trainval2017.zip"
TOLERANCE = 1e-4
"""Jobs on real data have two threads, which add up in another order than one."""

ARRAYS = (
    "responses", "voxels", "features", "scores", "predictions", "nulls", "samples", "partition", "choices",
)  # fmt: skip


def readme_commands() -> list[str]:
    """Commands of README's section on real data, comments left out."""
    section = (ROOT / "README.md").read_text().split("## Real data")[1]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1]
    commands = [" ".join(shlex.split(line, comments=True)) for line in block.splitlines()]
    return [command for command in commands if command]


def stand_ins(folder: Path, s3: str, web: str, settings: Path, truth: Path) -> dict[str, str]:
    """What stands in README, and what stands in for it here."""
    return {
        "brainalign download": f"brainalign download --sessions 1 --endpoint-url {s3} --yes",
        "http://images.cocodataset.org": web,
        "brainalign doctor": f"brainalign doctor --expected {truth}",
        "workflow/config/nsd.yml": str(settings),
        "make paper": f"make -o .venv/.ready paper SETTINGS={settings} CORES=2",
        "/data/": f"{folder}/",
    }


@contextmanager
def s3_server(tree: Path):
    """A bucket with a folder's files, readable by anyone; the server's address."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    s3.create_bucket(Bucket=BUCKET, ACL="public-read")
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            key = str(path.relative_to(tree))
            s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes(), ACL="public-read")
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line each."""

    def log_message(self, *args):
        return


@contextmanager
def web_server(coco: Path, folder: Path):
    """A web server with COCO's annotations in an archive, as COCO has them; its address."""
    archive = folder / COCO_ZIP
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((coco / "annotations").glob("*.json")):
            file.write(path, path.relative_to(coco))
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def run(command: str) -> None:
    """Run a command as a user would; stop everything when it fails."""
    print(f"$ {command}", flush=True)
    start = time.monotonic()
    code, said = studies.run_command(["bash", "-c", command])
    print(f"  {time.monotonic() - start:.0f} s, exit status {code}", flush=True)
    if code:
        sys.exit(said[-6000:])


def write_settings(path: Path, base: Path, **changes) -> Path:
    values = yaml.safe_load(base.read_text()) | yaml.safe_load(SMALL.read_text()) | changes
    path.write_text(yaml.safe_dump(values))
    return path


def distances(ours: Path, theirs: Path) -> dict[str, float]:
    """Largest difference of every array and table, relative to its largest value; inf where one lacks it."""
    found = [studies.artifacts(root) for root in (ours, theirs)]
    compared = {}
    for name in sorted(found[0].keys() | found[1].keys()):
        kind = name.split("/")[0]
        figure = (
            kind == "figures" and name.endswith(".csv") and name != "figures/recovery.csv"
        )  # no truth there
        if figure or (kind in ARRAYS and name.endswith(".zarr")):
            sides = [{name: side[name]} if name in side else {} for side in found]
            compared[name] = studies.worst_distance(*sides) if all(sides) else float("inf")
    return compared


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, help="JSON file for what was measured")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the two studies behind")
    options = parser.parse_args()
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="brainalign-walk-"))
    with ExitStack() as stack:
        if not options.keep:
            stack.callback(shutil.rmtree, folder)
        phantom, nsd = ROOT / "workflow/config/phantom.yml", ROOT / "workflow/config/nsd.yml"
        reference = write_settings(
            folder / "phantom.yml", phantom, name="walk", build_root=f"{folder}/phantom"
        )
        study = write_settings(folder / "nsd.yml", nsd, name="walk", build_root=f"{folder}/real")
        run(f"make -o .venv/.ready study SETTINGS={reference} CORES=2")
        dataset = folder / "phantom/walk/dataset"
        (folder / "web").mkdir()
        with s3_server(dataset / "nsd") as s3, web_server(dataset / "coco", folder / "web") as web:
            replaced = stand_ins(folder, s3, web, study, dataset / "truth/expected.yml")
            for command in readme_commands():
                for stands, here in replaced.items():
                    command = command.replace(stands, here)
                run(command)
        real = folder / "real/walk"
        for made in (real / "html/index.html", real / "walk-scores.zip"):
            assert made.is_file(), f"{made} was not made"
        compared = distances(folder / "phantom/walk", real)
        assert len(compared) > 20, f"only {len(compared)} artifacts to compare"
    minutes = (time.monotonic() - start) / 60
    same = sum(distance == 0 for distance in compared.values())
    wrong = {name: distance for name, distance in compared.items() if distance > TOLERANCE}
    print(
        f"of {len(compared)} arrays and tables {same} have the bits of the phantom study; {minutes:.1f} min"
    )
    print(f"largest difference, relative to the largest value of its array: {max(compared.values()):.1e}")
    print("\n".join(f"differs: {name} by {distance:.1e}" for name, distance in wrong.items()))
    if options.record:
        found = {
            "compared": len(compared),
            "same": same,
            "largest_difference": max(compared.values()),
            "minutes": minutes,
            "machine": artifacts.hardware(),
        }
        found["date"] = datetime.now(UTC).date().isoformat()
        options.record.write_text(json.dumps(found, indent=1) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
