"""The places of the scenes: walls, floors, skies, grounds and what belongs to them.

Each function draws on a whole canvas.  ``horizon`` is the height of the line between the upper and the
lower part, as a fraction of the picture from below.
"""

from .drawing import COLOURS, shade

INDOOR = ("kitchen", "living room", "office", "bedroom")
OUTDOOR = ("field", "beach", "street", "forest", "snow")
NATURAL = ("field", "beach", "forest", "snow")

WALLS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
FLOORS = {
    "kitchen": ("white", "grey", "red"),
    "living room": ("brown", "orange", "purple"),
    "office": ("grey", "blue", "green"),
    "bedroom": ("pink", "yellow", "brown"),
}
SKIES = ("blue", "grey", "orange", "purple", "pink")
GROUNDS = {"field": "green", "beach": "yellow", "street": "grey", "forest": "brown", "snow": "white"}
SAND = (240, 212, 116)


def draw_backdrop(canvas, place: str, upper: str, lower: str, horizon: float, shift: float) -> None:
    """Draw a place.

    Parameters
    ----------
    place : str
        One of INDOOR or OUTDOOR.
    upper, lower : str
        Colour names of wall or sky, and of floor or ground.
    horizon : float
        Height of the line between them, from below, 0 to 1.
    shift : float
        Moves the furnishings sideways, 0 to 1.
    """
    pen = canvas.scenery()
    if place in INDOOR:
        _room(pen, upper, lower, horizon)
    else:
        pen.rect(0, horizon, 1, 1, COLOURS[upper])
        pen.rect(0, 0, 1, horizon, SAND if place == "beach" else COLOURS[lower])
    _PLACES[place](pen, upper, lower, horizon, shift)


def _room(pen, wall, floor, horizon):
    pen.rect(0, horizon, 1, 1, COLOURS[wall])
    pen.rect(0, 0, 1, horizon, COLOURS[floor])
    pen.rect(0, horizon, 1, horizon + 0.025, shade("white", 0.97))
    pen.rect(0, horizon + 0.025, 1, horizon + 0.032, shade(wall, 0.6))


def _kitchen(pen, wall, floor, horizon, shift):
    line = shade(floor, 0.8)
    for k in range(1, 5):
        y = horizon * (1 - (k / 5) ** 0.8)
        pen.line(((0, y), (1, y)), 0.008, line)
    for k in range(-4, 5):
        pen.line(((0.5 + 0.13 * k, horizon), (0.5 + 0.3 * k, 0)), 0.008, line)
    wood = (112, 70, 44)
    for k in range(4):
        left = 0.25 * k - 0.2 * shift
        pen.rect(left + 0.01, 0.8, left + 0.23, 1.0, wood, edge=True)
        pen.ellipse(left + 0.19, 0.84, 0.012, 0.012, shade("yellow", 1))
    pen.rect(0.86 - 0.7 * shift, 0.82, 1.04 - 0.7 * shift, 1.0, (208, 212, 218), edge=True)


def _living_room(pen, wall, floor, horizon, shift):
    for k in range(1, 6):
        y = horizon * (1 - k / 6)
        pen.line(((0, y), (1, y)), 0.006, shade(floor, 0.85))
    left = 0.08 + 0.3 * shift
    pen.rect(left, 0.76, left + 0.26, 0.96, (250, 240, 214), edge=True)
    pen.rect(left + 0.02, 0.78, left + 0.24, 0.86, (84, 150, 96))
    pen.rect(left + 0.02, 0.86, left + 0.24, 0.94, (150, 206, 240))
    x = left + 0.46
    pen.rect(x - 0.008, horizon, x + 0.008, 0.8, (70, 56, 50))
    pen.poly(
        ((x - 0.1, 0.78), (x + 0.1, 0.78), (x + 0.06, 0.94), (x - 0.06, 0.94)), (255, 226, 150), edge=True
    )


def _office(pen, wall, floor, horizon, shift):
    left = 0.05 + 0.15 * shift
    pen.rect(left, 0.72, left + 0.46, 0.96, (252, 252, 252), edge=True)
    for k, top in enumerate((0.76, 0.83, 0.9, 0.79)):
        pen.rect(
            left + 0.06 + 0.1 * k,
            0.745,
            left + 0.12 + 0.1 * k,
            top,
            COLOURS[("red", "blue", "green", "orange")[k]],
        )
    x = left + 0.56
    pen.rect(x, 0.66, x + 0.22, 0.96, (120, 88, 62), edge=True)
    for row in range(3):
        for k in range(5):
            colour = COLOURS[("blue", "red", "white", "green", "black")[(k + 2 * row) % 5]]
            y = 0.68 + 0.095 * row
            pen.rect(x + 0.015 + 0.04 * k, y, x + 0.045 + 0.04 * k, y + 0.07, colour)


def _bedroom(pen, wall, floor, horizon, shift):
    for row in range(5):
        for k in range(9):
            y = 0.95 - 0.1 * row
            if y > horizon + 0.05:
                pen.ellipse(0.06 + 0.11 * k + 0.055 * (row % 2), y, 0.014, 0.014, shade(wall, 0.82))
    left = 0.15 + 0.35 * shift
    pen.rect(left, 0.68, left + 0.34, 0.97, (28, 34, 74), edge=True)
    pen.ellipse(left + 0.22, 0.87, 0.05, 0.05, (252, 244, 200))
    pen.ellipse(left + 0.24, 0.885, 0.045, 0.045, (28, 34, 74))
    for x in (left - 0.05, left + 0.28):
        pen.poly(
            ((x, 0.99), (x + 0.11, 0.99), (x + 0.08, 0.66), (x + 0.0, 0.66)), shade("red", 0.9), edge=True
        )


