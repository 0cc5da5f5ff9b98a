"""How rich captions are: how many differ, what they state, how long they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tvhelpers.config import InputError
from tvhelpers.data import caption_words as lexicon
from tvhelpers.data.caption_parsing import FEATURES, parse_caption
from tvhelpers.data.captions import facts_of


def caption_report(captions: Sequence[str], tokenizer=None) -> dict:
    """Return how rich captions are, as JSON-able figures; shares are of all captions, 0..1.

    `tokenizer` is one of CLIP's; "tokens" counts its start and end too, of at most 77.  "words_of"
    says in how many there is a word of pattern, fabric or cut.  Raises InputError for no captions.
    """
    if not captions:
        raise InputError("there are no captions to report on; give at least one")
    counts = Counter(captions)
    total, common = len(captions), [count for _, count in counts.most_common(50)]
    texts = {text: re.findall(r"[\w'-]+", text.lower()) for text in counts}
    lengths = {text: len(found) for text, found in texts.items()}

    def share(some: list[str]) -> float:
        return sum(counts[text] for text in some) / total

    stated = {text: parse_caption(text).keys() for text in counts}
    groups = {text: {lexicon.GROUPS[slot] for slot, _ in facts_of(text)} for text in counts}
    shown = ("pattern", "fabric", "cut")
    report = {
        "n": total,
        "distinct": len(counts),
        "top_10_share": sum(common[:10]) / total,
        "top_50_share": sum(common) / total,
        "words_mean": sum(lengths[text] * count for text, count in counts.items()) / total,
        "words_max": max(lengths.values()),
        "vocabulary": len(set().union(*texts.values())),
        "states": {
            key: share([text for text in counts if key in stated[text]]) for key in FEATURES
        },
        "words_of": {
            **{group: share([x for x in counts if group in groups[x]]) for group in shown},
            "any": share([x for x in counts if not groups[x].isdisjoint(shown)]),
        },
    }
    return {**report, "tokens": _token_report(counts, tokenizer)} if tokenizer else report


def _token_report(counts: Counter, tokenizer, limit: int = 77) -> dict:
    texts = list(counts)
    lengths = [
        len(ids)
        for start in range(0, len(texts), 4096)
        for ids in tokenizer(texts[start : start + 4096])["input_ids"]
    ]
    sizes = list(zip(lengths, counts.values(), strict=True))
    return {
        "mean": sum(size * count for size, count in sizes) / counts.total(),
        "max": max(lengths),
        "over_77_share": sum(count for size, count in sizes if size > limit) / counts.total(),
    }


def _flat(report: dict) -> list[tuple[str, float]]:
    """Return (name, figure) of a report, those of its parts too."""
    rows = [(key, value) for key, value in report.items() if not isinstance(value, dict)]
    return rows + [
        (f"{part} {key}", value)
        for part, figures in report.items()
        if isinstance(figures, dict)
        for key, value in figures.items()
    ]


def format_caption_report(before: dict, after: dict) -> str:
    """Return two reports of `caption_report` side by side, as text."""
    lines = [f"{'':28}{'before':>10}{'after':>10}"]
    for (name, old), (_, new) in zip(_flat(before), _flat(after), strict=True):
        form = ",.1%" if name.endswith("_share") or name.startswith(("states", "words_of")) else ","
        lines.append(f"{name:28}{round(old, 4):>10{form}}{round(new, 4):>10{form}}")
    return "\n".join(lines)
