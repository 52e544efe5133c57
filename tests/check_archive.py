"""After a build from published scores: nothing raw was published, and every figure came out the same.

``python tests/check_archive.py SETTINGS`` compares the study, its archive, and the study unpacked from it.
"""

import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import zarr

from brainalign_utils.publishing.contents import rebuilt
from brainalign_utils.publishing.pages import figure_names
from brainalign_utils.settings import load_settings

N_ROWS, N_BYTES = 20, 32


def raw_rows(root: Path):
    """(artifact, bytes) of rows of responses, predictions and features: eight float32 numbers each."""
    arrays = [(path, name) for path in root.glob("responses/*.zarr") for name in ("train", "test")]
    arrays += [(path, "prediction") for path in root.glob("predictions/*/*.zarr")]
    arrays += [(path, "features") for path in root.glob("features/*/*.zarr")]
    for path, name in arrays:
        array = zarr.open_group(path, mode="r")[name]
        table = array[tuple(slice(0, 40) for _ in array.shape)].astype(np.float32)
        table = table.reshape(-1, table.shape[-1])
        table = table[np.isfinite(table).all(1) & (table[:, : N_BYTES // 4] != 0).all(1)]
        for row in table[:: max(1, len(table) // N_ROWS)]:
            yield f"{path.name}/{name}", np.ascontiguousarray(row[: N_BYTES // 4]).tobytes()


def main(settings_file: str) -> None:
    settings = load_settings(settings_file)
    root = settings.paths.root
    archive = root / f"{settings.name}-scores.zip"
    unpacked = root.with_name(f"{settings.name}-scores")
    with zipfile.ZipFile(archive) as file:
        members = {name: file.read(name) for name in file.namelist()}
    everything = b"\n".join(members.values())

    rows = list(raw_rows(root))
    assert len(rows) > 100, "the study holds no raw rows to look for"
    stored = b"".join(
        path.read_bytes() for path in root.glob("responses/*.zarr/train/c/**/*") if path.is_file()
    )
    control = [row for name, row in rows if name.endswith("/train")]
    assert sum(row in stored for row in control) == len(control) > 0, "rows are not found where they are"
    found = [name for name, row in rows if row in everything]
    assert not found, f"{archive} holds rows of {found[0]}"

    private = [str(Path.cwd()).encode(), str(Path.home()).encode()]
    for name, content in members.items():
        assert not any(folder in content for folder in private), f"{name} names a folder of this machine"

    compared = 0
    for notebook in rebuilt():
        executed = nbformat.read(settings.paths.executed(notebook), as_version=4)
        for figure in (name for cell in executed.cells for name in figure_names(cell)):
            one, other = (pd.read_csv(folder / "figures" / f"{figure}.csv") for folder in (root, unpacked))
            pd.testing.assert_frame_equal(one, other, obj=f"table of {figure}")
            compared += 1
    assert compared >= 10, compared
    size = archive.stat().st_size / 2**20
    print(f"{archive.name}: {len(members)} files, {size:.1f} MiB, none of {len(rows)} raw rows in it")
    print(f"{compared} figures rebuilt with equal tables")


if __name__ == "__main__":
    main(sys.argv[1])
