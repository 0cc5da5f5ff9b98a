"""How are tops and garments in one piece drawn?  They hang from a neck at y = 0.

Each function takes (sketch, spec, rng) and adds a garment about 100 units long to the sketch.
"""

import numpy as np

from tvhelpers.flats.parts import (
    Top,
    armhole,
    body,
    body_folds,
    box,
    buttons,
    collar,
    hem_stitch,
    hood,
    inside,
    neck_rib,
    rib,
    skirt_folds,
    sleeves,
    strap_of,
    whole,
    zipper,
)
from tvhelpers.flats.sketch import Sketch, smooth


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
    length, half = rng.uniform(82, 92), rng.uniform(24, 28)
    t = Top(rng, length=length, half=half, flare=rng.uniform(0, 3), strap=rng.uniform(5, 7))
    t.armpit += 8
    body(s, t)
    neck_rib(s, t, spec.neckline, depth={"crew": 20, "V-neck": 30}[spec.neckline])
    s.lines([(x - 1.8, y + 0.6) for x, y in armhole(t)], 0.8)
    hem_stitch(s, t)
    s.folds(*body_folds(t, rng))


def draw_shirt(s: Sketch, spec, rng) -> None:
    """Draw a shirt: collar, button placket, chest pocket, cuffs, a curved tail."""
    t = Top(rng, length=rng.uniform(88, 98), half=rng.uniform(27, 30), flare=rng.uniform(0, 2))
    sleeves(s, t, rng, spec.sleeve, cuff=7 if spec.sleeve == "long" else 4)
    body(s, t, tail=8)
    inside(s, t, 9)
    s.cloth(box(-3, 8, 3, t.hem + 1))
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
    inside(s, t, low, edge=4, rise=2)
    collar = [(t.neck - 1, -1), (t.neck + 5, 1), (4, low + 2)]
    s.pair([*collar, (4, t.hem + 1), (-1, t.hem + 1), (-1, low)], plain=True)
    buttons(s, 1.5, low + 6, t.hem - 5, 4)
    s.pair(box(9, t.hem - 26, 21, t.hem - 12))
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
    outer = smooth((half, t.hem - 8), (half + 2, t.hem + 14), (14, foot - 7))
    s.pair([(0, t.hem - 8), *outer, (3.5, foot - 7), (0, t.hem + 16)], 3)
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
    s.cloth(box(-edge, t.hem - 7, edge, t.hem + 1), plain=True)
    s.lines([(0, 24), (t.half - 1.5, 23)], 1.0)
    s.pair([(7, 29), (21, 28), (21, 34), (14, 37), (7, 34)])
    s.lines([(11, t.hem - 27), (18, t.hem - 13)], 2.2)
    zipper(s, 8, t.hem + 1)
    collar(s, t, point=17, spread=17)
    s.folds(*body_folds(t, rng))


def draw_blazer(s: Sketch, spec, rng) -> None:
    """Draw a single-breasted blazer: notched lapels, two buttons, a welt and two flap pockets."""
    t = Top(rng, length=rng.uniform(86, 94), half=rng.uniform(26, 29), flare=rng.uniform(1, 3))
    t.waist -= 1.5
    sleeves(s, t, rng, "long", width=10, reach=1.02)
    body(s, t)
    low = rng.uniform(42, 48)
    inside(s, t, low, edge=2)
    s.line([(0, low), (0, t.hem - 12), (2.5, t.hem)], 1.3)
    s.line([(0, t.hem - 12), (-2.5, t.hem)], 1.0)
    notch = [(14, 25), (15.5, 17), (11, 15.5), (15.5, 11)]
    s.pair([(0, low + 1), *notch, (t.neck + 1.5, -3), (t.neck - 3, -2)], 20)
    s.lines([(11, 15.5), (7, 14)], 1.0)
    for y in (low + 4, low + 16):
        s.disc(-2, y, 1.9)
    s.cloth([(13, 34), (21, 32), (21, 35), (13, 37)])
    s.pair([(9, t.hem - 28), (21, t.hem - 29), (21.5, t.hem - 23), (9, t.hem - 22)])
    s.lines([(13, t.armpit + 16), (12, t.hem - 29)], 0.8)
    s.folds(*body_folds(t, rng))


def draw_bomber_jacket(s: Sketch, spec, rng) -> None:
    """Draw a bomber jacket: round rib collar, zip, a full body gathered by a wide ribbed hem."""
    t = Top(rng, length=rng.uniform(62, 68), half=rng.uniform(30, 33), flare=rng.uniform(1, 3))
    sleeves(s, t, rng, "long", cuff=9, width=14, ribbed=True)
    body(s, t)
    inside(s, t, 5)
    outer = smooth((-t.neck - 3, 1), (-7, 8.5), (0, 10.5), (7, 8.5), (t.neck + 3, 1))
    inner = smooth((t.neck - 1, -4), (5, 2.5), (0, 4), (-5, 2.5), (1 - t.neck, -4))
    s.cloth([*outer, *inner], plain=True)
    for x in (2.5, 6, 9):
        s.lines([(x, 9.5 - x * x / 26), (0.85 * x, 3.5 - x * x / 34)], 0.7)
    rib(s, t.half - 2, t.hem - 2, t.hem + 10)
    s.lines([(10, t.hem - 30), (19, t.hem - 16)], 2.4)
    zipper(s, 7, t.hem + 10)
    gathers = [(6, t.hem - 3), (8, t.hem - 13)], [(18, t.hem - 3), (17, t.hem - 13)]
    s.folds(*gathers, *body_folds(t, rng)[:1])


