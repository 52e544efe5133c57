"""The things that stand in a scene: one function each, drawn with a :class:`~.drawing.Pen`.

Coordinates are the object's own: feet at the origin, y upwards; people are one unit high, everything else
about one unit wide.
"""

from .drawing import BODY, COLOURS, FACE, INK, shade

SKINS = ((244, 206, 172), (206, 152, 112), (138, 94, 66))
HAIRS = ((52, 38, 32), (120, 74, 40), (222, 184, 96))


def person(pen, kind, colour, skin, hair, pose="standing"):
    """A man or a woman; ``pose`` is standing, holding (one arm out) or riding (no feet on the ground)."""
    skin, hair, cloth = SKINS[skin], HAIRS[hair], COLOURS[colour]
    if kind == "woman":
        pen.ellipse(0, 0.80, 0.155, 0.19, hair, BODY)
        pen.rect(-0.085, 0.0, -0.03, 0.3, skin, BODY)
        pen.rect(0.03, 0.0, 0.085, 0.3, skin, BODY)
    else:
        pen.rect(-0.12, 0.0, -0.01, 0.4, (60, 60, 84), BODY)
        pen.rect(0.01, 0.0, 0.12, 0.4, (60, 60, 84), BODY)
    _arms(pen, cloth, skin, pose)
    if kind == "woman":
        pen.poly(((-0.09, 0.70), (0.09, 0.70), (0.21, 0.18), (-0.21, 0.18)), cloth, BODY, edge=True)
    else:
        pen.rect(-0.145, 0.36, 0.145, 0.71, cloth, BODY, edge=True)
    pen.rect(-0.04, 0.69, 0.04, 0.75, skin, BODY)
    _head(pen, kind, skin, hair)


def _arms(pen, cloth, skin, pose):
    reach = (0.27, 0.44) if pose == "standing" else (0.33, 0.58)
    for side in (-1, 1):
        x, y = reach if side == 1 else (-0.25, 0.42)
        pen.line(((side * 0.1, 0.66), (x, y)), 0.075, cloth, BODY)
        pen.ellipse(x, y, 0.04, 0.04, skin, BODY)


def _head(pen, kind, skin, hair):
    if kind == "man":
        pen.ellipse(0, 0.875, 0.125, 0.125, hair, BODY)
        pen.ellipse(0, 0.845, 0.115, 0.115, skin, FACE)
        pen.rect(-0.11, 0.9, 0.11, 0.94, hair, BODY)
    else:
        pen.ellipse(0, 0.845, 0.112, 0.118, skin, FACE)
        pen.pie(0, 0.87, 0.135, 0.125, 180, 360, hair, BODY)
    for x in (-0.045, 0.045):
        pen.ellipse(x, 0.85, 0.017, 0.02, INK, FACE)
    pen.arc(0, 0.815, 0.05, 0.04, 20, 160, 0.014, (150, 60, 60), FACE)


def _legs(pen, xs, height, width, colour):
    for x in xs:
        pen.rect(x - width / 2, 0, x + width / 2, height, colour, BODY)


def dog(pen, _=None):
    fur, dark = (150, 98, 56), (96, 60, 36)
    pen.line(((-0.36, 0.42), (-0.5, 0.66)), 0.07, dark, BODY)
    _legs(pen, (-0.3, -0.17, 0.14, 0.27), 0.3, 0.09, dark)
    pen.ellipse(-0.03, 0.38, 0.37, 0.17, fur, BODY, edge=True)
    pen.ellipse(0.33, 0.58, 0.18, 0.16, fur, BODY, edge=True)
    pen.ellipse(0.47, 0.53, 0.09, 0.07, (206, 164, 120), BODY)
    pen.ellipse(0.53, 0.55, 0.035, 0.03, INK, BODY)
    pen.ellipse(0.22, 0.56, 0.07, 0.15, dark, BODY)
    pen.ellipse(0.37, 0.62, 0.025, 0.03, INK, BODY)


