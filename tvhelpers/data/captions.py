"""New captions from labels, from what a product's name adds, and from the old ones.

Labels come first, then words of the product's name, then what the old caption says beyond them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache, lru_cache

from tvhelpers.config import InputError
from tvhelpers.data import caption_words as lexicon
from tvhelpers.data.caption_parsing import (
    CATEGORY_WORDS,
    HUE,
    MULTICOLOUR,
    NOUN,
    OTHER_COLOURS,
    SHADES,
    parse_caption,
    repair_caption,
    stated_sleeve,
)
from tvhelpers.runtime import seed_for
from tvhelpers.words import describe, with_article

# ------------------------------------------------------------------------ words of the name

LONGEST = 4  # words of a phrase of the vocabulary


@cache
def _vocabulary() -> dict[str, tuple[str, str]]:
    return lexicon.vocabulary()


@cache
def _makes() -> dict[str, str]:
    """Return what a part of a garment can be made of or look like: {as found: as said}."""
    slots = ("texture", "pattern", "fabric")
    cloths = [lexicon.parse(lexicon.ENTRIES[slot]) for slot in slots]
    return {key: said for table in cloths for key, said in table.items()} | lexicon.parse(
        lexicon.MAKES
    )


@cache
def _listed(entries: str) -> frozenset[str]:
    return frozenset(lexicon.parse(entries))


@lru_cache(1 << 16)
def _look_up(phrase: str, one_word: bool) -> tuple[str, str] | None:
    """Return (slot, as said) of a phrase, None where it is none; `one_word` by its hyphens."""
    if phrase in _vocabulary():
        return _vocabulary()[phrase]
    stem, _, last = phrase.rpartition(" ")
    if last in lexicon.PRINT_ENDINGS and _vocabulary().get(stem, ("",))[0] == "pattern":
        return _vocabulary()[stem]
    said = re.sub(r"-(?:print|patterned)$", "", _makes().get(stem, stem.replace(" ", "-")))
    if stem in _listed(lexicon.MOTIFS) and last in (*lexicon.PRINT_ENDINGS, "embroidered"):
        slot, ending = ("work", last) if last == "embroidered" else ("pattern", "print")
        return slot, f"{said}-{ending}"
    if stem in _listed(lexicon.STRIPES) and last in lexicon.STRIPE_ENDINGS:
        return "pattern", f"{said}-striped"
    if last in lexicon.SLEEVE_ENDINGS:
        sleeves = _makes() | lexicon.parse(lexicon.ENTRIES["sleeve"])
        return ("sleeve", sleeves[stem]) if stem in sleeves else None
    whole = one_word or last not in lexicon.HYPHENS_NEEDED
    if last in lexicon.PARTS and stem in _makes() and whole:
        part = lexicon.PARTS[last].format(_makes()[stem])
        return "detail", with_article(part[2:]) if part.startswith("a ") else part
    return None


@lru_cache(1 << 14)
def facts_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return the (slot, words as said) that the vocabulary finds, longest phrases first.

    Of "lace-paneled" the whole is looked up, or nothing: a tee with lace is no lace tee.
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

    "Striped_A-Line_Coat" gives {"pattern": ["striped"], "cut": ["A-line"]}; what is not in the
    vocabulary is left out, as are the labels' own words (category, colour, plain sleeves).
    """
    groups: dict[str, list[str]] = {}
    for slot, said in facts_of(product.replace("_", " ")):
        groups.setdefault(lexicon.GROUPS[slot], []).append(said)
    return groups


# ------------------------------------------------------------------------------- new captions

NOUNS = {"tee": ("t-shirt", "tee"), "tank": ("tank top",), "bomber": ("bomber jacket",)}
BEFORE_COLOUR = ("style", "weight", "fit")
CLOTH = ("texture", "pattern", "fabric")
AT_MOST = {
    "style": 1, "weight": 1, "fit": 2, "build": 2, "work": 2, "texture": 2, "pattern": 2,
    "fabric": 2, "type": 1, "shape": 2, "neckline": 1, "sleeve": 1, "detail": 2,
}  # fmt: skip
LABEL_SLOTS = {  # of labels beyond the codebook's: where their words go
    "pattern": "pattern", "length": "fit", "waist": "build", "fabric": "fabric",
    "neckline": "neckline",
}  # fmt: skip
MAX_VARIANTS = 5
_EMPTY_WORDS = frozenset(("a", "an", "the", "at", "print", "trim", "and"))
_THING = re.compile(
    rf"\b(?:{NOUN})(?: printed| with| of| bearing)+(?: (?!her\b|his\b)[\w,-]+){{0,3}}? "
    rf"({'|'.join(lexicon.parse(lexicon.THINGS))})s?\b"
)


