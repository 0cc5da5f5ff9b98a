"""Flats: drawn garments whose category, colour, pattern, sleeve, neckline and length are known
exactly.

A picture is a function of (spec, seed, index), and a spec one of (seed, index).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tvhelpers.data import garments
from tvhelpers.data.fabric import PATTERNS as FABRICS
from tvhelpers.data.fabric import Board

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (40, 40, 45),
    "white": (246, 246, 246),
    "gray": (146, 148, 152),
    "red": (205, 32, 40),
    "pink": (246, 158, 188),
    "orange": (243, 132, 32),
    "yellow": (247, 214, 50),
    "green": (44, 142, 68),
    "blue": (44, 92, 190),
    "purple": (126, 58, 158),
    "brown": (118, 74, 42),
    "beige": (218, 196, 158),
}
PATTERNS = tuple(FABRICS)
ACCENTS = {
    "white": ("blue", "red", "black"),
    "yellow": ("black", "purple"),
    "beige": ("brown", "black"),
    "pink": ("white", "red"),
    "black": ("white", "red", "yellow"),
    "gray": ("white", "black"),
}
TARTAN_ACCENTS = {
    "black": ("white", "red"),
    "white": ("black", "red"),
    "yellow": ("black",),
    "beige": ("brown", "red"),
    "red": ("black",),
    "green": ("black", "yellow"),
    "pink": ("purple",),
}


@dataclass(frozen=True)
class Category:
    """A kind of garment: how it is drawn, and the attributes that it has."""

    draw: object  # function (board, spec, rng)
    sleeves: tuple[str, ...] = ()
    necklines: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    pair: bool = False  # "a pair of ..."


_CATEGORIES = {
    "t-shirt": Category(garments.draw_t_shirt, ("short", "long"), ("crew", "V-neck")),
    "hoodie": Category(garments.draw_hoodie, ("long",), ("hood",)),
    "jacket": Category(garments.draw_jacket, ("long",), ("collar",)),
    "dress": Category(
        garments.draw_dress,
        ("sleeveless", "short", "long"),
        ("crew", "V-neck"),
        ("short", "knee-length", "long"),
    ),
    "skirt": Category(garments.draw_skirt, lengths=("short", "knee-length", "long")),
    "trousers": Category(garments.draw_trousers, lengths=("cropped", "long"), pair=True),
}
CATEGORIES = tuple(_CATEGORIES)


@dataclass(frozen=True)
class Spec:
    """What a flat shows; None where the category has no such attribute."""

    category: str
    colour: str
    pattern: str = "plain"
    sleeve: str | None = None
    neckline: str | None = None
    length: str | None = None

    def __post_init__(self):
        for kind, value, known in (
            ("category", self.category, CATEGORIES),
            ("colour", self.colour, COLOURS),
            ("pattern", self.pattern, PATTERNS),
        ):
            if value not in known:
                raise ValueError(f"unknown {kind} {value!r}; the flats have {', '.join(known)}")
        kind = _CATEGORIES[self.category]
        for name, words in (
            ("sleeve", kind.sleeves),
            ("neckline", kind.necklines),
            ("length", kind.lengths),
        ):
            value = getattr(self, name)
            if value not in (words or (None,)):
                one_of = ", ".join(words) if words else "None"
                raise ValueError(f"{name} of a {self.category} is {value!r}; give {one_of}")

    def attributes(self) -> dict[str, str]:
        """Return {attribute: word} of the attributes that the garment has."""
        return {name: value for name, value in vars(self).items() if value is not None}


def random_spec(
    seed: int, index: int, *, categories=CATEGORIES, colours=tuple(COLOURS), patterns=PATTERNS
) -> Spec:
    """Return the spec of flat `index`: every category, colour and pattern equally often."""
    rng = _rng(seed, index, "spec")
    category, colour, pattern = (_pick(rng, words) for words in (categories, colours, patterns))
    if category not in _CATEGORIES:
        raise ValueError(f"unknown category {category!r}; the flats have {', '.join(CATEGORIES)}")
    kind = _CATEGORIES[category]
    return Spec(
        category,
        colour,
        pattern,
        *(_pick(rng, words) for words in (kind.sleeves, kind.necklines, kind.lengths)),
    )


def render(spec: Spec, seed: int, index: int, size: int = 128) -> np.ndarray:
    """Draw a spec; pose, proportions and fabric vary with (seed, index).

    Returns pixels uint8 (size, size, 3) RGB on white.
    """
    rng = _rng(seed, index, "draw")
    colour = np.array(COLOURS[spec.colour]) + rng.normal(0, 2.5, 3) + rng.normal(0, 4)
    accents = (TARTAN_ACCENTS if spec.pattern == "tartan" else ACCENTS).get(spec.colour, ("white",))
    accent = np.array(COLOURS[_pick(rng, accents)])
    period = rng.uniform(9, 13)
    board = Board(
        size, np.clip(colour, 20, 250), accent, spec.pattern, period, tuple(rng.uniform(0, 30, 2))
    )
    _CATEGORIES[spec.category].draw(board, spec, rng)
    return board.finish(rng.normal(0, 1.5))


def captions(spec: Spec) -> list[str]:
    """Return distinct natural phrasings of a spec; the first is the shortest."""
    pattern = "" if spec.pattern == "plain" else spec.pattern
    core = _join(spec.colour, pattern, spec.category)
    rich = _join(
        spec.length or "", _sleeve_word(spec), spec.colour, pattern, _neck_word(spec), spec.category
    )
    a = _with_article(core, spec)
    full = _with_article(rich, spec)
    tail = f" with a {pattern} pattern" if pattern else ""
    bare = _with_article(_join(spec.colour, spec.category), spec)
    phrasings = [
        core,
        a,
        rich,
        full,
        f"a flat drawing of {a}",
        f"{bare}{tail}",
        f"{full}, on white",
        f"{spec.category} in {_join(spec.colour, pattern)}",
        f"fashion design: {rich}",
    ]
    if not pattern:
        phrasings.append(_with_article(_join("plain", spec.colour, spec.category), spec))
    return list(dict.fromkeys(phrasings))


def caption(spec: Spec, seed: int, index: int) -> str:
    """Return the caption of flat `index`, one of `captions(spec)`."""
    return _pick(_rng(seed, index, "caption"), captions(spec))


def _sleeve_word(spec: Spec) -> str:
    if (
        spec.category in ("hoodie", "jacket") or not spec.sleeve
    ):  # always long there, so nobody says it
        return ""
    return spec.sleeve if spec.sleeve == "sleeveless" else f"{spec.sleeve}-sleeved"


def _neck_word(spec: Spec) -> str:
    return {"V-neck": "V-neck", "crew": "crew neck"}.get(spec.neckline, "")


def _with_article(noun: str, spec: Spec) -> str:
    if _CATEGORIES[spec.category].pair:
        return f"a pair of {noun}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def _rng(seed: int, index: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, index, *purpose.encode()])


def _pick(rng: np.random.Generator, words):
    return words[rng.integers(len(words))] if words else None
