"""How each garment is drawn: tops hang from a neck at y = 0, bottoms from a waist at y = 0.

Each function takes (sketch, spec, rng) and adds a garment about 100 units long to the sketch.
"""

from __future__ import annotations

import numpy as np

from tvhelpers.data.fabric import Points, Sketch, mirror, smooth

# fmt: off  (points are read in pairs, several a line)


def draw_t_shirt(s: Sketch, spec, rng) -> None:
    """Draw a t-shirt: sleeves, body, neck rib, stitched hems."""
    t = Top(rng, length=rng.uniform(82, 94), half=rng.uniform(27, 31), flare=rng.uniform(-1, 3))
    sleeves(s, t, rng, spec.sleeve)
    body(s, t)
    neck_rib(s, t, spec.neckline)
    hem_stitch(s, t)
    s.folds(*body_folds(t, rng))


def draw_tank_top(s: Sketch, spec, rng) -> None:
    """Draw a tank top: narrow straps, low armholes, a deep neck."""
    t = Top(
        rng,
        length=rng.uniform(82, 92),
        half=rng.uniform(24, 28),
        flare=rng.uniform(0, 3),
        strap=rng.uniform(5, 7),
    )
    t.armpit += 8
    body(s, t)
    neck_rib(s, t, spec.neckline, depth={"crew": 20, "V-neck": 30}[spec.neckline])
    arm = armhole(t)
    s.lines([(x - 1.8, y + 0.6) for x, y in arm], 0.8)
    hem_stitch(s, t)
    s.folds(*body_folds(t, rng))


def draw_shirt(s: Sketch, spec, rng) -> None:
    """Draw a shirt: collar, button placket, chest pocket, cuffs, a curved tail."""
    t = Top(rng, length=rng.uniform(88, 98), half=rng.uniform(27, 30), flare=rng.uniform(0, 2))
    sleeves(s, t, rng, spec.sleeve, cuff=7 if spec.sleeve == "long" else 4)
    body(s, t, tail=8)
    inside(s, t, 9)
    s.cloth([(-3, 8), (3, 8), (3, t.hem + 1), (-3, t.hem + 1)])
    buttons(s, 0, 13, t.hem - 12, 6)
    collar(s, t, point=14, spread=13)
    x, y = 8, t.armpit - 1
    s.cloth([(x, y), (x + 12, y), (x + 12, y + 11), (x + 6, y + 14), (x, y + 11)])
    s.lines([(t.neck + 3, 10), (t.shoulder - 1, t.slope + 5)], 0.8)
    s.folds(*body_folds(t, rng))


def draw_sweater(s: Sketch, spec, rng) -> None:
    """Draw a sweater: wide ribs at neck, cuffs and hem, knitted cables."""
    t = Top(rng, length=rng.uniform(80, 90), half=rng.uniform(29, 33), flare=rng.uniform(-2, 1))
    sleeves(s, t, rng, "long", cuff=10, width=13, ribbed=True)
    body(s, t)
    rib(s, t.half + t.flare, t.hem - 11, t.hem + 1)
    y = np.arange(22, t.hem - 12, 1.5)
    for swing in (2.2, -2.2):  # a braid
        s.lines(list(zip((13 + swing * np.sin(y / 3)).tolist(), y.tolist())), 0.9)
    neck_rib(s, t, spec.neckline, width=5)
    s.folds(*body_folds(t, rng))


