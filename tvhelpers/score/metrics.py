"""How good is a set of images?  Pure functions of arrays that return a Result with its interval."""

import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np

from tvhelpers.score.statistics import (
    Z95,
    LeaveOneOut,
    blocks_of,
    canonical_order,
    jackknife,
    leave_one_out_mean,
    share_interval,
    two_sided_p,
    unanimous_difference,
)
from tvhelpers.words import counted

TWICE_GROUPS = 200  # most groups for the jackknife of pairs of groups: N^2 K operations
MIN_SE = 1e-9  # of a log score; below it all images are alike, or each is of a class of its own
MIN_GROUPS = 10  # with fewer independent images their spread cannot be estimated


@dataclass(frozen=True)
class Result:
    """One figure, with its interval, its number of images, its method and its warnings."""

    name: str
    value: float
    se: float | None  # standard error, on the scale that `method` names
    ci: tuple[float, float] | None  # 95 % interval of `value`
    n: int  # images
    method: str
    warnings: tuple[str, ...] = ()
    per_item: tuple[float, ...] = ()  # each image's contribution, in the given order
    details: dict = field(default_factory=dict)
    leave_one_out: LeaveOneOut | None = field(default=None, repr=False)  # not in JSON

    @property
    def interval(self) -> str:
        """Return the 95 % interval as text."""
        return "no interval" if self.ci is None else "95 % {:.2f} to {:.2f}".format(*self.ci)

    def to_dict(self) -> dict:
        """Return the result as plain values for JSON."""
        row = asdict(self)
        del row["leave_one_out"]
        return row


def inception_score(probs: np.ndarray, groups=None) -> Result:
    """Return the Inception Score of class probabilities (N, K), corrected for its bias at small N.

    IS = exp(H(mean p) - mean H(p)) (Salimans et al. 2016) of all images as one split.  Value and
    95 % interval are the jackknife's on the log scale.  `groups` (N,), such as prompts, are deleted
    as blocks (delete-m_j jackknife, Busing et al. 1999), because several images of one prompt are
    not independent.  With fewer than 10 groups, or where the corrected value would exceed N, the
    value is the plain estimate without an interval; values are at most K.
    `per_item`: KL(p_i | mean p) in nats, whose mean is the plain log score.  `details`: the plain
    estimate (`plug_in`), its upper bound min(N, K) (`cap`), the effective number of classes
    exp(H(mean p)), and the mean and standard deviation over ten splits that papers print.  Only the
    ten splits depend on the order of the images.
    Raises ValueError for rows that are no probabilities, and for groups of another length.
    """
    probs = _checked(probs)
    blocks, names = blocks_of(groups, len(probs))
    order = canonical_order(probs)
    full, once, twice = _log_scores(probs[order], blocks[order])
    estimate = LeaveOneOut(full, once, np.bincount(blocks), names, twice)
    details = {
        "plug_in": math.exp(estimate.full),
        "cap": min(probs.shape),
        "num_groups": len(names),
        "effective_classes": float(np.exp(_entropy(probs[order].mean(0)))),
        **_ten_splits(probs),
    }
    value, se, ci = _corrected(estimate, probs.shape)
    ci = None if se is not None and se < MIN_SE else ci
    pieces = "images" if groups is None else "groups"
    method = f"one split, jackknife over {pieces}, standard error and interval on the log scale"
    doubts = _doubts(value, se, probs.shape, len(names))
    per_item = tuple(_divergences(probs, probs[order].mean(0)).tolist())
    return Result(
        "inception_score", value, se, ci, len(probs), method, doubts, per_item, details, estimate
    )


def rarefaction(probs: np.ndarray) -> list[dict]:
    """Return the score at growing numbers of images: rows of `n`, mean `plug_in` and `corrected`.

    Each of the up to eight rows is the mean of 20 random subsets.  The plain estimate rises as long
    as there are too few images; the corrected one is level where the number suffices.
    """
    probs = _checked(probs)
    probs = probs[canonical_order(probs)]
    rng = np.random.default_rng(0)
    sizes = np.unique(np.linspace(min(20, len(probs)), len(probs), 8).astype(int))
    rows = []
    for size in sizes.tolist():
        times = 20 if size < len(probs) else 1
        subsets = [probs[rng.permutation(len(probs))[:size]] for _ in range(times)]
        scores = [inception_score(subset) for subset in subsets]
        plug_in = float(np.mean([score.details["plug_in"] for score in scores]))
        corrected = float(np.mean([score.value for score in scores]))
        rows.append({"n": size, "plug_in": plug_in, "corrected": corrected})
    return rows


