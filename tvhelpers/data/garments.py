"""How each garment is drawn, on a board of 128 x 128 units whose middle is x = 64."""

from __future__ import annotations

import numpy as np

from tvhelpers.data.fabric import Board, Points, mirror, smooth

MIDDLE = 64.0


def draw_t_shirt(board: Board, spec, rng) -> None:
    """Draw a t-shirt: sleeves, body, neck rib, hems."""
    top = _top(rng, hem=rng.uniform(104, 114), flare=rng.uniform(-1, 3))
    _sleeves(board, top, spec.sleeve, rng)
    _body(board, top)
    _neck(board, top, spec.neckline)
    board.dashes(
        [(top.hem_left, top.hem - 3.5), (MIDDLE, top.hem - 2.5), (top.hem_right, top.hem - 3.5)]
    )
    board.folds(_body_folds(top, rng))


def draw_hoodie(board: Board, spec, rng) -> None:
    """Draw a hoodie: hood with a dark inside, drawstrings, kangaroo pocket, cuffs, ribbed hem."""
    top = _top(rng, hem=rng.uniform(106, 114), flare=rng.uniform(0, 3), drop=8)
    _sleeves(board, top, "long", rng, cuff=True)
    _body(board, top)
    _rib(board, top.hem_left, top.hem_right, top.hem - 6, top.hem)
    _hood(board, top, rng)
    y, half, wide = top.hem - 10, rng.uniform(10, 12), rng.uniform(16, 18)
    high = y - rng.uniform(20, 24)
    pocket = [
        (MIDDLE - half, high),
        (MIDDLE + half, high),
        (MIDDLE + wide, high + 11),
        (MIDDLE + wide, y),
        (MIDDLE - wide, y),
        (MIDDLE - wide, high + 11),
    ]
    board.cloth(pocket)
    board.folds(_body_folds(top, rng))


def draw_jacket(board: Board, spec, rng) -> None:
    """Draw a zipped jacket: collar, zip, slanted pockets, yoke seam, cuffs, waist rib."""
    top = _top(rng, hem=rng.uniform(104, 112), flare=rng.uniform(-1, 2), drop=2)
    _sleeves(board, top, "long", rng, cuff=True)
    _body(board, top)
    _rib(board, top.hem_left, top.hem_right, top.hem - 7, top.hem)
    neck = top.neck_y
    board.cloth(
        [
            (MIDDLE - 9, neck - 1),
            (MIDDLE, neck + 5),
            (MIDDLE + 9, neck - 1),
            (MIDDLE + 7, neck - 6),
            (MIDDLE - 7, neck - 6),
        ],
        tint=0.72,
        plain=True,
    )  # the inside of the collar
    for side in (1, -1):
        lapel = [
            (MIDDLE, neck + 6),
            (MIDDLE + side * 9, neck + 15),
            (MIDDLE + side * 15, neck + 3),
            (MIDDLE + side * 8, neck - 6),
            (MIDDLE + side * 6.5, neck - 1),
        ]
        board.cloth(lapel, angle=30 * side)
        low = top.hem - rng.uniform(24, 28)
        pocket = [(MIDDLE + side * 10, low), (MIDDLE + side * 17, low + 12)]
        board.line(pocket, 1.6)
        board.line([(MIDDLE + side * 4, neck + 27), (MIDDLE + side * top.half, neck + 25)], 0.7)
    silver, zip_top = (214, 216, 222), neck + 6
    board.line([(MIDDLE, zip_top), (MIDDLE, top.hem)], 2.6, board.edge)
    board.line([(MIDDLE, zip_top), (MIDDLE, top.hem)], 1.3, silver)
    board.line([(MIDDLE, zip_top + 4), (MIDDLE, zip_top + 9)], 2.4, silver)
    board.folds(_body_folds(top, rng))


