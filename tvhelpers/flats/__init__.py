"""Flats: drawn garments whose category, colour, pattern, sleeve, neckline, length and waist are
known exactly.

A picture is a function of (spec, seed, index), and a spec one of (seed, index).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tvhelpers.flats import bottoms, tops
from tvhelpers.flats.fabric import PATTERNS as FABRICS
from tvhelpers.flats.fabric import Fabric, Sketch, paint
from tvhelpers.flats.parts import WAISTS as WAISTBANDS
from tvhelpers.runtime import seed_for

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (38, 38, 43),
    "white": (247, 247, 247),
    "gray": (146, 148, 152),
    "red": (205, 32, 40),
    "pink": (246, 152, 186),
    "orange": (243, 128, 28),
    "yellow": (248, 214, 46),
    "green": (40, 140, 66),
    "blue": (40, 88, 190),
    "purple": (124, 56, 158),
    "brown": (116, 72, 40),
    "beige": (218, 196, 158),
}
# What identifies the drawings in the key of a cache or a run.  It is a list of digests since the
# first drawings were named so; when a drawing changes, write a version number instead.
DRAWING = [
    "0750e9396274c6e3",
    "2bfedc8a58df468c",
    "ecd2ae18ebdfa39d",
    "7b34b50d3a048ea5",
    "a6fdf973fba3040e",
]

PATTERNS = tuple(FABRICS)
# Second colours of stripes, dots, checks and flowers.  A pair of colours belongs to one ground:
# red and white is red, so that white has a colour of its own beside it.
WHITE = COLOURS["white"]
ACCENTS = {"white": (0, 122, 128), "yellow": COLOURS["black"], "beige": COLOURS["brown"]}
# Third colours: of tartan's thin lines.
LINES = {
    "white": ("red",),
    "yellow": ("red", "white"),
    "beige": ("red", "white"),
    "pink": ("white",),
}
STYLES = ("elegant", "casual", "classic", "modern", "formal", "simple", "stylish", "everyday")

SLEEVES = ("sleeveless", "short", "long")
LENGTHS = ("short", "knee-length", "long")
NECKS = ("crew", "V-neck")
WAISTS = tuple(WAISTBANDS)


@dataclass(frozen=True)
class Category:
    """A kind of garment: how it is drawn, and the words for each attribute that it has."""

    draw: object  # function (sketch, spec, rng)
    sleeve: tuple[str, ...] = ()
    neckline: tuple[str, ...] = ()
    length: tuple[str, ...] = ()
    waist: tuple[str, ...] = ()
    pair: bool = False  # "a pair of ..."
    cloth: str = ""  # what it may be said to be made of


_CATEGORIES = {
    "t-shirt": Category(tops.draw_t_shirt, SLEEVES[1:], NECKS),
    "tank top": Category(tops.draw_tank_top, SLEEVES[:1], NECKS),
    "shirt": Category(tops.draw_shirt, SLEEVES[1:], ("collar",)),
    "sweater": Category(tops.draw_sweater, SLEEVES[2:], NECKS, cloth="knitted"),
    "cardigan": Category(tops.draw_cardigan, SLEEVES[2:], NECKS[1:], cloth="knitted"),
    "hoodie": Category(tops.draw_hoodie, SLEEVES[2:], ("hood",)),
    "sweatsuit": Category(tops.draw_sweatsuit, SLEEVES[2:], NECKS[:1], cloth="jersey"),
    "jacket": Category(tops.draw_jacket, SLEEVES[2:], ("collar",)),
    "bomber jacket": Category(tops.draw_bomber_jacket, SLEEVES[2:], NECKS[:1]),
    "coat": Category(tops.draw_coat, SLEEVES[2:], ("collar",), LENGTHS[1:], cloth="wool"),
    "dress": Category(tops.draw_dress, SLEEVES, NECKS, LENGTHS),
    "jumpsuit": Category(tops.draw_jumpsuit, SLEEVES[:2], NECKS),
    "skirt": Category(bottoms.draw_skirt, length=LENGTHS, waist=WAISTS),
    "trousers": Category(bottoms.draw_trousers, (), (), ("cropped", "long"), WAISTS, True),
    "leggings": Category(bottoms.draw_leggings, pair=True),
    "shorts": Category(bottoms.draw_shorts, waist=WAISTS, pair=True, cloth="denim"),
    "overalls": Category(bottoms.draw_overalls, length=("short", "long"), cloth="denim"),
    "belt": Category(bottoms.draw_belt, cloth="leather"),
}
CATEGORIES = tuple(_CATEGORIES)
OPTIONAL = ("sleeve", "neckline", "length", "waist")
ATTRIBUTES = ("category", "colour", "pattern", *OPTIONAL)

# The new season: what mini's base never sees, and its shipped adapter adds.
NEW_CATEGORIES = ("bomber jacket", "overalls", "belt", "sweatsuit")
NEW_PATTERNS = ("tartan", "floral")
SEASONS = ("base", "new", "all")


@dataclass(frozen=True)
class Spec:
    """What a flat shows; None where the category has no such attribute."""

    category: str
    colour: str
    pattern: str = "plain"
    sleeve: str | None = None
    neckline: str | None = None
    length: str | None = None
    waist: str | None = None

    def __post_init__(self):
        for kind, value, known in (
            ("category", self.category, CATEGORIES),
            ("colour", self.colour, COLOURS),
            ("pattern", self.pattern, PATTERNS),
        ):
            if value not in known:
                raise ValueError(f"unknown {kind} {value!r}; the flats have {', '.join(known)}")
        for name in OPTIONAL:
            words, value = getattr(_CATEGORIES[self.category], name), getattr(self, name)
            if value not in (words or (None,)):
                one_of = ", ".join(words) if words else "None"
                raise ValueError(f"{name} of a {self.category} is {value!r}; give {one_of}")

    def attributes(self) -> dict[str, str]:
        """Return {attribute: word} of the attributes that the garment has."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def triple(self) -> tuple[str, str, str]:
        """(category, colour, pattern)."""
        return self.category, self.colour, self.pattern

    @property
    def has_new_word(self) -> bool:
        """Whether it shows something that the base has no word for."""
        new = self.category in NEW_CATEGORIES or self.pattern in NEW_PATTERNS
        return new or self.waist == "high-waisted"

    @property
    def is_new(self) -> bool:
        """Whether it is of the new season: a new word, or one of the triples that are held out."""
        return self.has_new_word or is_held_out(*self.triple)