def draw_cardigan(s: Sketch, spec, rng) -> None:
    """Draw a cardigan: a deep V that closes with buttons, patch pockets, ribs."""
    t = Top(rng, length=rng.uniform(84, 94), half=rng.uniform(27, 31), flare=rng.uniform(0, 2))
    sleeves(s, t, rng, "long", cuff=9, width=11, ribbed=True)
    body(s, t)
    rib(s, t.half + t.flare, t.hem - 8, t.hem + 1)
    low = rng.uniform(38, 46)
    s.cloth(
        [(-t.neck, 0), (0, low), (t.neck, 0), (t.neck - 4, -2), (4 - t.neck, -2)],
        tint=0.55,
        plain=True,
    )
    band = [
        (t.neck - 1, -1),
        (t.neck + 5, 1),
        (4, low + 2),
        (4, t.hem + 1),
        (-1, t.hem + 1),
        (-1, low),
    ]
    s.pair(band, plain=True)
    buttons(s, 1.5, low + 6, t.hem - 5, 4)
    s.pair([(9, t.hem - 26), (21, t.hem - 26), (21, t.hem - 12), (9, t.hem - 12)])
    s.folds(*body_folds(t, rng))


def draw_hoodie(s: Sketch, spec, rng) -> None:
    """Draw a hoodie: a hood with a dark inside, drawstrings, a kangaroo pocket, ribs."""
    t = Top(rng, length=rng.uniform(74, 82), half=rng.uniform(28, 31), flare=rng.uniform(-2, 1))
    sleeves(s, t, rng, "long", cuff=7, width=12)
    body(s, t)
    rib(s, t.half + t.flare, t.hem - 8, t.hem + 1)
    hood(s, t, rng)
    y, wide = t.hem - 10, rng.uniform(17, 20)
    high = y - rng.uniform(20, 24)
    s.cloth(whole((11, high), (wide, high + 11), (wide, y)))
    s.folds(*body_folds(t, rng))


def draw_sweatsuit(s: Sketch, spec, rng) -> None:
    """Draw a sweatsuit: a sweatshirt above jogging trousers of the same cloth."""
    t = Top(rng, length=rng.uniform(47, 51), half=rng.uniform(20, 22), flare=rng.uniform(-2, 0))
    foot, half = t.hem + rng.uniform(52, 58), t.half - 2
    leg = [
        (0, t.hem - 8),
        *smooth((half, t.hem - 8), (half + 2, t.hem + 14), (14, foot - 7)),
        (3.5, foot - 7),
        (0, t.hem + 16),
    ]
    s.pair(leg, 3)
    s.pair([(14, foot - 8), (13, foot), (4.5, foot), (3.5, foot - 8)], plain=True)
    s.folds([(8, t.hem + 14), (9, foot - 14)])
    sleeves(s, t, rng, "long", cuff=5, width=9, reach=0.9)
    body(s, t)
    rib(s, t.half + t.flare, t.hem - 6, t.hem + 1)
    neck_rib(s, t, "crew", width=3.5)
    for x in (2, -2):
        s.line([(x, t.hem + 1), (1.4 * x, t.hem + 13)], 1.4, (240, 240, 240))
    s.folds(*body_folds(t, rng))


def draw_jacket(s: Sketch, spec, rng) -> None:
    """Draw a jacket: pointed collar, zip, yoke, chest and side pockets, hem band."""
    t = Top(rng, length=rng.uniform(76, 86), half=rng.uniform(28, 31), flare=rng.uniform(0, 2))
    sleeves(s, t, rng, "long", cuff=6, width=11)
    body(s, t)
    inside(s, t, 7)
    edge = t.half + t.flare
    s.cloth(
        [(-edge, t.hem - 7), (edge, t.hem - 7), (edge, t.hem + 1), (-edge, t.hem + 1)], plain=True
    )
    s.lines([(0, 24), (t.half - 1.5, 23)], 1.0)
    s.pair([(7, 29), (21, 28), (21, 34), (14, 37), (7, 34)])
    s.lines([(11, t.hem - 27), (18, t.hem - 13)], 2.2)
    zipper(s, 8, t.hem + 1)
    collar(s, t, point=17, spread=17)
    s.folds(*body_folds(t, rng))


