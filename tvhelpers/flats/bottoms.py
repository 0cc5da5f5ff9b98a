"""How are garments that hang from the waist drawn, and a belt?  The waist is at y = 0.

Each function takes (sketch, spec, rng) and adds a garment about 100 units long to the sketch.
"""

import numpy as np

from tvhelpers.flats.parts import WAISTS, skirt_folds, trapezium, waistband
from tvhelpers.flats.sketch import Sketch, mirror, smooth


def draw_overalls(s: Sketch, spec, rng) -> None:
    """Draw overalls: a bib with a pocket, straps with buckles, trousers or shorts."""
    foot = {"short": 96, "long": 126}[spec.length] + rng.uniform(-4, 4)
    half, width = rng.uniform(22, 25), {"short": 20, "long": 14}[spec.length]
    top, waist = 24, 52
    crotch = waist + {"short": 18, "long": 28}[spec.length]
    gap = {"short": rng.uniform(8, 11), "long": rng.uniform(6, 8)}[spec.length]
    strap = [(9, -4), (15, -2), (14.5, top + 3), (9.5, top + 3)]
    s.pair([(3, 4), (9, -5), (15, -2), (4, 16), (-2, 18)], 30)  # straps crossing on the back
    outer = smooth((half, waist), (half + 4, waist + 20), (gap + width, foot - 2))
    s.pair([(0, waist), *outer, (gap, foot + 1), (1.5, crotch), (0, crotch)], 3)
    side = smooth((16, top), (17, top + 12), (half, waist - 2))
    s.cloth([(-16, top), *side, (half, waist + 1), (-half, waist + 1), *mirror(side)])
    s.pair(strap)
    s.cloth(trapezium(half, waist - 2, half + 0.5, waist + 4), plain=True)
    s.cloth([(-9, top + 8), (9, top + 8), (9, top + 20), (0, top + 23), (-9, top + 20)])
    for x in (12, -12):
        s.disc(x, top + 3, 2.4, (214, 190, 120))
    s.lines(smooth((half - 8, waist + 4), (half - 5, waist + 12), (half + 2, waist + 15)), 1.2)
    for x in (half - 2, 2 - half):
        s.disc(x, waist + 8, 1.4, (214, 190, 120))
    s.lines([(gap + 0.5, foot - 5), (gap + width, foot - 7)], 0.8, dashed=True)
    s.line([(0, waist + 4), (0, crotch)], 1.0)
    s.folds([(half * 0.5, crotch), (gap + width * 0.4, foot - 8)])


def draw_skirt(s: Sketch, spec, rng) -> None:
    """Draw a skirt: waistband, flared panel with folds, stitched hem."""
    length = {"short": 50, "knee-length": 74, "midi": 90, "long": 104}[spec.length] + rng.uniform(
        -4, 4
    )
    half = rng.uniform(20, 23)
    wide = half + length * rng.uniform(0.22, 0.32)
    band = WAISTS[spec.waist]
    middle = (half + (wide - half) * 0.6, band + length * 0.45)
    side = smooth((half, band), middle, (wide, band + length - 3))
    bottom = smooth(side[-1], (0, band + length + 2), (-wide, band + length - 3))
    if spec.cut == "pleated":
        _pleated(s, half, wide, band, band + length)
        return
    s.cloth([*side, *bottom[1:-1], *mirror(side)])
    waistband(s, half, band)
    s.line([(x, y - 5) for x, y in bottom[1:-1]], 0.8, dashed=True)
    s.folds(*skirt_folds(band + 3, band + length, half, wide, rng))


def _pleated(s: Sketch, half: float, wide: float, band: float, hem: float) -> None:
    """Draw a skirt of pressed knife pleats, whose edges make the hem a zigzag."""
    count = 5  # pleats to each side
    tops = [half * k / count for k in range(count + 1)]
    feet = [wide * k / count for k in range(count + 1)]
    step = wide / count
    zigzag = [(x + dx, hem - 3 * (x / wide) ** 2 + dy) for x in feet[:-1] for dx, dy in
              ((0.0, 2.0), (step * 0.97, -1.0))]  # fmt: skip
    side = [(half, band), (wide, hem - 4)]
    left = [(-x, y) for x, y in zigzag]
    s.cloth([*side, *reversed(zigzag), *left, (-wide, hem - 4), (-half, band)])
    for top, foot in zip(tops[:-1], feet[:-1], strict=True):
        edge = [(top, band), (foot, hem - 3 * (foot / wide) ** 2 + 2)]
        s.lines(edge, 1.1)
        s.folds([(top + 1.5, band + 8), (foot + step * 0.25, hem - 4)])
    waistband(s, half, band)


