"""Which garments do flats show, and which attributes does each have?"""

from dataclasses import dataclass

import numpy as np

from tvhelpers.files import read_tables
from tvhelpers.flats.fabric import PATTERNS as FABRICS
from tvhelpers.runtime import seed_for

_TABLES = read_tables(__file__, "garments.yaml")
COLOURS: dict[str, tuple[int, int, int]] = {k: tuple(v) for k, v in _TABLES["colours"].items()}
# {shade: RGB}, and {colour: its shades}
_SHADES = read_tables(__file__, "shop_words.yaml")["shades"]
SHADES = {shade: tuple(rgb) for shades in _SHADES.values() for shade, (rgb, *_) in shades.items()}
SHADES_OF = {colour: tuple(_SHADES[colour]) for colour in COLOURS}
CATEGORIES = tuple(_TABLES["categories"])
PATTERNS = tuple(FABRICS)
STYLES, FILLERS = (tuple(_TABLES[name]) for name in ("styles", "fillers"))
OPTIONAL = ("sleeve", "neckline", "length", "waist")
ATTRIBUTES = ("category", "colour", "pattern", *OPTIONAL)
ALL_ATTRIBUTES = (*ATTRIBUTES, "cut")
NEW_CATEGORIES, NEW_PATTERNS = (tuple(words) for words in _TABLES["new_season"].values())
SEASONS = ("base", "new", "all")


@dataclass(frozen=True)
class Spec:
    """The attributes of one flat; None where the category has no such attribute.

    `shade` is a shade of the colour, or its name; only flats with a shade have a cut and other
    values that came later.
    """

    category: str
    colour: str
    pattern: str = "plain"
    sleeve: str | None = None
    neckline: str | None = None
    length: str | None = None
    waist: str | None = None
    cut: str | None = None
    shade: str | None = None

    def __post_init__(self):
        for name in ("category", "colour", "pattern"):
            _check_known(name, getattr(self, name))
        for name in (*OPTIONAL, "cut"):
            value = getattr(self, name)
            words = options(self.category, name, later=self.shade is not None)
            if value not in (words or (None,)):
                one_of = ", ".join(words) if words else "None"
                raise ValueError(f"{name} of a {self.category} is {value!r}; give {one_of}")

    def attributes(self) -> dict[str, str]:
        """Return {attribute: word} of the attributes that the garment has."""
        values = {name: getattr(self, name) for name in ALL_ATTRIBUTES}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def triple(self) -> tuple[str, str, str]:
        """(category, colour, pattern)."""
        return self.category, self.colour, self.pattern

    @property
    def has_new_word(self) -> bool:
        """Whether it shows something that the captions of mini's base have no word for."""
        new = self.category in NEW_CATEGORIES or self.pattern in NEW_PATTERNS
        return new or self.waist == "high-waisted"

    @property
    def is_new(self) -> bool:
        """Whether it is of the new season: a new word, or a triple that mini's base never saw."""
        return self.has_new_word or is_unseen(*self.triple)


def is_unseen(category: str, colour: str, pattern: str) -> bool:
    """Return whether a triple is of the tenth that mini's base never saw; it saw each word."""
    words = category, colour, pattern
    return seed_for(0, "held-out triple", *words) % 10 == 0  # stable name


def options(category: str, attribute: str, *, later: bool = False) -> tuple[str, ...]:
    """Return the words that a category has for an optional attribute, with those that came
    later."""
    words = _TABLES["categories"][category].get(attribute, ())
    return (*words, *(_TABLES["later"].get(category, {}).get(attribute, ()) if later else ()))


def cloth_of(category: str) -> str:
    """Return the fabric that captions may state for a category; "" for none."""
    return _TABLES["categories"][category].get("cloth", "")


def is_pair(category: str) -> bool:
    """Return whether the category is called "a pair of ..."."""
    return _TABLES["categories"][category].get("pair", False)


def words_of(attribute: str) -> tuple[str, ...]:
    """Return all words of an attribute; "none" comes first for one that not all garments have."""
    if attribute in (*OPTIONAL, "cut"):
        both = [(later, category) for later in (False, True) for category in CATEGORIES]
        words = [word for later, c in both for word in options(c, attribute, later=later)]
        return ("none", *dict.fromkeys(words))
    return {"category": CATEGORIES, "colour": tuple(COLOURS), "pattern": PATTERNS}[attribute]


def random_spec(
    seed: int,
    index: int,
    *,
    categories=CATEGORIES,
    colours=tuple(COLOURS),
    patterns=PATTERNS,
    season: str = "all",
) -> Spec:
    """Return the spec of flat `index`; words of the season ("base", "new" or "all") are equally
    frequent.  Raises ValueError for unknown words, and where no garment fits."""
    if season not in SEASONS:
        raise ValueError(f"unknown season {season!r}; the flats have {', '.join(SEASONS)}")
    rng = rng_for(seed, index, "spec")
    for _ in range(1000):
        category, colour, pattern = (pick(rng, words) for words in (categories, colours, patterns))
        _check_known("category", category)
        spec = Spec(category, colour, pattern, *(pick(rng, options(category, a)) for a in OPTIONAL))
        if season == "all" or spec.is_new == (season == "new"):
            return spec
    raise ValueError(f"no such garment is of season {season!r}")


def _check_known(attribute: str, value: str) -> None:
    if value not in words_of(attribute):
        known = ", ".join(words_of(attribute))
        raise ValueError(f"unknown {attribute} {value!r}; the flats have {known}")


def rng_for(seed: int, index: int, purpose: str) -> np.random.Generator:
    """Return the random numbers of flat `index` for one purpose."""
    return np.random.default_rng([seed, index, *purpose.encode()])


def pick(rng: np.random.Generator, words):
    """Return one of the words; None, and no random number taken, where there are none."""
    return words[rng.integers(len(words))] if words else None