def draw_bomber_jacket(s: Sketch, spec, rng) -> None:
    """Draw a bomber jacket: round rib collar, zip, a full body gathered by a wide ribbed hem."""
    t = Top(rng, length=rng.uniform(62, 68), half=rng.uniform(30, 33), flare=rng.uniform(1, 3))
    sleeves(s, t, rng, "long", cuff=9, width=14, ribbed=True)
    body(s, t)
    inside(s, t, 5)
    s.cloth(
        [
            *smooth((-t.neck - 3, 1), (-7, 8.5), (0, 10.5), (7, 8.5), (t.neck + 3, 1)),
            *smooth((t.neck - 1, -4), (5, 2.5), (0, 4), (-5, 2.5), (1 - t.neck, -4)),
        ],
        plain=True,
    )
    for x in (2.5, 6, 9):
        s.lines([(x, 9.5 - x * x / 26), (0.85 * x, 3.5 - x * x / 34)], 0.7)
    rib(s, t.half - 2, t.hem - 2, t.hem + 10)
    s.lines([(10, t.hem - 30), (19, t.hem - 16)], 2.4)
    zipper(s, 7, t.hem + 10)
    s.folds(
        [(6, t.hem - 3), (8, t.hem - 13)],
        [(18, t.hem - 3), (17, t.hem - 13)],
        *body_folds(t, rng)[:1],
    )


def draw_coat(s: Sketch, spec, rng) -> None:
    """Draw a double-breasted coat: wide lapels, two rows of buttons, flap pockets, a long body."""
    length = {"knee-length": 100, "long": 122}[spec.length] + rng.uniform(-4, 4)
    t = Top(rng, length=length, half=rng.uniform(25, 28), flare=rng.uniform(4, 8))
    t.waist -= 1
    sleeves(s, t, rng, "long", cuff=6, width=11, reach=1.02)
    body(s, t)
    inside(s, t, 30)
    s.line([(-1, 34), (-1, t.hem + 1)], 1.2)
    lapel = [(0, 36), (16, 20), (12, 16), (17, 12), (t.neck + 1, -3), (t.neck - 3, -1)]
    s.pair(lapel, 20)
    s.lines([(12, 16), (7, 14)], 1.0)
    for y in np.linspace(42, 74, 4):
        for x in (7, -9):
            s.disc(x, y, 1.9)
    s.pair([(11, 70), (24, 68), (24, 75), (11, 77)])
    s.folds([(10, 84), (13, t.hem - 4)], *body_folds(t, rng)[:1])


def draw_dress(s: Sketch, spec, rng) -> None:
    """Draw a dress: fitted bodice, waist seam, flared skirt with folds."""
    length = {"short": 82, "knee-length": 104, "long": 128}[spec.length] + rng.uniform(-4, 4)
    bare = spec.sleeve == "sleeveless"
    t = Top(
        rng,
        length=length,
        half=rng.uniform(19, 22),
        flare=0,
        strap=rng.uniform(5, 7) if bare else None,
    )
    t.waist_y, t.waist = rng.uniform(39, 43), rng.uniform(15, 18) - t.half
    t.flare = rng.uniform(0.17, 0.25) * (length - t.waist_y) + 3
    if not bare:
        sleeves(s, t, rng, spec.sleeve, width=10, reach=0.88)
    body(s, t)
    neck_rib(s, t, spec.neckline, width=2, depth={"crew": 10, "V-neck": 23}[spec.neckline])
    narrow, wide = t.half + t.waist, t.half + t.flare
    s.line(smooth((-narrow, t.waist_y), (0, t.waist_y + 2), (narrow, t.waist_y)), 1.4)
    s.folds(*skirt_folds(t.waist_y + 3, t.hem, narrow, wide, rng))
    s.lines([(0.12 * wide, t.hem - 1), (0.18 * narrow, t.waist_y + 14)], 0.7)