def mean_score(name: str, values, groups=None, method: str = "mean") -> Result:
    """Return the mean of one value per image (N,), such as 1 for correct, with its 95 % interval.

    Each of `groups` (N,), such as prompts, counts as one independent image.  Raises ValueError for
    NaN and for groups of another length.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name}: give one finite value per image, not {values.shape} with NaN")
    blocks, names = blocks_of(groups, len(values))
    per_item, method = tuple(values.tolist()), f"{method}, jackknife over {len(names)} groups"
    if len(names) < MIN_GROUPS:
        count = counted(len(names), _noun(len(names), len(values)))
        few = (f"only {count}: too few for an interval",)
        return Result(name, float(values.mean()), None, None, len(values), method, few, per_item)
    estimate = leave_one_out_mean(values, blocks, names)
    _, se = jackknife(estimate)
    value = estimate.full
    ci = (value - Z95 * se, value + Z95 * se)
    if np.isin(values, (0, 1)).all():
        ci = share_interval(value, se, len(names), len(values))
    return Result(name, value, se, ci, len(values), method, (), per_item, leave_one_out=estimate)


def clip_score(images: np.ndarray, texts: np.ndarray, groups=None) -> Result:
    """Return the CLIPScore of unit embeddings (N, D) of images and of their prompts: the mean of
    100 * max(cosine, 0), 0..100 (Hessel et al. 2021, scaled as in torchmetrics)."""
    images, texts = (np.asarray(side, np.float64) for side in (images, texts))
    if images.shape != texts.shape:
        raise ValueError(f"images {images.shape} and prompts {texts.shape} do not match")
    values = 100 * np.maximum((images * texts).sum(1), 0)
    return mean_score("clip_score", values, groups, "100 max(cosine, 0)")


def compare(a: Result, b: Result) -> Result:
    """Return the difference of `a` and `b`, of the same prompts and seeds, by paired jackknife.

    For the Inception Score (log scale) the value is the ratio a / b, else the difference a - b;
    `details["p"]` is the two-sided p-value of no difference, never below the least that the signs
    of so many differences can show, 2 / 2^groups (sign-flip test).  Raises ValueError where the two
    cannot be paired: other metrics, other prompts, other numbers of images.
    """
    if a.name != b.name or a.leave_one_out is None or b.leave_one_out is None:
        raise ValueError(f"{a.name} of {a.n} and {b.name} of {b.n} images cannot be paired")
    difference = a.leave_one_out.difference(b.leave_one_out)
    value, se = jackknife(difference)
    middle, shares = value, np.isin((*a.per_item, *b.per_item), (0, 1)).all()
    if se == 0 and shares:
        middle, se = unanimous_difference(value, len(difference.names))
    ends = (value, middle - Z95 * se, middle + Z95 * se)
    ends = np.clip(ends, -1, 1).tolist() if shares else ends
    p = two_sided_p(middle / se) if se > 0 else float(value == 0)
    p = max(p, 2.0 ** (1 - len(difference.names)))
    logs = a.name == "inception_score"
    value, low, high = (math.exp(end) for end in ends) if logs else ends
    name = f"{a.name}, {'ratio' if logs else 'difference'}"
    details = {"p": p, "num_groups": len(difference.names)}
    method = f"paired jackknife over {len(difference.names)} groups"
    method += ", standard error on the log scale" if logs else ""
    return Result(name, value, se, (low, high), a.n, method, details=details)


def _checked(probs) -> np.ndarray:
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or not probs.size:
        raise ValueError(f"probabilities have shape {probs.shape}; give (images, classes)")
    if not np.isfinite(probs).all():
        raise ValueError("probabilities contain NaN or infinity")
    sums = probs.sum(1)
    if probs.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            f"rows are no probabilities: the least value is {probs.min():.3g}, "
            f"the sums go from {sums.min():.4g} to {sums.max():.4g}"
        )
    return probs / sums[:, None]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy in nats along the last axis; 0 log 0 = 0."""
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)


def _log_score(mean_probs: np.ndarray, mean_entropy):
    return _entropy(mean_probs) - mean_entropy


def _divergences(probs: np.ndarray, mean_probs: np.ndarray) -> np.ndarray:
    """Return KL(p_i | mean p) (N,) in nats; a class without any probability adds 0."""
    return -(probs * np.log(np.where(mean_probs > 0, mean_probs, 1))).sum(1) - _entropy(probs)