def _field(pen, sky, ground, horizon, shift):
    pen.ellipse(0.15 + 0.7 * shift, 0.9, 0.07, 0.07, (255, 236, 120))
    for k in range(3):
        pen.ellipse(0.1 + 0.4 * k + 0.1 * shift, horizon - 0.05, 0.32, 0.13, (104, 176, 84))
    pen.rect(0, 0, 1, horizon - 0.045, COLOURS[ground])
    for row in range(5):
        for k in range(9):
            x, y = 0.05 + 0.115 * k + 0.05 * (row % 2), horizon - 0.1 - 0.1 * row
            if y > 0.02:
                pen.line(((x - 0.012, y + 0.025), (x, y), (x + 0.012, y + 0.025)), 0.006, shade(ground, 0.75))


def _beach(pen, sky, ground, horizon, shift):
    pen.rect(0, horizon - 0.02, 1, horizon + 0.1, (44, 92, 168))
    for k in range(6):
        pen.arc(0.1 + 0.17 * k, horizon + 0.03, 0.05, 0.02, 180, 360, 0.008, (220, 240, 250))
    pen.rect(0, horizon - 0.03, 1, horizon - 0.015, (250, 250, 250))
    x = 0.06 + 0.85 * shift
    pen.line(((x, horizon - 0.1), (x + 0.03, 0.86)), 0.035, (120, 84, 50))
    for dx, dy in ((-0.14, 0.02), (0.16, 0.02), (-0.1, 0.09), (0.12, 0.1), (-0.12, -0.05), (0.15, -0.06)):
        pen.line(((x + 0.03, 0.86), (x + 0.03 + dx, 0.86 + dy)), 0.03, (46, 124, 60))
    for k in range(12):
        pen.ellipse(
            (0.07 + 0.37 * k) % 1, 0.03 + (0.11 * k) % (horizon - 0.1), 0.01, 0.007, shade(SAND, 0.85)
        )


def _street(pen, sky, ground, horizon, shift):
    for k in range(4):
        left, top = 0.27 * k - 0.12 * shift, (0.86, 0.78, 0.93, 0.82)[(k + int(4 * shift)) % 4]
        pen.rect(left, horizon, left + 0.22, top, ((120, 74, 66), (98, 104, 120))[k % 2], edge=True)
        for row in range(4):
            for column in range(3):
                y = top - 0.06 - 0.09 * row
                if y > horizon + 0.02:
                    x = left + 0.03 + 0.06 * column
                    pen.rect(x, y, x + 0.035, y + 0.04, (250, 232, 150))
    pen.rect(0, horizon - 0.02, 1, horizon, (206, 204, 198))
    for k in range(5):
        x = 0.22 * k - 0.2 * shift + 0.05
        pen.rect(x, horizon * 0.48, x + 0.12, horizon * 0.48 + 0.025, (250, 250, 250))


def _forest(pen, sky, ground, horizon, shift):
    for k in range(6):
        x, y = 0.19 * k + 0.09 * shift, horizon - 0.03 + 0.03 * (k % 2)
        pen.rect(x - 0.02, y, x + 0.02, y + 0.26, (84, 54, 34))
        pen.ellipse(x, y + 0.32, 0.1, 0.16, ((40, 96, 50), (52, 116, 58))[k % 2], edge=True)
    for k in range(10):
        x, y = (0.06 + 0.31 * k) % 1, 0.02 + (0.09 * k) % (horizon - 0.08)
        pen.ellipse(x, y, 0.022, 0.012, ((166, 104, 50), (96, 120, 56))[k % 2])


def _snow(pen, sky, ground, horizon, shift):
    for k in range(3):
        x, top = 0.1 + 0.4 * k - 0.15 * shift, (0.82, 0.9, 0.76)[k]
        pen.poly(((x - 0.3, horizon), (x, top), (x + 0.3, horizon)), (108, 116, 140))
        cap = horizon + (top - horizon) * 0.66
        pen.poly(((x - 0.1, cap), (x, top), (x + 0.1, cap)), (248, 250, 255))
    for k in range(4):
        x, y = (0.1 + 0.29 * k + 0.3 * shift) % 1.1, horizon - 0.02
        for step in range(3):
            pen.poly(((x - 0.07 + 0.015 * step, y + 0.08 * step), (x, y + 0.14 + 0.08 * step),
                      (x + 0.07 - 0.015 * step, y + 0.08 * step)), (40, 92, 74))  # fmt: skip
    for k in range(20):
        pen.ellipse((0.03 + 0.617 * k + shift) % 1, (0.05 + 0.381 * k) % 1, 0.009, 0.009, (252, 253, 255))


_PLACES = {
    "kitchen": _kitchen, "living room": _living_room, "office": _office, "bedroom": _bedroom,
    "field": _field, "beach": _beach, "street": _street, "forest": _forest, "snow": _snow,
}  # fmt: skip