def draw_jumpsuit(s: Sketch, spec, rng) -> None:
    """Draw a jumpsuit: a bodice and long trousers in one piece, with a belt of its own cloth."""
    bare = spec.sleeve == "sleeveless"
    t = Top(
        rng,
        length=43,
        half=rng.uniform(18, 20),
        flare=-2,
        strap=rng.uniform(5, 7) if bare else None,
    )
    t.waist = -2
    foot, hip = rng.uniform(122, 130), t.half + 2
    width = rng.uniform(11, 15)
    leg = [(0, 42), *smooth((t.half - 2, 42), (hip, 58), (width + 4, foot)), (4, foot + 1), (0, 70)]
    s.pair(leg, 3)
    s.lines([(hip - 6, 48), (hip - 0.5, 57)], 1.2)
    if not bare:
        sleeves(s, t, rng, spec.sleeve, width=10, reach=0.9)
    body(s, t)
    neck_rib(s, t, spec.neckline, width=2, depth={"crew": 9, "V-neck": 21}[spec.neckline])
    s.cloth([(-t.half, 41), (t.half, 41), (t.half, 47), (-t.half, 47)], plain=True)
    s.cloth([(-4, 40.5), (4, 40.5), (4, 47.5), (-4, 47.5)], plain=True)
    s.folds([(9, 72), (10, foot - 6)], [(2, 68), (9, 74)])


def draw_overalls(s: Sketch, spec, rng) -> None:
    """Draw overalls: a bib with a pocket, straps with buckles, trousers or shorts."""
    foot = {"short": 84, "long": 124}[spec.length] + rng.uniform(-4, 4)
    half, width = rng.uniform(22, 25), {"short": 21, "long": 15}[spec.length]
    top, waist = 24, 52
    strap = [(9, -4), (15, -2), (14.5, top + 3), (9.5, top + 3)]
    s.pair([(3, 4), (9, -5), (15, -2), (4, 16), (-2, 18)], 30)  # straps crossing on the back
    leg = [
        (0, waist),
        *smooth((half, waist), (half + 4, waist + 20), (width + 5, foot)),
        (4, foot + 1),
        (0, waist + 32),
    ]
    s.pair(leg, 3)
    side = smooth((16, top), (17, top + 12), (half, waist - 2))
    s.cloth([(-16, top), *side, (half, waist + 1), (-half, waist + 1), *mirror(side)])
    s.pair(strap)
    s.cloth(
        [(-half, waist - 2), (half, waist - 2), (half + 0.5, waist + 4), (-half - 0.5, waist + 4)],
        plain=True,
    )
    s.cloth([(-9, top + 8), (9, top + 8), (9, top + 20), (0, top + 23), (-9, top + 20)])
    for x in (12, -12):
        s.disc(x, top + 3, 2.4, (214, 190, 120))
    s.lines(smooth((half - 8, waist + 4), (half - 5, waist + 12), (half + 2, waist + 15)), 1.2)
    for x in (half - 2, 2 - half):
        s.disc(x, waist + 8, 1.4, (214, 190, 120))
    s.lines([(4.5, foot - 5), (width + 4.5, foot - 6)], 0.8, dashed=True)
    s.line([(0, waist + 4), (0, waist + 32)], 1.0)
    s.folds([(half * 0.5, waist + 28), ((width + 8) / 2, foot - 6)])


def draw_skirt(s: Sketch, spec, rng) -> None:
    """Draw a skirt: waistband, flared panel with folds, stitched hem."""
    length = {"short": 50, "knee-length": 74, "long": 104}[spec.length] + rng.uniform(-4, 4)
    half = rng.uniform(20, 23)
    wide = half + length * rng.uniform(0.22, 0.32)
    band = WAISTS[spec.waist]
    side = smooth(
        (half, band), (half + (wide - half) * 0.6, band + length * 0.45), (wide, band + length - 3)
    )
    bottom = smooth(side[-1], (0, band + length + 2), (-wide, band + length - 3))
    s.cloth([*side, *bottom[1:-1], *mirror(side)])
    waistband(s, half, band)
    s.line([(x, y - 5) for x, y in bottom[1:-1]], 0.8, dashed=True)
    s.folds(*skirt_folds(band + 3, band + length, half, wide, rng))