def cat(pen, _=None):
    fur, dark = (238, 146, 52), (196, 104, 32)
    pen.arc(-0.3, 0.2, 0.18, 0.18, 60, 250, 0.08, dark, BODY)
    pen.ellipse(0, 0.25, 0.25, 0.27, fur, BODY, edge=True)
    for y in (0.2, 0.3, 0.4):
        pen.line(((-0.22, y), (-0.1, y)), 0.035, dark, BODY)
    for side in (-1, 1):
        pen.poly(((side * 0.24, 0.68), (side * 0.22, 0.95), (side * 0.03, 0.78)), dark, BODY)
        pen.ellipse(side * 0.1, 0.04, 0.08, 0.05, (250, 236, 214), BODY)
    pen.ellipse(0, 0.64, 0.25, 0.2, fur, BODY, edge=True)
    for x in (-0.1, 0.1):
        pen.ellipse(x, 0.66, 0.05, 0.05, (120, 190, 90), BODY)
        pen.ellipse(x, 0.66, 0.02, 0.045, INK, BODY)
    pen.ellipse(0, 0.57, 0.07, 0.05, (250, 236, 214), BODY)


def bird(pen, _=None):
    fur, dark = (48, 92, 186), (30, 60, 128)
    for x in (-0.05, 0.08):
        pen.line(((x, 0), (x, 0.24)), 0.04, (230, 150, 40), BODY)
    pen.poly(((-0.22, 0.42), (-0.52, 0.58), (-0.5, 0.34)), dark, BODY)
    pen.ellipse(0, 0.4, 0.29, 0.21, fur, BODY, edge=True)
    pen.ellipse(0.06, 0.32, 0.17, 0.12, (232, 120, 70), BODY)
    pen.poly(((0.34, 0.68), (0.56, 0.6), (0.35, 0.53)), (246, 190, 50), BODY)
    pen.ellipse(0.22, 0.62, 0.16, 0.15, fur, BODY, edge=True)
    pen.ellipse(0.27, 0.66, 0.035, 0.035, (255, 255, 255), BODY)
    pen.ellipse(-0.1, 0.45, 0.18, 0.09, dark, BODY)


def horse(pen, _=None):
    fur, mane = (118, 52, 36), (40, 26, 22)
    pen.line(((-0.36, 0.5), (-0.46, 0.22)), 0.09, mane, BODY)
    _legs(pen, (-0.3, -0.2, 0.12, 0.22), 0.42, 0.075, fur)
    pen.ellipse(-0.05, 0.5, 0.35, 0.16, fur, BODY, edge=True)
    pen.poly(((0.08, 0.52), (0.26, 0.46), (0.40, 0.9), (0.26, 0.94)), fur, BODY)
    pen.line(((0.08, 0.62), (0.25, 0.98)), 0.09, mane, BODY)
    pen.poly(((0.26, 0.98), (0.42, 0.94), (0.56, 0.72), (0.46, 0.66), (0.28, 0.82)), fur, BODY, edge=True)
    pen.ellipse(0.37, 0.88, 0.025, 0.025, INK, BODY)


def zebra(pen, _=None):
    white = (244, 244, 244)
    _legs(pen, (-0.3, -0.2, 0.12, 0.22), 0.42, 0.075, white)
    pen.ellipse(-0.05, 0.5, 0.35, 0.17, white, BODY, edge=True)
    pen.poly(((0.08, 0.52), (0.26, 0.46), (0.40, 0.9), (0.26, 0.94)), white, BODY)
    pen.poly(((0.26, 0.98), (0.42, 0.94), (0.56, 0.72), (0.46, 0.66), (0.28, 0.82)), white, BODY, edge=True)
    for x in (-0.3, -0.19, -0.08, 0.03, 0.14):
        pen.line(((x, 0.36), (x + 0.03, 0.64)), 0.055, INK, BODY)
    for k in range(3):
        pen.line(((0.12 + 0.06 * k, 0.62 + 0.11 * k), (0.30 + 0.05 * k, 0.56 + 0.11 * k)), 0.045, INK, BODY)
    for x in (-0.3, -0.2, 0.12, 0.22):
        pen.rect(x - 0.04, 0.12, x + 0.04, 0.18, INK, BODY)
    pen.line(((0.08, 0.64), (0.25, 0.98)), 0.06, INK, BODY)
    pen.poly(((0.56, 0.72), (0.46, 0.66), (0.44, 0.76), (0.52, 0.8)), INK, BODY)


