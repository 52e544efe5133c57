"""Drawing with a picture and its content maps at once.

A :class:`Canvas` holds three images of the same size: the picture, the number of the object
visible at each pixel, and the part it belongs to.  A :class:`Pen` draws one object in its own
coordinates (feet at the origin, y upwards) on all three.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

NO_PART, FACE, BODY, TEXT = range(4)
"""Values of the part map: nothing, people's faces, bodies of people and animals, written letters."""

INK = (44, 40, 46)

COLOURS = {
    "red": (204, 44, 48),
    "orange": (242, 138, 34),
    "yellow": (246, 214, 72),
    "green": (84, 160, 72),
    "blue": (76, 142, 218),
    "purple": (140, 92, 178),
    "pink": (244, 160, 190),
    "brown": (138, 92, 56),
    "grey": (146, 148, 152),
    "white": (240, 242, 246),
    "black": INK,
}
"""The colour names that answers use, with the shade that is drawn."""

_MORE_SHADES = {
    "red": ((150, 30, 34),),
    "green": ((46, 110, 58), (120, 186, 96)),
    "blue": ((44, 92, 168), (150, 196, 240)),
    "purple": ((100, 62, 140),),
    "brown": ((104, 68, 42), (176, 128, 84)),
    "grey": ((108, 110, 116), (180, 182, 186)),
    "yellow": ((232, 206, 138),),
}


@lru_cache(maxsize=1)
def _colour_table() -> np.ndarray:
    """Index into COLOURS of the nearest named shade, for RGB cut to 5 bits a channel."""
    shades = [(rgb, i) for i, rgb in enumerate(COLOURS.values())]
    names = list(COLOURS)
    shades += [(rgb, names.index(n)) for n, more in _MORE_SHADES.items() for rgb in more]
    rgb = np.array([s for s, _ in shades], dtype=np.int32)
    axis = np.arange(32, dtype=np.int32) * 8 + 4
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    distance = ((grid[:, None] - rgb[None]) ** 2).sum(-1)
    return np.array([i for _, i in shades], dtype=np.uint8)[distance.argmin(1)]


def colour_shares(image: np.ndarray) -> dict[str, float]:
    """Fraction of pixels of each named colour.

    Parameters
    ----------
    image : array (height, width, 3) uint8

    Returns
    -------
    dict
        Colour name to fraction; the fractions sum to 1.
    """
    cut = (image >> 3).astype(np.uint16)
    index = (cut[..., 0] << 10) | (cut[..., 1] << 5) | cut[..., 2]
    counts = np.bincount(_colour_table()[index].ravel(), minlength=len(COLOURS))
    return dict(zip(COLOURS, counts / counts.sum(), strict=True))


def shade(colour, factor: float) -> tuple[int, int, int]:
    """A named colour or RGB triple, darker (factor below 1) or lighter (above 1, towards white)."""
    rgb = COLOURS[colour] if isinstance(colour, str) else colour
    if factor <= 1:
        return tuple(int(c * factor) for c in rgb)
    return tuple(int(255 - (255 - c) * (2 - factor)) for c in rgb)


@dataclass(frozen=True)
class Canvas:
    """Picture, object map and part map of one scene, drawn together."""

    size: int
    image: Image.Image
    objects: Image.Image
    parts: Image.Image
    draw: ImageDraw.ImageDraw
    draw_objects: ImageDraw.ImageDraw
    draw_parts: ImageDraw.ImageDraw

    @classmethod
    def blank(cls, size: int) -> "Canvas":
        images = [Image.new(mode, (size, size)) for mode in ("RGB", "L", "L")]
        return cls(size, *images, *(ImageDraw.Draw(i) for i in images))

    def scenery(self) -> "Pen":
        """A pen for what is no object: unit coordinates, y upwards from the lower edge."""
        return Pen(self, 0.0, 1.0, 1.0, 1, 0)


