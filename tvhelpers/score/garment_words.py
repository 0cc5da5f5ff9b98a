"""Which garments the suite's prompts ask for, how they are said, what can be asked of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from functools import cache

from tvhelpers import flats
from tvhelpers.words import with_article

FACTORS = ("category", "colour", "pattern", "sleeve", "neckline", "fabric")
COLOURS = tuple(colour for colour in flats.COLOURS if colour != "beige")  # Berlin & Kay's eleven
ARMS = ("sleeveless", "short", "three-quarter", "long")
NECKS = ("crew", "V-neck", "scoop", "turtleneck", "collar", "hood")
ROUND_NECKS = ("crew", "scoop")
FABRICS = ("cotton", "denim", "leather", "wool", "silk", "linen")
# What a garment may have: sleeves, necklines, fabrics.  Nothing that its name implies is a choice.
GARMENTS = {
    "t-shirt": (ARMS[1:], NECKS[:3], ("cotton", "linen", "silk")),
    "shirt": (ARMS, ("V-neck", "collar"), ("cotton", "denim", "silk", "linen")),
    "sweater": (ARMS[1:], ("crew", "V-neck", "turtleneck", "hood"), ("cotton", "wool", "silk")),
    "cardigan": (ARMS[2:], ("crew", "V-neck", "hood"), ("cotton", "wool", "silk")),
    "hoodie": (ARMS, (), ("cotton", "wool")),
    "jacket": (
        ARMS[2:],
        ("crew", "collar", "hood"),
        ("cotton", "denim", "leather", "wool", "linen"),
    ),
    "coat": (ARMS[2:], ("V-neck", "collar", "hood"), ("cotton", "leather", "wool")),
    "dress": (ARMS, NECKS, FABRICS),
    "jumpsuit": (ARMS, NECKS, ("cotton", "denim", "silk", "linen")),
    "skirt": ((), (), FABRICS),
    "trousers": ((), (), FABRICS),
    "shorts": ((), (), ("cotton", "denim", "leather", "linen")),
}
WOVEN = {  # patterns of fabrics that do not come in all
    "leather": ("plain",),
    "denim": ("plain", "striped", "floral"),
    "silk": ("plain", "striped", "dotted", "floral"),
}
TOPS = ("t-shirt", "shirt", "sweater", "cardigan", "hoodie", "jacket", "coat")
BOTTOMS = ("skirt", "trousers", "shorts")
OPEN_TOPS = ("cardigan", "jacket", "coat")  # worn over a third garment
WOMENS = ("dress", "jumpsuit", "skirt")
SAID = {
    **{arms: f"{arms}-sleeved" for arms in ARMS[1:]},
    **{neck: f"{neck} neck" for neck in ROUND_NECKS},
    "collar": "collared",
    "hood": "hooded",
}
TOKENS = {"sleeved": 2, "turtleneck": 3, "collared": 2}  # words that CLIP reads in pieces


def pairs_of(garment: dict) -> list[tuple]:
    """Return the pairs of (factor, word) that a garment shows, 15 at most."""
    stated = [(name, garment[name]) for name in FACTORS if garment.get(name)]
    return list(itertools.combinations(stated, 2))


@cache
def garments(category: str) -> tuple[dict, ...]:
    """Return all garments of a category that make sense, with options stated or left open."""
    arms, necks, fabrics = GARMENTS[category]
    choices = (COLOURS, flats.PATTERNS, ("", *arms), ("", *necks), ("", *fabrics))
    return tuple(
        {name: word for name, word in zip(FACTORS, (category, *words), strict=True) if word}
        for words in itertools.product(*choices)
        if words[1] in WOVEN.get(words[4], flats.PATTERNS)
    )


def words_of(garment: dict) -> str:
    """Return "long-sleeved red striped V-neck wool sweater", as flats' captions order words."""
    pattern, colour = garment.get("pattern", ""), garment.get("colour", "")
    hue = f"plain {colour}" if pattern == "plain" else f"{colour} {pattern}"
    words = (_said(garment, "sleeve"), hue, _said(garment, "neckline"), garment.get("fabric", ""))
    return " ".join(" ".join((*words, garment["category"])).split())


def otherwise(garment: dict) -> str:
    """Return "striped V-neck long-sleeved sweater in red, of wool"."""
    words = (garment.get("pattern", ""), _said(garment, "neckline"), _said(garment, "sleeve"))
    text = " ".join(" ".join((*words, garment["category"])).split())
    text += f" in {garment['colour']}" if "colour" in garment else ""
    return text + (f", made of {garment['fabric']}" if "fabric" in garment else "")


def _said(garment: dict, name: str) -> str:
    return SAID.get(garment.get(name, ""), garment.get(name, ""))


def named(words: str, garment: dict) -> str:
    """Return the words with their article."""
    if garment["category"] in ("trousers", "shorts"):
        return f"a pair of {words}"
    return with_article(words, garment["category"])


def atoms_of(worn: Iterable[dict]) -> list[dict]:
    """Return what can be asked of a picture: an atom a word, its garment's category its parent."""
    atoms: list[dict] = []
    for number, garment in enumerate(worn):
        noun, parent = garment["category"], None
        be = "Are" if noun.endswith("s") and not noun.endswith("ss") else "Is"
        for name, word in garment.items():
            thing = f"the {noun}"
            asked = {
                "category": f"{be} there {named(noun, garment)}?",
                "neckline": f"Does {thing} have a {word}{' neck' * (word in ROUND_NECKS)}?",
                "fabric": f"{be} {thing} made of {word}?",
            }.get(name, f"{be} {thing} {SAID.get(word, word) if name == 'sleeve' else word}?")
            atom = {"garment": number, "attribute": name, "expect": word, "q": asked}
            atoms.append({**atom, "parent": parent})
            parent = len(atoms) - 1 if name == "category" else parent
    return atoms


def token_length(text: str) -> int:
    """Return how many tokens CLIP reads a text of the suite's words in, start and end included."""
    return 2 + sum(TOKENS.get(w, 1) for w in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()))