def _log_scores(probs: np.ndarray, blocks: np.ndarray):
    """Return log IS, (G,) without each block, and (G, G) without two blocks, in closed form: the
    sums less the blocks' own."""
    num_blocks = int(blocks.max()) + 1
    entropy = _entropy(probs)
    full = float(_log_score(probs.mean(0), math.fsum(entropy) / len(probs)))
    if num_blocks < 2:
        return full, np.zeros(0), None
    sums = np.zeros((num_blocks, probs.shape[1]))
    np.add.at(sums, blocks, probs)
    entropies = np.bincount(blocks, entropy, num_blocks)
    left = len(probs) - np.bincount(blocks, minlength=num_blocks)
    total, rest = probs.sum(0), math.fsum(entropy) - entropies
    mean_probs = np.maximum(total - sums, 0) / left[:, None]
    once = _log_score(mean_probs, rest / left)
    if not 2 < num_blocks <= TWICE_GROUPS:
        return full, once, None
    sizes = len(probs) - left
    twice = np.zeros((num_blocks, num_blocks))
    for i in range(num_blocks):
        few = np.maximum(left[i] - sizes, 1)  # the diagonal is unused
        means = np.maximum(total - sums[i] - sums, 0) / few[:, None]
        twice[i] = _log_score(means, (rest[i] - entropies) / few)
    return full, once, twice


def _corrected(estimate: LeaveOneOut, shape: tuple[int, int]):
    """Return (value, se of its log, 95 % interval) of a log estimate on `shape` (images, classes).

    With fewer than MIN_GROUPS blocks, and where the corrected value would exceed the number of
    images, the value is not corrected and the others are None.
    """
    plain = math.exp(estimate.full), None, None
    if len(estimate.sizes) < MIN_GROUPS:
        return plain
    log_value, se = jackknife(estimate)
    if math.exp(log_value) > shape[0] * (1 + 1e-9):
        return plain
    logs = np.array([log_value, log_value - Z95 * se, log_value + Z95 * se])
    value, low, high = np.minimum(np.exp(logs), shape[1]).tolist()
    return value, se, (low, high)


def _ten_splits(probs: np.ndarray, splits: int = 10, seed: int = 2020) -> dict:
    """Return the results that torch-fidelity prints: shuffled, i * N // 10 splits, ddof 0.

    The deviation is the spread of small splits, not an error bar; the mean is at most N / 10.
    """
    if len(probs) < splits:
        return {"ten_split_mean": None, "ten_split_std": None}
    shuffled = probs[np.random.RandomState(seed).permutation(len(probs))]
    bounds = [i * len(probs) // splits for i in range(splits + 1)]
    parts = [shuffled[a:b] for a, b in pairwise(bounds)]
    scores = [np.exp(_log_score(part.mean(0), _entropy(part).mean())) for part in parts]
    return {"ten_split_mean": float(np.mean(scores)), "ten_split_std": float(np.std(scores))}


def _noun(num_blocks: int, num_images: int) -> str:
    return "image" if num_blocks == num_images else "prompt"


def _doubts(value: float, se: float | None, shape: tuple[int, int], num_blocks: int):
    """Return a warning for each reason why the figure is unreliable."""
    num_images, num_classes = shape
    doubts = []
    few, near = se is None or num_blocks < 10 * value, value > min(shape) / 2
    if few or near:
        noun = _noun(num_blocks, num_images)
        seen = [f"from only {counted(num_blocks, noun)}"] if few else []
        seen += [f"over half of its upper bound of {min(shape)}"] if near else []
        more = f"{noun}s" if few else "images" if num_images <= num_classes else "classes"
        end = "are needed" if se is not None else "are needed; no interval and no correction"
        doubts.append(f"the score of {value:.1f} is {' and '.join(seen)}: more {more} {end}")
    # All images alike, or each of a class of its own: nothing to estimate it from.
    if se is not None and se < MIN_SE:
        doubts.append("every image changes the score by the same amount: no interval can be given")
    if num_images < 10:
        doubts.append(f"only {counted(num_images, 'image')} for ten splits: no ten-split score")
    if 10 <= num_images < 100 * value:
        doubts.append(
            f"each of the ten splits has only {counted(num_images // 10, 'image')}, too few for a "
            f"score of {value:.1f}: compare the ten-split score only with those of papers"
        )
    return tuple(doubts)
