"""The pictures, read lazily."""

from pathlib import Path

import numpy as np

from . import layout
from .files import open_dataset, reading
from .layout import ShapeMismatchError


class StimulusBrick:
    """The pictures, read one by one when asked for.

    Parameters
    ----------
    root : path
        NSD's tree.

    Attributes
    ----------
    shape : tuple
        (n_stimuli, height, width, 3).

    Examples
    --------
    ``brick[2950]`` is one picture (425, 425, 3); ``brick[[7, 3]]`` two, in this order.
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
        """Pictures by 0-based ``nsd_id``.

        Parameters
        ----------
        nsd_id : int, or int array of shape (n_stimuli,)

        Returns
        -------
        images : array of shape (height, width, 3) or (n_stimuli, height, width, 3), uint8

        Raises
        ------
        IndexError
            If there is no such picture.
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
