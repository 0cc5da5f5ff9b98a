"""Which flats does a shop have, and in which words does it offer them?

Specs and captions are functions of (seed, index), as those of the first data sets.
"""

import bisect
import functools
import re
from dataclasses import dataclass, field, replace

import numpy as np

from tvhelpers.files import read_tables
from tvhelpers.flats.phrases import phrasings
from tvhelpers.flats.spec import (
    ALL_ATTRIBUTES,
    CATEGORIES,
    COLOURS,
    OPTIONAL,
    PATTERNS,
    SHADES_OF,
    Spec,
    options,
    pick,
    rng_for,
)
from tvhelpers.runtime import seed_for
from tvhelpers.words import is_plural

WORDS = read_tables(__file__, "shop_words.yaml")
SHADE_NAMES = {s: (s, *names) for own in WORDS["shades"].values() for s, (_, *names) in own.items()}
STATED = (*ALL_ATTRIBUTES, "shade")  # what captions may state
# Values that each caption states: where it says nothing of them, the garment has the usual ones.
MARKED = ("puff", "turtleneck", "high-waisted")
OLD_STYLE = 0.25  # share of captions in the words of the first data sets, where these suffice
ALIKE = 0.5  # share of the odd flats that differ from the flat before in one attribute only
RESERVED = 20  # every so manieth text is for evaluation alone
CHANCES = {  # that a caption says it, where it need not
    "colour": 0.88, "plain": 0.12, "sleeve": 0.35, "neckline": 0.45, "length": 0.4, "shade": 0.85,
}  # fmt: skip


def shop_spec(seed: int, index: int, season: str = "all") -> Spec:
    """Return the spec of flat `index` of a season ("base", "new" or "all"), with a shade.

    Half of the odd flats differ from the one before in one attribute: what tells them apart in
    training is one word.  Raises ValueError for an unknown season.
    """
    rng = rng_for(seed, index, "shop spec")
    if index % 2 and rng.random() < ALIKE:
        return _of_season(season, lambda: _changed(shop_spec(seed, index - 1, season), rng))
    return _of_season(season, lambda: _random(rng))


def _of_season(season: str, make) -> Spec:
    if season not in ("base", "new", "all"):
        raise ValueError(f"unknown season {season!r}; the flats have base, new, all")
    while True:
        spec = make()
        if season == "all" or spec.is_new == (season == "new"):
            return spec


def _random(rng) -> Spec:
    chosen = {"category": _weighted(rng, "category", CATEGORIES)}
    chosen |= {"colour": _weighted(rng, "colour", tuple(COLOURS))}
    chosen |= {"pattern": _weighted(rng, "pattern", PATTERNS)}
    for name in (*OPTIONAL, "cut"):
        chosen[name] = _weighted(rng, name, options(chosen["category"], name, later=True))
    return Spec(**chosen, shade=_shade(rng, chosen["colour"]))


def _changed(spec: Spec, rng) -> Spec:
    """Return a spec with another value of one attribute, but the category."""
    values = {"colour": [*COLOURS], "pattern": PATTERNS}
    values |= {name: options(spec.category, name, later=True) for name in (*OPTIONAL, "cut")}
    names = [name for name, words in values.items() if len(words) > 1]
    name = pick(rng, names)
    word = pick(rng, [word for word in values[name] if word != getattr(spec, name)])
    shade = {"shade": _shade(rng, word)} if name == "colour" else {}
    return replace(spec, **{name: word}, **shade)


def _shade(rng, colour: str) -> str:
    """Return a shade of the colour, or with 40 % its own name."""
    return colour if rng.random() < 0.4 else pick(rng, SHADES_OF[colour])


def _weighted(rng, name: str, words: tuple[str, ...]):
    if not words:
        return None
    sums = _sums(name, words)
    return words[bisect.bisect_right(sums, rng.random() * sums[-1])]


@functools.cache
def _sums(name: str, words: tuple[str, ...]) -> list[float]:
    """Return the running sums of the words' weights."""
    weights = WORDS["weights"].get(name, {})
    return np.cumsum([weights.get(word, 1.0) for word in words]).tolist()


@dataclass
class Offer:
    """The parts of a caption, and the attributes that they state."""

    noun: str
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    stated: set[str] = field(default_factory=lambda: {"category", "pattern", "waist", "cut"})


def shop_caption(spec: Spec, seed: int, index: int) -> str:
    """Return a caption of a flat as a shop may write it; never a text that `is_reserved`."""
    return shop_phrase(spec, rng_for(seed, index, "shop caption"))[0]


def shop_phrase(spec: Spec, rng, reserved: bool = False) -> tuple[str, tuple[str, ...]]:
    """Return a caption and the names of the attributes that it states, of `STATED`.

    Synonyms, order, fillers and strange words are random.  Training uses texts that are not
    reserved, evaluation those that are.
    """
    while True:
        if not reserved and rng.random() < OLD_STYLE and not _has_later(spec):
            text, stated = pick(rng, phrasings(spec))
            stated = {*stated, "cut"}
        else:
            offer = _offer(spec, rng)
            text, stated = _cased(_laid_out(offer, rng), rng), offer.stated
        if is_reserved(text) == reserved:
            return text, tuple(name for name in STATED if name in stated)


def _has_later(spec: Spec) -> bool:
    """Return whether a garment shows what the first captions have no word for."""
    usual = options(spec.category, "cut", later=True)[:1]
    later = [
        getattr(spec, n) not in options(spec.category, n) for n in OPTIONAL if getattr(spec, n)
    ]
    return any(later) or spec.cut not in (None, *usual)


