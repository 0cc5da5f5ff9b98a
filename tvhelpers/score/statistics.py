"""What do metrics share?  Jackknife, intervals, and an order of rows that is no caller's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class LeftOut:
    """An estimate, and what is left of it without each group of images (groups in their order)."""

    full: float
    left_out: np.ndarray  # (G,)
    sizes: np.ndarray  # images (G,) of each group
    names: tuple[str, ...]  # of the groups; what two systems are paired by
    left_two: np.ndarray | None = None  # without two groups (G, G): what the correction itself adds

    def difference(self, other: LeftOut) -> LeftOut:
        """Return this estimate less `other`'s, group by group.

        Raises ValueError where the groups are not the same.
        """
        missing = sorted({*self.names} ^ {*other.names})
        if missing:
            raise ValueError(
                f"{len(missing)} prompts are in one set of pictures only, {missing[0]!r} for one: "
                "only pictures of the same prompts and seeds can be compared in pairs"
            )
        if not np.array_equal(self.sizes, other.sizes):
            raise ValueError("a prompt has more pictures in one set than in the other: no pairs")
        both = None
        if self.left_two is not None and other.left_two is not None:
            both = self.left_two - other.left_two
        return LeftOut(
            self.full - other.full, self.left_out - other.left_out, self.sizes, self.names, both
        )


def jackknife(estimate: LeftOut) -> tuple[float, float]:
    """Return (bias-corrected estimate, its standard error), delete-m_j (Busing et al. 1999).

    With `left_two` the error is that of the corrected estimate, by leaving out groups again;
    without, that of the plain one, which is the same for many groups.
    """
    share = estimate.sizes / estimate.sizes.sum()
    value = len(share) * estimate.full - math.fsum((1 - share) * estimate.left_out)
    if estimate.left_two is None:
        whole, less = estimate.full, estimate.left_out
    else:
        whole, less = value, _corrected_without(estimate)
    parts = whole / share - (1 / share - 1) * less  # pseudo-values
    centre = math.fsum(parts) / len(parts) if estimate.left_two is not None else value
    variance = math.fsum((parts - centre) ** 2 / (1 / share - 1)) / len(share)
    return float(value), math.sqrt(variance)


def _corrected_without(estimate: LeftOut) -> np.ndarray:
    """Return the bias-corrected estimate (G,) without each group."""
    sizes = estimate.sizes
    share = sizes / (sizes.sum() - sizes)[:, None]  # of group j where i is left out
    terms = (1 - share) * estimate.left_two
    np.fill_diagonal(terms, 0)
    sums = np.array([math.fsum(row) for row in terms])
    return (len(sizes) - 1) * estimate.left_out - sums


def mean_left_out(values: np.ndarray, blocks: np.ndarray, names: tuple[str, ...]) -> LeftOut:
    """Return the mean of values (N,), and without each block (block numbers (N,), 0..G-1)."""
    sizes = np.bincount(blocks)
    sums = np.array([math.fsum(values[blocks == block]) for block in range(len(sizes))])
    total = math.fsum(sums)
    return LeftOut(total / len(values), (total - sums) / (len(values) - sizes), sizes, names)


def blocks_of(groups, num_images: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (block 0..G-1 of each image (N,), their names); every image is its own without groups.

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
    """Return the order (N,) that sorts rows (N, D) by their bytes, so that a sum over them has the
    same digits whatever order they came in."""
    rows = np.ascontiguousarray(rows)
    return np.argsort(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel())


def two_sided_p(z: float) -> float:
    """Return the chance of a normal deviate as far from 0 as `z`."""
    return math.erfc(abs(z) / math.sqrt(2))


def share_interval(share: float, se: float, groups: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of images: Wilson's, at as many independent ones as would
    give the standard error over groups (so Korn & Graubard 1998, with the exact one)."""
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
    """Return (middle, standard error) for a difference of shares whose pairs all say the same, and
    so have no spread of their own: with half a pair added to each of the four kinds (Agresti & Min
    2005)."""
    count = pairs + 2
    middle = difference * pairs / count
    return middle, math.sqrt(((abs(difference) * pairs + 1) / count - middle**2) / count)
