"""How is a new caption made from labels, a product's name and the old caption?"""

import random
import re
from functools import lru_cache

from tvhelpers.config import check_range
from tvhelpers.data import caption_parsing as parsing
from tvhelpers.data.lexicon import SLOTS, VOCABULARY, WORDS, facts_of
from tvhelpers.errors import InputError
from tvhelpers.runtime import seed_for
from tvhelpers.words import describe, listed, with_article

BEFORE_COLOUR = ("style", "weight", "fit")
CLOTH = ("texture", "pattern", "fabric")
MAX_VARIANTS = 5
WITH = {"with", "in", "of"}  # words that may go from a caption without loss
_EMPTY_WORDS = frozenset(WORDS["empty_words"])
_THINGS, _OTHER_COLOURS = "|".join(WORDS["things"]), "|".join(WORDS["other_colours"])
_THING = re.compile(
    rf"\b(?:{parsing.NOUN})(?: printed| with| of| bearing)+(?: (?!her\b|his\b)[\w,-]+){{0,3}}? "
    rf"({_THINGS})s?\b"
)


def recaption(
    attributes: dict[str, str],
    product: str,
    caption: str,
    *,
    seed: int,
    index: int,
    variants: int = 3,
    by_hand: bool = False,
) -> list[str]:
    """Return up to `variants` different captions of one garment, a function of (seed, index).

    They state the labels, then words of the product's name, then words of the old caption; a label
    wins over a contradicting name.  Without labels the repaired old caption comes first, and is the
    only one where no category is known.  A caption `by_hand` comes first too, and the others say
    each of its words: its garment and colour win over the labels.
    Raises InputError for variants outside 1..5.
    """
    check_range("variants", variants, 1, MAX_VARIANTS)
    parts = _parts(tuple(sorted(attributes.items())), product, caption, by_hand)
    if parts is None:
        return [parsing.repair_caption(caption)]
    rng = random.Random(seed_for("recaption", seed, index))
    texts = {} if attributes and not by_hand else {parsing.repair_caption(caption): None}
    needed = _contents(next(iter(texts))) - WITH if by_hand else set()
    for frame in rng.sample(FRAMES, len(FRAMES)):
        if len(texts) == variants:
            break
        text = frame(parts, rng)
        texts |= {text: None} if needed <= _contents(text) else {}
    return list(texts)


@lru_cache(1 << 15)
def _parts(
    labels: tuple[tuple[str, str], ...], product: str, caption: str, by_hand: bool
) -> dict | None:
    """Return {slot: phrases, "nouns", "colour", "arms", "gender"}; None without a category."""
    name, old = product.replace("_", " "), parsing.repair_caption(caption)
    from_name = {key: word for key, word in parsing.parse_caption(name).items() if key == "sleeve"}
    known = {**from_name, **parsing.parse_caption(old), **dict(labels)}
    if "category" not in known:
        return None
    category = parsing.CATEGORY_WORDS.get(known["category"], "")
    nouns = WORDS["nouns"].get(category or known["category"], [known["category"]])
    colour = _colour_phrase(dict(labels).get("colour"), old)
    if by_hand:
        nouns = [parsing.stated_garment(old) or known["category"]]
        colour = _colour_words(old) or colour
    arms = parsing.stated_sleeve(f"{known.get('sleeve', '')} sleeve")
    facts = [*_label_facts(known), *facts_of(name)]
    facts += [*facts_of(old.replace("printed with", "with")), *_thing(old)]
    used = _contents(" ".join([*nouns, colour, "sleeve sleeves"]))
    about = {"nouns": nouns, "colour": colour, "arms": arms, "gender": known.get("gender")}
    return {**_choose(facts, category, arms, used), **about}


