"""How far apart are two sets of images in a network's features, and how varied is each set?

Features are finite (N, D) arrays of one extractor.  The order of the images changes no digit.
"""

import math

import numpy as np

from tvhelpers.score.metrics import Result
from tvhelpers.score.statistics import Z95, canonical_order, share_interval

MIN_IMAGES = 10  # of each side
FRECHET_IMAGES = 2000  # with fewer images the Frechet distance is mostly bias
VENDI_BLOCKS = 20


def kernel_distance(x: np.ndarray, y: np.ndarray, permutations: int = 500) -> Result:
    """Return the unbiased kernel distance (KID, Binkowski et al. 2018) of features (N, D), (M, D).

    The U-statistic of MMD squared with the kernel (x.y / D + 1)^3 over all pairs, not over subsets;
    for two samples of one distribution it is negative as often as positive.  The interval is the
    jackknife's over images; `details["p"]` is the share of `permutations` of the labels that are
    as far apart.  Raises ValueError for features that cannot be compared.
    """
    x, y = _features(x, y)
    gram = (np.concatenate([x, y]) @ np.concatenate([x, y]).T / x.shape[1] + 1) ** 3
    value, se = _mmd_jackknife(gram, len(x))
    ci = (value - Z95 * se, value + Z95 * se)
    p = _permutation_p(gram, len(x), permutations)
    warnings = () if len(x) == len(y) else ("the two sets have different numbers of images",)
    method = "U-statistic over all pairs, cubic kernel, jackknife; "
    method += f"p by {permutations} permutations"
    details = {"p": p, "n_other": len(y)}
    return Result("kernel_distance", value, se, ci, len(x), method, warnings, details=details)


def frechet_distance(x: np.ndarray, y: np.ndarray, few: bool = False) -> Result:
    """Return the Frechet distance (FID, Heusel et al. 2017) of features (N, D) and (M, D).

    |mean difference|^2 + Tr(A) + Tr(B) - 2 Tr sqrt(AB), the last as the nuclear norm of
    Xc Yc^T / sqrt((N - 1)(M - 1)) without a matrix root: exact also where N < D.  Its bias at small
    N is many times the difference between models, so fewer than 2,000 images on a side raise
    ValueError unless `few` is set.  It has no interval: none is known to hold at such numbers.
    """
    x, y = _features(x, y)
    least = min(len(x), len(y))
    if least < FRECHET_IMAGES and not few:
        raise ValueError(
            f"the Frechet distance of {least} images is mostly bias (it needs {FRECHET_IMAGES}); "
            "use kernel_distance, which has no bias"
        )
    x_centred, y_centred = x - x.mean(0), y - y.mean(0)
    roots = math.sqrt((len(x) - 1) * (len(y) - 1))
    overlap = np.linalg.svd(x_centred @ y_centred.T, compute_uv=False).sum() / roots
    spread = sum((c * c).sum() / (len(c) - 1) for c in (x_centred, y_centred))
    mean_gap = np.square(x.mean(0) - y.mean(0)).sum()
    value = float(mean_gap + spread - 2 * overlap)
    bias = (f"{least} images are few: the figure is mostly bias",) if few else ()
    method, details = "Gaussian fit, nuclear norm", {"n_other": len(y)}
    return Result("frechet_distance", value, None, None, len(x), method, bias, details=details)


def neighbour_scores(real: np.ndarray, drawn: np.ndarray, k: int = 5) -> dict[str, Result]:
    """Return precision, recall, density and coverage of features (N, D) and (M, D).

    Precision and recall as in Kynkaanniemi et al. 2019, the others as in Naeem et al. 2020.  The
    larger set is reduced to the size of the smaller one, evenly over its canonical order, because
    coverage of unequal numbers cannot be compared.  Intervals are over images, with fixed
    neighbourhoods; `per_item` follows the canonical order.  Raises ValueError for k too large.
    """
    real, drawn = _features(real, drawn)
    count = min(len(real), len(drawn))
    if not 0 < k < count:
        raise ValueError(f"k is {k} with {count} images; give less than their number")
    real, drawn = (_evenly(side, count) for side in (real, drawn))
    between = distances(real, drawn)
    real_radii, drawn_radii = (_kth_distance(side, k)[:, None] for side in (real, drawn))
    inside_real = between <= real_radii
    inside_drawn = drawn_radii >= between.T
    parts = {
        "precision": inside_real.any(0),
        "recall": inside_drawn.any(0),
        "density": inside_real.sum(0) / k,
        "coverage": inside_real.any(1),
    }
    return {name: _mean_of(name, values, k) for name, values in parts.items()}


