"""Images are captioned by a tiny BLIP, and a stopped run resumes."""

import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.data.caption_files import with_captions, write_captions
from tvhelpers.data.captioner import caption_images
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError


@pytest.fixture(scope="module")
def tiny_blip(tmp_path_factory):
    """BLIP of a few thousand random weights, saved in the stock layout."""
    import torch
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipProcessor,
    )
    from transformers.models.blip import BlipImageProcessor

    folder = tmp_path_factory.mktemp("blip")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] [DEC] a red black dress shirt coat".split()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    special = dict(bos_token_id=5, eos_token_id=3, sep_token_id=3, pad_token_id=0)
    text = dict(vocab_size=len(words), encoder_hidden_size=16, max_position_embeddings=64)
    config = BlipConfig(
        text_config={**sizes, **special, **text, "projection_dim": 16},
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_images_are_captioned_and_a_stopped_run_resumes(tiny_blip, tmp_path, monkeypatch):
    source = FlatsSource(1, 5, size=32)
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    options = {"batch_size": 2, "max_new_tokens": 4, "device": "cpu"}
    texts = caption_images(source, tiny_blip, whole, **options)
    assert len(texts) == 5 and all(isinstance(text, str) and text for text in texts)
    lines = whole.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:3]) + lines[3][:9])  # stopped in the middle of a line
    read = []
    monkeypatch.setattr(source, "pixels", lambda i: read.append(i) or FlatsSource.pixels(source, i))
    assert caption_images(source, tiny_blip, part, **options) == texts
    assert read == [2, 3, 4] and part.read_text() == whole.read_text()
    with refused("another-request"):
        caption_images(FlatsSource(2, 5, size=32), tiny_blip, whole, **options)
    with refused("unknown-model"):
        caption_images(source, str(tmp_path / "none"), tmp_path / "new.jsonl", **options)
    with refused("captioner-unreadable"):
        caption_images(source, str(tmp_path), tmp_path / "other.jsonl", **options)


def test_photos_without_captions_get_them_and_open_with_them(tiny_blip, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "new.jsonl"
    folder.mkdir()
    for i in range(3):
        pixels = FlatsSource(1, 3, size=32).pixels(i)
        Image.fromarray(pixels).save(folder / f"IMG_{i:04d}.png")
    with pytest.raises(InputError, match="data captions --captioner"):
        open_source(folder)
    source = open_source(folder, captions_optional=True)
    options = {"captioner": str(tiny_blip)}
    assert write_captions(source, out, **options)["items"] == 3
    captions = with_captions(open_source(folder, captions_optional=True), out).captions
    assert len(captions) == 3 and "a garment" not in captions