def is_held_out(category: str, colour: str, pattern: str) -> bool:
    """Return whether a triple is of the tenth that mini's base never sees, though its words."""
    return seed_for(0, "held-out triple", category, colour, pattern) % 10 == 0


def options(category: str, attribute: str) -> tuple[str, ...]:
    """Return the words that a category has for an optional attribute."""
    return getattr(_CATEGORIES[category], attribute)


def random_spec(
    seed: int,
    index: int,
    *,
    categories=CATEGORIES,
    colours=tuple(COLOURS),
    patterns=PATTERNS,
    season: str = "all",
) -> Spec:
    """Return the spec of flat `index`: words equally often, as far as its season ("base", "new",
    "all") has them."""
    if season not in SEASONS:
        raise ValueError(f"unknown season {season!r}; the flats have {', '.join(SEASONS)}")
    rng = _rng(seed, index, "spec")
    for _ in range(1000):
        category, colour, pattern = (_pick(rng, words) for words in (categories, colours, patterns))
        if category not in _CATEGORIES:
            raise ValueError(
                f"unknown category {category!r}; the flats have {', '.join(CATEGORIES)}"
            )
        kind = _CATEGORIES[category]
        spec = Spec(category, colour, pattern, *(_pick(rng, getattr(kind, a)) for a in OPTIONAL))
        if season == "all" or spec.is_new == (season == "new"):
            return spec
    raise ValueError(f"no such garment is of season {season!r}")


def words_of(attribute: str) -> tuple[str, ...]:
    """Return all words of an attribute; "none" is the first of one that not every category has."""
    if attribute in OPTIONAL:
        words = [word for kind in _CATEGORIES.values() for word in getattr(kind, attribute)]
        return ("none", *dict.fromkeys(words))
    return {"category": CATEGORIES, "colour": tuple(COLOURS), "pattern": PATTERNS}[attribute]


