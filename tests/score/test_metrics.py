import json

import numpy as np
import pytest

from tvhelpers.score.metrics import clip_score, compare, inception_score, mean_score, rarefaction


def dirichlet(n, k=20, sharp=0.1, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(k, sharp), n)


def plain(probs):
    """IS as its definition says: exp of the mean divergence from the marginal."""
    marginal = probs.mean(0)
    return np.exp(np.mean([np.sum(p[p > 0] * np.log(p[p > 0] / marginal[p > 0])) for p in probs]))


def test_extremes():
    assert inception_score(np.full((50, 8), 1 / 8)).value == pytest.approx(1)
    one_hot = np.eye(10)[np.arange(1000) % 10]
    assert inception_score(one_hot).details["plug_in"] == pytest.approx(10)
    assert inception_score(np.eye(10)[:7]).details["cap"] == 7
    assert inception_score(one_hot).details["effective_classes"] == pytest.approx(10)


def test_plain_estimate_is_the_definition_and_torchmetrics():
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("torchmetrics.image.inception")
    probs = dirichlet(300)
    details = inception_score(probs).details
    assert details["plug_in"] == pytest.approx(plain(probs))

    class Logits(torch.nn.Module):
        def forward(self, images):
            return torch.from_numpy(np.log(probs))

    theirs = image.InceptionScore(feature=Logits(), splits=1)
    theirs.update(torch.zeros((300, 3, 8, 8), dtype=torch.uint8))
    mean = theirs.compute()[0].item()
    assert details["plug_in"] == pytest.approx(mean, rel=1e-6)


def test_the_mean_of_the_images_parts_is_the_plain_log_score():
    probs = dirichlet(50)
    result = inception_score(probs)
    assert len(result.per_item) == 50 and min(result.per_item) >= 0
    assert np.mean(result.per_item) == pytest.approx(np.log(plain(probs)))
    assert json.loads(json.dumps(result.to_dict()))["per_item"] == list(result.per_item)


def test_closed_form_jackknife_equals_brute_force():
    probs, groups = dirichlet(36), np.repeat(np.arange(12), 3)

    def corrected(probs, blocks):
        left = [np.log(plain(probs[blocks != b])) for b in np.unique(blocks)]
        return len(left) * np.log(plain(probs)) - (len(left) - 1) * np.mean(left)

    for blocks in (np.arange(36), groups):
        value = np.exp(corrected(probs, blocks))
        left = [corrected(probs[blocks != b], blocks[blocks != b]) for b in np.unique(blocks)]
        se = np.sqrt((len(left) - 1) * np.var(left))  # of the corrected estimate
        result = inception_score(probs, blocks)
        assert result.value == pytest.approx(value) and result.se == pytest.approx(se)
        assert result.ci == pytest.approx(
            (value * np.exp(-1.959964 * se), value * np.exp(1.959964 * se))
        )


def test_order_does_not_matter_and_single_groups_are_no_groups():
    probs = dirichlet(60)
    order = np.random.default_rng(1).permutation(60)
    a, b = inception_score(probs), inception_score(probs[order])
    assert (a.value, a.se, a.ci) == (b.value, b.se, b.ci)  # digit for digit
    assert np.array_equal(np.array(a.per_item)[order], b.per_item)
    names = np.repeat(np.arange(20), 3)
    grouped, b = inception_score(probs, names), inception_score(probs[order], names[order])
    assert (grouped.value, grouped.se, grouped.ci) == (b.value, b.se, b.ci)
    c = inception_score(probs, [f"prompt {i}" for i in range(60)])
    assert c.value == pytest.approx(a.value) and c.se == pytest.approx(a.se)


def test_copies_of_a_prompt_do_not_narrow_the_interval():
    probs = dirichlet(40)
    copies, groups = np.repeat(probs, 10, 0), np.repeat(np.arange(40), 10)
    honest, fooled = inception_score(copies, groups), inception_score(copies)
    assert honest.se == pytest.approx(inception_score(probs).se) and honest.se > 2.5 * fooled.se


def test_the_interval_covers_and_the_bias_is_gone():
    rng = np.random.default_rng(0)
    kinds = rng.dirichlet(np.full(20, 0.05), 400)  # a family of 400 equally frequent images
    true = plain(kinds)
    results = [inception_score(kinds[rng.integers(400, size=138)]) for _ in range(300)]
    covered = np.mean([r.ci[0] <= true <= r.ci[1] for r in results])
    assert 0.9 <= covered <= 0.99
    corrected = np.mean([r.value for r in results])
    plug_in = np.mean([r.details["plug_in"] for r in results])
    assert abs(corrected - true) < 0.25 * abs(plug_in - true)


