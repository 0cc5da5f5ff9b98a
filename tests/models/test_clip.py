"""CLIP as a pair of encoders: unit embeddings whatever the batch, zero-shot, recall."""

import numpy as np
import pytest
import torch

from tvhelpers.config import InputError
from tvhelpers.data import flats
from tvhelpers.models.clip import Clip, class_embeddings, confusion, recall_at

SPECS = [flats.random_spec(92, i, season="base") for i in range(60)]
PIXELS = [flats.render(spec, 92, i) for i, spec in enumerate(SPECS)]


@pytest.fixture(scope="module")
def clip():
    return Clip("mini", device="cpu")


def test_embeddings_have_length_one_whatever_the_batch(clip):
    texts = [flats.captions(spec)[0] for spec in SPECS[:9]]
    for encode, items in ((clip.images, PIXELS[:9]), (clip.texts, texts)):
        together, alone = encode(items), torch.cat([encode([item]) for item in items])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(9))


def test_zero_shot_finds_the_category_of_drawings(clip):
    words = sorted({spec.category for spec in SPECS})
    texts = {word: [f"a {colour} {word}" for colour in flats.COLOURS] for word in words}
    seen = (clip.images(PIXELS) @ class_embeddings(clip, texts).T).argmax(1)
    seen = [words[i] for i in seen.tolist()]
    table = confusion([spec.category for spec in SPECS], seen, words)
    assert table.sum() == len(SPECS) and table.trace() / table.sum() >= 0.8


def test_a_text_finds_its_picture(clip):
    texts = [flats.captions(spec)[2] for spec in SPECS]
    similarity = clip.texts(texts) @ clip.images(PIXELS).T
    fits = torch.tensor([[a == b for b in SPECS] for a in SPECS])
    recall = recall_at(similarity, fits)
    assert recall[1] <= recall[5] <= recall[10] and recall[10] >= 0.8


def test_lengths_count_start_and_end_and_what_would_be_cut(clip):
    assert clip.lengths(["red"])[0] == 3 and clip.limit == 77
    assert clip.lengths(["red " * 100])[0] == 102
    assert clip.texts(["red " * 100]).shape == (1, 128)


def test_recall_counts_any_fitting_column():
    similarity = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]])
    naive, aware = np.eye(3, dtype=bool)[[0, 2]], np.array([[1, 0, 0], [0, 1, 1]], bool)
    assert recall_at(similarity, naive, (1, 2)) == {1: 0.5, 2: 1.0}
    assert recall_at(similarity, aware, (1,)) == {1: 1.0}


def test_a_folder_that_is_no_clip_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        Clip(str(tmp_path), device="cpu")