def draw_coat(s: Sketch, spec, rng) -> None:
    """Draw a double-breasted coat: wide lapels, two rows of buttons, flap pockets, a long body."""
    length = {"knee-length": 100, "long": 122}[spec.length] + rng.uniform(-4, 4)
    t = Top(rng, length=length, half=rng.uniform(25, 28), flare=rng.uniform(4, 8))
    t.waist -= 1
    sleeves(s, t, rng, "long", cuff=6, width=11, reach=1.02)
    body(s, t)
    inside(s, t, 30)
    s.line([(-1, 34), (-1, t.hem + 1)], 1.2)
    s.pair([(0, 36), (16, 20), (12, 16), (17, 12), (t.neck + 1, -3), (t.neck - 3, -1)], 20)
    s.lines([(12, 16), (7, 14)], 1.0)
    for y in np.linspace(42, 74, 4):
        for x in (7, -9):
            s.disc(x, y, 1.9)
    s.pair([(11, 70), (24, 68), (24, 75), (11, 77)])
    s.folds([(10, 84), (13, t.hem - 4)], *body_folds(t, rng)[:1])


def draw_parka(s: Sketch, spec, rng) -> None:
    """Draw a hooded coat: a placket over the zip with snaps, a drawn waist, large flap pockets."""
    length = {"knee-length": 96, "long": 116}[spec.length] + rng.uniform(-4, 4)
    t = Top(rng, length=length, half=rng.uniform(28, 31), flare=rng.uniform(3, 6))
    sleeves(s, t, rng, "long", cuff=6, width=13)
    body(s, t)
    hood(s, t, rng)
    s.cloth(box(-4, 15, 4, t.hem + 1))
    buttons(s, 0, 22, t.hem - 10, 6)
    waist = rng.uniform(52, 58)
    s.lines([(4, waist), (t.half - 0.5, waist - 1)], 0.9, dashed=True)
    pocket = [(9, waist + 9), (24, waist + 8), (24.5, waist + 27), (9, waist + 28)]
    s.pair(pocket)
    s.pair([(8, waist + 8), (25, waist + 7), (25, waist + 13), (16.5, waist + 16), (8, waist + 14)])
    hem_stitch(s, t)
    s.folds(*body_folds(t, rng))


def draw_dress(s: Sketch, spec, rng) -> None:
    """Draw a dress: fitted bodice, waist seam, flared skirt with folds."""
    length = {"short": 82, "knee-length": 104, "midi": 117, "long": 128}[spec.length] + rng.uniform(
        -4, 4
    )
    half, strap = rng.uniform(19, 22), strap_of(spec, rng)
    t = Top(rng, length=length, half=half, flare=0, strap=strap)
    t.waist_y, t.waist = rng.uniform(39, 43), rng.uniform(15, 18) - t.half
    t.flare = rng.uniform(0.17, 0.25) * (length - t.waist_y) + 3
    sleeves(s, t, rng, spec.sleeve, width=10, reach=0.88)
    body(s, t)
    neck_rib(s, t, spec.neckline, width=2, depth={"crew": 10, "V-neck": 23}[spec.neckline])
    narrow, wide = t.half + t.waist, t.half + t.flare
    s.line(smooth((-narrow, t.waist_y), (0, t.waist_y + 2), (narrow, t.waist_y)), 1.4)
    s.folds(*skirt_folds(t.waist_y + 3, t.hem, narrow, wide, rng))
    s.lines([(0.12 * wide, t.hem - 1), (0.18 * narrow, t.waist_y + 14)], 0.7)


def draw_jumpsuit(s: Sketch, spec, rng) -> None:
    """Draw a jumpsuit: a bodice and long trousers in one piece, with a belt of its own cloth."""
    half, strap = rng.uniform(18, 20), strap_of(spec, rng)
    t = Top(rng, length=43, half=half, flare=-2, strap=strap)
    t.waist = -2
    foot, hip = rng.uniform(122, 130), t.half + 2
    width = rng.uniform(11, 15)
    outer = smooth((t.half - 2, 42), (hip, 58), (width + 4, foot))
    s.pair([(0, 42), *outer, (4, foot + 1), (0, 70)], 3)
    s.lines([(hip - 6, 48), (hip - 0.5, 57)], 1.2)
    sleeves(s, t, rng, spec.sleeve, width=10, reach=0.9)
    body(s, t)
    neck_rib(s, t, spec.neckline, width=2, depth={"crew": 9, "V-neck": 21}[spec.neckline])
    s.cloth(box(-t.half, 41, t.half, 47), plain=True)
    s.cloth(box(-4, 40.5, 4, 47.5), plain=True)
    s.folds([(9, 72), (10, foot - 6)], [(2, 68), (9, 74)])
