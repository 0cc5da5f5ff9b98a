"""The prompt suite: FB-138 nested in FB-1000, and the paper's eight prompts, each with its atoms.

A suite is a function of its seed alone: choices are hashes, never a library's random numbers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tvhelpers import flats
from tvhelpers.config import InputError
from tvhelpers.data.items import Source, read_rows
from tvhelpers.data.split import split_by_product
from tvhelpers.files import atomic_path
from tvhelpers.runtime import seed_for
from tvhelpers.score.garment_words import (
    BOTTOMS,
    COLOURS,
    FABRICS,
    FACTORS,
    GARMENTS,
    OPEN_TOPS,
    TOPS,
    WOMENS,
    atoms_of,
    garments,
    named,
    otherwise,
    pairs_of,
    token_length,
    words_of,
)
from tvhelpers.words import listed

# Of the suites at seed 0, as `text_of` writes them.
SHA256 = {
    "fb138": "bf17f3b9f7324a7eebabe1faa1603d59cbf222ae7cc08a79dae4929526284b0a",
    "fb1000": "e99932fa5b04953b1853eedd0bb08ed3272a4b9210ba8fde86d777166d4cbfe9",
    "paper-8": "614f8ae9c0eb370fb3bbd6bd32ef8f18018bab6140508bc0ec8128cf8ba8105d",
}
FILE = "prompts.jsonl"  # in a folder of pictures drawn from a suite
NUM_SEEDS = 4
VOCABULARIES = ("mini",)  # bases that know few words; all others are taken to know all
IMPROVEMENTS = 6  # rounds in which each of the first rows of the core may change
# Rows of each stratum: of FB-138, and of FB-1000 with those.
STRATA = {"core": (84, 504), "binding": (24, 200), "rare": (18, 146), "captions": (12, 150)}
PAPER = {  # the paper's figures 4 to 12
    "green bomber jacket": {"category": "bomber jacket", "colour": "green"},
    "brown leather belt": {"category": "belt", "colour": "brown", "fabric": "leather"},
    "formal black dress": {"category": "dress", "colour": "black"},
    "V-neck t-shirt": {"category": "t-shirt", "neckline": "V-neck"},
    "short overalls": {"category": "overalls", "length": "short"},
    "black sweatsuit": {"category": "sweatsuit", "colour": "black"},
    "tartan skirt": {"category": "skirt", "pattern": "tartan"},
    "black high-waisted skirt": {"category": "skirt", "colour": "black", "waist": "high-waisted"},
}  # fmt: skip


def open_suite(name: str, seed: int | None = None, captions: Source | None = None) -> list[dict]:
    """Return the rows of "fb138", "fb1000", "paper-8" ("fb138:7" is drawn anew by seed 7), or of a
    file that `text_of` wrote.

    A row has id, stratum, prompt, paraphrase (the same asked otherwise), spec {wearer, garments},
    atoms {garment, attribute, expect, q, parent}, swap_of (the id of the other of a binding pair),
    tuple_key, token_len, seeds (4), covered_by (bases whose words it keeps to) and unseen_by (bases
    that were never shown its category, colour and pattern together).  `captions`: a source whose
    held-out captions are the last stratum, instead of flats'.  Raises InputError for other names.
    """
    kind, _, redraw = str(name).lower().partition(":")
    if kind in SHA256 and (not redraw or (redraw.isdecimal() and seed is None)):
        if kind == "paper-8":
            if redraw or seed:
                raise InputError("paper-8 is what it is; a seed draws fb138 and fb1000 anew")
            return _paper()
        rows = list(_suite(int(redraw or seed or 0))[: 138 if kind == "fb138" else 1000])
        return _with_captions(rows, captions) if captions else rows
    if Path(name).is_file():
        return _checked(Path(name), read_rows(Path(name)))
    raise InputError(
        f"no prompt suite {name!r}; give {', '.join(SHA256)}, one with a seed (fb138:7), or a file "
        "that `prompts` wrote"
    )


def text_of(rows: Iterable[dict]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def digest(rows: Iterable[dict]) -> str:
    """Return the SHA-256 of the rows' text."""
    return hashlib.sha256(text_of(rows).encode()).hexdigest()