def _colour_phrase(label: str | None, old: str) -> str:
    """Return the label's colour with the old caption's shade, or, without a label, the old
    caption's colour."""
    stated, old = parsing.parse_caption(old).get("colour"), old.lower()
    if label:
        shade = re.search(rf"\b({parsing.SHADE}) {label}\b", old)
        return shade[0] if shade and stated == label else label
    if stated and stated != parsing.MULTICOLOUR:
        return stated
    pair = re.search(rf"\b({parsing.HUE}) and ({parsing.HUE})\b", old)
    if stated and pair and pair[1] != pair[2]:
        return pair[0]
    other = re.search(rf"\b({_OTHER_COLOURS})(?:-colou?red)? ", old)
    return "multicolored" if stated else other[1] if other else ""


def _colour_words(old: str) -> str:
    """Return the first colour of a caption in its own words, "" without one."""
    found = re.search(rf"\b{parsing.HUE}\b", old.lower())
    return found[0] if found else ""


def _label_facts(known: dict[str, str]) -> list[tuple[str, str]]:
    """Return (slot, wording) of labels such as pattern or neckline, which the codebook lacks."""
    facts = []
    for key, slot in WORDS["label_slots"].items():
        if word := known.get(key):
            phrase = word.lower().replace("-", " ")
            fact = VOCABULARY.get(f"{phrase} neck") if key == "neckline" else None
            slot, wording = fact or VOCABULARY.get(phrase) or (slot or key, word)
            bare = slot == "neckline" and wording[:2] != "a "
            facts.append((slot, with_article(wording) if bare else wording))
    return facts


def _thing(old: str) -> list[tuple[str, str]]:
    match = _THING.search(old.lower())
    return [("pattern", f"{match[1]}-print")] if match else []


def _choose(facts: list, category: str, arms: str | None, used: set[str]) -> dict[str, list[str]]:
    """Return {slot: phrases} of the facts that fit the labels and repeat no word."""
    parts: dict[str, list[str]] = {slot: [] for slot in SLOTS}
    for slot, wording in facts:
        content = _contents(wording)
        room = len(parts[slot]) < SLOTS[slot]["at_most"]
        if room and not content & used and _fits(slot, wording, category, arms):
            parts[slot].append(wording)
            used |= content
    for slot, weak in (("pattern", ("printed", "patterned")), ("fabric", ("woven",))):
        parts[slot] = [wording for wording in parts[slot] if wording not in weak] or parts[slot]
    *first, last = parts["pattern"] or [""]
    if last.endswith("-print"):  # "abstract tile-print", not print twice
        parts["pattern"] = [*(wording.removesuffix("-print") for wording in first), last]
    return parts


def _contents(wording: str) -> set[str]:
    return set(re.findall(r"[a-z]+", wording.lower().replace("lace-up", "laceup"))) - _EMPTY_WORDS


def _fits(slot: str, wording: str, category: str, arms: str | None) -> bool:
    """Return whether a wording goes with the garment and does not contradict its sleeves."""
    is_for = category in WORDS["only_for"].get(wording, (category,))
    if not is_for or wording in WORDS["redundant"].get(category, ()):
        return False
    if wording in WORDS["sleeved"] and arms == "sleeveless":
        return False
    if slot == "sleeve":
        return arms != "sleeveless" and not (arms == "long" and wording in WORDS["short_sleeves"])
    return wording not in WORDS["bare_arms"] or arms not in ("long", "short")


# ------------------------------------------------------------------------------- wording


def _phrase(parts: dict, rng: random.Random, before: bool | None = None, cloth: bool = True) -> str:
    """Return "black floral long-sleeved dress with a V-neck", or "... with long sleeves and ...".

    `before`: sleeves stand before the noun, where English has a word for them; None chooses at
    random.  Without `cloth` the fabric follows the noun ("in floral chiffon").
    """
    before = rng.choice((True, False)) if before is None else before
    arms = _arms_before(parts) if before or parts["arms"] == "sleeveless" else ""
    things = [*([] if arms else _sleeves_after(parts)), *parts["neckline"], *parts["detail"]]
    phrase = _noun_phrase(parts, rng, arms, cloth)
    if not cloth:
        phrase += " in " + re.sub(r"-(knit|mesh)$", r" \1", _words(parts, CLOTH))
    return phrase + _with(things)


