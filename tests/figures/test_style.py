"""Colours of figures can be told apart by everyone and read on the card."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from brainalign_utils.figures import style
from brainalign_utils.tables import INSTRUCTIONS

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
DEFICIENCIES = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB (D65) of linear RGB."""
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.072175],
        [0.0193339, 0.119192, 0.9503041],
    ]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(colour, deficiency="normal"):
    return lab(np.array(DEFICIENCIES[deficiency]) @ linear(colour))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_instruction_colours_differ_for_everyone(deficiency):
    colours = [seen(c, deficiency) for c in style.INSTRUCTION_COLOURS.values()]
    nearest = min(np.linalg.norm(a - b) for a, b in combinations(colours, 2))
    assert nearest > 20  # a just noticeable difference is about 2; 10 is easy side by side


def test_instruction_colours_grow_lighter_with_level():
    ordered = [style.INSTRUCTION_COLOURS[row.id] for row in INSTRUCTIONS]
    lightness = [seen(colour)[0] for colour in ordered]
    assert np.all(np.diff(lightness) > 1)


def test_instruction_colours_are_no_grey_of_the_folds():
    assert min(np.linalg.norm(seen(c)[1:]) for c in style.INSTRUCTION_COLOURS.values()) > 20


def test_new_instructions_get_colours_of_their_own():
    colours = style.instruction_colours(["IC", "mine", "IU1", "yours"])
    assert len(set(colours.values())) == 4
    assert colours["IC"] == style.INSTRUCTION_COLOURS["IC"]
    assert style.in_level_order(["mine", "IC", "IU1", "IC"]) == ["IU1", "IC", "mine"]


def contrast(a, b):
    """WCAG contrast ratio."""
    luminance = [np.dot([0.2126, 0.7152, 0.0722], linear(c)) + 0.05 for c in (a, b)]
    return max(luminance) / min(luminance)


def test_text_has_contrast_on_the_card():
    for ink in (style.INK, style.MUTED, style.WARNING):
        assert contrast(ink, style.PAPER) >= 4.5
    for colour in style.INSTRUCTION_COLOURS.values():
        assert contrast(style.ink_on(colour), colour) >= 4.5
    for colour, _ in style.ROLE_MARKS.values():
        assert contrast(colour, style.PAPER) >= 3  # WCAG for graphics


def test_roles_differ_in_shape_too():
    assert len({marker for _, marker in style.ROLE_MARKS.values()}) == len(style.ROLE_MARKS)


def test_lines_differ_in_more_than_colour_where_there_are_many():
    found = style.line_styles(f"model-{k}" for k in range(125))
    assert len(set(found.values())) == 125
    assert len({(colour, dashes) for colour, dashes, _ in list(found.values())[:25]}) == 25