def sheep(pen, _=None):
    wool, dark = (250, 248, 240), (52, 48, 52)
    _legs(pen, (-0.22, -0.1, 0.1, 0.2), 0.26, 0.07, dark)
    for cx, cy in ((-0.27, 0.4), (-0.12, 0.52), (0.06, 0.54), (0.2, 0.42), (0.02, 0.3), (-0.16, 0.3)):
        pen.ellipse(cx, cy, 0.17, 0.15, wool, BODY, edge=True)
    pen.ellipse(-0.03, 0.42, 0.28, 0.18, wool, BODY)
    pen.ellipse(0.36, 0.5, 0.12, 0.16, dark, BODY)
    pen.ellipse(0.25, 0.58, 0.09, 0.045, dark, BODY)
    pen.ellipse(0.33, 0.62, 0.11, 0.07, wool, BODY)
    pen.ellipse(0.39, 0.53, 0.02, 0.025, (255, 255, 255), BODY)


def elephant(pen, _=None):
    skin, dark = (132, 136, 150), (98, 102, 116)
    _legs(pen, (-0.33, -0.16, 0.08, 0.2), 0.34, 0.13, dark)
    pen.ellipse(-0.08, 0.48, 0.4, 0.28, skin, BODY, edge=True)
    pen.line(((0.42, 0.6), (0.5, 0.36), (0.48, 0.12), (0.55, 0.08)), 0.1, skin, BODY)
    pen.ellipse(0.32, 0.66, 0.2, 0.2, skin, BODY, edge=True)
    pen.ellipse(0.18, 0.64, 0.15, 0.2, dark, BODY, edge=True)
    pen.poly(((0.4, 0.5), (0.6, 0.42), (0.44, 0.44)), (250, 248, 236), BODY)
    pen.ellipse(0.4, 0.72, 0.025, 0.03, INK, BODY)


def giraffe(pen, _=None):
    fur, spot = (246, 206, 84), (168, 96, 34)
    _legs(pen, (-0.26, -0.17, 0.06, 0.15), 0.4, 0.065, fur)
    pen.ellipse(-0.06, 0.46, 0.28, 0.14, fur, BODY, edge=True)
    pen.poly(((0.02, 0.48), (0.18, 0.46), (0.34, 1.14), (0.23, 1.16)), fur, BODY, edge=True)
    pen.ellipse(0.34, 1.17, 0.14, 0.08, fur, BODY, edge=True)
    pen.line(((0.26, 1.2), (0.24, 1.32)), 0.04, spot, BODY)
    for cx, cy in (
        (-0.22, 0.5),
        (-0.1, 0.42),
        (0.0, 0.53),
        (-0.1, 0.55),
        (0.13, 0.62),
        (0.18, 0.8),
        (0.24, 0.97),
    ):
        pen.ellipse(cx, cy, 0.055, 0.05, spot, BODY)
    pen.ellipse(0.36, 1.2, 0.02, 0.02, INK, BODY)


def car(pen, colour):
    paint = COLOURS[colour]
    pen.poly(((-0.26, 0.28), (-0.16, 0.48), (0.16, 0.48), (0.28, 0.28)), paint, edge=True)
    pen.rect(-0.5, 0.09, 0.5, 0.3, paint, edge=True)
    for left, right in ((-0.18, -0.01), (0.02, 0.2)):
        pen.poly(((left, 0.3), (left + 0.04, 0.44), (right - 0.05, 0.44), (right, 0.3)), (206, 232, 246))
    _wheels(pen, (-0.28, 0.28), 0.11)
    pen.ellipse(0.47, 0.22, 0.03, 0.035, (255, 240, 160))


def bus(pen, colour):
    paint = COLOURS[colour]
    pen.rect(-0.5, 0.08, 0.5, 0.6, paint, edge=True)
    for left in (-0.45, -0.26, -0.07, 0.12):
        pen.rect(left, 0.33, left + 0.15, 0.52, (206, 232, 246))
    pen.rect(0.32, 0.1, 0.45, 0.52, (206, 232, 246))
    pen.rect(-0.5, 0.2, 0.3, 0.26, shade("white", 1))
    _wheels(pen, (-0.28, 0.25), 0.1)


def truck(pen, colour):
    paint = COLOURS[colour]
    pen.rect(-0.5, 0.12, 0.16, 0.6, (228, 222, 206), edge=True)
    pen.poly(((0.17, 0.12), (0.17, 0.46), (0.36, 0.46), (0.5, 0.28), (0.5, 0.12)), paint, edge=True)
    pen.poly(((0.24, 0.29), (0.24, 0.41), (0.34, 0.41), (0.43, 0.29)), (206, 232, 246))
    _wheels(pen, (-0.32, -0.08, 0.33), 0.1)


