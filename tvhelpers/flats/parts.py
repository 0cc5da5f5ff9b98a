"""Which parts are garments put together from?  Bodies, sleeves, necks, bands, closures, folds."""

import numpy as np

from tvhelpers.flats.sketch import Points, Sketch, mirror, smooth

WAISTS = {"regular": 7, "high-waisted": 25}  # heights of a waistband


class Top:
    """The measures of a top, half widths and heights below the neck, in units."""

    def __init__(self, rng, *, length: float, half: float, flare: float, strap=None):
        self.hem, self.half, self.flare = length, half, flare
        self.neck = rng.uniform(10, 11.5)
        self.shoulder = self.neck + strap if strap else half + rng.uniform(0, 2)
        self.slope = rng.uniform(3, 4) if strap else rng.uniform(6, 8)
        self.armpit = self.slope + rng.uniform(18, 20)
        self.waist_y, self.waist = (self.armpit + length) / 2, -0.5


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def trapezium(upper: float, top: float, lower: float, bottom: float) -> Points:
    """Return the corners of a band whose edges are half `upper` and half `lower` wide."""
    return [(-upper, top), (upper, top), (lower, bottom), (-lower, bottom)]


def whole(*points) -> Points:
    """Return the outline whose right half is `points`, from the top middle to the bottom middle."""
    return [*points, *mirror(list(points))]


def armhole(t: Top) -> Points:
    """Return the right armhole, from the shoulder down."""
    middle = (min(t.shoulder, t.half - 2.5) - 0.5, t.armpit - 9)
    return smooth((t.shoulder, t.slope), middle, (t.half, t.armpit))


def body(s: Sketch, t: Top, tail: float = 0) -> None:
    """Draw the body from the neck to the hem; `tail` is how much the hem rises at the sides."""
    waist, end = (t.half + t.waist, t.waist_y), (t.half + t.flare, t.hem - 1 - tail)
    half = [(t.neck, 0), *armhole(t), *smooth((t.half, t.armpit), waist, end)]
    x, low = 0.6 * t.half, t.hem
    bottom = smooth(half[-1], (x, low), (0, low + 1), (-x, low), *mirror(half[-1:]))
    s.cloth([*half, *bottom[1:-1], *mirror(half)])


def strap_of(spec, rng) -> float | None:
    """Return the width of the straps of a sleeveless garment; None for others."""
    return rng.uniform(5, 7) if spec.sleeve == "sleeveless" else None


def sleeves(
    s: Sketch, t: Top, rng, kind: str, *, cuff=0.0, width=9.0, reach=1.0, ribbed=False
) -> None:
    """Draw both sleeves, if any; the body covers their inner ends.  `width` is that of a long
    one's end."""
    if kind == "sleeveless":
        return
    if kind == "puff":
        puff_sleeves(s, t, rng)
        return
    long = kind == "long"
    angle = np.radians(rng.uniform(66, 76) if long else rng.uniform(46, 58))
    length = (rng.uniform(70, 76) if long else rng.uniform(26, 31)) * reach
    width = width if long else 16
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
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


def puff_sleeves(s: Sketch, t: Top, rng) -> None:
    """Draw short round sleeves, gathered at the shoulder and by a narrow cuff."""
    x, y, wide = t.shoulder, t.slope, rng.uniform(15, 19)
    end = (x + wide - 5, y + rng.uniform(25, 29))
    top = smooth((x - 5, y - 2), (x + 3, y - 6), (x + wide, y + 3), (x + wide + 3, y + 17), end)
    inner = (t.half + 2, t.armpit + 5)
    s.pair([*top, inner, (t.half - 1, t.armpit + 1), (t.half - 8, t.armpit - 3), (x - 8, y)], 25)
    low = [(end[0] - 1, end[1] + 4), (inner[0] + 0.5, inner[1] + 4)]
    s.pair([inner, end, *low], 25, plain=True)
    for share in (0.2, 0.45, 0.7):  # gathers
        foot = (inner[0] + (end[0] - inner[0]) * share, inner[1] + (end[1] - inner[1]) * share)
        s.lines([foot, (foot[0] + 3 * share, foot[1] - 8)], 0.8)
    for turn in (0.1, 0.45, 0.8):
        start = (x - 1, y + 8 * turn)
        s.lines([start, (start[0] + 7 - 3 * turn, start[1] - 2 + 8 * turn)], 0.8)
    s.folds([(x + 5, y + 4), (x + wide * 0.6, y + 18)])


