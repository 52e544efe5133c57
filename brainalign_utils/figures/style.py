"""How figures look: colours, type sizes, and an empty figure to draw on.

Figures are opaque white cards with dark ink, so that they read the same on a light page, on a dark page and
on paper.  Colour is never alone: markers, position or text say the same.
"""

from contextlib import contextmanager
from functools import wraps

import matplotlib as mpl
from matplotlib.figure import Figure

from ..models import MODEL_BY_ID
from ..tables import INSTRUCTIONS

ALL = "all"
"""Value of the ``subject`` column in rows that hold the mean over subjects and its interval."""

WIDTH = 6.5
"""Inches; about 750 pixels on a page, 360 on a phone."""

INK, MUTED, GRID, PAPER, WARNING = "#1f2328", "#57606a", "#d0d7de", "#ffffff", "#a33b00"

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
_EXTRA = ("#000000", "#e8590c", "#7a8288", "#0b7285")
INSTRUCTION_COLOURS = dict(zip((row.id for row in INSTRUCTIONS), _PALETTE, strict=True))
"""Dark for low-level, light for high-level instructions; any two differ for colour-blind readers too."""

ROLE_MARKS = {
    "mllm": ("#b93c0a", "o"),
    "vision": ("#1f4fd1", "s"),
    "multimodal": ("#0b7a67", "D"),
    "baseline": ("#6e7781", "X"),
    "ablation": ("#7a1fa2", "^"),
}
"""Colour and marker of a model's role."""

_RC = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.constrained_layout.w_pad": 0.07,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "brainalign",
    "svg.fonttype": "path",
    "image.cmap": "viridis",
}


@contextmanager
def book_style():
    """Context in which artists take the look of the book; matplotlib's settings stay as they were."""
    with mpl.rc_context(_RC):
        yield


def styled(function):
    """Run a drawing function in :func:`book_style`."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        with book_style():
            return function(*args, **kwargs)

    return wrapper


@styled
def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Empty figure outside pyplot, so nothing has to be closed.  Size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def model_marks(model: str) -> tuple[str, str]:
    """Colour and marker of a model, by its role."""
    role = MODEL_BY_ID[model].role if model in MODEL_BY_ID else "ablation"
    return ROLE_MARKS[role]


def instruction_colours(instructions) -> dict[str, str]:
    """Colour of each instruction id; those outside the paper's ten take extra colours in turn."""
    extra = iter(_EXTRA * (1 + len(list(instructions)) // len(_EXTRA)))
    return {i: INSTRUCTION_COLOURS.get(i) or next(extra) for i in instructions}


def in_level_order(instructions) -> list[str]:
    """Instruction ids from low to high level, others behind in their own order."""
    known = [row.id for row in INSTRUCTIONS]
    ids = list(dict.fromkeys(instructions))
    return sorted(ids, key=lambda i: known.index(i) if i in known else len(known))


def ink_on(colour) -> str:
    """Black or white, whichever reads better on a colour (WCAG relative luminance)."""
    rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
    luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
    return "black" if luminance > 0.179 else "white"


def require(table, *columns, of: str) -> None:
    """Check the columns of a table.

    Raises
    ------
    ValueError
        Naming the missing columns and those present.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(
            f"table for {of} lacks column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
