"""Which statistics do all metrics use?  The jackknife, intervals, a fixed order of the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class LeaveOneOut:
    """An estimate, and the same without each group of images (groups in their order)."""

    full: float
    without_one: np.ndarray  # (G,): without each group
    sizes: np.ndarray  # images (G,) of each group
    names: tuple[str, ...]  # of the groups; two systems are paired by them
    without_two: np.ndarray | None = None  # (G, G): without two groups

    def difference(self, other: LeaveOneOut) -> LeaveOneOut:
        """Return this estimate less `other`'s, group by group.

        Raises ValueError where the groups are not the same.
        """
        missing = sorted({*self.names} ^ {*other.names})
        if missing:
            raise ValueError(
                f"{len(missing)} prompts are in only one of the folders, such as {missing[0]!r}: "
                "only images of the same prompts and seeds can be compared in pairs"
            )
        if not np.array_equal(self.sizes, other.sizes):
            raise ValueError("a prompt has more images in one folder than in the other: no pairs")
        both = None
        if self.without_two is not None and other.without_two is not None:
            both = self.without_two - other.without_two
        one = self.without_one - other.without_one
        return LeaveOneOut(self.full - other.full, one, self.sizes, self.names, both)


def jackknife(estimate: LeaveOneOut) -> tuple[float, float]:
    """Return (bias-corrected estimate, its standard error), delete-m_j (Busing et al. 1999).

    With `without_two` the error is that of the corrected estimate, by a second jackknife; else that
    of the plain estimate, which is the same for many groups.
    """
    share = estimate.sizes / estimate.sizes.sum()
    value = len(share) * estimate.full - math.fsum((1 - share) * estimate.without_one)
    if estimate.without_two is None:
        whole, less = estimate.full, estimate.without_one
    else:
        whole, less = value, _corrected_without(estimate)
    parts = whole / share - (1 / share - 1) * less  # pseudo-values
    centre = math.fsum(parts) / len(parts) if estimate.without_two is not None else value
    variance = math.fsum((parts - centre) ** 2 / (1 / share - 1)) / len(share)
    return float(value), math.sqrt(variance)


def _corrected_without(estimate: LeaveOneOut) -> np.ndarray:
    """Return the bias-corrected estimate (G,) without each group."""
    sizes = estimate.sizes
    share = sizes / (sizes.sum() - sizes)[:, None]  # of group j without group i
    terms = (1 - share) * estimate.without_two
    np.fill_diagonal(terms, 0)
    sums = np.array([math.fsum(row) for row in terms])
    return (len(sizes) - 1) * estimate.without_one - sums


def leave_one_out_mean(values: np.ndarray, blocks: np.ndarray, names) -> LeaveOneOut:
    """Return the mean of values (N,), and without each block (N,), 0..G-1; `names` (G,)."""
    sizes = np.bincount(blocks)
    sums = np.array([math.fsum(values[blocks == block]) for block in range(len(sizes))])
    total = math.fsum(sums)
    return LeaveOneOut(total / len(values), (total - sums) / (len(values) - sizes), sizes, names)


def blocks_of(groups, num_images: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (block 0..G-1 of each image (N,), names of blocks); without groups, one per image.

    Raises ValueError for groups of another length.
    """
    if groups is None:
        return np.arange(num_images), tuple(str(i) for i in range(num_images))
    groups = np.asarray(groups)
    if groups.shape != (num_images,):
        raise ValueError(f"groups have shape {groups.shape}; give one for each of {num_images}")
    names, blocks = np.unique(groups, return_inverse=True)
    return blocks, tuple(str(name) for name in names)


def canonical_order(rows: np.ndarray) -> np.ndarray:
    """Return the order (N,) that sorts rows (N, D) by their bytes, so that sums over them have the
    same digits whatever the given order."""
    rows = np.ascontiguousarray(rows)
    return np.argsort(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel())


def two_sided_p(z: float) -> float:
    """Return the probability of a normal deviate at least as far from 0 as `z`."""
    return math.erfc(abs(z) / math.sqrt(2))


def share_interval(share: float, se: float, groups: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of images: Wilson's, for the effective number of images
    that the standard error over groups implies (as Korn & Graubard 1998 do with the exact one)."""
    independent = share * (1 - share) / se**2 if se > 0 else groups
    independent = min(independent, images)
    return wilson_interval(share * independent, independent)


def wilson_interval(successes: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), for independent trials."""
    share, z2 = successes / count, Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return middle - half if successes > 0 else 0.0, middle + half if successes < count else 1.0


def unanimous_difference(difference: float, pairs: int) -> tuple[float, float]:
    """Return (middle, standard error) of a difference of shares where all pairs agree and have no
    spread: half a pair is added to each of the four kinds (Agresti & Min 2005)."""
    count = pairs + 2
    middle = difference * pairs / count
    return middle, math.sqrt(((abs(difference) * pairs + 1) / count - middle**2) / count)
