import numpy as np
import pytest

from tvhelpers.study.simulation import simulated_outcomes, simulated_studies
from tvhelpers.study.statistics import (
    bootstrap_p,
    davidson,
    holm,
    interval,
    krippendorff_alpha,
    resampled_weights,
    weighted_mean,
)

NAN = np.nan
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: 4 observers, 12 units
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def test_alpha_is_the_published_one_and_knows_the_extremes():
    found = [krippendorff_alpha(PUBLISHED, level) for level in ("nominal", "ordinal", "interval")]
    assert found == pytest.approx([0.743, 0.815, 0.849], abs=5e-4)
    assert krippendorff_alpha([[1, 2, 1], [1, 2, 1]]) == 1
    coins = np.random.default_rng(0).integers(0, 2, (3, 4000))
    assert krippendorff_alpha(coins) == pytest.approx(0, abs=0.03)
    assert np.isnan(krippendorff_alpha([[1, 1], [1, 1]]))


def test_davidson_is_its_closed_form_for_two_systems():
    scores, tie = davidson([[[60, 25, 15]], [[50, 0, 50]]], [(0, 1)], 2)
    assert scores[0, 0] - scores[0, 1] == pytest.approx(np.log(60 / 15), abs=2e-3)
    assert np.exp(tie[0]) == pytest.approx(25 / np.sqrt(60 * 15), rel=2e-3)
    assert scores[1] == pytest.approx([0, 0]) and np.exp(tie[1]) < 1e-2
    always, _ = davidson([[[40, 0, 0]]], [(0, 1)], 2)
    assert np.isfinite(always).all() and always[0, 0] > 2  # kept finite, in the right order


def test_davidson_recovers_three_systems_and_solves_its_likelihood():
    pairs, true, tie = [(0, 1), (0, 2), (1, 2)], np.array([0.7, 0.1, -0.8]), 0.4
    logits = [[true[a], np.log(tie) + (true[a] + true[b]) / 2, true[b]] for a, b in pairs]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    counts = probs * [[30000], [20000], [10000]]
    scores, log_tie = davidson(counts[None], pairs, 3)
    assert scores[0] == pytest.approx(true, abs=1e-4) and abs(scores[0].sum()) < 1e-8
    assert log_tie[0] == pytest.approx(np.log(tie), abs=1e-4)


def test_the_bootstrap_draws_raters_and_prompts_whole():
    raters, prompts = np.indices((4, 6)).reshape(2, -1)
    weights = resampled_weights(raters, prompts, 500).reshape(500, 4, 6)
    assert (weights.sum((1, 2)) == 24).all()
    again = resampled_weights(raters, prompts, 500).reshape(500, 4, 6)
    assert np.array_equal(weights, again)
    rows = weights.sum(2)  # a rater's votes count together, a prompt's too: an outer product
    assert np.allclose(weights * 24, rows[:, :, None] * weights.sum(1)[:, None, :])
    by_rater = np.repeat([0.0, 0, 1, 1], 6)
    wide = interval(weighted_mean(by_rater, weights.reshape(500, -1)))
    assert wide[0] <= 0.25 and wide[1] >= 0.75  # 24 votes, but four raters


def test_p_values():
    draws = np.linspace(0.4, 0.9, 999)
    assert bootstrap_p(draws, 0.3) == pytest.approx(2 / 1000)
    assert bootstrap_p(draws, 0.65) == pytest.approx(1, abs=0.01)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_simulated_votes_have_the_share_that_was_planted():
    outcomes = simulated_outcomes(np.random.default_rng(0), 400, 400, 0.6, ties=0.2)
    assert (outcomes == 1).mean() == pytest.approx(0.2, abs=0.005)
    assert (outcomes == 0).sum() / (outcomes != 1).sum() == pytest.approx(0.6, abs=0.012)
    plain = simulated_studies(5, 60, 0.9, 20, draws=200)
    assert plain["found"] == plain["order"] == 1
