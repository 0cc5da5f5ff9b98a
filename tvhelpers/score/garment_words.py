"""How does a suite's prompt describe a garment, and which attributes can be checked?"""

import itertools
import re
from collections.abc import Iterable
from functools import cache

from tvhelpers import flats
from tvhelpers.files import read_tables
from tvhelpers.words import is_plural, with_article

WORDS = read_tables(__file__, "garment_words.yaml")
FACTORS, GARMENTS, SAID = WORDS["factors"], WORDS["garments"], WORDS["said"]
COLOURS = tuple(colour for colour in flats.COLOURS if colour != "beige")  # Berlin & Kay's eleven


def pairs_of(garment: dict) -> list[tuple]:
    """Return all pairs of a garment's (attribute, word), 15 at most."""
    stated = [(name, garment[name]) for name in FACTORS if garment.get(name)]
    return list(itertools.combinations(stated, 2))


@cache
def garments(category: str) -> tuple[dict, ...]:
    """Return all sensible garments of a category, with and without optional attributes."""
    optional = (("", *GARMENTS[category].get(name, ())) for name in FACTORS[3:])
    return tuple(
        {name: word for name, word in zip(FACTORS, (category, *words), strict=True) if word}
        for words in itertools.product(COLOURS, flats.PATTERNS, *optional)
        if words[1] in WORDS["woven"].get(words[-1], flats.PATTERNS)
    )


def said(name: str, word: str) -> str:
    """Return the form of a word before its garment, "short-sleeved" for short sleeves."""
    return SAID.get(name, {}).get(word, word)


def words_of(garment: dict) -> str:
    """Return "long-sleeved red striped V-neck wool sweater", in the order of flats' captions."""
    sleeve, pattern, neckline, fabric = _words(garment, "sleeve", "pattern", "neckline", "fabric")
    colour = garment.get("colour", "")
    hue = f"plain {colour}" if pattern == "plain" else f"{colour} {pattern}"
    return " ".join(f"{sleeve} {hue} {neckline} {fabric} {garment['category']}".split())


def otherwise(garment: dict) -> str:
    """Return "striped V-neck long-sleeved sweater in red, made of wool"."""
    words = (*_words(garment, "pattern", "neckline", "sleeve"), garment["category"])
    text = " ".join(filter(None, words))
    text += f" in {garment['colour']}" if "colour" in garment else ""
    return text + (f", made of {garment['fabric']}" if "fabric" in garment else "")


def _words(garment: dict, *names: str) -> list[str]:
    return [said(name, garment.get(name, "")) for name in names]


def named(words: str, garment: dict) -> str:
    """Return the words with the garment's article."""
    if garment["category"] in ("trousers", "shorts"):
        return f"a pair of {words}"
    return with_article(words, garment["category"])


def attributes_of(worn: Iterable[dict]) -> list[dict]:
    """Return the attributes that an image can be checked for; their parent is the category."""
    attributes: list[dict] = []
    for number, garment in enumerate(worn):
        parent = None
        for name, word in garment.items():
            asked = _question(garment, name, word)
            row = {"garment": number, "attribute": name, "expect": word, "q": asked}
            attributes.append({**row, "parent": parent})
            parent = len(attributes) - 1 if name == "category" else parent
    return attributes


def _question(garment: dict, name: str, word: str) -> str:
    noun = garment["category"]
    be = "Are" if is_plural(noun) else "Is"
    if name == "category":
        return f"{be} there {named(noun, garment)}?"
    if name == "neckline":
        return f"Does the {noun} have a {word}{' neck' * (word in ('crew', 'scoop'))}?"
    return f"{be} the {noun} {f'made of {word}' if name == 'fabric' else said(name, word)}?"


def token_length(text: str) -> int:
    """Return how many CLIP tokens a text of the suite's words has, with start and end tokens."""
    words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower())
    return 2 + sum(WORDS["tokens"].get(word, 1) for word in words)
