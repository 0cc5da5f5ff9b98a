"""Which words of fashion does a text contain?  They are listed in lexicon.yaml."""

import re
from functools import lru_cache

from tvhelpers.files import read_tables
from tvhelpers.words import with_article

LONGEST = 4  # words of a phrase of the vocabulary


def _filled(words: dict[str, str | None]) -> dict[str, str]:
    return {found: wording or found for found, wording in words.items()}


WORDS = read_tables(__file__, "lexicon.yaml")
SLOTS: dict[str, dict] = WORDS["slots"]
_WORDINGS = {slot: _filled(row["words"]) for slot, row in SLOTS.items()}
# {phrase found: (slot, its wording in captions)}
VOCABULARY: dict[str, tuple[str, str]] = {
    found: (slot, wording)
    for slot, table in _WORDINGS.items()
    if slot != "sleeve"
    for found, wording in table.items()
} | {word: ("sleeve", word) for word in WORDS["sleeves_alone"]}
# {phrase found: wording} of what a part of a garment, or a sleeve, can be made of or look like
_MAKES = _WORDINGS["texture"] | _WORDINGS["pattern"] | _WORDINGS["fabric"] | _filled(WORDS["makes"])
_SLEEVES = _MAKES | _WORDINGS["sleeve"]
_MOTIFS, _STRIPES = frozenset(WORDS["motifs"]), frozenset(WORDS["stripes"])


@lru_cache(1 << 16)
def _look_up(phrase: str, one_word: bool) -> tuple[str, str] | None:
    """Return (slot, wording) of a phrase, None for others; `one_word`: it is joined by hyphens."""
    if phrase in VOCABULARY:
        return VOCABULARY[phrase]
    stem, _, last = phrase.rpartition(" ")
    if last in WORDS["print_endings"] and VOCABULARY.get(stem, ("",))[0] == "pattern":
        return VOCABULARY[stem]
    wording = re.sub(r"-(?:print|patterned)$", "", _MAKES.get(stem, stem.replace(" ", "-")))
    if stem in _MOTIFS and last == "embroidered":
        return "work", f"{wording}-embroidered"
    if stem in _MOTIFS and last in WORDS["print_endings"]:
        return "pattern", f"{wording}-print"
    if stem in _STRIPES and last in WORDS["stripe_endings"]:
        return "pattern", f"{wording}-striped"
    if last in WORDS["sleeve_endings"]:
        return ("sleeve", _SLEEVES[stem]) if stem in _SLEEVES else None
    whole = one_word or last not in WORDS["hyphens_needed"]
    if last in WORDS["parts"] and stem in _MAKES and whole:
        part = WORDS["parts"][last].replace("_", _MAKES[stem])
        return "detail", with_article(part[2:]) if part.startswith("a ") else part
    return None


@lru_cache(1 << 14)
def facts_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return each (slot, wording) that the vocabulary finds, longest phrases first.

    A compound such as "lace-paneled" is looked up as a whole: a lace-paneled tee is no lace tee.
    """
    compounds = re.findall(r"[a-z0-9'&]+(?:-[a-z0-9'&]+)*", text.lower())
    found, place = {}, 0
    while place < len(compounds):
        for stop in range(min(place + LONGEST, len(compounds)), place, -1):
            phrase = " ".join(compounds[place:stop])
            fact = _look_up(phrase.replace("-", " "), stop == place + 1 and "-" in phrase)
            if fact:
                found[fact] = None
                break
        place = stop
    return tuple(found)


def product_words(product: str) -> dict[str, list[str]]:
    """Return the words of a product's name as {"pattern", "fabric", "cut", ...: words}.

    "Striped_A-Line_Coat" gives {"pattern": ["striped"], "cut": ["A-line"]}.  Words outside the
    vocabulary are ignored, and so are category, colour and plain sleeves, which labels state.
    """
    groups: dict[str, list[str]] = {}
    for slot, wording in facts_of(product.replace("_", " ")):
        groups.setdefault(SLOTS[slot]["group"], []).append(wording)
    return groups