def recaption(
    attributes: dict[str, str],
    product: str,
    caption: str,
    *,
    seed: int,
    index: int,
    variants: int = 3,
) -> list[str]:
    """Return `variants` different captions of one garment, a function of (seed, index).

    They state the labels, then words of the product's name, then what the old caption says beyond
    them; where a name contradicts a label, the label holds.  Without labels the old caption, which
    may say more, is the first, repaired; where no category is known, the only one.  Where little
    is known there are fewer than `variants`.
    """
    if not 1 <= variants <= MAX_VARIANTS:
        raise InputError(f"variants is {variants}; give 1 to {MAX_VARIANTS}")
    parts = _parts(tuple(sorted(attributes.items())), product, caption)
    if parts is None:
        return [repair_caption(caption)]
    rng = random.Random(seed_for("recaption", seed, index))
    texts = {} if attributes else {repair_caption(caption): None}
    for frame in rng.sample(FRAMES, len(FRAMES)):
        if len(texts) == variants:
            break
        texts[frame(parts, rng)] = None
    return list(texts)


@lru_cache(1 << 15)
def _parts(labels: tuple[tuple[str, str], ...], product: str, caption: str) -> dict | None:
    """Return what is to be said: {slot: words, "nouns", "colour", "arms", "gender"}."""
    name, old = product.replace("_", " "), repair_caption(caption)
    stated = parse_caption(old)
    from_name = {key: word for key, word in parse_caption(name).items() if key == "sleeve"}
    known = {**from_name, **stated, **dict(labels)}
    if "category" not in known:
        return None
    known["sleeve"] = stated_sleeve(f"{known.get('sleeve', '')} sleeve")
    colour = _colour_as_said(dict(labels).get("colour"), old)
    nouns = _nouns(known["category"])
    facts = [*_label_facts(known), *facts_of(name)]
    facts += [*facts_of(old.replace("printed with", "with")), *_thing(old)]
    used = set(_contents(" ".join([*nouns, colour, "sleeve sleeves"])))
    parts = _choose(facts, CATEGORY_WORDS.get(known["category"], ""), known["sleeve"], used)
    return {**parts, "nouns": nouns, "colour": colour, "arms": known["sleeve"]} | {
        "gender": known.get("gender")
    }


def _nouns(category: str) -> tuple[str, ...]:
    return NOUNS.get(CATEGORY_WORDS.get(category, category), (category,))


def _colour_as_said(label: str | None, old: str) -> str:
    """Return the label's colour, with the shade that the old caption gives it, or the colour of
    the old caption where there is no label."""
    stated, old = parse_caption(old).get("colour"), old.lower()
    if label:
        shade = re.search(rf"\b({'|'.join(SHADES)}) {label}\b", old)
        return shade[0] if shade and stated == label else label
    if stated and stated != MULTICOLOUR:
        return stated
    pair = re.search(rf"\b({HUE}) and ({HUE})\b", old)
    if stated and pair and pair[1] != pair[2]:
        return pair[0]
    other = re.search(rf"\b({'|'.join(OTHER_COLOURS)})(?:-colou?red)? ", old)
    return "multicolored" if stated else other[1] if other else ""


def _label_facts(known: dict[str, str]) -> list[tuple[str, str]]:
    """Return the facts of labels such as a pattern or a neckline, which the codebook has not."""
    facts = []
    for key, slot in LABEL_SLOTS.items():
        if word := known.get(key):
            phrase = word.lower().replace("-", " ")
            fact = _vocabulary().get(f"{phrase} neck") if key == "neckline" else None
            facts.append(fact or _vocabulary().get(phrase) or (slot, word))
    return [(slot, with_article(said) if slot == "neckline" and said[:2] != "a " else said)
            for slot, said in facts]  # fmt: skip


def _thing(old: str) -> list[tuple[str, str]]:
    match = _THING.search(old.lower())
    return [("pattern", f"{match[1]}-print")] if match else []


def _choose(facts: list, category: str, arms: str | None, used: set[str]) -> dict[str, list[str]]:
    """Return {slot: words} of the facts that fit the labels and repeat no word."""
    parts: dict[str, list[str]] = {slot: [] for slot in AT_MOST}
    for slot, said in facts:
        content = _contents(said)
        room = len(parts[slot]) < AT_MOST[slot]
        if room and not content & used and _fits(slot, said, category, arms):
            parts[slot].append(said)
            used |= content
    for slot, weak in (("pattern", ("printed", "patterned")), ("fabric", ("woven",))):
        strong = [said for said in parts[slot] if said not in weak]
        parts[slot] = strong or parts[slot]
    *first, last = parts["pattern"] or [""]
    if last.endswith("-print"):  # "abstract tile-print", not print twice
        parts["pattern"] = [*(said.removesuffix("-print") for said in first), last]
    return parts


def _contents(said: str) -> set[str]:
    return set(re.findall(r"[a-z]+", said.lower().replace("lace-up", "laceup"))) - _EMPTY_WORDS


def _fits(slot: str, said: str, category: str, arms: str | None) -> bool:
    """Say whether a word goes with the garment and does not contradict its sleeves."""
    if category not in lexicon.ONLY_FOR.get(said, (category,)):
        return False
    if said in lexicon.REDUNDANT.get(category, ()):
        return False
    if said in lexicon.SLEEVED and arms == "sleeveless":
        return False
    if slot == "sleeve":
        return arms != "sleeveless" and not (arms == "long" and said in lexicon.SHORT_SLEEVES)
    return said not in lexicon.BARE_ARMS or arms not in ("long", "short")


