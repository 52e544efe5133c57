"""What a drawn picture offers to simulated voxels: maps in the visual field, and scene counts.

Everything comes from the picture's pixels or from the drawn truth, never from a model.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import fft

from .areas import FAMILIES
from .backdrops import INDOOR, OUTDOOR
from .content import FOODS, FURNITURE, VEHICLES
from .drawing import BODY, COLOURS, FACE, TEXT
from .scenes import Drawing, Scene

N_CELLS = 32
FIELD = 8.4
"""Cells along each side of a map, and degrees of visual angle that NSD's pictures span."""

WAVELENGTHS = (4.0, 8.0, 16.0)
ORIENTATIONS = (0, 45, 90, 135)
_FINE, _COARSE = 96, 64
"""Pixels along each side of the pictures from which energy and colour are taken."""

MAPS = {
    "energy": (*(f"gabor {w:g} px {o} deg" for w in WAVELENGTHS for o in ORIENTATIONS), "contrast"),
    "colour": ("red", "yellow", "green", "cyan", "blue", "magenta", "white", "black"),
    "faces": ("face",),
    "bodies": ("person body", "animal body"),
    "animals": ("animal",),
    "food": ("food",),
    "words": ("text",),
    "places": (),
    "objects": ("vehicle or furniture",),
    "relations": (),
}
"""Channels of each family that have a place in the visual field."""

COUNTS = {
    "energy": {},
    "colour": {f"dominant {name}": (0.0, 1.0) for name in COLOURS},
    "faces": {"people": (1.0, 0.2), "men": (0.0, 0.3), "women": (0.0, 0.3)},
    "bodies": {"people": (1.0, 0.2), "animals": (0.3, 0.2), "holding": (0.0, 0.2), "riding": (0.2, 0.2)},
    "animals": {"animals": (1.0, 0.3), **{f"{n} animals": (0.0, 0.5) for n in (1, 2, 3)}},
    "food": {"foods": (1.0, 0.2), **{name: (0.0, 0.4) for name in FOODS}},
    "words": {"sign": (1.0, 0.2), "stop sign": (0.0, 0.4)},
    "places": {
        "indoor": (0.0, 1.0),
        "natural": (0.0, 0.8),
        **{name: (0.0, 0.7) for name in (*INDOOR, *OUTDOOR)},
    },
    "objects": {
        "vehicle": (0.4, 0.6),
        "furniture": (0.4, 0.6),
        "kinds of things": (0.5, 0.3),
        **{name: (0.0, 0.6) for name in (*VEHICLES, *FURNITURE)},
    },
    "relations": {name: (0.6, 0.5) for name in ("holding", "riding", "sitting on")},
}
"""Channels of each family that describe the whole scene, with mean and sd of a voxel's gain."""


@dataclass(frozen=True)
class Channels:
    """All channels of a set of stimuli.

    Attributes
    ----------
    nsd_id : int array of shape (n_stimuli,)
    maps : mapping of family to float16 array of shape (n_stimuli, n_channels, n_cells ** 2)
        Rows from the upper left corner.
    counts : mapping of family to float32 array of shape (n_stimuli, n_channels)
    """

    nsd_id: np.ndarray
    maps: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]

    def take(self, nsd_id) -> "Channels":
        """Channels of some of the stimuli, in the order given."""
        order = np.argsort(self.nsd_id)
        rows = order[np.searchsorted(self.nsd_id, nsd_id, sorter=order)]
        maps = {family: values[rows] for family, values in self.maps.items()}
        return Channels(
            np.asarray(nsd_id), maps, {family: values[rows] for family, values in self.counts.items()}
        )


def stack_channels(nsd_id, rows) -> Channels:
    """Channels of many pictures from what :func:`picture_channels` gives for each."""
    maps = {f: np.stack([maps[f] for maps, _ in rows]) for f in FAMILIES}
    counts = {f: np.stack([counts[f] for _, counts in rows]) for f in FAMILIES}
    return Channels(np.asarray(nsd_id), maps, counts)


def picture_channels(drawing: Drawing) -> tuple[dict, dict]:
    """Maps (n_channels, n_cells ** 2) and counts (n_channels,) of one picture, by family."""
    fine, coarse = _shrink(drawing.image, _FINE), _shrink(drawing.image, _COARSE)
    maps = {"energy": energy_maps(fine), "colour": colour_maps(coarse), **_part_maps(drawing)}
    flat = {f: maps[f].reshape(len(MAPS[f]), N_CELLS**2).astype(np.float16) for f in FAMILIES}
    named = _scene_counts(drawing.scene)
    return flat, {f: np.array([named.get(name, 0) for name in COUNTS[f]], np.float32) for f in FAMILIES}


def _shrink(image, size):
    small = Image.fromarray(image).resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