def draw_dress(board: Board, spec, rng) -> None:
    """Draw a dress: bodice, waist seam, flared skirt with folds."""
    hem = {"short": 86, "knee-length": 101, "long": 119}[spec.length] + rng.uniform(-2, 2)
    flare = rng.uniform(9, 14) * {"short": 0.9, "knee-length": 1.1, "long": 1.3}[spec.length]
    top = _top(
        rng,
        hem=hem,
        flare=flare,
        half=rng.uniform(17, 20),
        lift=10,
        sleeveless=spec.sleeve == "sleeveless",
    )
    top.waist, top.waist_half = top.neck_y + rng.uniform(33, 37), top.half - rng.uniform(3, 5)
    if spec.sleeve != "sleeveless":
        _sleeves(board, top, spec.sleeve, rng)
    _body(board, top)
    _neck(board, top, spec.neckline)
    waist = [
        (MIDDLE - top.waist_half, top.waist),
        (MIDDLE, top.waist + 1.5),
        (MIDDLE + top.waist_half, top.waist),
    ]
    board.line(smooth(waist), 1.0)
    board.folds(_skirt_folds(top.waist + 3, top.hem, top.waist_half, top.hem_half, rng), 0.3)


def draw_skirt(board: Board, spec, rng) -> None:
    """Draw a skirt: waistband with a button, flared panel with folds, hem stitches."""
    length = {"short": 46, "knee-length": 68, "long": 92}[spec.length] + rng.uniform(-3, 3)
    half = rng.uniform(20, 23)
    hem_half = half + length * rng.uniform(0.20, 0.34)
    waist = 64 - length / 2 - 3
    hem = waist + length
    side = smooth(
        [
            (MIDDLE + half, waist),
            (MIDDLE + half + (hem_half - half) * 0.55, waist + length * 0.45),
            (MIDDLE + hem_half, hem - 3),
        ]
    )
    bottom = smooth([side[-1], (MIDDLE, hem + 2), (MIDDLE - hem_half, hem - 3)])
    board.cloth([*side, *bottom[1:-1], *mirror(side)])
    board.folds(_skirt_folds(waist + 3, hem, half, hem_half, rng), 0.34)
    board.dashes(
        [
            (MIDDLE - hem_half + 1.5, hem - 6),
            (MIDDLE, hem - 1.5),
            (MIDDLE + hem_half - 1.5, hem - 6),
        ]
    )
    band = [
        (MIDDLE - half, waist - 6),
        (MIDDLE + half, waist - 6),
        (MIDDLE + half, waist),
        (MIDDLE - half, waist),
    ]
    board.cloth(band, plain=True)
    board.disc(MIDDLE + half - 5, waist - 3, 1.5, (225, 225, 228))


def draw_trousers(board: Board, spec, rng) -> None:
    """Draw trousers: two legs, waistband with loops and button, fly, pockets, creases."""
    waist, half = rng.uniform(12, 16), rng.uniform(19, 22)
    ankle = {"cropped": 97, "long": 117}[spec.length] + rng.uniform(-2, 2)
    hip, crotch = half + rng.uniform(4, 6), waist + rng.uniform(34, 38)
    width, gap = rng.uniform(13, 18), rng.uniform(2, 6)
    outer = smooth(
        [(MIDDLE + half, waist + 6), (MIDDLE + hip, waist + 22), (MIDDLE + gap + width + 1, ankle)]
    )
    leg = [
        (MIDDLE, waist + 6),
        *outer,
        (MIDDLE + gap, ankle + 1),
        (MIDDLE + 1, crotch),
        (MIDDLE, crotch),
    ]
    board.cloth(leg, angle=-3)
    board.cloth(mirror(leg), angle=3)
    band = [
        (MIDDLE - half, waist),
        (MIDDLE + half, waist),
        (MIDDLE + half + 0.8, waist + 6),
        (MIDDLE - half - 0.8, waist + 6),
    ]
    board.cloth(band, plain=True)
    for side in (1, -1):
        board.line(
            smooth(
                [
                    (MIDDLE + side * (half - 7), waist + 6),
                    (MIDDLE + side * (half - 4), waist + 13),
                    (MIDDLE + side * (hip - 1.5), waist + 18),
                ]
            ),
            1.0,
        )  # pocket
        board.line(
            [(MIDDLE + side * half * 0.55, waist), (MIDDLE + side * half * 0.55, waist + 7)], 1.8
        )
        board.dashes(
            [(MIDDLE + side * (gap + 1), ankle - 4), (MIDDLE + side * (gap + width), ankle - 5)]
        )
    board.line(
        smooth([(MIDDLE + 5, waist + 6), (MIDDLE + 5, waist + 16), (MIDDLE, waist + 22)]), 0.8
    )  # fly
    board.disc(MIDDLE + 2, waist + 3, 1.4, (225, 225, 228))
    crease = (gap + width / 2 + hip * 0.5) / 2
    board.folds(
        [[(MIDDLE + s * hip * 0.5, waist + 30), (MIDDLE + s * crease, ankle - 6)] for s in (1, -1)]
        + [[(MIDDLE, crotch - 3), (MIDDLE + s * 10, crotch + 3)] for s in (1, -1)]
    )


