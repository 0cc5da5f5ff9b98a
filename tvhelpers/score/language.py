"""What does language add?  Systems on the same prompts and seeds, side by side and in pairs.

The rows of the paper's Table 2, defined: "pretrained" is a base that is told nothing (the empty
prompt) or a class; "+ CLIP" the base with the CLIP cross-attention that it was trained with;
"fine-tuned" that and an adapter.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tvhelpers import flats
from tvhelpers.image import read_photo
from tvhelpers.score.attributes import CORE, AttributeJudge, agreement
from tvhelpers.score.metrics import Result, compare, inception_score, mean_score


def requests(seed: int, count: int, season: str = "base") -> tuple[list[str], list[dict[str, str]]]:
    """Return (sentences, what each asks for) of flats: category, colour and pattern."""
    specs = [flats.random_spec(seed, i, season=season) for i in range(count)]
    asked = [{name: getattr(spec, name) for name in CORE} for spec in specs]
    return [_sentence(spec, i) for i, spec in enumerate(specs)], asked


def _sentence(spec: flats.Spec, number: int) -> str:
    texts = [text for text, stated in flats.phrasings(spec) if set(CORE) <= set(stated)]
    return texts[number % len(texts)]


def figures_of(
    pixels: np.ndarray, wanted: Sequence[dict[str, str]], groups: Sequence, judge, classifier
) -> dict[str, Result]:
    """Return {figure: Result} of one system's pictures uint8 (N, H, W, 3): of each attribute that
    `wanted` (N,) names, if any, the share that shows it, and the Inception Score.

    `judge` reads attributes as `AttributeJudge` does, `classifier` gives `probs`; pictures of one
    of `groups` (N,), such as prompts, count as one block.
    """
    right = agreement(list(wanted), judge.words(pixels)) if any(wanted) else {}
    found = {name: mean_score(name, values, groups) for name, values in right.items()}
    return {**found, "inception_score": inception_score(classifier.probs(pixels), groups)}


def compare_systems(
    pictures: dict[str, Sequence], wanted: Sequence[dict[str, str]], groups: Sequence, classifier
) -> tuple[dict[str, dict[str, Result]], dict[str, dict[str, Result]]]:
    """Return ({system: figures}, {"B against A": paired differences}), each system against the one
    before it.

    Picture i of every system, an array uint8 (H, W, 3) or a path, has the same prompt and seed;
    other arguments as in `figures_of`.
    """
    sides = (wanted, groups, AttributeJudge(), classifier)
    rows = {name: figures_of(_pixels(shown), *sides) for name, shown in pictures.items()}
    pairs = {f"{b} against {a}": paired(rows[b], rows[a]) for a, b in itertools.pairwise(rows)}
    return rows, pairs


def _pixels(pictures: Sequence) -> np.ndarray:
    return np.stack([read_photo(p) if isinstance(p, Path) else np.asarray(p) for p in pictures])


def paired(a: dict[str, Result], b: dict[str, Result]) -> dict[str, Result]:
    """Return the paired comparison of each figure of both systems that has an interval in both."""
    both = [name for name in a if name in b and a[name].ci and b[name].ci]
    return {name: compare(a[name], b[name]) for name in both}


def format_systems(rows: dict[str, dict[str, Result]], pairs: dict[str, dict[str, Result]]) -> str:
    """Return the table of systems, then of their differences, as text."""
    lines = []
    for title, table in (("", rows), ("difference, paired (score: ratio)", pairs)):
        lines += [title] * bool(title)
        for name, figures in table.items():
            lines.append(name)
            lines += [
                f"  {figure:16} {result.value:7.3f}  ({result.interval})"
                for figure, result in figures.items()
            ]
    return "\n".join(lines)