def _noun_phrase(parts: dict, rng: random.Random, arms: str = "", cloth: bool = True) -> str:
    """Return "boxy black striped knit sweater"; `arms` is said before the colour."""
    words = [word for slot in BEFORE_COLOUR for word in parts[slot]]
    words += [arms, parts["colour"], *parts["build"], *parts["work"]]
    words += [word for slot in CLOTH if cloth for word in parts[slot]]
    words += [*parts["type"], *parts["shape"], rng.choice(parts["nouns"])]
    return " ".join(filter(None, words))


def _arms_before(parts: dict) -> str:
    """Return "long-sleeved", or nothing where that is said after the noun, or follows."""
    after = parts["sleeve"] or parts["arms"] in parts["fit"]  # "a long coat with long sleeves"
    if after or parts["arms"] is None or "strapless" in parts["build"]:
        return ""
    return "sleeveless" if parts["arms"] == "sleeveless" else f"{parts['arms']}-sleeved"


def _sleeves_after(parts: dict) -> list[str]:
    """Return ["long bell sleeves"], or nothing of what has none or says nothing of them."""
    words = [parts["arms"] or "", *parts["sleeve"], "sleeves"]
    bare = parts["arms"] == "sleeveless" or words[:-1] == [""]
    return [] if bare else [" ".join(filter(None, words))]


def _with(things: Sequence[str]) -> str:
    """Return " with a, b and c", or nothing."""
    *first, last = things or [""]
    return f" with {', '.join(first)}{' and ' if first else ''}{last}" if last else ""


def _extras(parts: dict) -> list[str]:
    return [*parts["neckline"], *parts["detail"]]


def _owner(parts: dict) -> str:
    return {"female": "women's ", "male": "men's "}.get(parts["gender"], "")


def _said_before(parts: dict, rng: random.Random, **options) -> str:
    """Return the phrase with its sleeves before the noun where English has a word for them."""
    arms = _arms_before(parts)
    after = [] if arms else _sleeves_after(parts)
    phrase = _noun_phrase(parts, rng, arms, **options)
    return phrase + _cloth_after(parts, options) + _with([*after, *_extras(parts)])


def _said_after(parts: dict, rng: random.Random, **options) -> str:
    """Return the phrase with its sleeves after the noun: "with long sleeves and a V-neck"."""
    bare = _arms_before(parts) if parts["arms"] == "sleeveless" else ""
    phrase = _noun_phrase(parts, rng, bare, **options)
    return phrase + _cloth_after(parts, options) + _with([*_sleeves_after(parts), *_extras(parts)])


def _cloth_after(parts: dict, options: dict) -> str:
    words = " ".join(word for slot in CLOTH for word in parts[slot])
    return "" if options.get("cloth", True) else " in " + re.sub(r"-(knit|mesh)$", r" \1", words)


def _article_first(parts: dict, rng: random.Random) -> str:
    said = rng.choice((_said_before, _said_after))
    return with_article(said(parts, rng), parts["nouns"][0])


def _owner_first(parts: dict, rng: random.Random) -> str:
    return _owner(parts) + _said_before(parts, rng)


def _worn(parts: dict, rng: random.Random) -> str:
    person = {"female": "a woman ", "male": "a man "}.get(parts["gender"])
    verb = rng.choice(("wearing ", "in ")) if person else "a photo of "
    said = rng.choice((_said_before, _said_after))
    return f"{person or ''}{verb}{with_article(said(parts, rng), parts['nouns'][0])}"


def _cloth_last(parts: dict, rng: random.Random) -> str:
    """Return "a black dress in floral chiffon with long sleeves", where the fabric is known."""
    alone = parts["fabric"] == ["knit"] and not (parts["texture"] or parts["pattern"])
    noun_like = parts["fabric"] and parts["fabric"][-1] != "woven" and not alone
    said = rng.choice((_said_before, _said_after))
    return with_article(said(parts, rng, cloth=not noun_like), parts["nouns"][0])


def _sleeves_last(parts: dict, rng: random.Random) -> str:
    """Return "women's black floral dress, long-sleeved", as a catalogue has it."""
    arms = _arms_before(parts)
    if not arms:
        return _owner(parts) + _said_after(parts, rng)
    things = _with(_extras(parts))
    return f"{_owner(parts)}{_noun_phrase(parts, rng)}, {arms}{',' if things else ''}{things}"


FRAMES = (_article_first, _owner_first, _worn, _cloth_last, _sleeves_last)


def template_captions(
    attributes: dict[str, str], *, seed: int, index: int, variants: int = 3
) -> list[str]:
    """Return captions from labels alone: `describe`'s "a photo of a black dress", then others.

    Raises InputError where the labels lack a category.
    """
    if "category" not in attributes:
        raise InputError(
            f"labels {attributes or 'are empty'} have no category; a caption needs one"
        )
    others = recaption(attributes, "", "", seed=seed, index=index, variants=variants)
    return list(dict.fromkeys([describe(attributes), *others]))[:variants]
