"""Distances between sets of features: definitions, no bias, any order, errors on bad input."""

import numpy as np
import pytest
from scipy import linalg

from tvhelpers.score.distances import (
    frechet_distance,
    kernel_distance,
    neighbour_scores,
    vendi_score,
)


def cloud(n, d=12, shift=0.0, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def test_kernel_distance_is_its_definition():
    x, y = cloud(15), cloud(11, seed=1)
    kernel = lambda a, b: (a @ b / 12 + 1) ** 3  # noqa: E731
    mean = lambda rows: np.mean(list(rows))  # noqa: E731
    within = [
        mean(kernel(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j)
        for s in (x, y)
    ]
    across = mean(kernel(a, b) for a in x for b in y)
    result = kernel_distance(x, y, permutations=20)
    assert result.value == pytest.approx(sum(within) - 2 * across)
    left = [kernel_distance(np.delete(x, i, 0), y, 1).value for i in range(15)]
    other = [kernel_distance(x, np.delete(y, i, 0), 1).value for i in range(11)]
    assert result.se == pytest.approx(np.sqrt(14 * np.var(left) + 10 * np.var(other)))


def test_kernel_distance_of_torchmetrics_is_ours():
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("torchmetrics.image.kid")
    x, y = cloud(60), cloud(60, shift=0.3, seed=1)
    theirs = image.poly_mmd(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert kernel_distance(x, y, 1).value == pytest.approx(theirs, rel=1e-9)


def test_kernel_distance_has_no_bias_and_covers_zero():
    rows = [
        kernel_distance(cloud(40, seed=2 * i), cloud(40, seed=2 * i + 1), 1) for i in range(300)
    ]
    values = np.array([row.value for row in rows])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(300)
    assert 0.9 <= np.mean([row.ci[0] <= 0 <= row.ci[1] for row in rows]) <= 0.99


def test_permutations_tell_equal_from_shifted():
    p = [kernel_distance(cloud(40, seed=2 * i), cloud(40, seed=2 * i + 1), 99) for i in range(60)]
    assert np.mean([row.details["p"] <= 0.05 for row in p]) <= 0.15
    assert kernel_distance(cloud(60), cloud(60, shift=0.5, seed=1), 99).details["p"] == 0.01


@pytest.mark.parametrize(("n", "m"), [(80, 60), (12, 10)])
def test_frechet_distance_is_that_of_the_matrix_root(n, m):
    x, y = cloud(n, 30), cloud(m, 30, 0.2, seed=1)
    a, b = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(a @ b).real
    direct = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b - 2 * root)
    # beyond rank the root itself is inexact
    assert frechet_distance(x, y, few=True).value == pytest.approx(
        direct, rel=1e-6 if n > 30 else 1e-3
    )
    with pytest.raises(ValueError, match="mostly bias"):
        frechet_distance(x, y)


def test_neighbour_scores_of_equal_far_and_collapsed_sets():
    real = cloud(300)
    alike = neighbour_scores(real, cloud(300, seed=1))
    assert all(0.8 < alike[name].value < 1.1 for name in ("precision", "recall", "coverage"))
    assert 0.85 < alike["density"].value < 1.15
    far = neighbour_scores(real, cloud(300, shift=9, seed=1))
    assert all(row.value == 0 for row in far.values())
    collapsed = neighbour_scores(real, np.zeros((300, 12)) + cloud(300, seed=1) * 1e-3)
    assert collapsed["precision"].value == 1 and collapsed["coverage"].value < 0.4
    more = neighbour_scores(cloud(3000, seed=5), cloud(138, seed=6))  # equal numbers are made
    assert more["coverage"].n == 138 and more["coverage"].value > 0.85


def test_vendi_counts_what_differs():
    assert vendi_score(np.repeat(np.eye(7), 10, 0)).value == pytest.approx(7)
    assert vendi_score(np.ones((20, 4))).value == pytest.approx(1)
    wide, tall = cloud(30, 200), cloud(200, 30)
    for x in (wide, tall):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        values = np.linalg.eigvalsh(unit @ unit.T / len(x))
        values = values[values > 1e-12]
        assert vendi_score(x).value == pytest.approx(np.exp(-(values * np.log(values)).sum()))


def test_order_changes_no_digit():
    x, y = cloud(50), cloud(70, shift=0.1, seed=1)
    rng = np.random.default_rng(3)
    for _ in range(3):
        a, b = x[rng.permutation(50)], y[rng.permutation(70)]
        assert kernel_distance(a, b, 50) == kernel_distance(x, y, 50)
        assert frechet_distance(a, b, few=True) == frechet_distance(x, y, few=True)
        assert vendi_score(a) == vendi_score(x)
        assert neighbour_scores(a, b) == neighbour_scores(x, y)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (cloud(20), cloud(20, d=5), "of one extractor"),
        (cloud(20), cloud(3), "3 images are too few"),
        (np.where(cloud(20) > 2, np.nan, cloud(20)), cloud(20), "contain NaN"),
        (cloud(20).ravel(), cloud(20), "give \\(images, D\\)"),
    ],
)
def test_what_cannot_be_compared_raises(x, y, said):
    for distance in (kernel_distance, frechet_distance, neighbour_scores):
        with pytest.raises(ValueError, match=said):
            distance(x, y)
    with pytest.raises(ValueError, match="all zero"):
        vendi_score(np.zeros((20, 3)))
