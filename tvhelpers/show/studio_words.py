"""Which words do the studio's menus offer, and how do they write into a prompt and read back?

Words are {menu: {spelling: word}}, each spelling in lower case and without hyphens.
"""

import re
from collections.abc import Iterable
from functools import cache

from tvhelpers.data.caption_parsing import CATEGORY_WORDS, COLOUR_WORDS
from tvhelpers.data.lexicon import SLOTS, VOCABULARY, WORDS
from tvhelpers.models.vocabulary import read_vocabulary
from tvhelpers.score.garment_words import said

MENUS = ("category", "colour", "pattern", "fabric", "sleeve", "neckline", "length", "fit")
# the order of an English noun phrase: a new word is put before those that come later
ORDER = ("length", "sleeve", "colour", "pattern", "neckline", "fit", "fabric", "category")
NAMED = {"cloth": "fabric", "waist": "fit"}  # {kind of a vocabulary, or label: its menu}
SAY_NOTHING = ("none", "regular", "other", "unknown", "")
SLOT_OF = {"pattern": "pattern", "fabric": "fabric", "neckline": "neckline"}  # {menu: slot}
LENGTH = re.compile(r".*length|cropped|longline|maxi|midi|mini|short|long")
PLURAL = re.compile(r".*[^s]s")

Words = dict[str, dict[str, str]]


def menu_words(sampler, labels: Iterable[dict[str, str]] = ()) -> Words:
    """Return the words of the menus for a base: those of its vocabulary and of the `labels` of the
    items that its adapter was trained on; a base without a vocabulary has the words of fashion for
    what no label says."""
    vocabulary, words = read_vocabulary(sampler.base, bool(sampler.adapter)), {}
    for row in labels:
        for kind, word in row.items():
            _add(words, kind, said(kind, word))
    if vocabulary is None:
        words = {**_of_fashion(), **words}
    else:
        for kind, terms in vocabulary.kinds.items():
            for term in terms:
                _add(words, kind, term)
        for menu in words.values():  # "gown" stands for "dress"
            others = vocabulary.spellings.items()
            menu |= {spelling: word for spelling, word in others if _key(word) in menu}
    return {name: words[name] for name in MENUS if words.get(name)}


def _add(words: Words, kind: str, word: str) -> None:
    if word.strip().lower() not in SAY_NOTHING:
        words.setdefault(NAMED.get(kind, kind), {})[_key(word)] = word


@cache
def _of_fashion() -> Words:
    """Return the words of lexicon.yaml."""
    colours = {*COLOUR_WORDS, *COLOUR_WORDS.values(), *WORDS["other_colours"]}
    wordings = {
        slot: {wording for own, wording in VOCABULARY.values() if own == slot} for slot in SLOTS
    }
    cut = wordings["fit"] | wordings["shape"]
    arms = {f"{word}-sleeved" for word in wordings["sleeve"]}
    found = {
        "colour": colours,
        "sleeve": arms | {"sleeveless", "short-sleeved", "long-sleeved"},
        "length": {word for word in cut if LENGTH.fullmatch(word)},
        "fit": {word for word in wordings["fit"] if not LENGTH.fullmatch(word)},
        **{menu: wordings[slot] for menu, slot in SLOT_OF.items()},
    }
    bare = {name: [re.sub("^an? ", "", word) for word in words] for name, words in found.items()}
    words = {name: {_key(word): word for word in own} for name, own in bare.items()}
    others = {_key(word): word for word in WORDS["other_garments"]}
    return words | {"category": others | {_key(k): word for k, word in CATEGORY_WORDS.items()}}


def options(words: dict[str, str]) -> list[str]:
    """Return the words that a menu offers, sorted."""
    return sorted({*words.values()}, key=str.lower)


def _key(text: str) -> str:
    return text.lower().replace("-", " ")


def _found(prompt: str, words: Words) -> list[tuple[str, str, int, int]]:
    """Return (menu, word, start, end) of each word in a prompt; the longest spelling counts: a
    t-shirt is no shirt, and a short-sleeved dress not short."""
    spellings = sorted({one for menu in words.values() for one in menu}, key=len, reverse=True)
    pattern = "|".join(re.escape(one).replace(r"\ ", "[ -]") for one in spellings)
    hits = re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", prompt, re.IGNORECASE)
    return [
        (name, menu[_key(hit[0])], *hit.span())
        for hit in hits
        for name, menu in words.items()
        if _key(hit[0]) in menu
    ]


def word_in(prompt: str, words: Words, name: str) -> str:
    """Return the word of menu `name` that a prompt has first, "" for none."""
    return next((word for menu, word, *_ in _found(prompt, words) if menu == name), "")


def with_word(prompt: str, words: Words, name: str, word: str) -> str:
    """Return `prompt` with `word` in place of the first word of menu `name`, or added to it where a
    noun phrase has it; "" removes the old one.  The article at the start is adapted."""
    found = _found(prompt, words)
    old = next(((start, end) for menu, _, start, end in found if menu == name), None)
    later = ORDER[ORDER.index(name) + 1 :]
    before = min((start for menu, _, start, _ in found if menu in later), default=None)
    if old:
        prompt = f"{prompt[: old[0]]}{word}{prompt[old[1] :]}"
    elif before is not None:
        prompt = f"{prompt[:before]}{word} {prompt[before:]}"
    elif name == "colour":
        article = re.match(r"(an? )?(.*)", prompt.strip(), re.IGNORECASE)
        prompt = f"{article[1] or ''}{word} {article[2]}"
    else:
        prompt = f"{prompt} {word}"
    return _with_article(" ".join(prompt.split()), word if name == "category" else "")


def _with_article(prompt: str, noun: str) -> str:
    """Return a prompt whose articles fit the words after them, the first also the `noun`."""
    if noun and PLURAL.fullmatch(noun):
        prompt = re.sub(r"^an? (?!pair)", "a pair of ", prompt, flags=re.IGNORECASE)
    elif noun:
        prompt = re.sub(r"^a pair of ", "a ", prompt, flags=re.IGNORECASE)
    prompt = re.sub(r"\b([Aa])n? (?=[a-zV])", r"\1 ", prompt)  # "a V-neck", but "an A-line"
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", prompt)