def _wheels(pen, xs, radius):
    for x in xs:
        pen.ellipse(x, radius * 0.9, radius, radius, (36, 36, 42))
        pen.ellipse(x, radius * 0.9, radius * 0.45, radius * 0.45, (190, 190, 196))


def bicycle(pen, colour):
    paint = COLOURS[colour]
    for x in (-0.28, 0.28):
        pen.ellipse(x, 0.21, 0.19, 0.19, (240, 240, 240))
        pen.arc(x, 0.21, 0.21, 0.21, 0, 360, 0.055, INK)
    for line in (
        ((-0.28, 0.21), (-0.1, 0.5), (0.2, 0.5), (0.28, 0.21)),
        ((-0.1, 0.5), (0.0, 0.2), (0.2, 0.5)),
    ):
        pen.line(line, 0.06, paint)
    pen.line(((0.17, 0.64), (0.2, 0.5)), 0.05, INK)
    pen.line(((0.1, 0.66), (0.25, 0.63)), 0.05, INK)


def skateboard(pen, colour):
    pen.line(((-0.42, 0.22), (-0.3, 0.15), (0.3, 0.15), (0.42, 0.22)), 0.1, COLOURS[colour])
    for x in (-0.22, 0.22):
        pen.ellipse(x, 0.06, 0.07, 0.07, INK)


def bench(pen, colour):
    wood, dark = (170, 112, 62), (116, 72, 40)
    for x in (-0.4, 0.34):
        pen.rect(x, 0, x + 0.06, 0.5, dark)
    for y in (0.34, 0.44):
        pen.rect(-0.5, y, 0.5, y + 0.07, wood, edge=True)
    pen.rect(-0.5, 0.18, 0.5, 0.28, wood, edge=True)


def couch(pen, colour):
    paint, dark = COLOURS[colour], shade(colour, 0.78)
    pen.rect(-0.44, 0.06, 0.44, 0.48, dark, edge=True)
    pen.rect(-0.42, 0.04, 0.42, 0.24, paint, edge=True)
    pen.line(((0, 0.05), (0, 0.46)), 0.015, INK)
    for x in (-0.5, 0.38):
        pen.rect(x, 0.02, x + 0.12, 0.34, paint, edge=True)


def chair(pen, colour):
    wood = (156, 100, 58)
    for x in (-0.2, 0.14):
        pen.rect(x, 0, x + 0.06, 0.36, wood)
    pen.rect(-0.22, 0.4, 0.22, 0.84, wood, edge=True)
    pen.rect(-0.13, 0.48, 0.13, 0.74, COLOURS[colour])
    pen.rect(-0.26, 0.3, 0.26, 0.42, COLOURS[colour], edge=True)


def potted_plant(pen, colour):
    for x, y in ((-0.22, 0.62), (0.22, 0.62), (-0.12, 0.8), (0.12, 0.8), (0, 0.66)):
        pen.line(((0, 0.3), (x, y)), 0.03, (46, 110, 58))
        pen.ellipse(x, y, 0.12, 0.14, (60, 140, 70), edge=True)
    pen.poly(((-0.17, 0.34), (0.17, 0.34), (0.12, 0), (-0.12, 0)), (196, 98, 60), edge=True)


def tv(pen, colour):
    pen.rect(-0.05, 0, 0.05, 0.16, INK)
    pen.rect(-0.22, 0, 0.22, 0.04, INK)
    pen.rect(-0.5, 0.12, 0.5, 0.72, INK)
    pen.rect(-0.45, 0.17, 0.45, 0.67, (92, 196, 216))
    pen.write("NEWS", 0, 0.36, 0.7, (255, 255, 255))


def dining_table(pen, colour):
    wood, dark = (178, 122, 72), (122, 78, 44)
    for x in (-0.44, 0.38):
        pen.rect(x, 0, x + 0.06, 0.2, dark)
    pen.rect(-0.5, 0.17, 0.5, 0.26, wood, edge=True)


def banana(pen, _=None):
    outer = ((-0.5, 0.78), (-0.42, 0.4), (-0.2, 0.12), (0.12, 0.04), (0.4, 0.14), (0.5, 0.32))
    inner = ((0.44, 0.38), (0.24, 0.36), (0.02, 0.42), (-0.18, 0.58), (-0.34, 0.86))
    pen.poly((*outer, *inner), (250, 220, 60), edge=True)
    pen.line(((-0.4, 0.66), (-0.2, 0.36), (0.1, 0.22), (0.4, 0.27)), 0.04, (206, 164, 36))
    pen.rect(-0.5, 0.76, -0.34, 0.9, (110, 80, 40))