def is_reserved(text: str) -> bool:
    """Return whether a text, whatever its capitals, is one of the twentieth for evaluation."""
    return seed_for(0, "reserved caption", text.lower()) % RESERVED == 0


def _offer(spec: Spec, rng) -> Offer:
    offer = Offer(_noun(spec, rng))
    needs = WORDS["nouns"][spec.category][offer.noun]
    offer.stated |= {*needs} - {"unsaid"}
    _say_colour(offer, spec, rng, needs.get("unsaid"))
    for name in ("pattern", "sleeve", "neckline", "length", "waist"):
        if name not in needs and _is_said(spec, name, rng):
            _say(offer, spec, name, rng)
    return offer


def _noun(spec: Spec, rng) -> str:
    """Return a noun that is true of the spec: often the usual one, which comes first."""
    nouns = [
        noun
        for noun, needs in WORDS["nouns"][spec.category].items()
        if all(getattr(spec, k) == v for k, v in needs.items() if k != "unsaid")
    ]
    return nouns[0] if rng.random() < 0.3 else pick(rng, nouns)


def _say_colour(offer: Offer, spec: Spec, rng, unsaid: str | None) -> None:
    """Say the colour or its shade, unless the noun says it or chance drops it."""
    if unsaid == spec.colour and rng.random() < 0.4:
        offer.stated.add("colour")
    elif unsaid or rng.random() < CHANCES["colour"]:
        offer.stated.add("colour")
        terms = [spec.colour, *WORDS["colours"].get(spec.colour, [])]
        if spec.shade in SHADE_NAMES and rng.random() < CHANCES["shade"]:
            terms = SHADE_NAMES[spec.shade]
            offer.stated.add("shade")
        word = pick(rng, terms)
        if rng.random() < 0.75:
            offer.before.append(word)
        else:
            offer.after.insert(0, f"in {word}")


def _is_said(spec: Spec, name: str, rng) -> bool:
    value = getattr(spec, name)
    if value in MARKED or (name == "pattern" and value != "plain"):
        return True
    if value is None or len(options(spec.category, name, later=True)) == 1:
        return False
    return rng.random() < CHANCES.get("plain" if name == "pattern" else name, 0)


def _say(offer: Offer, spec: Spec, name: str, rng) -> None:
    """Add words for an attribute, before or after the noun; none where there are none."""
    value = getattr(spec, name)
    before = WORDS["before"].get(name, {}).get(value, [])
    only = WORDS["only_of"]
    before = [word for word in before if spec.category in only.get(word, [spec.category])]
    after = WORDS["after"].get(name, {}).get(value, [])
    if after and rng.random() < 0.3:
        offer.after.append(pick(rng, after))
    elif before:
        offer.before.insert(int(rng.integers(len(offer.before) + 1)), pick(rng, before))
    else:
        return
    offer.stated.add(name)


def _laid_out(offer: Offer, rng) -> str:
    """Return the text: a sentence, a list, or a title with the noun first."""
    front, end = _fillers(rng)
    rng.shuffle(offer.after)
    kind = rng.random()
    if kind < 0.6:
        article = "" if front or rng.random() < 0.7 else _article([*offer.before, offer.noun])
        noun = _plural(offer.noun) if not article and rng.random() < 0.08 else offer.noun
        return " ".join(filter(None, [*front, article, *offer.before, noun, *offer.after, *end]))
    rest = [*offer.before, *offer.after]
    rng.shuffle(rest)
    if kind < 0.75:  # "Dress, black, formal"
        return ", ".join([offer.noun, *rest, *front, *end])
    if kind < 0.9:  # "T-shirt red women size M"
        return " ".join([offer.noun, *rest, *front, *end])
    between = pick(rng, [" - ", " | ", " / ", "; "])
    return between.join([*front, offer.noun, *rest, *end])


def _fillers(rng) -> tuple[list[str], list[str]]:
    """Return words that say nothing, for the front and the end: usual ones and strange ones."""
    kinds, sides = WORDS["fillers"], ([], [])
    for _ in range(pick(rng, (0, 0, 0, 1, 1, 1, 2, 2, 3, 4))):
        kind = pick(rng, [*kinds])
        at_end = kind in ("sizes", "numbers") or (kind != "photo" and rng.random() < 0.3)
        sides[at_end].insert(0 if kind == "photo" else len(sides[at_end]), pick(rng, kinds[kind]))
    if rng.random() < 0.2:
        strange = pick(rng, WORDS["strange"]) if rng.random() < 0.6 else _letters(rng)
        sides[int(rng.random() < 0.5)].append(strange)
    return sides


def _letters(rng) -> str:
    """Return a string of random letters, now and then with numbers: no word."""
    letters = "abcdefghijklmnopqrstuvwxyz" + "0123456789" * int(rng.random() < 0.3)
    return "".join(pick(rng, letters) for _ in range(rng.integers(3, 9)))


def _article(words: list[str]) -> str:
    if is_plural(words[-1]):
        return "a pair of"
    return "an" if words[0][0].lower() in "aeio" else "a"


def _plural(noun: str) -> str:
    if is_plural(noun):
        return noun
    return noun + ("es" if re.search(r"(s|x|ch|sh)$", noun) else "s")


def _cased(text: str, rng) -> str:
    """Return the text in one of the ways to use capitals."""
    ways = (str.lower, str.title, lambda text: text[:1].upper() + text[1:], str.upper)
    return ways[pick(rng, (0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3))](text)
