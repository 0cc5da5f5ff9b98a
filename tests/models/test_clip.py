"""Any kind of CLIP gives unit embeddings that do not depend on the batch."""

import numpy as np
import pytest
import torch

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.models.clip import Clip
from tvhelpers.score.features import VisionExtractor

SPECS = [flats.random_spec(92, i, season="base") for i in range(60)]
PIXELS = [flats.render(spec, 92, i) for i, spec in enumerate(SPECS)]


@pytest.fixture(scope="module")
def clip():
    return Clip("mini", device="cpu")


def test_embeddings_have_length_one_whatever_the_batch(clip):
    texts = [flats.captions(spec)[0] for spec in SPECS[:9]]
    for encode, items in ((clip.encode_images, PIXELS[:9]), (clip.encode_texts, texts)):
        together, alone = encode(items), torch.cat([encode([item]) for item in items])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(9))


def test_lengths_count_start_and_end_and_what_would_be_cut(clip):
    assert clip.lengths(["red"])[0] == 3 and clip.limit == 77
    assert clip.lengths(["red " * 100])[0] == 102
    assert clip.encode_texts(["red " * 100]).shape == (1, 128)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_any_clip_embeds_alike_alone_and_in_company(kind, tiny_clip, tmp_path):
    clip = Clip(str(tiny_clip(tmp_path, kind)), "cpu")
    assert (clip.size, clip.limit, clip.padded) == (32, 20, kind == "siglip")
    texts = ["a red dress", "a", "a blue skirt " * 30]
    for encode, items in ((clip.encode_images, PIXELS[:3]), (clip.encode_texts, texts)):
        together, alone = encode(items), torch.cat([encode([item]) for item in items])
        assert together.shape == (3, 24)
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    assert clip.cut_off(texts[0]) == "" and clip.cut_off(texts[2]).endswith("skirt")
    clip.save(tmp_path / "copy")
    again = Clip(str(tmp_path / "copy"), "cpu")
    assert torch.equal(again.encode_texts(texts), clip.encode_texts(texts))
    assert np.array_equal(again.mean, clip.mean)
    small = np.stack([flats.render(spec, 92, i, 32) for i, spec in enumerate(SPECS[:3])])
    rows = VisionExtractor(str(tmp_path / "copy")).features(small)  # as `score --features` does
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, clip.encode_images(list(small)), atol=1e-5)


def test_a_photo_is_padded_and_not_squeezed(clip):
    wide = np.full((40, 80, 3), 200, np.uint8)
    wide[:, 30:50] = 10
    square = np.full((80, 80, 3), 200, np.uint8)
    square[20:60, 30:50] = 10
    torch.testing.assert_close(clip.encode_images([wide]), clip.encode_images([square]))


def test_sides_that_do_not_fit_and_half_a_clip_are_said(tiny_clip, tmp_path):
    from transformers import CLIPModel

    with refused("clip-unfit"):
        Clip(str(tiny_clip(tmp_path / "a", "siglip", 24, 32)), "cpu")
    folder = tiny_clip(tmp_path / "b", "clip")
    model = CLIPModel.from_pretrained(folder)
    model.text_model.config.save_pretrained(folder)
    with refused("clip-unreadable"):
        Clip(str(folder), "cpu")
    config = model.config
    config.projection_dim = 12
    config.save_pretrained(folder)
    with refused("clip-unreadable"):
        Clip(str(folder), "cpu")


def test_a_folder_that_is_no_clip_is_said(tmp_path):
    with refused("clip-unreadable"):
        Clip(str(tmp_path), device="cpu")