def draw_trousers(s: Sketch, spec, rng) -> None:
    """Draw trousers: two legs with a crease, waistband, fly, pockets."""
    _trousers(
        s,
        spec,
        rng,
        {"cropped": 88, "long": 112}[spec.length] + rng.uniform(-4, 4),
        rng.uniform(13, 18),
    )


def draw_shorts(s: Sketch, spec, rng) -> None:
    """Draw shorts: wide short legs, waistband, fly, pockets."""
    _trousers(s, spec, rng, rng.uniform(50, 58), rng.uniform(23, 27))


def _trousers(s, spec, rng, foot, width) -> None:
    half = rng.uniform(20, 23)
    band = WAISTS[spec.waist]
    foot, hip, gap, crotch = (
        foot + band - 7,
        half + rng.uniform(4, 6),
        rng.uniform(2, 5),
        band + rng.uniform(29, 33),
    )
    outer = smooth((half, band), (hip, band + 18), (gap + width + 1, foot))
    leg = [(0, band), *outer, (gap, foot + 1), (0.6, crotch), (0, crotch)]
    s.pair(leg, 3)
    waistband(s, half, band)
    s.lines(smooth((half - 8, band), (half - 5, band + 8), (hip - 1, band + 12)), 1.2)
    s.line(smooth((5, band), (5, band + 14), (0, band + 20)), 0.9)
    s.lines([(gap + 1, foot - 4), (gap + width, foot - 5)], 0.8, dashed=True)
    s.folds(
        [(hip * 0.5, band + 24), ((gap + width / 2 + hip * 0.4) / 1.5, foot - 6)],
        [(0, crotch - 3), (10, crotch + 3)],
    )


def draw_leggings(s: Sketch, spec, rng) -> None:
    """Draw leggings: narrow legs that follow the body, an elastic band, side seams."""
    half, foot = rng.uniform(15, 17), rng.uniform(106, 116)
    hip, ankle, crotch = half + 4, rng.uniform(6.5, 8), rng.uniform(32, 36)
    outer = smooth((half, 6), (hip, 24), (hip - 4, 50), (ankle + 6.5, 78), (ankle + 3, foot))
    leg = [
        (0, 6),
        *outer,
        (3.5, foot + 0.5),
        *smooth((3, foot - 22), (1.5, crotch + 26), (0.4, crotch)),
        (0, crotch),
    ]
    s.pair(leg, 2)
    s.cloth([(-half + 0.5, 0), (half - 0.5, 0), (half, 7), (-half, 7)], plain=True)
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
    s.cloth(
        [
            (0, at(0) + 1),
            (tip, at(tip) + 1),
            (tip + 6, at(tip + 6) + width / 2),
            (tip, at(tip) + width - 1),
            (0, at(0) + width - 1),
        ],
        90,
    )
    for x in np.arange(15, tip, 5):
        s.disc(float(x), at(x) + width / 2, 0.9, (30, 30, 34))
    y, metal, h = at(0) - 2, ((214, 190, 120), (206, 208, 214))[rng.integers(2)], width + 4
    frame = [(-9, y), (9, y), (9, y + h), (-9, y + h), (-9, y)]
    s.line(frame, 4.6)
    s.line(frame, 2.8, metal)
    s.line([(-9, y + h / 2), (10, y + h / 2)], 3.4)
    s.line([(-9, y + h / 2), (10, y + h / 2)], 1.8, metal)


# What garments share.

WAISTS = {"regular": 7, "high-waisted": 25}  # heights of a waistband


class Top:
    """The measures of a top, half widths and heights below the neck, in units."""

    def __init__(
        self, rng, *, length: float, half: float, flare: float, strap: float | None = None
    ):
        self.hem, self.half, self.flare = length, half, flare
        self.neck = rng.uniform(10, 11.5)
        self.shoulder = self.neck + strap if strap else half + rng.uniform(0, 2)
        self.slope = rng.uniform(3, 4) if strap else rng.uniform(6, 8)
        self.armpit = self.slope + rng.uniform(18, 20)
        self.waist_y, self.waist = (self.armpit + length) / 2, -0.5