def vendi_score(x: np.ndarray) -> Result:
    """Return the Vendi score (Friedman & Dieng 2023) of features (N, D): the effective number of
    images that have nothing in common (cosine kernel), 1..N.

    It grows with N: compare sets of equal size.  The interval is the jackknife's over 20 blocks, of
    the plain estimate at this N.  Raises ValueError for unusable features.
    """
    x = _features(x, x)[0]
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("an image's features are all zero: their cosine is undefined")
    x = x / lengths
    full = _log_vendi(x)
    blocks = np.arange(len(x)) % min(VENDI_BLOCKS, len(x))  # spread over the canonical order
    left = np.array([_log_vendi(x[blocks != block]) for block in range(blocks.max() + 1)])
    se = math.sqrt((len(left) - 1) / len(left) * math.fsum((left - left.mean()) ** 2))
    ci = (math.exp(full - Z95 * se), math.exp(full + Z95 * se))
    method = f"cosine kernel, jackknife over {len(left)} blocks, standard error on the log scale"
    return Result("vendi_score", math.exp(full), se, ci, len(x), method)


def _features(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 in canonical order; raises ValueError where they do not compare."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"features have shapes {x.shape} and {y.shape}; give (images, D) of one extractor"
        )
    if min(len(x), len(y)) < MIN_IMAGES:
        raise ValueError(f"{min(len(x), len(y))} images are too few; give {MIN_IMAGES} or more")
    bad = sum(int((~np.isfinite(side)).any(1).sum()) for side in (x, y))
    if bad:
        raise ValueError(f"the features of {bad} images contain NaN or infinity")
    return x[canonical_order(x)], y[canonical_order(y)]


def _mmd_jackknife(gram: np.ndarray, n: int) -> tuple[float, float]:
    """Return (MMD^2, its standard error) of a Gram matrix whose first n rows are one sample."""
    m = len(gram) - n
    off = gram - np.diag(np.diag(gram))
    sum_x, sum_y = off[:n, :n].sum(1), off[n:, n:].sum(1)  # of each image with its own side
    cross_x, cross_y = gram[:n, n:].sum(1), gram[:n, n:].sum(0)  # and with the other one
    all_x, all_y, cross = sum_x.sum(), sum_y.sum(), cross_x.sum()
    inner_y, inner_x = all_y / (m * (m - 1)), all_x / (n * (n - 1))
    value = inner_x + inner_y - 2 * cross / (n * m)
    less_x = (all_x - 2 * sum_x) / ((n - 1) * (n - 2)) + inner_y
    less_x -= 2 * (cross - cross_x) / ((n - 1) * m)
    less_y = inner_x + (all_y - 2 * sum_y) / ((m - 1) * (m - 2))
    less_y -= 2 * (cross - cross_y) / (n * (m - 1))
    variance = sum((len(v) - 1) * v.var() for v in (less_x, less_y))
    return float(value), math.sqrt(variance)


def _permutation_p(gram: np.ndarray, n: int, permutations: int) -> float:
    """Return the share of random labellings, and the given one, that are at least as far apart."""
    total, m = len(gram), len(gram) - n
    off = gram - np.diag(np.diag(gram))
    rng = np.random.default_rng(0)
    labels = np.zeros((permutations + 1, total))
    labels[0, :n] = 1
    for row in labels[1:]:
        row[rng.permutation(total)[:n]] = 1
    inside = ((labels @ off) * labels).sum(1)
    degree = labels @ off.sum(1)
    outside = off.sum() - 2 * degree + inside
    values = inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * (degree - inside) / (n * m)
    return float(np.mean(values >= values[0] - 1e-12 * abs(values[0])))


def _evenly(x: np.ndarray, count: int) -> np.ndarray:
    return x[np.linspace(0, len(x) - 1, count).round().astype(int)]


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Euclidean distances (N, M)."""
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))


def _kth_distance(x: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each row's k-th nearest other row (N,)."""
    own = distances(x, x)
    np.fill_diagonal(own, np.inf)
    return np.partition(own, k - 1, axis=1)[:, k - 1]


def _mean_of(name: str, values: np.ndarray, k: int) -> Result:
    values = values.astype(np.float64)
    value, se = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
    method = f"{k} nearest neighbours, equal numbers, interval over images, fixed neighbourhoods"
    doubts, per_item = (), tuple(values.tolist())
    if np.isin(values, (0, 1)).all():  # a share: its interval stays within 0..1
        ci = share_interval(value, se, len(values), len(values))
    elif se:
        ci = (max(0.0, value - Z95 * se), value + Z95 * se)
    else:
        ci, doubts = None, ("every image got the same result: no interval can be given",)
    return Result(name, value, se, ci, len(values), method, doubts, per_item)


def _log_vendi(x: np.ndarray) -> float:
    """Return the entropy of the eigenvalues of the mean outer product of unit rows (N, D)."""
    small = x @ x.T if len(x) <= x.shape[1] else x.T @ x
    values = np.linalg.eigvalsh(small / len(x))
    values = values[values > 1e-12]
    return float(-(values * np.log(values)).sum())
