"""How is a prompt suite made, from another seed or with a data set's captions?

A suite depends on its seed alone: choices are hashes, never a library's random numbers.
"""

import collections
import itertools
import json
from collections.abc import Iterable, Iterator

import numpy as np

from tvhelpers import flats
from tvhelpers.data.items import Source
from tvhelpers.data.split import split_by_product
from tvhelpers.runtime import seed_for
from tvhelpers.score.garment_words import (
    COLOURS,
    FACTORS,
    GARMENTS,
    WORDS,
    attributes_of,
    garments,
    named,
    otherwise,
    pairs_of,
    token_length,
    words_of,
)
from tvhelpers.words import listed

NUM_SEEDS = 4
IMPROVEMENTS = 6  # rounds in which each of the first rows of the core may change
# Rows of each stratum: of FB-138, and those that FB-1000 has beyond.
STRATA = {"core": (84, 420), "binding": (24, 176), "rare": (18, 128), "captions": (12, 138)}


def draw_suite(seed: int) -> list[dict]:
    """Return the 1,000 rows: first FB-138's strata, then those that FB-1000 adds."""
    cover = _Cover()
    makers = {"core": _core, "binding": _binding, "rare": _rare, "captions": _captions}
    makers = {name: maker(cover, seed) for name, maker in makers.items()}
    rows, said = [], set()
    for part, stratum in itertools.product((0, 1), STRATA):
        new = (fields for fields in makers[stratum] if fields["prompt"] not in said)
        for fields in itertools.islice(new, STRATA[stratum][part]):
            said.add(fields["prompt"])
            rows.append(make_row(f"fb{seed}-{len(rows) + 1:04d}", stratum, seed, **fields))
    binding = iter([row for row in rows if row["stratum"] == "binding"])
    for row, other in zip(binding, binding, strict=True):
        row["swap_of"], other["swap_of"] = other["id"], row["id"]
    return rows


class _Cover:
    """Counts how often each pair of words has been used."""

    def __init__(self):
        self.numbers = collections.defaultdict(itertools.count().__next__)  # of each pair
        self.counts = np.zeros(4096)


class _Pool:
    """Combinations of garments; `take` gives each once, those with the rarest pairs first."""

    def __init__(self, cover: _Cover, choices: Iterable[tuple[dict, ...]], *seed):
        keyed = sorted((seed_for(*seed, *map(repr, choice)), choice) for choice in choices)
        self.cover, self.choices = cover, [choice for _, choice in keyed]
        rows = [
            [cover.numbers[pair] for garment in choice for pair in pairs_of(garment)]
            for choice in self.choices
        ]
        # (choices, pairs); filled up with the last count, which is no pair's
        self.pairs = np.array([*itertools.zip_longest(*rows, fillvalue=-1)]).T
        self.free = np.ones(len(rows))

    def take(self) -> int:
        """Return the index of the unused choice whose pairs were used least, and count its pairs.

        The seed decides between equals."""
        weights = 0.25**self.cover.counts  # powers of two: their sums are exact on every machine
        weights[-1] = 0
        best = int((weights[self.pairs].sum(1) * self.free).argmax())
        self._count(best, 1)
        return best

    def retake(self, taken: int) -> int:
        """Return the best replacement of a choice, now that later choices are known."""
        self._count(taken, -1)
        return self.take()

    def _count(self, choice: int, times: int) -> None:
        np.add.at(self.cover.counts, self.pairs[choice], times)
        self.free[choice] -= times