def apple(pen, _=None):
    for x in (-0.15, 0.15):
        pen.ellipse(x, 0.38, 0.29, 0.36, (212, 36, 44))
    pen.line(((0, 0.68), (0.06, 0.9)), 0.07, (96, 60, 36))
    pen.ellipse(0.2, 0.84, 0.16, 0.08, (84, 170, 72))
    pen.ellipse(-0.2, 0.5, 0.07, 0.1, (250, 190, 190))


def orange(pen, _=None):
    pen.ellipse(0, 0.42, 0.42, 0.42, (250, 150, 30), edge=True)
    pen.ellipse(0.08, 0.84, 0.12, 0.06, (70, 140, 60))
    for x, y in ((-0.15, 0.3), (0.1, 0.5), (0.15, 0.25), (-0.1, 0.58)):
        pen.ellipse(x, y, 0.03, 0.03, (220, 120, 20))


def pizza(pen, _=None):
    pen.poly(((0, 0), (-0.48, 0.84), (0.48, 0.84)), (250, 214, 110), edge=True)
    pen.rect(-0.5, 0.78, 0.5, 0.94, (186, 120, 60), edge=True)
    for x, y in ((-0.2, 0.64), (0.18, 0.6), (0.0, 0.34)):
        pen.ellipse(x, y, 0.11, 0.11, (200, 44, 40))


def donut(pen, _=None):
    pen.ellipse(0, 0.42, 0.46, 0.42, (196, 140, 84), edge=True)
    pen.ellipse(0, 0.46, 0.4, 0.36, (246, 120, 180))
    pen.ellipse(0, 0.44, 0.15, 0.14, (96, 60, 40))
    for x, y in ((-0.25, 0.5), (0.25, 0.55), (0.05, 0.7), (-0.12, 0.24), (0.22, 0.28)):
        pen.rect(x, y, x + 0.08, y + 0.05, (255, 255, 255))


def cake(pen, _=None):
    pen.rect(-0.44, 0, 0.44, 0.34, (124, 76, 50), edge=True)
    pen.rect(-0.44, 0.34, 0.44, 0.6, (255, 250, 240), edge=True)
    for x in (-0.25, 0, 0.25):
        pen.rect(x - 0.04, 0.6, x + 0.04, 0.82, (90, 160, 230))
        pen.ellipse(x, 0.9, 0.05, 0.09, (250, 190, 60))


def broccoli(pen, _=None):
    pen.rect(-0.12, 0, 0.12, 0.4, (168, 204, 120))
    for x, y in ((-0.26, 0.52), (0.26, 0.52), (0, 0.7), (-0.12, 0.5), (0.12, 0.5)):
        pen.ellipse(x, y, 0.21, 0.2, (40, 120, 54), edge=True)


def stop_sign(pen, _=None):
    pen.rect(-0.05, 0, 0.05, 0.6, (130, 130, 136))
    a, b, c = 0.42, 0.175, 0.86
    corners = (
        (-b, c - a),
        (b, c - a),
        (a, c - b),
        (a, c + b),
        (b, c + a),
        (-b, c + a),
        (-a, c + b),
        (-a, c - b),
    )
    pen.poly(corners, (206, 30, 40), edge=True)
    pen.write("STOP", 0, c - 0.04, 0.66, (255, 255, 255))


def board(pen, word):
    pen.rect(-0.06, 0, 0.06, 0.6, (130, 96, 60))
    pen.rect(-0.5, 0.5, 0.5, 1.12, (252, 250, 236), edge=True)
    pen.write(word, 0, 0.76, 0.78, INK)


SPRITES = {
    "bird": bird, "cat": cat, "dog": dog, "horse": horse, "sheep": sheep, "elephant": elephant,
    "zebra": zebra,
    "giraffe": giraffe, "car": car, "bus": bus, "truck": truck, "bicycle": bicycle, "skateboard": skateboard,
    "bench": bench, "couch": couch, "chair": chair, "potted plant": potted_plant, "tv": tv,
    "dining table": dining_table, "banana": banana, "apple": apple, "orange": orange, "pizza": pizza,
    "donut": donut, "cake": cake, "broccoli": broccoli, "stop sign": stop_sign, "sign": board,
}  # fmt: skip
"""Category name to drawing function (pen, colour or word)."""
