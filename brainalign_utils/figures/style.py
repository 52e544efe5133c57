"""How figures look: colours, type sizes, and an empty figure to draw on.

Figures are opaque white cards with dark ink, so that they read the same on a light page, on a dark page and
on paper.  Colour is never alone: markers, position or text say the same.
"""

from functools import wraps

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from ..models import MODEL_BY_ID
from ..style import GRID, INK, MUTED, PAPER, STYLE, WARNING  # noqa: F401  the room takes them from here
from ..tables import INSTRUCTIONS

ALL = "all"
"""Value of the ``subject`` column in rows that hold the mean over subjects and its interval."""

WIDTH = 6.5
"""Inches; about 750 pixels on a page, 360 on a phone."""

RED, BLUE, GREEN, PURPLE = "#b93c0a", "#1f4fd1", "#0b7a67", "#7a1fa2"

_PALETTE = (
    "#421f90",
    "#4b4002",
    "#8e0e66",
    "#a66461",
    "#137efa",
    "#649d04",
    "#d195ea",
    "#33e6cd",
    "#c2e297",
    "#fbe14e",
)
_EXTRA = ("#000000", "#e8590c", "#7a8288", "#0b7285", *map(to_hex, mpl.colormaps["tab20"].colors))
INSTRUCTION_COLOURS = dict(zip((row.id for row in INSTRUCTIONS), _PALETTE, strict=True))
"""Dark for low-level, light for high-level instructions; any two differ for colour-blind readers too."""

ROLE_MARKS = {
    "mllm": (RED, "o"),
    "vision": (BLUE, "s"),
    "multimodal": (GREEN, "D"),
    "baseline": ("#6e7781", "X"),
    "ablation": (PURPLE, "^"),
}
"""Colour and marker of a model's role."""

_COLOURS, _MARKERS = (RED, BLUE, GREEN, PURPLE, MUTED), ("o", "s", "D", "^", "v")
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))

_PRINTED = {"legacy": False, "precision": 8, "floatmode": "maxprec", "suppress": False, "sign": "-"}
"""NumPy's own print options: matplotlib names parts of an SVG by the printed form of numbers."""


def styled(function):
    """Run a drawing function in :data:`STYLE`; settings of matplotlib and NumPy stay as they were."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        with mpl.style.context(STYLE), np.printoptions(**_PRINTED, formatter=None):
            return function(*args, **kwargs)

    return wrapper


@styled
def new_figure(height: float) -> Figure:
    """Empty figure as wide as a page and outside pyplot, so nothing has to be closed.

    Parameters
    ----------
    height : float
        In inches.

    Returns
    -------
    figure : Figure
        What is drawn on it later takes the settings of that moment: :data:`STYLE` in a notebook.

    Examples
    --------
    >>> ax = new_figure(height=3.5).subplots()
    """
    return Figure(figsize=(WIDTH, height), layout="constrained")


def model_marks(model: str) -> tuple[str, str]:
    """Colour and marker of a model, by its role."""
    return ROLE_MARKS[role_of(model)]


def role_of(model: str) -> str:
    """Role of a model in the comparison; one outside the table is an ablation."""
    return MODEL_BY_ID[model].role if model in MODEL_BY_ID else "ablation"


def line_styles(names) -> dict[str, tuple]:
    """Colour, dashes and marker of each of up to 125 lines; no two are the same."""
    return {
        name: (_COLOURS[k % 5], _DASHES[(k + k // 5) % 5], _MARKERS[(k + k // 25) % 5])
        for k, name in enumerate(dict.fromkeys(names))
    }


def instruction_colours(instructions) -> dict[str, str]:
    """Colour of each instruction id; those outside the paper's ten take extra colours in turn.

    Raises
    ------
    ValueError
        When there are more instructions than colours that can be told apart.
    """
    ids = list(dict.fromkeys(instructions))
    unknown = [i for i in ids if i not in INSTRUCTION_COLOURS]
    if len(unknown) > len(_EXTRA):
        raise ValueError(
            f"{len(unknown)} instructions are none of the paper's ten and figures have {len(_EXTRA)} colours "
            "for such; draw fewer of them, or add colours to figures/style.py"
        )
    return {i: INSTRUCTION_COLOURS.get(i) or _EXTRA[unknown.index(i)] for i in ids}


def in_level_order(instructions) -> list[str]:
    """Instruction ids from low to high level, others behind in their own order."""
    known = list(INSTRUCTION_COLOURS)
    return sorted(dict.fromkeys(instructions), key=lambda i: known.index(i) if i in known else len(known))


def ink_on(colour) -> str:
    """Black or white, whichever reads better on a colour (WCAG relative luminance)."""
    rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
    return "black" if luminance > 0.179 else "white"
