"""What does a caption state, after typos and phrases of machine translation are fixed?

The benchmark's captions are Chinese templates in machine English: "a blouse with a multicolor
long sleeve", "a tee with black letters and letters".
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache

from tvhelpers.data.fashion_synthesis import CATEGORIES, COLOURS, UNSTATED_COLOURS
from tvhelpers.data.lexicon import WORDS
from tvhelpers.words import with_article

CATEGORY_WORDS = {
    **{word: word for word in CATEGORIES.values()},
    **{f"{word}s": word for word in CATEGORIES.values()},
    **WORDS["categories"],
}
GARMENTS = {*CATEGORY_WORDS, *WORDS["other_garments"]}  # all that the lexicon knows
COLOUR_WORDS = {
    **{word: word for code, word in COLOURS.items() if code not in UNSTATED_COLOURS},
    **WORDS["colours"],
}
MULTICOLOUR = "multicolour"  # stated, but no word of the codebook
FEATURES = ("category", "colour", "sleeve", "gender")
_WEARERS = {word: gender for gender, words in WORDS["wearers"].items() for word in words}


def _alternatives(*words: str) -> str:
    """Return a pattern that finds one of the words, the longest first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


NOUN, SHADE = _alternatives(*CATEGORY_WORDS), "|".join(WORDS["shades"])
_MANY = r"multi[- ]?colou?r(?:ed)?|polychrom(?:e|atic)|colou?rful"
HUE = rf"(?:(?:{SHADE}) )?(?:{_MANY}|{_alternatives(*COLOUR_WORDS, *WORDS['other_colours'])})"
HUE += "(?:-colou?red)?"
_ARMS = r"sleeveless|long-sleeved|short-sleeved|half-sleeved"


def _garment(match: re.Match, thing: str = "") -> str:
    """Return "a black long-sleeved tee", and "with THING", from the named pieces of a match."""
    pieces = match.groupdict()
    arms = re.sub(r"(long|short|sleeveless)\b.*", r"\1-sleeved", pieces.get("arms") or "")
    arms = arms.replace("sleeveless-sleeved", "sleeveless")
    hue = (pieces.get("hue") or "").replace("olives", "olive")
    words = " ".join(filter(None, [hue, arms, pieces["noun"]]))
    return f"{with_article(words)}{f' with {thing}' if thing else ''}"


def _garment_with_thing(match: re.Match) -> str:
    thing = match["thing"]
    if re.fullmatch(r"(?:english )?letters?", thing):
        return _garment(match, re.sub(r"letters?", "letters", thing))
    return _garment(match, with_article(thing) if match["one"] else thing)


_REPLACEMENTS = {  # names that `replace` of a correction may have; anything else is text
    "GARMENT": _garment,
    "GARMENT WITH LETTERS": lambda match: _garment(match, "letters"),
    "GARMENT WITH THING": _garment_with_thing,
    "GARMENT PRINTED": lambda match: f"{with_article(match[2])} printed with {match[1]}",
}


def _correction(find: str, replace: str) -> tuple[re.Pattern, str | Callable[[re.Match], str]]:
    for name, words in (("NOUN", NOUN), ("HUE", HUE), ("ARMS", _ARMS)):
        find = find.replace(name, words)
    return re.compile(find, re.IGNORECASE), _REPLACEMENTS.get(replace, replace)


_CORRECTIONS = [_correction(**row) for row in WORDS["corrections"]]
# what all of these contain: most captions do not, and need no further look
_SUSPECT = re.compile(
    rf"[?_]|^\d|^ms\.|topless|pair of|letters|printed|(?: - |, )sleeve|"
    rf"\ban? (?:(?:{_ARMS}|long) )?(?:{NOUN}) (?!in\b)",
    re.IGNORECASE,
)
_WANTS_AN = re.compile(r"\b([Aa]) (?=(?![Oo]ne\b|[Ee]u)[aeioAEIO][\w-])")
_WANTS_A = re.compile(r"\b([Aa])n (?=[b-dfgj-np-tv-z][a-z])")  # "an hour", "an M-slit" stay


@lru_cache(1 << 16)
def repair_caption(text: str) -> str:
    """Return the caption without typos of garments, wrong articles and machine-translated phrases.

    "a blouse with a multicolor long sleeve" becomes "a multicolor long-sleeved blouse"; other
    captions are returned unchanged.
    """
    text = _fix_typo(text.strip())
    if _SUSPECT.search(text):
        for pattern, correct in _CORRECTIONS:
            text = pattern.sub(correct, text)
    text = _WANTS_A.sub(r"\1 ", _WANTS_AN.sub(r"\1n ", text))
    return " ".join(text.split())


def _fix_typo(text: str) -> str:
    """Correct the first misspelt garment of a caption that names no garment."""
    if not CATEGORY_WORDS.keys().isdisjoint(text.lower().split()):
        return text  # the common case, and a quick one
    tokens = re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())
    if not CATEGORY_WORDS.keys().isdisjoint(tokens):
        return text
    for token in tokens:
        meant = WORDS["typos"].get(token) or _nearest_category(token)
        if meant:
            return re.sub(rf"\b{token}\d*(?![a-z])", meant, text, count=1, flags=re.IGNORECASE)
    return text


def _nearest_category(token: str) -> str | None:
    """Return the category of 5 letters or more that `token` differs from by one slip."""
    is_word = token in WORDS["no_typos"] or len(token) < 4
    return None if is_word else _slips().get(token)