def test_ten_splits_are_reported_beside_and_capped():
    details = inception_score(np.eye(200)[:138]).details
    assert details["ten_split_mean"] == pytest.approx(13.8) and details["plug_in"] == pytest.approx(
        138
    )
    assert inception_score(dirichlet(9)).details["ten_split_mean"] is None
    assert inception_score(dirichlet(10)).details["ten_split_mean"] == pytest.approx(1)


def test_ten_splits_are_torch_fidelity_s():
    """Its metric_isc.py, word for word in what it computes: seed 2020, i * N // 10, ddof 0."""
    probs = dirichlet(138)
    shuffled = probs[np.random.RandomState(2020).permutation(138)]
    scores = [plain(shuffled[i * 138 // 10 : (i + 1) * 138 // 10]) for i in range(10)]
    details = inception_score(probs).details
    assert details["ten_split_mean"] == pytest.approx(np.mean(scores))
    assert details["ten_split_std"] == pytest.approx(np.std(scores))


def test_doubtful_figures_say_so():
    said = " ".join(inception_score(np.eye(50)[:30]).warnings)
    assert "upper bound of 30: more images" in said and "only 3 images" in said
    said = inception_score(np.eye(10)[np.arange(2000) % 10]).warnings
    assert any("upper bound of 10: more classes" in warning for warning in said)
    alike = inception_score(np.eye(4)[[1] * 12])
    assert alike.ci is None and any("no interval can" in warning for warning in alike.warnings)
    alone = inception_score(dirichlet(5), np.zeros(5))
    assert alone.ci is None and alone.se is None and "no interval" in alone.warnings[0]
    assert alone.value == alone.details["plug_in"]
    assert not inception_score(dirichlet(2000, k=20, sharp=1)).warnings


@pytest.mark.parametrize(
    "probs",
    [[[0.5, np.nan]], [[1.5, -0.5]], [[0.5, 0.6]], [0.5, 0.5], np.zeros((0, 3)), [[3.0, 1.0]]],
)
def test_what_is_no_probability_raises(probs):
    with pytest.raises(ValueError, match="probabilit"):
        inception_score(np.array(probs))


def test_groups_of_another_length_raise():
    for groups in ([0, 1, 2], [0, 1, 2, 3, 4], np.zeros((4, 1))):
        with pytest.raises(ValueError, match="groups have shape"):
            inception_score(np.eye(4), groups)


def test_a_handful_of_images_gives_no_interval_and_nothing_above_the_cap():
    for probs in (np.eye(20)[:8], np.eye(50)[:30], np.eye(50)[:30] * 0.98 + 0.02 / 50):
        result = inception_score(probs)
        assert result.value == pytest.approx(plain(probs)) and result.value <= len(probs) + 1e-9
        assert result.ci is None and "no correction" in result.warnings[0]


def test_groups_of_unequal_size_are_covered_too():
    rng = np.random.default_rng(0)
    kinds = rng.dirichlet(np.full(20, 0.05), 400)
    covered = []
    for _ in range(200):
        sizes = rng.integers(1, 6, size=60)
        groups = np.repeat(np.arange(60), sizes)
        probs = kinds[rng.integers(400, size=60)][groups]  # a prompt's copies are alike
        low, high = inception_score(probs, groups).ci
        covered.append(low <= plain(kinds) <= high)
    assert 0.88 <= np.mean(covered) <= 1


def test_no_score_passes_the_number_of_classes():
    probs = np.random.default_rng(0).permutation(np.eye(5)[np.arange(23) % 5])
    result = inception_score(probs)
    assert result.details["plug_in"] <= result.value <= 5 and result.ci[0] <= result.ci[1] <= 5


def test_pairs_see_what_two_intervals_do_not():
    rng = np.random.default_rng(0)
    kinds = np.arange(138) % 20
    sharp = [rng.dirichlet(np.full(20, 0.3) + 8 * np.eye(20)[kind]) for kind in kinds]
    a = 0.98 * np.array(sharp) + 0.02 / 20
    b = 0.97 * np.array(sharp) + 0.03 / 20
    first, second = inception_score(a), inception_score(b)
    assert first.ci[0] < second.ci[1]  # the intervals overlap
    ratio = compare(first, second)
    assert ratio.value == pytest.approx(first.value / second.value) and ratio.ci[0] > 1
    assert ratio.details["p"] < 1e-6 and compare(second, first).value == pytest.approx(
        1 / ratio.value
    )


def test_pairs_that_all_agree_have_an_interval_too():
    one, none = mean_score("correct", [1] * 40), mean_score("correct", [0] * 40)
    same, all_of_them = compare(one, one), compare(one, none)
    assert (same.value, same.details["p"], all_of_them.value) == (0, 1, 1)
    assert same.ci == pytest.approx((-1.96 / 42, 1.96 / 42), rel=1e-4)
    assert 0.85 < all_of_them.ci[0] < 0.92 and all_of_them.ci[1] == 1  # Clopper-Pearson says 0.912
    assert 0 < all_of_them.details["p"] < 1e-6


def test_pairs_are_found_by_name_not_by_place():
    probs, groups = dirichlet(60), np.array([f"prompt {i % 20}" for i in range(60)])
    order = np.random.default_rng(1).permutation(60)
    a, b = inception_score(probs, groups), inception_score(probs[order], groups[order])
    assert compare(a, b).value == 1 and compare(a, b).ci == (1, 1)
    other = inception_score(probs, np.where(groups == "prompt 3", "prompt 99", groups))
    with pytest.raises(ValueError, match="2 prompts are in only one of the folders"):
        compare(a, other)
    with pytest.raises(ValueError, match="more images in one folder"):
        compare(a, inception_score(probs[:-1], groups[:-1]))
    with pytest.raises(ValueError, match="cannot be paired"):
        compare(a, mean_score("category", np.ones(60), groups))


def test_a_mean_has_the_interval_of_its_groups():
    rng = np.random.default_rng(0)
    values = rng.random(200) < 0.7
    alone = mean_score("category", values)
    assert alone.se == pytest.approx(values.std(ddof=1) / np.sqrt(200))
    copies = mean_score("category", np.repeat(values, 4), np.repeat(np.arange(200), 4))
    assert copies.se == pytest.approx(alone.se) and copies.value == alone.value
    worse = values & (rng.random(200) < 0.8)
    difference = compare(alone, mean_score("category", worse))
    gap = values.astype(float) - worse
    assert difference.value == pytest.approx(gap.mean())
    assert difference.se == pytest.approx(gap.std(ddof=1) / np.sqrt(200))
    few = mean_score("category", values[:5])
    assert few.ci is None and "too few" in few.warnings[0]
    with pytest.raises(ValueError, match="finite"):
        mean_score("category", [1.0, np.nan])


def test_a_share_of_one_has_an_interval():
    correct, wrong = mean_score("category", np.ones(20)), mean_score("category", np.zeros(20))
    assert 0.8 < correct.ci[0] < 0.9 and correct.ci[1] == 1
    assert 0.1 < wrong.ci[1] < 0.2 and wrong.ci[0] == 0
    groups = np.repeat(np.arange(10), 2)
    assert mean_score("category", np.ones(20), groups).ci[0] < correct.ci[0]


def test_rarefaction_climbs_to_the_whole():
    probs = dirichlet(300)
    rows = rarefaction(probs)
    plug_in = [row["plug_in"] for row in rows]
    assert plug_in[0] < plug_in[3] - 0.2 < plug_in[-1] and rows[-1]["n"] == 300
    assert plug_in[-1] == pytest.approx(inception_score(probs).details["plug_in"])
    assert rarefaction(probs[::-1]) == rows
    spread = max(row["corrected"] for row in rows[2:]) - min(row["corrected"] for row in rows[2:])
    assert spread < plug_in[-1] - plug_in[2] + 0.1 * plug_in[-1]


def test_a_share_near_one_has_an_honest_interval():
    rng = np.random.default_rng(0)
    prompts, covered = np.repeat(np.arange(100), 2), 0
    for _ in range(400):
        correct = np.repeat(rng.random(100) < 0.97, 2)  # two images of a prompt agree
        low, high = mean_score("colour", correct, prompts).ci
        assert 0 <= low < high <= 1
        covered += low <= 0.97 <= high
    assert covered >= 0.93 * 400  # value +- 1.96 standard errors: 0.82 of them


def test_clip_score_is_its_formula():
    images = np.eye(12)
    texts = 0.6 * np.eye(12) + 0.8 * np.roll(np.eye(12), 1, 1)
    score = clip_score(images, texts)
    assert score.value == pytest.approx(60) and score.se == pytest.approx(0, abs=1e-9)
    assert clip_score(images, -texts).value == 0
    with pytest.raises(ValueError, match="do not match"):
        clip_score(images, texts[:3])