def turtleneck(s: Sketch, t: Top) -> None:
    """Draw a ribbed tube around the neck, folded over."""
    n, top = t.neck, -14
    tube = smooth((n - 2, top), (n - 1.6, -6), (n - 0.5, -2))
    s.cloth([*tube, *smooth((n, -2), (0, 3), (-n, -2)), *mirror(tube)], plain=True)
    fold = smooth((n - 2, top), (n + 0.2, -4), (n + 1.5, 3))
    s.cloth([*fold, *smooth((n + 1.5, 3), (0, 8), (-n - 1.5, 3)), *mirror(fold)], plain=True)
    for share in (0.2, 0.55, 0.9):
        x = n * share
        s.lines([(x * 0.85, top + 3 - share), (x, 6 - 4 * share**2)], 0.8)
    brim = smooth((n - 2, top), (0, top - 2), (2 - n, top))
    s.cloth([*brim, *smooth((2 - n, top), (0, top + 3), (n - 2, top))], tint=0.55, plain=True)


def neck_rib(
    s: Sketch, t: Top, neckline: str, *, width: float = 3, depth: float | None = None
) -> None:
    """Draw the opening with its dark inside, and a rib around it."""
    if neckline == "turtleneck":
        turtleneck(s, t)
        return
    v = neckline == "V-neck"
    depth = depth or (20 if v else 8.5)
    n = t.neck

    def rim(half: float, low: float) -> Points:
        """Return the line of the neck hole, `half` wide to each side and `low` deep."""
        if v:
            return [(-half, 0), (0, low), (half, 0)]
        x, y = half * 0.62, low * 0.78
        return smooth((-half, 0), (-x, y), (0, low), (x, y), (half, 0))

    inner, outer = rim(n, depth), rim(n + width, depth + width * (1.7 if v else 1))
    s.cloth([*outer, *inner[::-1]], plain=True)
    s.cloth([*inner, *smooth((n, 0), (0, 3.5), (-n, 0))], tint=0.55, plain=True)


def inside(s: Sketch, t: Top, depth: float, edge=3.0, rise=4.0) -> None:
    """Draw the dark inside of an open neck, whose back is `rise` higher and narrower by `edge`."""
    back = [(t.neck - edge, -rise), (edge - t.neck, -rise)]
    s.cloth([(-t.neck, 0), (0, depth), (t.neck, 0), *back], tint=0.55, plain=True)


def collar(s: Sketch, t: Top, *, point: float, spread: float) -> None:
    """Draw a pointed collar that meets in the middle."""
    tip = [(spread - 4, point + 5), (spread + 1, 4)]
    s.pair([(0, 9), *tip, (t.neck - 2, -5), (t.neck - 4, -1)], 30)


def hood(s: Sketch, t: Top, rng) -> None:
    """Draw a hood with its dark inside and two drawstrings."""
    wide, high = t.neck + rng.uniform(7, 9), rng.uniform(21, 24)
    s.cloth(whole(*smooth((0, -high), (wide * 0.75, -high * 0.75), (wide, -2), (9, 10), (0, 16))))
    inner = smooth((0, 6 - high), (wide * 0.52, -high * 0.5), (wide * 0.55, 0), (0, 12))
    s.cloth(whole(*inner), tint=0.5, plain=True)
    for x in (5, -5):
        s.line([(x, 9), (1.2 * x, 28)], 2.4)
        s.line([(x, 9), (1.2 * x, 27.5)], 1.3, (240, 240, 240))


def rib(s: Sketch, half: float, high: float, low: float) -> None:
    """Draw a ribbed band across the hem."""
    s.cloth(trapezium(half, high, half - 2, low), plain=True)
    for x in np.arange(2.5, half - 3, 5):
        s.lines([(x, high + 1), (x, low - 1)], 0.8)


def waistband(s: Sketch, half: float, height: float) -> None:
    """Draw a waistband; a high one narrows to the waist and has two columns of buttons."""
    high = height > 10
    top = half - 4.5 if high else half
    side = smooth((top, 1), (top + 0.3, height * 0.5), (half, height))
    s.cloth(whole((top, 0), *side), plain=True)
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
    under_the_arm = [(x, y), (x - rng.uniform(5, 9), y + rng.uniform(7, 12))]
    return [under_the_arm, [(t.half + t.waist - 3, low), (rng.uniform(11, 15), low + 5)]]


def skirt_folds(top: float, hem: float, narrow: float, wide: float, rng) -> list[Points]:
    """Return folds that fan out from the waist."""
    shares = np.array([0.25, 0.7]) + rng.uniform(-0.07, 0.07, 2)
    starts = [(x * narrow * 0.8, top + (hem - top) * rng.uniform(0.1, 0.35)) for x in shares]
    return [[start, (x * wide, hem - 2)] for start, x in zip(starts, shares)]