@cache
def _slips() -> dict[str, str]:
    """Return {misspelling: category}: one letter too many, too few, wrong or swapped."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    slips: dict[str, str] = {}
    for word in (word for word in CATEGORIES.values() if len(word) >= 5):
        cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
        found = {a + b[1:] for a, b in cuts if b}
        found |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        found |= {a + x + b[1:] for a, b in cuts if b for x in letters}
        found |= {a + x + b for a, b in cuts for x in letters}
        slips = dict.fromkeys(found, word) | slips
    return slips


_ENDS = {*WORDS["phrase_ends"], ",", "."}


def _with_sleeves(arms: str) -> re.Pattern:
    between = rf"(?:(?!(?:with|and|long|short|{NOUN})\b)[\w]+[\s,-]+){{0,3}}"
    return re.compile(rf"\b{arms}[\s,-]+{between}sleeve")


_SLEEVES = {
    "sleeveless": re.compile(r"\b(?:sleeveless|(?:no|without) sleeves?)\b"),
    "long": _with_sleeves("long"),
    "short": _with_sleeves("short"),
}
_COMPOUND_NOUNS = re.compile(r"\b(?:(tank)|(bomber)|(cami)|(henley)) (?:tops?|jackets?|shirts?)\b")
_IN_COLOUR = re.compile(rf"(?:(?<!printed) in|,) ({HUE})(?=\W*$| (?:with|and)\b|,)")


@lru_cache(1 << 16)
def _parse(text: str) -> tuple[tuple[str, str], ...]:
    text = _COMPOUND_NOUNS.sub(lambda match: match[match.lastindex], repair_caption(text).lower())
    tokens = re.findall(r"[a-z0-9']+(?:-[a-z0-9']+)*|[,.]", text)
    place = _head_noun(tokens)
    found = {
        "category": CATEGORY_WORDS[tokens[place]] if place is not None else None,
        "colour": _colour(tokens if place is None else tokens[:place], text),
        "sleeve": stated_sleeve(text),
        "gender": next((_WEARERS[token] for token in tokens if token in _WEARERS), None),
    }
    return tuple((key, word) for key, word in found.items() if word)


def parse_caption(text: str) -> dict[str, str]:
    """Return the category, colour, sleeve and gender that a caption states, as codebook words.

    Features that it does not state are absent; a colour is the garment's, not that of letters on
    it.  "multicolour" is the only value outside the codebook.
    """
    return dict(_parse(text))


def stated_garment(text: str) -> str:
    """Return the garment of a caption in the caption's own word, "" without one."""
    tokens = re.findall(r"[a-z0-9']+(?:-[a-z0-9']+)*|[,.]", text.lower())
    place = _head_noun(tokens)
    return "" if place is None else tokens[place]


def contradictions(attributes: dict[str, str], caption: str) -> dict[str, tuple[str, str]]:
    """Return {attribute: (its label, what the caption states instead)}; {} where they agree."""
    stated = parse_caption(caption)
    labels = {key: attributes[key] for key in FEATURES if key in attributes}
    if "category" in labels:
        labels["category"] = CATEGORY_WORDS.get(labels["category"], labels["category"])
    return {
        key: (label, stated[key])
        for key, label in labels.items()
        if stated.get(key, label) != label
    }


def _head_noun(tokens: list[str]) -> int | None:
    """Return where the garment is: the last category of the first phrase that names one."""
    first = next((i for i, token in enumerate(tokens) if token in CATEGORY_WORDS), None)
    if first is None:
        return None
    end = next((i for i in range(first, len(tokens)) if tokens[i] in _ENDS), None)
    return max(i for i in range(first, end or len(tokens)) if tokens[i] in CATEGORY_WORDS)


def _colour(tokens: list[str], text: str) -> str | None:
    """Return the colour that stands before the garment, or after it as "in black"."""
    start = max((i for i, token in enumerate(tokens) if token in WORDS["wearing"]), default=-1) + 1
    if _MULTI.search(" ".join(tokens[start:])):
        return MULTICOLOUR
    colours = dict.fromkeys(filter(None, map(_colour_of, tokens[start:])))
    if not colours and (match := _IN_COLOUR.search(text)):
        colours = dict.fromkeys(filter(None, map(_colour_of, match[1].split())))
        return MULTICOLOUR if _MULTI.search(match[1]) else next(iter(colours), None)
    return MULTICOLOUR if len(colours) > 1 else next(iter(colours), None)


_MULTI = re.compile(_MANY)


def _colour_of(token: str) -> str | None:
    """Return the colour of a word, of "white-gray" and "cream-colored" the first one."""
    if token in COLOUR_WORDS:
        return COLOUR_WORDS[token]
    parts = token.split("-")
    if len(parts) < 2 or parts[-1] not in ("colored", "coloured", "sleeved", *COLOUR_WORDS):
        return None
    return next((COLOUR_WORDS[part] for part in parts if part in COLOUR_WORDS), None)


def stated_sleeve(text: str) -> str | None:
    """Return "long", "short" or "sleeveless", whichever comes first in a text in lower case."""
    if "sleeve" not in text:
        return None
    places = {
        arms: match.start() for arms, find in _SLEEVES.items() if (match := find.search(text))
    }
    return min(places, key=places.get, default=None)
