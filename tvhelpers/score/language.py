"""What does text conditioning add?  Systems compared on the same prompts and seeds, in pairs.

The rows of the paper's Table 2 are: "pretrained", an unconditional base (the empty prompt) or one
with class conditioning; "+ CLIP", the base with text conditioning; "fine-tuned", that base with an
adapter.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tvhelpers import flats
from tvhelpers.image import read_photo
from tvhelpers.output import escaped_lines
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement
from tvhelpers.score.looks import Look, looks_drawn, misfit
from tvhelpers.score.metrics import Result, compare, inception_score, mean_score


def requests(seed: int, count: int, season: str = "base") -> tuple[list[str], list[dict[str, str]]]:
    """Return (prompts, the attributes that each names) of flats: category, colour and pattern."""
    specs = [flats.random_spec(seed, i, season=season) for i in range(count)]
    asked = [{name: getattr(spec, name) for name in CORE} for spec in specs]
    return [_prompt(spec, i) for i, spec in enumerate(specs)], asked


def _prompt(spec: flats.Spec, number: int) -> str:
    texts = [text for text, stated in flats.phrasings(spec) if set(CORE) <= set(stated)]
    return texts[number % len(texts)]


def metrics_of(
    pixels: np.ndarray, wanted: Sequence[dict[str, str]], groups: Sequence, judge, classifier
) -> dict[str, Result]:
    """Return {figure: Result} of one system's images uint8 (N, H, W, 3): for each attribute that
    `wanted` (N,) names, the share of images that show it, and the Inception Score.

    `judge` is an attribute classifier, `classifier` gives `probs`; images of one of `groups` (N,),
    such as prompts, count as one block.  A classifier that knows drawings alone gives no Inception
    Score of other images.
    """
    correct = agreement(list(wanted), judge.words(pixels)) if any(wanted) else {}
    found = {name: mean_score(name, values, groups) for name, values in correct.items()}
    look = Look("these images", sum(map(looks_drawn, pixels)), len(pixels))
    if misfit(classifier, "probs", [look])[0]:
        return found
    return {**found, "inception_score": inception_score(classifier.probs(pixels), groups)}


def compare_systems(
    images: dict[str, Sequence], wanted: Sequence[dict[str, str]], groups: Sequence, classifier
) -> tuple[dict[str, dict[str, Result]], dict[str, dict[str, Result]]]:
    """Return ({system: metrics}, {"B against A": paired differences}); each system is compared with
    the one before it.

    Image i of every system, an array uint8 (H, W, 3) or a path, has the same prompt and seed; the
    other arguments are those of `metrics_of`.
    """
    sides = (wanted, groups, JudgeAttributeClassifier(), classifier)
    rows = {name: metrics_of(_pixels(shown), *sides) for name, shown in images.items()}
    pairs = {f"{b} against {a}": paired(rows[b], rows[a]) for a, b in itertools.pairwise(rows)}
    return rows, pairs


def _pixels(images: Sequence) -> np.ndarray:
    return np.stack([read_photo(p) if isinstance(p, Path) else np.asarray(p) for p in images])


def paired(a: dict[str, Result], b: dict[str, Result]) -> dict[str, Result]:
    """Return the paired comparison of each figure that has an interval in both systems."""
    both = [name for name in a if name in b and a[name].ci and b[name].ci]
    return {name: compare(a[name], b[name]) for name in both}


def format_systems(rows: dict[str, dict[str, Result]], pairs: dict[str, dict[str, Result]]) -> str:
    """Return the table of systems, then of their differences, as text."""
    lines = []
    for title, table in (("", rows), ("difference, paired (score: ratio)", pairs)):
        lines += [title] * bool(title)
        for name, metrics in table.items():
            lines.append(name)
            lines += [
                f"  {metric:16} {result.value:7.3f}  ({result.interval})"
                for metric, result in metrics.items()
            ]
    return escaped_lines(lines)