# What tops share.


class _Top:
    """The measures of a top: neck, shoulders, armpits, hem; in board units."""


def _top(
    rng,
    *,
    hem: float,
    flare: float,
    half: float | None = None,
    drop: float = 0,
    lift: float = 0,
    sleeveless: bool = False,
) -> _Top:
    top = _Top()
    top.neck_half, top.neck_y = rng.uniform(9, 11), 20 + drop - lift + rng.uniform(-1, 1)
    top.half = half or rng.uniform(25, 29)
    top.shoulder = top.neck_half + rng.uniform(3, 5) if sleeveless else top.half + rng.uniform(0, 2)
    top.shoulder_y = top.neck_y + rng.uniform(6, 8)
    top.armpit_y = top.shoulder_y + rng.uniform(17, 19)
    top.hem, top.hem_half = hem, top.half + flare
    top.hem_left, top.hem_right = MIDDLE - top.hem_half, MIDDLE + top.hem_half
    top.waist, top.waist_half = (top.armpit_y + hem) / 2, top.half - 0.5
    return top


def _body(board: Board, top: _Top) -> None:
    side = smooth(
        [
            (MIDDLE + top.half, top.armpit_y),
            (MIDDLE + top.waist_half, top.waist),
            (top.hem_right, top.hem - 2),
        ]
    )
    arm = smooth(
        [
            (MIDDLE + top.shoulder, top.shoulder_y),
            (MIDDLE + min(top.shoulder, top.half - 2.5), top.armpit_y - 9),
            (MIDDLE + top.half, top.armpit_y),
        ]
    )
    half = [(MIDDLE + top.neck_half, top.neck_y), *arm, *side]
    bottom = smooth([half[-1], (MIDDLE, top.hem + 1), mirror(half[-1:])[0]])
    board.cloth([*half, *bottom[1:-1], *mirror(half)])


def _sleeves(board: Board, top: _Top, kind: str, rng, cuff: bool = False) -> None:
    angle = np.radians(rng.uniform(62, 74) if kind == "long" else rng.uniform(48, 60))
    length, wrist = (
        (rng.uniform(66, 72), rng.uniform(8.5, 10)) if kind == "long" else (rng.uniform(24, 29), 15)
    )
    length *= min(1.0, (122 - top.shoulder_y) / 90)
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    shoulder = np.array([MIDDLE + top.shoulder, top.shoulder_y])
    end = shoulder + along * length
    inner = end + across * wrist
    elbow = shoulder + along * length * 0.5 + np.array([1.5, -1.5])
    sleeve = [
        *smooth([tuple(shoulder), tuple(elbow), tuple(end)]),
        tuple(inner),
        (MIDDLE + top.half - 1, top.armpit_y + 1),
        (MIDDLE + top.half - 8, top.armpit_y - 3),
        (MIDDLE + top.shoulder - 8, top.shoulder_y),
    ]  # under the body
    turn = 90 - np.degrees(angle)
    for points, sign in ((sleeve, -1), (mirror(sleeve), 1)):
        board.cloth(points, angle=sign * turn)
    back = 5 if cuff else 3
    seam: Points = [tuple(end - along * back), tuple(inner - along * back)]
    for points in (seam, mirror(seam)):
        board.line(points, 1.0) if cuff else board.dashes(points)
    if kind == "long":
        bend = shoulder + along * length * 0.52
        fold = [tuple(bend + across * 2), tuple(bend + across * 8 + along * 3)]
        board.folds([fold, mirror(fold)])