@dataclass(frozen=True)
class Pen:
    """Draws in the coordinates of one object.

    Parameters
    ----------
    x, y : float
        Where the object's origin lies, as fractions of the picture from its upper left corner.
    scale : float
        Length of one unit, as a fraction of the picture.
    flip : {1, -1}
        -1 mirrors left and right.
    number : int
        Value in the object map; 0 leaves the maps alone.
    """

    canvas: Canvas
    x: float
    y: float
    scale: float
    flip: int
    number: int

    def _points(self, points):
        size = self.canvas.size
        kx, ky = self.scale * self.flip * size, -self.scale * size
        x0, y0 = self.x * size, self.y * size
        return [(x0 + kx * px, y0 + ky * py) for px, py in points]

    def _box(self, cx, cy, rx, ry):
        (ax, ay), (bx, by) = self._points(((cx - rx, cy - ry), (cx + rx, cy + ry)))
        return (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))

    def _width(self, width):
        return max(1, round(width * self.scale * self.canvas.size))

    def _edge(self):
        return max(1, round(0.007 * self.canvas.size))

    def _each(self, colour, part):
        yield self.canvas.draw, colour
        if self.number:
            yield self.canvas.draw_objects, self.number
            yield self.canvas.draw_parts, part

    def ellipse(self, cx, cy, rx, ry, colour, part=NO_PART, edge=False):
        """An ellipse with its centre and radii; ``edge`` outlines it in ink."""
        box = self._box(cx, cy, rx, ry)
        for draw, fill in self._each(colour, part):
            draw.ellipse(box, fill=fill)
        if edge:
            self.canvas.draw.ellipse(box, outline=INK, width=self._edge())

    def rect(self, left, bottom, right, top, colour, part=NO_PART, edge=False):
        """An upright rectangle."""
        (ax, ay), (bx, by) = self._points(((left, bottom), (right, top)))
        box = (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
        for draw, fill in self._each(colour, part):
            draw.rectangle(box, fill=fill)
        if edge:
            self.canvas.draw.rectangle(box, outline=INK, width=self._edge())

    def poly(self, points, colour, part=NO_PART, edge=False):
        """A filled polygon."""
        points = self._points(points)
        for draw, fill in self._each(colour, part):
            draw.polygon(points, fill=fill)
        if edge:
            self.canvas.draw.line([*points, points[0]], fill=INK, width=self._edge())

    def line(self, points, width, colour, part=NO_PART):
        """An open line of the given width (in object units)."""
        points, width = self._points(points), self._width(width)
        for draw, fill in self._each(colour, part):
            draw.line(points, fill=fill, width=width)

    def arc(self, cx, cy, rx, ry, start, end, width, colour, part=NO_PART):
        """Part of an ellipse's outline; angles in degrees, clockwise from the right on screen."""
        box, width = self._box(cx, cy, rx, ry), self._width(width)
        if self.flip < 0:
            start, end = 180 - end, 180 - start
        for draw, fill in self._each(colour, part):
            draw.arc(box, start, end, fill=fill, width=width)

    def pie(self, cx, cy, rx, ry, start, end, colour, part=NO_PART):
        """A filled sector of an ellipse."""
        box = self._box(cx, cy, rx, ry)
        if self.flip < 0:
            start, end = 180 - end, 180 - start
        for draw, fill in self._each(colour, part):
            draw.pieslice(box, start, end, fill=fill)

    def write(self, word: str, cx: float, cy: float, width: float, colour):
        """Letters of the small block alphabet, centred; never mirrored."""
        columns = 4 * len(word) - 1
        dot = width / columns
        for k, letter in enumerate(word):
            for row, bits in enumerate(_GLYPHS[letter]):
                for column in range(3):
                    if bits >> (2 - column) & 1:
                        x = self.flip * (cx * self.flip - width / 2 + (4 * k + column) * dot)
                        y = cy + (1.5 - row) * dot * 1.3
                        self.rect(x, y, x + self.flip * dot, y + dot * 1.3, colour, TEXT)


_GLYPHS = {
    "A": (2, 5, 7, 5, 5), "B": (6, 5, 6, 5, 6), "C": (3, 4, 4, 4, 3), "E": (7, 4, 6, 4, 7),
    "F": (7, 4, 6, 4, 4), "I": (7, 2, 2, 2, 7), "L": (4, 4, 4, 4, 7), "N": (5, 7, 7, 7, 5),
    "O": (7, 5, 5, 5, 7), "P": (7, 5, 7, 4, 4), "S": (7, 4, 7, 1, 7), "T": (7, 2, 2, 2, 2),
    "U": (5, 5, 5, 5, 7), "W": (5, 5, 7, 7, 5), "X": (5, 5, 2, 5, 5), "Z": (7, 1, 2, 4, 7),
}  # fmt: skip
"""Letters on a 3 x 5 grid, one number a row, the highest bit on the left."""
