"""Alignment: planted readers whose mistakes are known, closed forms, mini's own CLIP on flats."""

import numpy as np
import pytest
import torch

from tvhelpers import flats
from tvhelpers.config import InputError
from tvhelpers.models.clip import Clip
from tvhelpers.score.alignment import (
    ZeroShotReader,
    binding,
    clip_score,
    corrected_rate,
    refuse_own_clip,
)

WORDS = ("red", "blue", "green", "black")
READS = np.array([[0.8, 0.1, 0.05, 0.05], [0.1, 0.7, 0.1, 0.1], [0, 0.1, 0.9, 0], [0, 0.2, 0, 0.8]])


def read(rng, true):
    """Return what a reader with the mistakes of READS sees."""
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


def test_the_reader_s_mistakes_are_taken_out():
    results = [planted(seed) for seed in range(120)]
    assert np.mean([r.value for r in results]) == pytest.approx(0.6, abs=0.02)
    assert np.mean([r.details["plain_rate"] for r in results]) < 0.55
    assert np.mean([r.ci[0] <= 0.6 <= r.ci[1] for r in results]) >= 0.9
    assert np.mean([r.ci[0] <= 0.8 <= r.ci[1] for r in results]) <= 0.2  # no interval of all rates


def test_a_perfect_reader_changes_nothing():
    wanted, seen = ["red"] * 12 + ["blue"] * 8, ["red"] * 9 + ["blue"] * 11
    truth = ["red"] * 10 + ["blue"] * 10
    result = corrected_rate("colour", wanted, seen, truth, truth)
    assert result.value == pytest.approx(17 / 20) == result.details["plain_rate"]
    assert result.details["ceiling"] == 1


def test_words_that_real_pictures_lack_are_left_out_and_said():
    truth = ["red"] * 10 + ["blue"] * 10
    result = corrected_rate("colour", ["red"] * 15 + ["green"] * 5, ["red"] * 20, truth, truth)
    assert result.n == 15 and result.details["left_out"] == 5
    with pytest.raises(ValueError, match="no wanted word"):
        corrected_rate("colour", ["green"] * 15, ["green"] * 15, truth, truth)


def test_clip_score_and_binding_are_their_formulas():
    images = np.eye(12)
    texts = 0.6 * np.eye(12) + 0.8 * np.roll(np.eye(12), 1, 1)
    score = clip_score(images, texts)
    assert score.value == pytest.approx(60) and score.se == pytest.approx(0, abs=1e-9)
    assert clip_score(images, -texts).value == 0
    pairs = [(i, i + 2) for i in (0, 1, 4, 5, 8, 9)]
    assert binding(images, texts, pairs).value == 1
    swapped = images.copy()
    swapped[[0, 2]] = images[[2, 0]]  # one pair drew the other's prompt
    assert binding(swapped, texts, pairs).value == pytest.approx(5 / 6)
    with pytest.raises(ValueError, match="do not match"):
        clip_score(images, texts[:3])


@pytest.fixture(scope="module")
def drawings():
    specs = [flats.random_spec(77, i) for i in range(120)]
    return [flats.render(s, 77, i) for i, s in enumerate(specs)], [s.colour for s in specs]


def test_calibration_learns_what_sentences_make_too_likely(drawings):
    pixels, colours = drawings
    words = sorted({*colours})
    # One word's sentence says what fits every picture: it is seen too often until calibrated.
    texts = {word: [f"a {word} garment"] for word in words}
    texts[words[0]] = ["a drawing of a garment on white"]
    reader = ZeroShotReader(Clip("mini"), texts)
    place = [reader.words.index(colour) for colour in colours[60:]]

    def loss():
        chances = reader.probs(pixels[60:])
        assert chances.sum(1) == pytest.approx(np.ones(60))
        return -np.log(chances[range(60), place]).mean()

    before = loss()
    reader.calibrate(pixels[:60], colours[:60])
    assert loss() < before - 0.05
    with pytest.raises(ValueError, match="none of the reader's words"):
        reader.calibrate(pixels[:1], ["chartreuse"])


def test_a_generator_is_not_judged_by_its_own_clip():
    clip = Clip("mini")
    with pytest.raises(InputError, match="would flatter it"):
        refuse_own_clip(clip, "mini")
    with torch.no_grad():
        clip.model.text_model.embeddings.token_embedding.weight.mul_(-1)
    refuse_own_clip(clip, "mini")
    with pytest.warns(UserWarning, match="not at hand"):
        refuse_own_clip(clip, "another")
