"""Metrics as pure functions: arrays in, a Result with its interval out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np

MIN_GROUPS = 10  # fewer independent images say too little of their own spread
Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class Result:
    """One figure with what is needed to believe it."""

    name: str
    value: float
    se: float | None  # standard error, on the scale that `method` names
    ci: tuple[float, float] | None  # 95 % interval of `value`
    n: int  # images
    method: str
    warnings: tuple[str, ...] = ()
    per_item: tuple[float, ...] = ()  # each image's part, in the order given
    details: dict = field(default_factory=dict)

    @property
    def interval(self) -> str:
        """Return the 95 % interval in words and figures."""
        return "no interval" if self.ci is None else "95 % {:.2f} to {:.2f}".format(*self.ci)

    def to_dict(self) -> dict:
        """Return the result as JSON-able plain values."""
        return asdict(self)


def inception_score(probs: np.ndarray, groups=None) -> Result:
    """Return the Inception Score of class probabilities (N, K), corrected for its bias at small N.

    IS = exp(H(mean p) - mean H(p)) (Salimans et al. 2016) of all images as one split.  The value is
    the jackknife's on the log scale, and so is the 95 % interval.  `groups` (N,), such as prompts,
    are deleted as blocks (delete-m_j jackknife, Busing et al. 1999), so that several images of one
    prompt do not count as independent.  With fewer than 10 groups, or where the corrected value
    would pass N, the value is the plain estimate and has no interval; none passes K.
    `per_item` holds KL(p_i | mean p) in nats, whose mean is the plain log score.  `details` holds
    the plain estimate (`plug_in`), its cap min(N, K), the effective number of classes
    exp(H(mean p)), and the mean and standard deviation over ten splits that papers print.
    Raises ValueError for values that are no probabilities, and for groups of another length.
    """
    probs = _checked(probs)
    num_images = len(probs)
    blocks = _block_numbers(groups, num_images)
    plug_in = _log_score(probs.mean(0), _entropy(probs).mean())
    details = {
        "plug_in": float(np.exp(plug_in)),
        "cap": min(probs.shape),
        "num_groups": int(blocks.max()) + 1,
        "effective_classes": float(np.exp(_entropy(probs.mean(0)))),
        **_ten_splits(probs),
    }
    sizes = np.bincount(blocks)
    value, se, ci = _jackknife(plug_in, _leave_one_out(probs, blocks), sizes, probs.shape)
    method = "one split, jackknife over " + ("images" if groups is None else "groups")
    method += ", standard error and interval on the log scale"
    warnings = _doubts(value, se, probs.shape, details["num_groups"])
    per_item = tuple(_divergences(probs).tolist())
    return Result("inception_score", value, se, ci, num_images, method, warnings, per_item, details)


def _checked(probs) -> np.ndarray:
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or not probs.size:
        raise ValueError(f"probabilities have shape {probs.shape}; give (images, classes)")
    if not np.isfinite(probs).all():
        raise ValueError("probabilities hold NaN or infinity")
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


def _divergences(probs: np.ndarray) -> np.ndarray:
    """Return KL(p_i | mean p) (N,) in nats; a class that no image shows adds 0."""
    mean_probs = probs.mean(0)
    return -(probs * np.log(np.where(mean_probs > 0, mean_probs, 1))).sum(1) - _entropy(probs)


def _block_numbers(groups, num_images: int) -> np.ndarray:
    """Return the block 0..G-1 of each image (N,); every image is its own without groups."""
    if groups is None:
        return np.arange(num_images)
    groups = np.asarray(groups)
    if groups.shape != (num_images,):
        raise ValueError(f"groups have shape {groups.shape}; give one for each of {num_images}")
    return np.unique(groups, return_inverse=True)[1]


def _leave_one_out(probs: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return log IS (G,) without each block, in closed form: sums less the block's own sums."""
    num_blocks = int(blocks.max()) + 1
    if num_blocks < 2:
        return np.zeros(0)
    sums = np.zeros((num_blocks, probs.shape[1]))
    np.add.at(sums, blocks, probs)
    entropies = np.bincount(blocks, _entropy(probs), num_blocks)
    left = len(probs) - np.bincount(blocks, minlength=num_blocks)
    mean_probs = np.maximum(probs.sum(0) - sums, 0) / left[:, None]
    return _log_score(mean_probs, (entropies.sum() - entropies) / left)


def _jackknife(full: float, left_out: np.ndarray, sizes: np.ndarray, shape: tuple):
    """Return (value, se of its log, 95 % interval) of a log estimate and what is left of it (G,)
    without each block of `sizes` (G,), for `shape` (images, classes).

    The two last are None, and the value is not corrected, with under MIN_GROUPS blocks and where
    the correction would pass the number of images.
    """
    plain = float(np.exp(full)), None, None
    if len(sizes) < MIN_GROUPS:
        return plain
    share = sizes / sizes.sum()
    log_value = len(sizes) * full - ((1 - share) * left_out).sum()
    if np.exp(log_value) > shape[0] * (1 + 1e-9):
        return plain
    parts = full / share - (1 / share - 1) * left_out  # pseudo-values
    se = float(np.sqrt((np.square(parts - log_value) / (1 / share - 1)).mean()))
    logs = np.array([log_value, log_value - Z95 * se, log_value + Z95 * se])
    value, low, high = np.minimum(np.exp(logs), shape[1]).tolist()
    return value, se, (low, high)


def _ten_splits(probs: np.ndarray, splits: int = 10, seed: int = 2020) -> dict:
    """Return what torch-fidelity prints: shuffled, i * N // 10 splits, deviation of ddof 0.

    The deviation is the spread of small splits, no error bar, and the mean is at most N / 10.
    """
    if len(probs) < splits:
        return {"ten_split_mean": None, "ten_split_std": None}
    shuffled = probs[np.random.RandomState(seed).permutation(len(probs))]
    bounds = [i * len(probs) // splits for i in range(splits + 1)]
    parts = [shuffled[a:b] for a, b in pairwise(bounds)]
    scores = [np.exp(_log_score(part.mean(0), _entropy(part).mean())) for part in parts]
    return {"ten_split_mean": float(np.mean(scores)), "ten_split_std": float(np.std(scores))}


def _doubts(value: float, se: float | None, shape: tuple[int, int], num_blocks: int):
    """Return a sentence for each reason not to lean on the figure."""
    num_images, num_classes = shape
    doubts = []
    if se is None:
        few = f"{num_blocks} independent images or groups, or a score near its cap, are too little"
        doubts.append(f"{few} to tell: no interval and no correction")
    elif se < 1e-9:  # all images alike, or each of a class of its own: nothing to estimate it from
        doubts.append("leaving out any image changes the score alike: the interval has no width")
    if value > min(shape) / 2:
        more = "images" if num_images <= num_classes else "classes"
        doubts.append(f"over half of the cap of {min(shape)}: more {more} are needed to tell")
    if num_blocks < 10 * value:
        doubts.append(f"only {num_blocks} independent images or groups for a score of {value:.1f}")
    if 10 <= num_images < 100 * value:
        doubts.append(
            f"the ten-split figure sees {num_images // 10} images at a time, too few for "
            f"{value:.1f}: only to set beside papers"
        )
    return tuple(doubts)