def draw_trousers(s: Sketch, spec, rng) -> None:
    """Draw trousers: two legs with a crease, waistband, fly, pockets."""
    foot = {"cropped": 88, "long": 112}[spec.length] + rng.uniform(-4, 4)
    _trousers(s, spec, rng, foot, rng.uniform(13, 18))


def draw_shorts(s: Sketch, spec, rng) -> None:
    """Draw shorts: wide short legs, waistband, fly, pockets."""
    _trousers(s, spec, rng, rng.uniform(50, 58), rng.uniform(23, 27))


def draw_jeans(s: Sketch, spec, rng) -> None:
    """Draw jeans: double seams (ochre on blue), curved pockets, a coin pocket, rivets, loops."""
    thread, metal = (214, 152, 74) if spec.colour == "blue" else None, (214, 190, 120)
    half, band = rng.uniform(20, 23), WAISTS[spec.waist]
    foot = {"cropped": 88, "long": 112}[spec.length] + rng.uniform(-4, 4) + band - 7
    hip, gap, width = half + rng.uniform(4, 6), rng.uniform(2, 4), rng.uniform(12, 16)
    crotch = band + rng.uniform(29, 33)
    outer = smooth((half, band), (hip, band + 18), (gap + width + 1, foot))
    s.pair([(0, band), *outer, (gap, foot + 1), (0.6, crotch), (0, crotch)], 3)
    waistband(s, half, band)
    for y in (band - 1.5, 1.5):
        s.line([(-half + 1, y), (half - 1, y)], 0.8, thread)
    for x in (-half * 0.62, half * 0.62):
        s.cloth(
            [(x - 1.4, -1), (x + 1.4, -1), (x + 1.4, band + 1), (x - 1.4, band + 1)], plain=True
        )
    for inset in (0.0, 1.8):
        pocket = smooth(
            (half - 11 - inset, band), (half - 8, band + 9 + inset), (hip - 1, band + 11 + inset)
        )
        fly = smooth((6 + inset, band), (6 + inset, band + 13), (0, band + 21 + inset))
        s.line(fly, 0.8, thread)
        for one in (pocket, [(-x, y) for x, y in pocket]):
            s.line(one, 0.8 if inset else 1.2, thread if inset else None)
    s.line([(half - 9.5, band + 4), (half - 2, band + 4.5)], 0.8, thread)  # the coin pocket
    for x in (half - 10, half - 1.5):
        for side in (x, -x):
            s.disc(side, band + 2.2, 1.1, metal)
    s.line([(0, band), (0, crotch)], 1.0)
    for sign in (1, -1):
        s.line([(sign * (gap + 0.5), foot - 4), (sign * (gap + width), foot - 5)], 0.9, thread)
    s.folds(
        [(3, crotch + 1), (12, crotch - 5)],
        [(gap + 5, foot * 0.68), (gap + width - 2, foot * 0.66)],
    )


def draw_joggers(s: Sketch, spec, rng) -> None:
    """Draw joggers: an elastic waist with a drawstring, slanted pockets, legs in ribbed cuffs."""
    half, band = rng.uniform(20, 23), WAISTS[spec.waist]
    foot = {"cropped": 84, "long": 106}[spec.length] + rng.uniform(-4, 4) + band - 7
    hip, gap, ankle = half + rng.uniform(4, 6), rng.uniform(3, 5), rng.uniform(9, 11)
    crotch = band + rng.uniform(31, 35)
    knee = (hip - 1, (crotch + foot) / 2)
    outer = smooth((half, band), (hip + 0.5, band + 18), knee, (gap + ankle + 4, foot - 8))
    s.pair([(0, band), *outer, (gap - 1, foot - 8), (0.6, crotch), (0, crotch)], 3)
    cuff = [(gap, foot - 8.5), (gap + ankle + 2, foot - 8.5), (gap + ankle, foot), (gap + 1, foot)]
    s.pair(cuff, plain=True)
    for share in (0.25, 0.5, 0.75):
        x = gap + 1 + ankle * share
        s.lines([(x, foot - 8), (x, foot - 0.5)], 0.7)
    s.cloth(trapezium(half - 1, 0, half, band), plain=True)
    for x in np.arange(3, half - 1, 3.6):
        s.lines([(float(x), 0.5), (float(x) * 1.03, band - 0.5)], 0.7)
    s.lines(smooth((half - 9, band + 1), (half - 4, band + 9), (hip - 1, band + 17)), 1.2)
    s.line([(0, band), (0, crotch)], 1.0)
    for x in (2, -2):
        s.line([(x, band - 2), (1.5 * x, band + 15)], 2.2)
        s.line([(x, band - 2), (1.5 * x, band + 14.5)], 1.3, (240, 240, 240))
    s.folds([(gap + 4, foot - 13), (gap + ankle, foot - 17)], [(2, crotch + 2), (11, crotch + 9)])


