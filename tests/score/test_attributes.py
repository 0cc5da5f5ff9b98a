"""Attribute classifiers: the judge on flats, a CLIP, simulated ones with given error rates."""

import numpy as np
import pytest

from tvhelpers import flats
from tvhelpers.models.clip import Clip
from tvhelpers.score.attributes import (
    CORE,
    JudgeAttributeClassifier,
    ZeroShotClassifier,
    agreement,
    binding,
    corrected_rate,
)

SPECS = [flats.random_spec(91, i) for i in range(60)]
PIXELS = np.stack([flats.render(spec, 91, i) for i, spec in enumerate(SPECS)])


def wanted(names):
    return [{name: getattr(spec, name) or "none" for name in names} for spec in SPECS]


def test_the_judge_classifies_flats():
    seen = JudgeAttributeClassifier().words(PIXELS)
    correct = agreement(wanted(flats.ATTRIBUTES), seen)
    assert set(correct) == {*flats.ATTRIBUTES, "all"}
    assert min(correct[name].mean() for name in CORE) >= 0.93
    assert correct["waist"].mean() >= 0.9 and correct["neckline"].mean() >= 0.9


def test_size_and_batch_do_not_matter():
    judge = JudgeAttributeClassifier()
    big = np.stack([flats.render(spec, 91, i, 256) for i, spec in enumerate(SPECS[:8])])
    alone = [judge.words(image[None])[0]["category"] for image in big]
    assert alone == [spec.category for spec in SPECS[:8]]


def test_only_what_was_asked_counts():
    seen = [{"category": "dress", "colour": "red"}, {"category": "coat", "colour": "red"}]
    correct = agreement([{"category": "dress"}, {"category": "dress", "colour": "red"}], seen)
    assert correct["category"].tolist() == correct["all"].tolist() == [True, False]
    assert correct["colour"].tolist() == [True, True]
    with pytest.raises(ValueError):
        agreement([{}], seen)


WORDS = ("red", "blue", "green", "black")
READS = np.array([[0.8, 0.1, 0.05, 0.05], [0.1, 0.7, 0.1, 0.1], [0, 0.1, 0.9, 0], [0, 0.2, 0, 0.8]])


def read(rng, true):
    """Return the predictions of a classifier with the error rates of READS."""
    return [WORDS[rng.choice(4, p=READS[WORDS.index(word)])] for word in true]


def planted(seed, rate=0.6, n=160, real=200):
    """A generator that shows the wanted word with `rate`, else any other; and its reading."""
    rng = np.random.default_rng(seed)
    wanted = list(rng.choice(WORDS, n))
    shown = [
        word if rng.random() < rate else rng.choice([w for w in WORDS if w != word])
        for word in wanted
    ]
    real_true = list(rng.choice(WORDS, real))
    return corrected_rate(
        "colour", wanted, read(rng, shown), real_true, read(rng, real_true), groups=range(n)
    )


def test_the_classifier_s_errors_are_corrected():
    results = [planted(seed) for seed in range(120)]
    assert np.mean([r.value for r in results]) == pytest.approx(0.6, abs=0.02)
    assert np.mean([r.details["plain_rate"] for r in results]) < 0.55
    assert np.mean([r.ci[0] <= 0.6 <= r.ci[1] for r in results]) >= 0.9
    assert np.mean([r.ci[0] <= 0.8 <= r.ci[1] for r in results]) <= 0.2  # no interval of all rates


def test_a_perfect_classifier_changes_nothing():
    wanted, seen = ["red"] * 12 + ["blue"] * 8, ["red"] * 9 + ["blue"] * 11
    truth = ["red"] * 10 + ["blue"] * 10
    result = corrected_rate("colour", wanted, seen, truth, truth)
    assert result.value == pytest.approx(17 / 20) == result.details["plain_rate"]
    assert result.details["ceiling"] == 1


def test_words_that_real_images_lack_are_skipped_and_counted():
    truth = ["red"] * 10 + ["blue"] * 10
    result = corrected_rate("colour", ["red"] * 15 + ["green"] * 5, ["red"] * 20, truth, truth)
    assert result.n == 15 and result.details["skipped"] == 5
    with pytest.raises(ValueError, match="no wanted word"):
        corrected_rate("colour", ["green"] * 15, ["green"] * 15, truth, truth)


def test_binding_is_the_share_of_swap_pairs_that_are_both_nearer_to_their_own():
    images = np.eye(12)
    texts = 0.6 * np.eye(12) + 0.8 * np.roll(np.eye(12), 1, 1)
    partner = {i: i ^ 2 for i in range(12)}  # 0 and 2, 1 and 3, 4 and 6, ...
    rows = [{"id": f"{i:02d}", "seeds": [7], "swap_of": f"{partner[i]:02d}"} for i in range(12)]
    (result,) = binding(rows, [7] * 12, images, texts)
    assert result.value == 1 and result.n == 6
    swapped = images.copy()
    swapped[[0, 2]] = images[[2, 0]]  # one pair drew the other's prompt
    assert binding(rows, [7] * 12, swapped, texts)[0].value == pytest.approx(5 / 6)
    alone = [None if i & 2 else row for i, row in enumerate(rows)]  # no partner was drawn
    assert binding(alone, [7] * 12, images, texts) == []


@pytest.fixture(scope="module")
def drawings():
    specs = [flats.random_spec(77, i) for i in range(120)]
    return [flats.render(s, 77, i) for i, s in enumerate(specs)], [s.colour for s in specs]


def test_calibration_corrects_words_whose_texts_fit_all_images(drawings):
    pixels, colours = drawings
    clip = Clip("mini")
    images = clip.encode_images(pixels)
    words = sorted({*colours})
    # One word's text fits every image: it is predicted too often until calibrated.
    texts = {word: [f"a {word} garment"] for word in words}
    texts[words[0]] = ["a drawing of a garment on white"]
    classifier = ZeroShotClassifier(clip, texts)
    place = [classifier.words.index(colour) for colour in colours[60:]]

    def loss():
        chances = classifier.probs(images[60:])
        assert chances.sum(1) == pytest.approx(np.ones(60))
        return -np.log(chances[range(60), place]).mean()

    before = loss()
    classifier.calibrate(images[:60], colours[:60])
    assert loss() < before - 0.05
    with pytest.raises(ValueError, match="none of the classifier's words"):
        classifier.calibrate(images[:1], ["chartreuse"])
