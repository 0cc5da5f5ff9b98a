"""Metrics as pure functions: arrays in, a Result with its interval out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np

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
    details: dict = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Return the result as JSON-able plain values."""
        return asdict(self)


def inception_score(probs: np.ndarray, groups=None) -> Result:
    """Return the Inception Score of class probabilities (N, K), corrected for its bias at small N.

    IS = exp(H(mean p) - mean H(p)) (Salimans et al. 2016) of all images as one split.  The value is
    the delete-one jackknife's on the log scale, and so is the 95 % interval; it can exceed the cap
    min(N, K) of the plain estimate.  `groups` (N,), such as prompts, are deleted as blocks, so that
    several images of one prompt do not count as independent.  `details` holds the plain estimate
    (`plug_in`), the cap, and the mean and standard deviation over ten splits that papers print.
    Raises ValueError for values that are no probabilities.
    """
    probs = _checked(probs)
    num_images, num_classes = probs.shape
    blocks = np.unique(np.arange(num_images) if groups is None else groups, return_inverse=True)[1]
    num_blocks = int(blocks.max()) + 1
    plug_in = _log_score(probs.mean(0), _entropy(probs).mean())
    cap = min(num_images, num_classes)
    details = {"plug_in": float(np.exp(plug_in)), "cap": cap, "num_groups": num_blocks,
               **_ten_splits(probs)}  # fmt: skip
    method = "one split, jackknife over " + ("images" if groups is None else "groups")
    method += ", standard error and interval on the log scale"
    if num_blocks < 2:
        warning = "fewer than 2 independent images or groups: no interval and no correction"
        return Result("inception_score", details["plug_in"], None, None, num_images, method,
                      (warning,), details)  # fmt: skip
    left_out = _leave_one_out(probs, blocks, num_blocks)
    log_value = num_blocks * plug_in - (num_blocks - 1) * left_out.mean()
    se = float(np.sqrt((num_blocks - 1) / num_blocks * np.square(left_out - left_out.mean()).sum()))
    low, high = np.exp(log_value - Z95 * se), np.exp(log_value + Z95 * se)
    value = float(np.exp(log_value))
    return Result("inception_score", value, se, (float(low), float(high)), num_images, method,
                  _doubts(value, num_images, num_blocks, cap), details)  # fmt: skip


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


def _leave_one_out(probs: np.ndarray, blocks: np.ndarray, num_blocks: int) -> np.ndarray:
    """Return log IS (G,) without each block, in closed form: sums less the block's own sums."""
    sums = np.zeros((num_blocks, probs.shape[1]))
    np.add.at(sums, blocks, probs)
    entropies = np.bincount(blocks, _entropy(probs), num_blocks)
    left = len(probs) - np.bincount(blocks, minlength=num_blocks)
    mean_probs = np.maximum(probs.sum(0) - sums, 0) / left[:, None]
    return _log_score(mean_probs, (entropies.sum() - entropies) / left)


def _ten_splits(probs: np.ndarray, splits: int = 10, seed: int = 2020) -> dict:
    """Return what torch-fidelity prints: shuffled, i * N // 10 splits, deviation of ddof 0.

    The deviation is the spread of small splits, no error bar, and the mean is at most N / 10.
    """
    if len(probs) < 2 * splits:
        return {"ten_split_mean": None, "ten_split_std": None}
    shuffled = probs[np.random.RandomState(seed).permutation(len(probs))]
    bounds = [i * len(probs) // splits for i in range(splits + 1)]
    parts = [shuffled[a:b] for a, b in pairwise(bounds)]
    scores = [np.exp(_log_score(part.mean(0), _entropy(part).mean())) for part in parts]
    return {"ten_split_mean": float(np.mean(scores)), "ten_split_std": float(np.std(scores))}


def _doubts(value: float, num_images: int, num_blocks: int, cap: int) -> tuple[str, ...]:
    doubts = []
    if value > num_images / 2:
        doubts.append(f"over half of the cap of {cap}: more images are needed to tell")
    if num_blocks < 10 * value:
        doubts.append(f"only {num_blocks} independent images or groups for a score of {value:.1f}")
    return tuple(doubts)
