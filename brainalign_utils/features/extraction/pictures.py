"""Pictures at the size that models see, shared by the models that one process extracts."""

import hashlib
from functools import lru_cache

import numpy as np

KEPT_BYTES = 512 * 2**20
"""Pictures are kept only when those of a whole study take less."""
N_IDENTIFYING = 16


class SeenPictures:
    """Stimuli, shrunk to what a model's image processor makes of them.

    The models of a miniature run one after the other in one process, and reading and shrinking a picture
    takes as long as running a tiny model on it, so shrunk pictures are kept.

    Parameters
    ----------
    brick : nsd.StimulusBrick
    preprocess : Preprocessing
    n_stimuli : int
        Of the study.
    """

    def __init__(self, brick, preprocess, n_stimuli: int):
        self.brick, self.preprocess, self.kept = brick, preprocess, None
        size = preprocess.seen_size
        if size and 3 * size[0] * size[1] * n_stimuli <= KEPT_BYTES:
            status = brick.path.stat()
            self.kept = _kept(brick.path, status.st_mtime_ns, status.st_size, size)

    def __getitem__(self, nsd_id: int) -> np.ndarray:
        if self.kept is None:
            return self.brick[nsd_id]
        if nsd_id not in self.kept:
            self.kept[nsd_id] = self.preprocess.shrink(self.brick[nsd_id])
        return self.kept[nsd_id]


@lru_cache(maxsize=1)
def _kept(path, modified, n_bytes, size) -> dict[int, np.ndarray]:
    """Shrunk pictures by nsd_id, of one file in one state."""
    return {}


def pictures_identity(brick, nsd_ids) -> str:
    """Hash of some of the pictures, evenly spaced among those of the study."""
    digest = hashlib.sha256()
    chosen = np.linspace(0, len(nsd_ids) - 1, min(N_IDENTIFYING, len(nsd_ids))).round().astype(int)
    for nsd_id in np.asarray(nsd_ids)[chosen]:
        digest.update(np.ascontiguousarray(brick[int(nsd_id)]))
    return digest.hexdigest()[:16]


def captions_identity(captions: dict[int, str]) -> str:
    """Hash of the captions that a model reads."""
    return hashlib.sha256(repr(sorted(captions.items())).encode()).hexdigest()[:16]