def _noun_phrase(parts: dict, rng: random.Random, arms: str = "", cloth: bool = True) -> str:
    """Return "boxy black striped knit sweater"; `arms` stands before the colour."""
    words = [_words(parts, BEFORE_COLOUR), arms, parts["colour"], _words(parts, ("build", "work"))]
    words += [_words(parts, CLOTH) if cloth else "", _words(parts, ("type", "shape"))]
    return " ".join(filter(None, [*words, rng.choice(parts["nouns"])]))


def _words(parts: dict, slots: tuple[str, ...]) -> str:
    return " ".join(word for slot in slots for word in parts[slot])


def _arms_before(parts: dict) -> str:
    """Return "long-sleeved"; "" where the sleeves follow the noun or are not stated."""
    after = parts["sleeve"] or parts["arms"] in parts["fit"]  # "a long coat with long sleeves"
    if after or parts["arms"] is None or "strapless" in parts["build"]:
        return ""
    return "sleeveless" if parts["arms"] == "sleeveless" else f"{parts['arms']}-sleeved"


def _sleeves_after(parts: dict) -> list[str]:
    """Return ["long bell sleeves"]; [] for sleeveless garments and unstated sleeves."""
    words = list(filter(None, [parts["arms"], *parts["sleeve"]]))
    return [" ".join([*words, "sleeves"])] if words and parts["arms"] != "sleeveless" else []


def _with(things: list[str]) -> str:
    return f" with {listed(things)}" if things else ""


def _owner(parts: dict) -> str:
    return {"female": "women's ", "male": "men's "}.get(parts["gender"], "")


def _article(parts: dict, wording: str) -> str:
    return with_article(wording, parts["nouns"][0])


def _article_first(parts: dict, rng: random.Random) -> str:
    return _article(parts, _phrase(parts, rng))


def _owner_first(parts: dict, rng: random.Random) -> str:
    return _owner(parts) + _phrase(parts, rng, before=True)


def _worn(parts: dict, rng: random.Random) -> str:
    person = {"female": "a woman ", "male": "a man "}.get(parts["gender"], "")
    verb = rng.choice(("wearing ", "in ")) if person else "a photo of "
    return person + verb + _article(parts, _phrase(parts, rng))


def _cloth_last(parts: dict, rng: random.Random) -> str:
    """Return "a black dress in floral chiffon with long sleeves", where the fabric is known."""
    alone = parts["fabric"] == ["knit"] and not (parts["texture"] or parts["pattern"])
    noun_like = parts["fabric"] and parts["fabric"][-1] != "woven" and not alone
    return _article(parts, _phrase(parts, rng, cloth=not noun_like))


def _sleeves_last(parts: dict, rng: random.Random) -> str:
    """Return "women's black floral dress, long-sleeved", as in a catalogue."""
    arms = _arms_before(parts)
    if not arms:
        return _owner(parts) + _phrase(parts, rng, before=False)
    things = _with([*parts["neckline"], *parts["detail"]])
    return f"{_owner(parts)}{_noun_phrase(parts, rng)}, {arms}{',' if things else ''}{things}"


FRAMES = (_article_first, _owner_first, _worn, _cloth_last, _sleeves_last)


def template_captions(
    attributes: dict[str, str], *, seed: int, index: int, variants: int = 3
) -> list[str]:
    """Return captions from labels alone: `describe`'s "a photo of a black dress", then others.

    Raises InputError where the labels lack a category.
    """
    if "category" not in attributes:
        raise InputError("not-stated.category", names=list(attributes))
    others = recaption(attributes, "", "", seed=seed, index=index, variants=variants)
    return list(dict.fromkeys([describe(attributes), *others]))[:variants]