def _trousers(s, spec, rng, foot, width) -> None:
    half, band = rng.uniform(20, 23), WAISTS[spec.waist]
    foot, hip, gap = foot + band - 7, half + rng.uniform(4, 6), rng.uniform(2, 5)
    crotch = band + rng.uniform(29, 33)
    outer = smooth((half, band), (hip, band + 18), (gap + width + 1, foot))
    s.pair([(0, band), *outer, (gap, foot + 1), (0.6, crotch), (0, crotch)], 3)
    waistband(s, half, band)
    s.lines(smooth((half - 8, band), (half - 5, band + 8), (hip - 1, band + 12)), 1.2)
    s.line(smooth((5, band), (5, band + 14), (0, band + 20)), 0.9)
    s.lines([(gap + 1, foot - 4), (gap + width, foot - 5)], 0.8, dashed=True)
    crease = [(hip * 0.5, band + 24), ((gap + width / 2 + hip * 0.4) / 1.5, foot - 6)]
    s.folds(crease, [(0, crotch - 3), (10, crotch + 3)])


def draw_leggings(s: Sketch, spec, rng) -> None:
    """Draw leggings: narrow legs that follow the body, an elastic band, side seams."""
    half, foot = rng.uniform(15, 17), rng.uniform(106, 116)
    hip, ankle, crotch = half + 4, rng.uniform(6.5, 8), rng.uniform(32, 36)
    outer = smooth((half, 6), (hip, 24), (hip - 4, 50), (ankle + 6.5, 78), (ankle + 3, foot))
    inner = smooth((3, foot - 22), (1.5, crotch + 26), (0.4, crotch))
    s.pair([(0, 6), *outer, (3.5, foot + 0.5), *inner, (0, crotch)], 2)
    s.cloth(trapezium(half - 0.5, 0, half, 7), plain=True)
    s.line([(-half + 1, 3.5), (half - 1, 3.5)], 0.8, dashed=True)
    s.lines([(4.5, foot - 4), (ankle + 3, foot - 4)], 0.8)
    s.folds([(5, 62), (12, 60)], [(5, foot - 12), (9, foot - 14)])


def draw_belt(s: Sketch, spec, rng) -> None:
    """Draw a belt, closed to a ring seen from the front: buckle, tip, loop, holes."""
    wide, high, width = 50, rng.uniform(12, 17), rng.uniform(19, 24)
    turn = np.linspace(0, np.pi, 40)
    back = [(wide * np.cos(a), -high * np.sin(a)) for a in turn]
    front = [(wide * np.cos(a), high * np.sin(a)) for a in turn]
    s.cloth([*back, *[(x * 0.97, y + width * 0.8) for x, y in back[::-1]]], tint=0.8, plain=True)
    s.cloth([*front, *[(x, y + width) for x, y in front[::-1]]], 90)
    for inset in (2.5, width - 2.5):
        s.line([(x * 0.985, y + inset) for x, y in front[2:-2]], 0.7, dashed=True)

    def at(x: float) -> float:
        return high * float(np.sqrt(max(0.0, 1 - (x / wide) ** 2)))

    tip = rng.uniform(24, 30)
    end = [(tip, at(tip) + 1), (tip + 6, at(tip + 6) + width / 2), (tip, at(tip) + width - 1)]
    s.cloth([(0, at(0) + 1), *end, (0, at(0) + width - 1)], 90)
    for x in np.arange(15, tip, 5):
        s.disc(float(x), at(x) + width / 2, 0.9, (30, 30, 34))
    y, metal, h = at(0) - 2, ((214, 190, 120), (206, 208, 214))[rng.integers(2)], width + 4
    frame = [(-9, y), (9, y), (9, y + h), (-9, y + h), (-9, y)]
    s.line(frame, 4.6)
    s.line(frame, 2.8, metal)
    s.line([(-9, y + h / 2), (10, y + h / 2)], 3.4)
    s.line([(-9, y + h / 2), (10, y + h / 2)], 1.8, metal)