def _neck(board: Board, top: _Top, neckline: str) -> None:
    """Draw the opening with its dark inside and a rib around it."""
    depth = 17 if neckline == "V-neck" else 7
    left, right = (MIDDLE - top.neck_half, top.neck_y), (MIDDLE + top.neck_half, top.neck_y)
    low = [left, (MIDDLE, top.neck_y + depth), right]
    rim = (
        low
        if neckline == "V-neck"
        else smooth(
            [
                left,
                (MIDDLE - 5.5, top.neck_y + depth - 1.6),
                low[1],
                (MIDDLE + 5.5, top.neck_y + depth - 1.6),
                right,
            ]
        )
    )
    back = smooth([right, (MIDDLE, top.neck_y + 2.5), left])
    wide = [
        (MIDDLE + (x - MIDDLE) * 1.32, top.neck_y + (y - top.neck_y) * 1.22 + 1.6) for x, y in rim
    ]
    wide[0], wide[-1] = (left[0] - 2.6, left[1] + 0.8), (right[0] + 2.6, right[1] + 0.8)
    board.cloth([*wide, *rim[::-1]], plain=True)
    board.cloth([*rim, *back], tint=0.66, plain=True)


def _hood(board: Board, top: _Top, rng) -> None:
    y, wide, high = top.neck_y, top.neck_half + rng.uniform(7, 9), rng.uniform(20, 22)
    half = smooth(
        [
            (MIDDLE, y - high),
            (MIDDLE + wide * 0.75, y - high * 0.72),
            (MIDDLE + wide, y - 2),
            (MIDDLE + 8, y + 9),
            (MIDDLE, y + 15),
        ]
    )
    board.cloth([*half, *mirror(half)])
    hole = smooth(
        [
            (MIDDLE, y - high + 6),
            (MIDDLE + wide * 0.52, y - high * 0.52),
            (MIDDLE + wide * 0.55, y),
            (MIDDLE, y + 11),
        ]
    )
    board.cloth([*hole, *mirror(hole)], tint=0.5, plain=True)
    for side in (1, -1):
        board.line([(MIDDLE + side * 5, y + 8), (MIDDLE + side * 6, y + 26)], 1.9, board.edge)
        board.line([(MIDDLE + side * 5, y + 8), (MIDDLE + side * 6, y + 25)], 1.0, (238, 238, 238))


def _rib(board: Board, left: float, right: float, high: float, low: float) -> None:
    board.cloth([(left, high), (right, high), (right - 1.5, low), (left + 1.5, low)], plain=True)
    for x in np.arange(left + 3, right - 2, 4):
        board.line([(x, high + 1), (x, low - 1)], 0.5)


def _body_folds(top: _Top, rng) -> list[Points]:
    lines = []
    for side in (1, -1):
        x, y = MIDDLE + side * (top.half - 3), top.armpit_y + 2
        lines.append([(x, y), (x - side * rng.uniform(5, 9), y + rng.uniform(7, 12))])
        low = top.hem - rng.uniform(14, 20)
        lines.append(
            [
                (MIDDLE + side * (top.waist_half - 3), low),
                (MIDDLE + side * rng.uniform(10, 15), low + 5),
            ]
        )
    return lines


def _skirt_folds(top: float, hem: float, top_half: float, hem_half: float, rng) -> list[Points]:
    shares = np.linspace(-0.68, 0.68, 4) + rng.uniform(-0.08, 0.08, 4)
    return [
        [
            (MIDDLE + s * top_half * 0.8, top + (hem - top) * rng.uniform(0.1, 0.35)),
            (MIDDLE + s * hem_half, hem - 2),
        ]
        for s in shares
    ]
