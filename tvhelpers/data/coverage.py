"""Which attributes does a data set show often, seldom or never, and which weights balance them?"""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.items import Source
from tvhelpers.errors import Choice, InputError
from tvhelpers.output import escaped_lines
from tvhelpers.words import counted

NOT_STATED = "not stated"
EXPECTED = 20  # items that chance would give a pair of values, before its absence is a gap
FLOOR = 0.1  # the least share of the mean demand: items without sales are still learnt
MAX_SHOWN = 12  # printed values of an attribute, and printed gaps
OF_CAPTIONS = ("category", "colour")  # attributes that are taken from captions without a label
SELDOM = 0.1  # a gap has fewer items than this share of what chance would give


def stated_attributes(source: Source) -> tuple[list[dict[str, str]], dict[str, int]]:
    """Return (attributes of the N items, {name: how many items it was taken from the caption of}):
    the labels, and the category and colour that a caption states where they have none."""
    rows, taken = [], Counter()
    for labels, caption in zip(source.attributes, source.captions, strict=True):
        stated = parse_caption(caption)
        more = {key: stated[key] for key in OF_CAPTIONS if key in stated and key not in labels}
        taken.update(more.keys())
        rows.append({**more, **labels})
    return rows, dict(taken)


def coverage(attributes: Sequence[dict[str, str]], names: Sequence[str]) -> dict:
    """Return how often each value of the attributes `names` occurs, alone and in pairs.

    {"items", "counts": {name: {value: n}}, "effective_words": {name: exp(entropy)}, "gaps":
    [{"words", "count", "expected"}]}: a gap is a pair of values that fewer than a tenth of the
    expected items have, where 20 or more are expected of independent attributes.  Raises
    InputError where no item states a name.
    """
    if missing := [name for name in names if not any(name in row for row in attributes)]:
        choice = Choice(missing[0], sorted({name for row in attributes for name in row}))
        raise InputError("not-stated.coverage", name=missing[0], choice=choice)
    counts = {
        name: dict(Counter(row.get(name, NOT_STATED) for row in attributes).most_common())
        for name in names
    }
    gaps = [gap for a, b in itertools.combinations(names, 2) for gap in _gaps(attributes, a, b)]
    return {
        "items": len(attributes),
        "counts": counts,
        "effective_words": {name: _effective(list(row.values())) for name, row in counts.items()},
        "gaps": sorted(gaps, key=lambda gap: gap["count"] / gap["expected"]),
    }


def pair_table(
    attributes: Sequence[dict[str, str]], first: str, second: str
) -> tuple[np.ndarray, list[str], list[str]]:
    """Return (counts int (A, B), values of `first`, values of `second`), frequent ones first."""
    both = [(row[first], row[second]) for row in attributes if first in row and second in row]
    counts = [Counter(pair[place] for pair in both) for place in (0, 1)]
    words = [[word for word, _ in count.most_common()] for count in counts]
    pairs = Counter(both)
    table = np.array([[pairs[a, b] for b in words[1]] for a in words[0]], int)
    return table.reshape(len(words[0]), len(words[1])), *words


def _gaps(attributes: Sequence[dict[str, str]], first: str, second: str) -> list[dict]:
    table, rows, columns = pair_table(attributes, first, second)
    if not table.size:
        return []
    expected = _expected(table)
    gaps = zip(*np.nonzero(is_gap(table)), strict=True)
    found = [([rows[i], columns[j]], int(table[i, j]), float(expected[i, j])) for i, j in gaps]
    return [{"words": words, "count": n, "expected": round(x, 1)} for words, n, x in found]


def is_gap(table: np.ndarray) -> np.ndarray:
    """Return bool (A, B): where 20 or more items are expected and under a tenth of them found."""
    expected = _expected(table)
    return (expected >= EXPECTED) & (table < SELDOM * expected)


def _expected(table: np.ndarray) -> np.ndarray:
    return np.outer(table.sum(1), table.sum(0)) / max(1, table.sum())


def _effective(counts: Sequence[int]) -> float:
    """Return exp(entropy): the number of equally frequent values with the same entropy."""
    shares = np.array(counts) / sum(counts)
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 2)


def inverse_frequency_weights(
    attributes: Sequence[dict[str, str]], names: Sequence[str], power: float = 1.0, cap: float = 10
) -> np.ndarray:
    """Return weights float (N,) of mean 1 that make each combination of `names` equally frequent.

    `power`: 1 balances in full, 0 not at all; weights are capped at `cap` times their mean.
    Raises InputError where no item states a name.
    """
    coverage(attributes, names)
    rows = [tuple(row.get(name, NOT_STATED) for name in names) for row in attributes]
    counts = Counter(rows)
    weights = np.array([counts[row] for row in rows], float) ** -power
    weights = np.minimum(weights / weights.mean(), cap)
    return weights / weights.mean()


def demand_weights(values: Sequence[float]) -> np.ndarray:
    """Return weights float (N,) of mean 1 in proportion to a column, such as sales or clicks.

    None is below FLOOR.  Raises InputError for values that are negative, not finite, or all zero.
    """
    values = np.asarray(values, float)
    if not len(values) or not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise InputError("out-of-range.weights")
    weights = np.maximum(values / values.mean(), FLOOR)
    return weights / weights.mean()


def item_weights(attributes: Sequence[dict[str, str]], balance: str) -> np.ndarray:
    """Return weights float (N,) of mean 1 for `balance`.

    "weight" follows that column; "category,colour" and the like weigh by inverse frequency.  Raises
    InputError where no item states a name, or a weight is no number of 0 or more.
    """
    names = [name.strip() for name in balance.split(",") if name.strip()]
    if names != ["weight"]:
        return inverse_frequency_weights(attributes, names)
    if not any("weight" in row for row in attributes):
        raise InputError("not-stated.weight")
    try:
        return demand_weights([float(row.get("weight", 0)) for row in attributes])
    except ValueError as error:
        raise InputError("out-of-range.weight", error=error) from None


def effective_sample_size(weights: np.ndarray) -> float:
    """Return the effective number of items under weights float (N,) (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def format_coverage(report: dict) -> str:
    """Return a coverage report as text to read; "from_captions": {name: number of items}."""
    lines = [counted(report["items"], "item")]
    for name, counts in report["counts"].items():
        alike = f"{report['effective_words'][name]:.1f} values that are equally frequent"
        count = report.get("from_captions", {}).get(name)
        taken = f" (of {counted(count, 'item')} from the caption)" if count else ""
        lines.append(f"  {name}: {counted(len(counts), 'value')}, as varied as {alike}{taken}")
        for word, count in list(counts.items())[:MAX_SHOWN]:
            lines.append(f"    {word:20} {count:7,}  {count / report['items']:6.1%}")
        if len(counts) > MAX_SHOWN:
            lines.append(f"    and {len(counts) - MAX_SHOWN} more")
    pairs = counted(len(report["gaps"]), "pair")
    lines.append(
        f"  {pairs} of values that occur together far less often than their frequencies predict"
    )
    for gap in report["gaps"][:MAX_SHOWN]:
        pair = " + ".join(gap["words"])
        lines.append(
            f"    {pair:32} {counted(gap['count'], 'item')}, expected {gap['expected']:,.0f}"
        )
    return escaped_lines(lines)