@cache
def _gabor_bank() -> np.ndarray:
    """One-sided log-Gabor filters in the frequency domain, (n_filters, size, size)."""
    fy, fx = np.meshgrid(fft.fftfreq(_FINE), fft.fftfreq(_FINE), indexing="ij")
    radius, angle = np.hypot(fx, fy), np.arctan2(fy, fx)
    radius[0, 0] = 1
    bank = []
    for wavelength in WAVELENGTHS:
        band = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(0.6) ** 2))
        band[0, 0] = 0
        for orientation in np.deg2rad(ORIENTATIONS):
            away = np.angle(np.exp(1j * (angle - orientation)))
            bank.append(2 * band * np.exp(-(away**2) / (2 * np.deg2rad(25) ** 2)))
    return np.array(bank, np.float32)


def energy_maps(rgb) -> np.ndarray:
    """Amplitude of log-Gabor filters and local contrast of luminance.

    Field (1987), Relations between the statistics of natural images and the response
    properties of cortical cells, J. Opt. Soc. Am. A 4, gives the filters.

    Parameters
    ----------
    rgb : float array of shape (96, 96, 3), 0 to 1

    Returns
    -------
    maps : array of shape (13, n_cells, n_cells)
    """
    luminance = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    amplitude = np.abs(fft.ifft2(fft.fft2(luminance) * _gabor_bank()))
    blocks = luminance.reshape(N_CELLS, _FINE // N_CELLS, N_CELLS, -1)
    return np.concatenate([_pool(amplitude), blocks.std(axis=(1, 3))[None]])


def colour_maps(rgb) -> np.ndarray:
    """How much of each of six hues, white and black, (8, n_cells, n_cells).

    Parameters
    ----------
    rgb : float array of shape (64, 64, 3), 0 to 1
    """
    red, green, blue = np.moveaxis(rgb, -1, 0)
    top, bottom = rgb.max(axis=-1), rgb.min(axis=-1)
    hue = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)
    centres = np.deg2rad(np.arange(0, 360, 60))[:, None, None]
    near = np.square(np.square(np.maximum(0, np.cos(hue - centres.astype(np.float32)))))
    return _pool(np.concatenate([near * (top - bottom), [bottom], [1 - top]]))


def _pool(maps):
    """Mean over the pixels of each cell: slices add up in the order of ``mean`` over both axes, faster."""
    size = maps.shape[-1] // N_CELLS
    parts = maps.reshape(len(maps), N_CELLS, size, N_CELLS, size)
    across = sum((parts[..., k] for k in range(1, size)), parts[..., 0])
    return sum((across[:, :, k] for k in range(1, size)), across[:, :, 0]) / size**2


def _part_maps(drawing: Drawing):
    """Share of each cell that a kind of content covers, (n_channels, n_cells, n_cells) by family."""
    kinds = np.zeros(256, np.uint8)
    for thing in drawing.scene.objects:
        kinds[thing.number] = _KINDS.get(thing.supercategory, 0)
    kind, part = kinds[drawing.object_map[::2, ::2]], drawing.part_map[::2, ::2]
    layers = {
        "faces": [part == FACE],
        "bodies": [(part == BODY) & (kind == _KINDS["person"]), (part == BODY) & (kind == _KINDS["animal"])],
        "animals": [kind == _KINDS["animal"]],
        "food": [kind == _KINDS["food"]],
        "words": [part == TEXT],
        "places": [],
        "objects": [(kind == _KINDS["vehicle"]) | (kind == _KINDS["furniture"])],
        "relations": [],
    }
    return {family: _cover(masks) for family, masks in layers.items()}


_KINDS = {"person": 1, "animal": 2, "food": 3, "vehicle": 4, "furniture": 5, "electronic": 5, "sports": 4}


def _cover(masks):
    if not masks:
        return np.zeros((0, N_CELLS, N_CELLS), np.float32)
    masks = np.array(masks)
    edges = np.arange(N_CELLS + 1) * masks.shape[-1] // N_CELLS
    total = np.add.reduceat(np.add.reduceat(masks, edges[:-1], axis=1, dtype=np.int32), edges[:-1], axis=2)
    return (total / np.outer(np.diff(edges), np.diff(edges))).astype(np.float32)


def _scene_counts(scene: Scene) -> dict[str, float]:
    content = scene.content
    groups = {_KINDS.get(thing.supercategory, 0) for thing in scene.objects}
    return {
        f"dominant {scene.dominant_colour}": 1,
        "people": len(content.people),
        "men": sum(kind == "man" for kind, _ in content.people),
        "women": sum(kind == "woman" for kind, _ in content.people),
        "animals": content.n_animals,
        f"{content.n_animals} animals": 1,
        "foods": len(content.foods),
        **dict.fromkeys(content.foods, 1),
        "sign": scene.text is not None,
        "stop sign": scene.text == "STOP",
        "indoor": scene.indoor,
        "natural": scene.natural,
        scene.place: 1,
        "vehicle": _KINDS["vehicle"] in groups,
        "furniture": _KINDS["furniture"] in groups,
        "kinds of things": len(groups - {0}),
        **{thing.category: 1 for thing in scene.objects},
        **({scene.relation.kind: 1} if scene.relation else {}),
    }