def write(rows: list[dict], path: Path) -> None:
    """Write rows as JSON lines; raises InputError where the file holds anything else."""
    if path.exists() and path.read_text() != text_of(rows):
        raise InputError(f"{path} holds other prompts, and nothing is overwritten; choose another")
    with atomic_path(path) as aside:
        aside.write_text(text_of(rows))


def request_of(rows: list[dict]) -> dict:
    """Return what a request to draw must hold of rows, beside their prompts."""
    ids, seeds = zip(*((row["id"], tuple(row["seeds"])) for row in rows), strict=True)
    return {"ids": ids, "seeds": seeds}


def covered(rows: list[dict], base: str) -> list[dict]:
    """Return the rows within a base's vocabulary; a base of open vocabulary has all.

    Raises InputError where none is.
    """
    kept = [row for row in rows if base not in VOCABULARIES or base in row["covered_by"]]
    if not kept:
        raise InputError(f"none of the {len(rows)} prompts is within the vocabulary of {base}")
    return kept


def _checked(path: Path, rows: list[dict]) -> list[dict]:
    """Return the rows of a file; raises InputError where they are no suite's."""
    kinds = {"id": str, "prompt": str, "atoms": list, "seeds": list, "covered_by": list}
    for number, row in enumerate(rows, 1):
        wrong = [key for key, kind in kinds.items() if type(row.get(key)) is not kind]
        if (
            wrong
            or not row["prompt"].strip()
            or not all(type(seed) is int for seed in row["seeds"])
        ):
            raise InputError(
                f"row {number} of {path} is no row of a suite ({', '.join(wrong) or 'prompt'}); "
                "write it anew: python -m tvhelpers prompts"
            )
    if len({row["id"] for row in rows}) < len(rows):
        raise InputError(f"{path} has an id twice; write it anew: python -m tvhelpers prompts")
    return rows


class _Cover:
    """How often each pair of words was shown so far."""

    def __init__(self):
        self.number: dict[tuple, int] = {}  # of each pair
        self.counts = np.zeros(4096)

    def rows(self, garments: Iterable[dict]) -> list[int]:
        """Return the numbers of all pairs of garments."""
        pairs = (pair for garment in garments for pair in pairs_of(garment))
        return [self.number.setdefault(pair, len(self.number)) for pair in pairs]


class _Pool:
    """Choices of garments that go together; each is taken once, the one with the rarest pairs."""

    def __init__(self, cover: _Cover, choices: Iterable[tuple[dict, ...]], *seed):
        keyed = sorted((seed_for(*seed, *map(repr, choice)), choice) for choice in choices)
        self.cover, self.choices = cover, [choice for _, choice in keyed]
        rows = [cover.rows(choice) for choice in self.choices]
        self.pairs = np.full((len(rows), max(map(len, rows))), -1)  # the last count is no pair's
        for i, row in enumerate(rows):
            self.pairs[i, : len(row)] = row
        self.free = np.ones(len(rows))

    def take(self) -> int:
        """Return the number of the free choice whose pairs were shown least, and count them; ties
        fall by the seed."""
        weights = 0.25**self.cover.counts  # powers of two: their sums are exact on every machine
        weights[-1] = 0
        best = int((weights[self.pairs].sum(1) * self.free).argmax())
        self._count(best, 1)
        return best

    def retake(self, taken: int) -> int:
        """Return what is best in the place of a choice that was taken before others were."""
        self._count(taken, -1)
        return self.take()

    def _count(self, choice: int, times: int) -> None:
        np.add.at(self.cover.counts, self.pairs[choice], times)
        self.free[choice] -= times


@cache
def _suite(seed: int) -> tuple[dict, ...]:
    """Return the 1,000 rows: first FB-138's strata, then what is new in FB-1000's."""
    cover = _Cover()
    makers = {"core": _core, "binding": _binding, "rare": _rare, "captions": _captions}
    makers = {name: maker(cover, seed) for name, maker in makers.items()}
    rows, said = [], set()
    for done, total in (((0,) * 4, 0), ([few for few, _ in STRATA.values()], 1)):
        for before, (stratum, counts) in zip(done, STRATA.items(), strict=True):
            new = (fields for fields in makers[stratum] if fields["prompt"] not in said)
            for fields in itertools.islice(new, counts[total] - before):
                said.add(fields["prompt"])
                rows.append(_row(f"fb{seed}-{len(rows) + 1:04d}", stratum, seed, **fields))
    for row, other in zip(*[iter(r for r in rows if r["stratum"] == "binding")] * 2, strict=True):
        row["swap_of"], other["swap_of"] = other["id"], row["id"]
    return tuple(rows)


