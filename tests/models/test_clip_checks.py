"""Checks of a CLIP: known results on made-up similarities, and mini's CLIP on flats."""

import numpy as np
import pytest
import torch

from tvhelpers import flats
from tvhelpers.models import clip_checks
from tvhelpers.models.clip import Clip

SPECS = [flats.random_spec(92, i, season="base") for i in range(60)]
PIXELS = [flats.render(spec, 92, i) for i, spec in enumerate(SPECS)]
ROWS = [{"category": spec.category, "colour": spec.colour} for spec in SPECS]
CAPTIONS = [f"a {spec.colour} {spec.category}" for spec in SPECS]


@pytest.fixture(scope="module")
def clip():
    return Clip("mini", device="cpu")


def test_recall_counts_any_fitting_column():
    similarity = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]])
    naive, aware = np.eye(3, dtype=bool)[[0, 2]], np.array([[1, 0, 0], [0, 1, 1]], bool)
    assert clip_checks.recall_at(similarity, naive, (1, 2)) == {1: 0.5, 2: 1.0}
    assert clip_checks.recall_at(similarity, aware, (1,)) == {1: 1.0}


def test_the_naive_ceiling_is_what_a_perfect_clip_reaches_both_ways():
    captions = ["a"] * 7 + ["b"] * 2 + ["c"]
    codes = torch.tensor([ord(caption) for caption in captions])
    perfect = (codes[:, None] == codes[None]).float()
    found = clip_checks.retrieval(perfect, captions, [{}] * 10)
    assert found["naive, at the very best"] == {1: 0.3, 5: 0.8, 10: 1.0}
    for way in ("text to image", "image to text"):
        assert found[f"{way}, naive"] == found["naive, at the very best"]
        assert found[f"{way}, caption-aware"] == {1: 1.0, 5: 1.0, 10: 1.0}


def test_a_caption_fits_what_all_it_states_is_true_of():
    rows = [{"category": "dress", "colour": "red"}, {"category": "dress"}, {"category": "coat"}]
    fits = clip_checks.fitting(*clip_checks.attribute_codes(["x", "y", "z"], rows))
    assert fits.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert clip_checks.fitting(*clip_checks.attribute_codes(["x", "x"], [{}, {}])).all()


def test_words_are_swapped_whole_and_for_others_of_their_attribute():
    rows = [{"colour": "red"}, {"colour": "blue"}, {"colour": "red"}, {}]
    captions = ["a red, tired dress", "an infrared coat", "tired", "red"]
    assert clip_checks.swapped_captions(captions, rows, "colour") == {0: "a blue, tired dress"}
    assert clip_checks.swapped_captions(captions[:1], rows[:1], "colour") == {}
    shop = [{"colour": "Red"}, {"colour": "Blue"}]
    assert clip_checks.swapped_captions(["a red coat", ""], shop, "colour") == {0: "a Blue coat"}


def test_mini_names_finds_and_tells_apart_drawings(clip):
    # The captions do not describe the same images turned by 90 degrees.
    variants = {"upright": PIXELS, "lying": [one.transpose(1, 0, 2) for one in PIXELS]}
    names = ("category", "colour", "sleeve")
    found, fallen = clip_checks.answers(clip, variants, CAPTIONS, ROWS, names).values()
    assert set(found) == {
        "category, zero-shot", "colour, zero-shot", "text to image, R@5", "image to text, R@5",
        "category, swapped", "colour, swapped",
    }  # fmt: skip
    for name, (right, captions) in found.items():
        assert captions == CAPTIONS and len(right) == 60 and right.mean() >= 0.8, name
    name = "category, zero-shot"
    assert fallen[name][0].mean() < found[name][0].mean() - 0.2


def test_each_answer_has_the_caption_it_was_asked_with(clip):
    rows = [{"colour": row["colour"]} if i % 2 else row for i, row in enumerate(ROWS)]
    captions = [text if i % 3 else "something" for i, text in enumerate(CAPTIONS)]
    (found,) = clip_checks.answers(clip, {"upright": PIXELS}, captions, rows).values()
    assert found["category, zero-shot"][1] == captions[::2]
    assert found["colour, swapped"][1] == [text for text in captions if text != "something"]
    assert all(len(right) == len(asked) for right, asked in found.values())


def test_neighbours_are_nearest_first_without_the_image_itself(clip):
    images = clip.encode_images([*PIXELS[:6], PIXELS[2]])
    assert clip_checks.neighbours(images, 2, 3)[0] == 6
    nearness = (images @ images[2])[clip_checks.neighbours(images, 2, 6)]
    assert torch.equal(nearness, nearness.sort(descending=True).values) and len(nearness) == 6


def test_zero_shot_tells_the_word_and_confusion_counts_it(clip):
    texts = clip_checks.phrases(ROWS, "category")
    assert texts["dress"][0].startswith("a ") and all(" dress" in text for text in texts["dress"])
    seen = clip_checks.zero_shot(clip, clip.encode_images(PIXELS), texts)
    table = clip_checks.confusion([row["category"] for row in ROWS], seen, list(texts))
    assert table.sum() == len(ROWS) and table.trace() / table.sum() >= 0.8