def whole(*points) -> Points:
    """Return the outline whose right half is `points`, from the top middle to the bottom middle."""
    return [*points, *mirror(list(points))]


def armhole(t: Top) -> Points:
    """Return the right armhole, from the shoulder down."""
    return smooth(
        (t.shoulder, t.slope),
        (min(t.shoulder, t.half - 2.5) - 0.5, t.armpit - 9),
        (t.half, t.armpit),
    )


def body(s: Sketch, t: Top, tail: float = 0) -> None:
    """Draw the body from the neck to the hem; `tail` is how much the hem rises at the sides."""
    side = smooth(
        (t.half, t.armpit), (t.half + t.waist, t.waist_y), (t.half + t.flare, t.hem - 1 - tail)
    )
    half = [(t.neck, 0), *armhole(t), *side]
    bottom = smooth(
        half[-1], (0.6 * t.half, t.hem), (0, t.hem + 1), (-0.6 * t.half, t.hem), *mirror(half[-1:])
    )
    s.cloth([*half, *bottom[1:-1], *mirror(half)])


def sleeves(
    s: Sketch,
    t: Top,
    rng,
    kind: str,
    *,
    cuff: float = 0,
    width: float = 9,
    reach: float = 1,
    ribbed: bool = False,
) -> None:
    """Draw both sleeves; the body covers their inner ends.  `width` is that of a long one's end."""
    long = kind == "long"
    angle = np.radians(rng.uniform(66, 76) if long else rng.uniform(46, 58))
    length = (rng.uniform(70, 76) if long else rng.uniform(26, 31)) * reach
    width = width if long else 16
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    shoulder = np.array([t.shoulder, t.slope])
    end = shoulder + along * length
    inner = end + across * width
    bend = (2.5, -0.5) if long else (1.2, -0.6)
    outer = smooth(tuple(shoulder), tuple(shoulder + along * length * 0.5 + bend), tuple(end))
    turn = 90 - np.degrees(angle)
    hidden = [(t.half - 1, t.armpit + 1.5), (t.half - 8, t.armpit - 3), (t.shoulder - 8, t.slope)]
    s.pair([*outer, tuple(inner), *hidden], turn)
    back = along * (cuff or 3.5)
    if cuff:
        s.pair([tuple(end - back), tuple(end), tuple(inner), tuple(inner - back)], turn, plain=True)
        if ribbed:
            for share in (0.25, 0.5, 0.75):
                p = end + (inner - end) * share
                s.lines([tuple(p), tuple(p - back)], 0.7)
    else:
        s.lines([tuple(end - back), tuple(inner - back)], 0.8, dashed=True)
    if long:
        elbow = shoulder + along * length * 0.5
        s.folds([tuple(elbow + across * 2), tuple(elbow + across * 8 + along * 3)])


def neck_rib(
    s: Sketch, t: Top, neckline: str, *, width: float = 3, depth: float | None = None
) -> None:
    """Draw the opening with its dark inside, and a rib around it."""
    v = neckline == "V-neck"
    depth = depth or (20 if v else 8.5)
    n = t.neck

    def rim(half: float, low: float) -> Points:
        points = (
            (-half, 0),
            (-half * 0.62, low * 0.78),
            (0, low),
            (half * 0.62, low * 0.78),
            (half, 0),
        )
        return [points[0], points[2], points[4]] if v else smooth(*points)

    inner, outer = rim(n, depth), rim(n + width, depth + width * (1.7 if v else 1))
    s.cloth([*outer, *inner[::-1]], plain=True)
    s.cloth([*inner, *smooth((n, 0), (0, 3.5), (-n, 0))], tint=0.55, plain=True)