def _core(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield single garments, each category as often: every third round in mini's words, the others
    with all options stated, so that few rows cover most pairs of words and more rows all of them.
    """
    pools = {}
    for name in GARMENTS:
        every = garments(name)
        for key, some in (("all", _full(every)), ("mini", filter(_mini_draws, every))):
            pools[name, key] = _Pool(cover, ((g,) for g in some), seed, "core", key)
    turns = (
        (n, pools[g, "mini" if n % 3 == 2 else "all"]) for n in itertools.count() for g in GARMENTS
    )
    first = [
        (number, pool, pool.take()) for number, pool in itertools.islice(turns, STRATA["core"][0])
    ]
    for _ in range(IMPROVEMENTS):  # the first were taken when nobody knew the last
        first = [(number, pool, pool.retake(taken)) for number, pool, taken in first]
    for number, pool, taken in itertools.chain(
        first, ((n, pool, pool.take()) for n, pool in turns)
    ):
        yield _worn(pool.choices[taken], number)


def _full(choices: Sequence[dict]) -> Iterator[dict]:
    most = max(map(len, choices))
    return (garment for garment in choices if len(garment) == most)


def _binding(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield pairs of rows with the same words, two of them swapped between garments."""
    words = {"colour": COLOURS, "pattern": tuple(flats.PATTERNS)[1:], "fabric": FABRICS}
    pools = {key: _Pool(cover, _together(key, words[key]), seed, "binding") for key in words}
    for number in itertools.count():
        swapped = ("colour", "colour", ("pattern", "fabric")[number // 3 % 2])[number % 3]
        garments = pools[swapped].choices[pools[swapped].take()]
        inner = [{"category": "t-shirt", "colour": _pick(COLOURS, seed, "inner", number)}]
        inner *= number % 4 == 0 and garments[0]["category"] in OPEN_TOPS
        for top, bottom in (garments[:2], garments[2:]):
            yield _worn((top, *inner, bottom), number)


def _together(swapped: str, words: tuple[str, ...]) -> Iterator[tuple[dict, ...]]:
    """Yield a top and a bottom with two different words, and both with the other's; colours that
    are not swapped are stated."""
    for top, bottom in itertools.product(TOPS, BOTTOMS):
        made_of = {*GARMENTS[top][2]} & {*GARMENTS[bottom][2]}
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
    held = [g for name in GARMENTS for g in garments(name) if _unseen(g)]
    pools = [
        _Pool(cover, ((g,) for g in held if within == _mini_draws(g)), seed, "rare")
        for within in (True, False)
    ]
    for number in itertools.count():
        pool = pools[number % 3 == 2]
        yield _worn(pool.choices[pool.take()], number)


def _captions(cover: _Cover, seed: int) -> Iterator[dict]:
    """Yield captions of flats that no training of mini's base has, in the words of their set."""
    for number in itertools.count():
        words = [flats.CATEGORIES, tuple(flats.COLOURS), tuple(flats.PATTERNS)]
        triple = [_pick(w, seed, "caption", number, i) for i, w in enumerate(words)]
        options = [flats.options(triple[0], name) for name in flats.OPTIONAL]
        picked = [_pick(w, seed, "option", number, i) if w else None for i, w in enumerate(options)]
        spec = flats.Spec(*triple, *picked)
        prompt, stated = _pick(flats.phrasings(spec), seed, "phrase", number)
        if spec.has_new_word or not {"category", "colour"} <= {*stated}:
            continue
        shown = {name: word for name, word in spec.attributes().items() if name in stated}
        others = [text for text, names in flats.phrasings(spec) if {*names} == {*stated}]
        other = others[(others.index(prompt) + 1) % len(others)]
        yield {"worn": (shown,), "prompt": prompt, "paraphrase": other, "spec": spec}


def _worn(worn: tuple[dict, ...], number: int) -> dict:
    """Return a row's garments, wearer and prompt; what mini draws has no wearer."""
    mini = len(worn) == 1 and _mini_draws(worn[0])
    wearer = "" if mini else ("man", "man", "woman", "man")[number % 4]
    if wearer and any(garment["category"] in WOMENS for garment in worn):
        wearer = "woman"
    things = [named(words_of(garment), garment) for garment in worn]
    others = [named(otherwise(garment), garment) for garment in worn]
    text, other = listed(things), listed(others)
    if wearer:
        text, other = f"a {wearer} wearing {text}", f"{other}, worn by a {wearer}"
    return {"worn": worn, "wearer": wearer, "prompt": text, "paraphrase": other}


def _row(
    id: str, stratum: str, seed: int, worn, prompt: str, paraphrase: str, wearer="", spec=None
) -> dict:
    """Return a row of the suite; `spec` is all that a flat shows, where it shows more than said."""
    length = max(token_length(text) for text in (prompt, paraphrase))
    first = worn[0]
    new = first.get("pattern") in flats.NEW_PATTERNS or _unseen(first)
    unseen = len(worn) > 1 or (spec.is_new if spec else new or not _mini_draws(first))
    return {
        "id": id,
        "stratum": stratum,
        "prompt": prompt,
        "paraphrase": paraphrase,
        "spec": {"wearer": wearer or None, "garments": [dict(garment) for garment in worn]},
        "atoms": atoms_of(worn),
        "swap_of": None,
        "tuple_key": "; ".join(
            "|".join(garment.get(name, "") for name in FACTORS[:3]) for garment in worn
        ),
        "token_len": length,
        "seeds": [seed_for(seed, id, k) % 2**32 for k in range(NUM_SEEDS)],
        "covered_by": ["mini"] * (len(worn) == 1 and (bool(spec) or _mini_draws(first))) + ["sd15"],
        "unseen_by": ["mini"] * unseen,
    }


def _with_captions(rows: list[dict], source: Source) -> list[dict]:
    """Return rows whose last stratum are captions of a source's held-out items, one of each tuple
    of attributes, those first that no training item has."""
    held = split_by_product(source.product_ids, held_out=0.1, seed=0)
    held |= np.array([split not in ("", "train") for split in source.splits])
    keys = [json.dumps(row, sort_keys=True) for row in source.attributes]
    trained = {key for key, out in zip(keys, held, strict=True) if not out}
    order = sorted(np.flatnonzero(held), key=lambda i: seed_for(0, source.item_ids[i]))
    first = {keys[i]: i for i in reversed(order) if source.captions[i]}
    chosen = iter(sorted(first.items(), key=lambda pair: pair[0] in trained))
    found = []
    for row in rows:
        if row["stratum"] == "captions":
            key, i = next(chosen, (None, None))
            if key is None:
                continue
            shown = {name: source.attributes[i][name] for name in source.attributes[i] if name in
                     (*FACTORS, "length")}  # fmt: skip
            text, worn = source.captions[i], (shown,) if "category" in shown else ()
            fields = _row(row["id"], "captions", 0, worn, text, text)
            row = {
                **fields,
                "seeds": row["seeds"],
                "unseen_by": [source.name] * (key not in trained),
            }
        found.append(row)
    return found


def _paper() -> list[dict]:
    return [
        {
            **_row(f"paper-{n}", "paper", 0, (shown,), prompt, named(prompt, shown)),
            "covered_by": ["mini", "sd15"],
            "unseen_by": [],
        }
        for n, (prompt, shown) in enumerate(PAPER.items(), 1)
    ]


def _mini_draws(garment: dict) -> bool:
    """Return whether a garment is one that flats have, in words that their captions have."""
    category, unsaid = garment["category"], garment.get("neckline") in ("collar", "hood")
    if garment.get("fabric") or category not in flats.CATEGORIES or unsaid:
        return False
    return all(
        name not in garment or garment[name] in flats.options(category, name)
        for name in ("sleeve", "neckline")
    )


def _unseen(garment: dict) -> bool:
    return flats.is_held_out(*(garment.get(name, "plain") for name in FACTORS[:3]))


def _pick(words, *seed):
    return words[seed_for(*seed) % len(words)]