def _core(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield single garments, all categories equally often: every third round in mini's words, the
    others with all options stated, so that few rows cover most pairs of words.
    """
    pools = {}
    for name in GARMENTS:
        most = max(map(len, garments(name)))
        full = (garment for garment in garments(name) if len(garment) == most)
        for key, some in (("all", full), ("mini", filter(mini_draws, garments(name)))):
            pools[name, key] = _Pool(cover, ((garment,) for garment in some), seed, "core", key)
    turns = (
        (n, pools[name, "mini" if n % 3 == 2 else "all"])
        for n in itertools.count()
        for name in GARMENTS
    )
    first = [(n, pool, pool.take()) for n, pool in itertools.islice(turns, STRATA["core"][0])]
    for _ in range(IMPROVEMENTS):  # the first were chosen before the last were known
        first = [(n, pool, pool.retake(taken)) for n, pool, taken in first]
    rest = ((n, pool, pool.take()) for n, pool in turns)
    for n, pool, taken in itertools.chain(first, rest):
        yield _worn(pool.choices[taken], n)


def _binding(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield pairs of rows with the same words, two of them swapped between garments."""
    words = {"colour": COLOURS, "pattern": flats.PATTERNS[1:], "fabric": WORDS["fabrics"]}
    pools = {key: _Pool(cover, _together(key, words[key]), seed, "binding") for key in words}
    for number in itertools.count():
        swapped = ("colour", "colour", ("pattern", "fabric")[number // 3 % 2])[number % 3]
        garments = pools[swapped].choices[pools[swapped].take()]
        inner = [{"category": "t-shirt", "colour": _pick(COLOURS, seed, "inner", number)}]
        inner *= number % 4 == 0 and garments[0]["category"] in WORDS["open_tops"]
        for top, bottom in (garments[:2], garments[2:]):
            yield _worn((top, *inner, bottom), number)


def _together(swapped: str, words: Iterable[str]) -> Iterator[tuple[dict, ...]]:
    """Yield a top and a bottom with two different words, then with these words swapped; their
    colours are stated too."""
    for top, bottom in itertools.product(WORDS["tops"], WORDS["bottoms"]):
        made_of = {*GARMENTS[top]["fabric"]} & {*GARMENTS[bottom]["fabric"]}
        for one, other in itertools.combinations(words, 2):
            if swapped == "fabric" and not {one, other} <= made_of:
                continue
            hues = [("", "")] if swapped == "colour" else zip(COLOURS, COLOURS[1:] + COLOURS[:1])
            for hue, second in hues:
                a, b = {"category": top, "colour": hue}, {"category": bottom, "colour": second}
                first = {**a, swapped: one}, {**b, swapped: other}
                yield *first, {**a, swapped: other}, {**b, swapped: one}


def _rare(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield garments whose category, colour and pattern never met in the training of mini's base;
    two of three in its words."""
    held = [garment for name in GARMENTS for garment in garments(name) if _unseen(garment)]
    pools = [
        _Pool(cover, ((g,) for g in held if mini_draws(g) == within), seed, "rare")
        for within in (True, False)
    ]
    for number in itertools.count():
        pool = pools[number % 3 == 2]
        yield _worn(pool.choices[pool.take()], number)


def _captions(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield captions of flats that mini's base was not trained on, in the words of its captions."""
    for number in itertools.count():
        words = enumerate(flats.words_of(name) for name in ("category", "colour", "pattern"))
        triple = [_pick(some, seed, "caption", number, i) for i, some in words]
        options = enumerate(flats.options(triple[0], name) for name in flats.OPTIONAL)
        picked = [_pick(some, seed, "option", number, i) if some else None for i, some in options]
        spec = flats.Spec(*triple, *picked)
        prompt, stated = _pick(flats.phrasings(spec), seed, "phrase", number)
        if spec.has_new_word or not {"category", "colour"} <= {*stated}:
            continue
        shown = {name: word for name, word in spec.attributes().items() if name in stated}
        others = [text for text, names in flats.phrasings(spec) if {*names} == {*stated}]
        other = others[(others.index(prompt) + 1) % len(others)]
        yield {"worn": (shown,), "prompt": prompt, "paraphrase": other, "spec": spec}


def _worn(worn: tuple[dict, ...], number: int) -> dict:
    """Return a row's garments, wearer and prompt; garments that mini can draw have no wearer."""
    mini = len(worn) == 1 and mini_draws(worn[0])
    wearer = "" if mini else ("man", "man", "woman", "man")[number % 4]
    if wearer and any(garment["category"] in WORDS["womens"] for garment in worn):
        wearer = "woman"
    text = listed([named(words_of(garment), garment) for garment in worn])
    other = listed([named(otherwise(garment), garment) for garment in worn])
    if wearer:
        text, other = f"a {wearer} wearing {text}", f"{other}, worn by a {wearer}"
    return {"worn": worn, "wearer": wearer, "prompt": text, "paraphrase": other}


def make_row(
    id: str, stratum: str, seed: int, worn, prompt: str, paraphrase: str, wearer="", spec=None
) -> dict:
    """Return a row of a suite; `spec` has all attributes of a flat, where the prompt omits some."""
    single = worn[0] if len(worn) == 1 else None
    in_minis_words = bool(spec or (single and mini_draws(single)))
    new = not in_minis_words or single.get("pattern") in flats.NEW_PATTERNS or _unseen(single)
    unseen = spec.is_new if spec else new
    triples = ("|".join(garment.get(name, "") for name in FACTORS[:3]) for garment in worn)
    return {
        "id": id,
        "stratum": stratum,
        "prompt": prompt,
        "paraphrase": paraphrase,
        "spec": {"wearer": wearer or None, "garments": [dict(garment) for garment in worn]},
        "atoms": attributes_of(worn),  # stable name
        "swap_of": None,
        "tuple_key": "; ".join(triples),
        "token_len": max(token_length(text) for text in (prompt, paraphrase)),
        "seeds": [seed_for(seed, id, k) % 2**32 for k in range(NUM_SEEDS)],
        "covered_by": ["mini"] * in_minis_words + ["sd15"],
        "unseen_by": ["mini"] * unseen,
    }


def with_captions(rows: list[dict], source: Source) -> list[dict]:
    """Return rows whose last stratum has captions of a source's validation items, one for each
    combination of attributes, first those that no training item has."""
    held = split_by_product(source.product_ids, validation_share=0.1, seed=0)
    held |= np.array([split not in ("", "train") for split in source.splits])
    keys = [json.dumps(row, sort_keys=True) for row in source.attributes]
    trained = {key for key, out in zip(keys, held, strict=True) if not out}
    order = sorted(np.flatnonzero(held), key=lambda i: seed_for(0, source.item_ids[i]))
    first = {keys[i]: i for i in reversed(order) if source.captions[i]}
    chosen = iter(sorted(first.items(), key=lambda pair: pair[0] in trained))
    found = []
    for row in rows:
        if row["stratum"] != "captions":
            found.append(row)
        elif pair := next(chosen, None):
            key, i = pair
            new = caption_row(row["id"], source.captions[i], source.attributes[i])
            unseen_by = [source.name] * (key not in trained)
            found.append({**new, "seeds": row["seeds"], "unseen_by": unseen_by})
    return found


def caption_row(id: str, text: str, attributes: dict[str, str]) -> dict:
    """Return the row of a caption; without a category it has no attributes to check."""
    shown = {name: word for name, word in attributes.items() if name in (*FACTORS, "length")}
    return make_row(id, "captions", 0, (shown,) if "category" in shown else (), text, text)


def mini_draws(garment: dict) -> bool:
    """Return whether flats have such a garment, and their captions its words."""
    category, unsaid = garment["category"], garment.get("neckline") in ("collar", "hood")
    if garment.get("fabric") or category not in flats.CATEGORIES or unsaid:
        return False
    return all(
        name not in garment or garment[name] in flats.options(category, name)
        for name in ("sleeve", "neckline")
    )


def _unseen(garment: dict) -> bool:
    return flats.is_unseen(*(garment.get(name, "plain") for name in FACTORS[:3]))


def _pick(words, *seed):
    return words[seed_for(*seed) % len(words)]
