"""The images, read lazily, and the table that says where each is from."""

from pathlib import Path

import numpy as np
import pandas as pd

from . import layout
from .files import open_dataset, reading
from .layout import DamagedFileError, ShapeMismatchError


def read_stim_info(root: str | Path) -> pd.DataFrame:
    """Table of all 73000 images.

    Returns
    -------
    stim_info : DataFrame
        Index ``nsd_id`` (0-based), ascending; columns of ``nsd_stim_info_merged.csv``, among them cocoId,
        cocoSplit, cropBox (text) and shared1000 (bool).

    Raises
    ------
    MissingFileError, DamagedFileError

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> stim_info = nsd.read_stim_info(root)
    >>> stim_info.query("shared1000").index[:3].tolist()
    [2950, 2990, 3049]
    """
    path = Path(root) / layout.STIM_INFO
    with reading(path):
        try:
            table = pd.read_csv(path)
        except ValueError as error:
            raise DamagedFileError(f"{path} is no table of images ({error}); download it again") from error
    if absent := {"nsdId", "cocoId", "cocoSplit", "cropBox", "shared1000"} - set(table.columns):
        raise DamagedFileError(f"{path} has no column {', '.join(sorted(absent))}; download it again")
    table = table.drop(columns="Unnamed: 0", errors="ignore").sort_values("nsdId")  # NSD's csv has an index
    if not np.array_equal(table["nsdId"], np.arange(len(table))):
        raise DamagedFileError(f"{path}: nsdId does not count from 0 to {len(table) - 1}; download it again")
    shared = table["shared1000"].astype(str).str.lower().replace({"1": "true", "0": "false"})
    wrong = {
        "cocoId": ~table["cocoId"].astype(str).str.fullmatch(r"\d{1,18}"),
        "cocoSplit": ~table["cocoSplit"].isin(["train2017", "val2017"]),
        "shared1000": ~shared.isin(["true", "false"]),
    }
    for column, rows in wrong.items():
        if rows.any():
            value, row = table[column][rows].iloc[0], int(table["nsdId"][rows].iloc[0])
            raise DamagedFileError(f"{path}, image {row}: {column} is {str(value)!r}; download it again")
    table["cocoId"] = table["cocoId"].astype(np.int64)
    table["shared1000"] = shared == "true"
    return table.set_index(pd.Index(table["nsdId"], name="nsd_id"))


class StimulusBrick:
    """The images, read one by one when asked for.

    Parameters
    ----------
    root : path
        NSD's tree.

    Attributes
    ----------
    shape : tuple
        (n_stimuli, height, width, 3).

    Raises
    ------
    MissingFileError, DamagedFileError, ShapeMismatchError

    Examples
    --------
    >>> root = load_settings("workflow/config/phantom-small.yml").paths.nsd
    >>> brick = nsd.StimulusBrick(root)
    >>> brick[2950].shape, brick[[7, 3]].shape  # one image; two, in this order
    ((425, 425, 3), (2, 425, 425, 3))
    """

    def __init__(self, root: str | Path):
        self.path = Path(root) / layout.STIMULI
        self._data = open_dataset(self.path, "imgBrick")
        self.shape = self._data.shape
        if self._data.ndim != 4 or self.shape[3] != 3 or self._data.dtype != np.uint8:
            raise ShapeMismatchError(
                f"{self.path}: imgBrick is {self._data.dtype} of shape {self.shape}, "
                "expected uint8 of shape (n_stimuli, 425, 425, 3)"
            )

    def __getitem__(self, nsd_id):
        """Images by 0-based ``nsd_id``.

        Parameters
        ----------
        nsd_id : int, or int array of shape (n_stimuli,)

        Returns
        -------
        images : array of shape (height, width, 3) or (n_stimuli, height, width, 3), uint8

        Raises
        ------
        IndexError
            If there is no such image.
        """
        ids = np.asarray(nsd_id)
        if ids.size and not (0 <= ids.min() and ids.max() < len(self)):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise IndexError(f"nsd_id {wrong} does not exist in {self.path}; 0 to {len(self) - 1} do")
        with reading(self.path):
            images = [self._data[int(one)] for one in ids.ravel()]
        if ids.ndim == 0:
            return images[0]
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)

    def __len__(self):
        return self.shape[0]

    def close(self):
        self._data.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