def render(spec: Spec, seed: int, index: int, size: int = 128) -> np.ndarray:
    """Draw a spec; pose, proportions and fabric vary with (seed, index).

    Returns pixels uint8 (size, size, 3) RGB on white.
    """
    rng = _rng(seed, index, "draw")
    fabric = _fabric(spec, rng)
    sketch = Sketch()
    _CATEGORIES[spec.category].draw(sketch, spec, rng)
    return paint(
        sketch,
        fabric,
        size,
        rotation=rng.normal(0, 1.5),
        share=rng.uniform(0.8, 0.91),
        shift=tuple(rng.uniform(-2.5, 2.5, 2)),
    )


def _fabric(spec: Spec, rng) -> Fabric:
    hue = 1.2 if spec.colour in ("black", "white", "gray") else 3.0  # more would tint a gray
    ground = np.array(COLOURS[spec.colour]) + rng.normal(0, hue, 3) + rng.normal(0, 4)
    second = np.array(ACCENTS.get(spec.colour, WHITE))
    third = np.array(COLOURS["red" if spec.colour in ("yellow", "orange") else "yellow"])
    if spec.pattern == "tartan":
        second = ground + 50 if spec.colour == "black" else ground * 0.25
        third = np.array(COLOURS[_pick(rng, LINES.get(spec.colour, ("white", "yellow")))])
    colours = np.clip([ground, second, third], 16, 250).astype(np.float32)
    return Fabric(colours, spec.pattern, rng.uniform(11, 14), tuple(rng.uniform(0, 40, 2)))


def phrasings(spec: Spec) -> list[tuple[str, tuple[str, ...]]]:
    """Return distinct natural phrasings of a spec, each with the attributes that it states.

    The first is the shortest that states category, colour and pattern; a high waist is always said.
    """
    kind = _CATEGORIES[spec.category]
    pattern = "" if spec.pattern == "plain" else spec.pattern
    waist = "high-waisted" if spec.waist == "high-waisted" else ""
    neck = {"V-neck": "V-neck", "crew": "crew neck"}.get(spec.neckline, "")
    neck = neck if len(kind.neckline) > 1 else ""
    sleeve = spec.sleeve if spec.sleeve == "sleeveless" else f"{spec.sleeve}-sleeved"
    sleeve = sleeve if len(kind.sleeve) > 1 else ""
    length, noun = spec.length or "", spec.category
    core = _join(spec.colour, pattern, waist, noun)
    rich = _join(length, sleeve, spec.colour, pattern, neck, waist, noun)
    a, full = _with_article(core, kind), _with_article(rich, kind)
    bare = _with_article(_join(spec.colour, waist, noun), kind)
    short = ("category", "colour", "pattern", "waist")
    stated = [
        (core, short),
        (a, short),
        (rich, ATTRIBUTES),
        (full, ATTRIBUTES),
        (f"a flat drawing of {a}", short),
        (f"{full}, on white", ATTRIBUTES),
        (f"fashion design: {rich}", ATTRIBUTES),
        (f"{_join(pattern, waist, noun)} in {spec.colour}", short),
        *((f"{style} {core}", short) for style in STYLES[len(core) % 4 :: 4]),
    ]
    if pattern:
        stated.append((f"{bare} with a {pattern} pattern", short))
        stated.append(
            (_join(pattern, neck, waist, noun), ("category", "pattern", "neckline", "waist"))
        )
    else:
        stated.append((_with_article(_join("plain", spec.colour, waist, noun), kind), short))
        stated.append(
            (_join(length, neck, waist, noun), ("category", "neckline", "length", "waist"))
        )
    if kind.cloth and not pattern:
        stated.append((_join(length, spec.colour, waist, kind.cloth, noun), (*short, "length")))
    return list(dict(stated).items())


def captions(spec: Spec) -> list[str]:
    """Return the texts of `phrasings(spec)`."""
    return [text for text, _ in phrasings(spec)]


def caption(spec: Spec, seed: int, index: int) -> str:
    """Return the caption of flat `index`, one of `captions(spec)`."""
    return _pick(_rng(seed, index, "caption"), captions(spec))


def _with_article(noun: str, kind: Category) -> str:
    if kind.pair:
        return f"a pair of {noun}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def _rng(seed: int, index: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, index, *purpose.encode()])


def _pick(rng: np.random.Generator, words):
    return words[rng.integers(len(words))] if words else None