def inside(s: Sketch, t: Top, depth: float) -> None:
    """Draw the dark inside of an open neck."""
    s.cloth(
        [(-t.neck, 0), (0, depth), (t.neck, 0), (t.neck - 3, -4), (3 - t.neck, -4)],
        tint=0.55,
        plain=True,
    )


def collar(s: Sketch, t: Top, *, point: float, spread: float) -> None:
    """Draw a pointed collar that meets in the middle."""
    s.pair(
        [(0, 9), (spread - 4, point + 5), (spread + 1, 4), (t.neck - 2, -5), (t.neck - 4, -1)], 30
    )


def hood(s: Sketch, t: Top, rng) -> None:
    """Draw a hood with its dark inside and two drawstrings."""
    wide, high = t.neck + rng.uniform(7, 9), rng.uniform(21, 24)
    s.cloth(whole(*smooth((0, -high), (wide * 0.75, -high * 0.75), (wide, -2), (9, 10), (0, 16))))
    s.cloth(
        whole(*smooth((0, 6 - high), (wide * 0.52, -high * 0.5), (wide * 0.55, 0), (0, 12))),
        tint=0.5,
        plain=True,
    )
    for x in (5, -5):
        s.line([(x, 9), (1.2 * x, 28)], 2.4)
        s.line([(x, 9), (1.2 * x, 27.5)], 1.3, (240, 240, 240))


def rib(s: Sketch, half: float, high: float, low: float) -> None:
    """Draw a ribbed band across the hem."""
    s.cloth([(-half, high), (half, high), (half - 2, low), (2 - half, low)], plain=True)
    for x in np.arange(2.5, half - 3, 5):
        s.lines([(x, high + 1), (x, low - 1)], 0.8)


def waistband(s: Sketch, half: float, height: float) -> None:
    """Draw a waistband; a high one narrows to the waist and has two columns of buttons."""
    high = height > 10
    top = half - 4.5 if high else half
    s.cloth(
        whole((top, 0), *smooth((top, 1), (top + 0.3, height * 0.5), (half, height))), plain=True
    )
    if high:
        s.line([(-half + 2.5, height - 5), (half - 2.5, height - 5)], 0.9)
        for x in (5, -5):
            buttons(s, x, 4, 17, 3)
    else:
        s.disc(1.5, height / 2, 1.6)
        s.lines([(half * 0.6, 0), (half * 0.6, height)], 1.8)


def buttons(s: Sketch, x: float, high: float, low: float, count: int) -> None:
    """Draw a column of buttons."""
    for y in np.linspace(high, low, count):
        s.disc(x, float(y), 1.5)


def zipper(s: Sketch, high: float, low: float) -> None:
    """Draw a closed metal zip with its pull."""
    s.line([(0, high), (0, low)], 3.2)
    s.line([(0, high), (0, low)], 1.5, (222, 224, 228))
    s.line([(0, high + 3), (0, high + 9)], 3.0, (222, 224, 228))


def hem_stitch(s: Sketch, t: Top) -> None:
    """Draw the stitches of a hem."""
    half = t.half + t.flare
    s.line(smooth((-half, t.hem - 5), (0, t.hem - 3.5), (half, t.hem - 5)), 0.8, dashed=True)


def body_folds(t: Top, rng) -> list[Points]:
    """Return the folds under the arm and above the hem."""
    x, y, low = t.half - 3, t.armpit + 2, t.hem - rng.uniform(15, 21)
    return [
        [(x, y), (x - rng.uniform(5, 9), y + rng.uniform(7, 12))],
        [(t.half + t.waist - 3, low), (rng.uniform(11, 15), low + 5)],
    ]


def skirt_folds(top: float, hem: float, narrow: float, wide: float, rng) -> list[Points]:
    """Return folds that fan out from the waist."""
    return [
        [
            (share * narrow * 0.8, top + (hem - top) * rng.uniform(0.1, 0.35)),
            (share * wide, hem - 2),
        ]
        for share in np.array([0.25, 0.7]) + rng.uniform(-0.07, 0.07, 2)
    ]
