"""A tuned text encoder replaces the base's own in training, in the adapter and in drawing."""

import shutil

import numpy as np
import pytest
import torch
from transformers import CLIPTextModel

from tests.helpers import refused
from tvhelpers.config import build_config
from tvhelpers.models.base import find_base, load_part, with_text_encoder
from tvhelpers.records import read_json
from tvhelpers.sample.preview import Previews
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.trainer import train


@pytest.fixture(scope="module")
def tuned(tiny_base, tmp_path_factory):
    """A changed text encoder of the base, in a folder like that of `clip tune`."""
    model = load_part(find_base(str(tiny_base)), "text_encoder")
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder / "clip")
    return folder


def run(tiny_base, photo_folder, out, **changes):
    settings = dict(base=str(tiny_base), data=str(photo_folder), steps=2, batch_size=4)
    settings |= dict(eval_items=4, checkpoint_steps=0, device="cpu", **changes)
    return train(build_config(**settings), out, root=out.parent)


def test_an_adapter_finds_the_text_encoder_that_it_was_trained_with(
    tiny_base, photo_folder, tuned, tmp_path
):
    out = tmp_path / "run"
    with_tuned = run(tiny_base, photo_folder, out, text_encoder=str(tuned))
    plain = run(tiny_base, photo_folder, tmp_path / "plain")
    assert with_tuned["held_out_loss_base"] != plain["held_out_loss_base"]
    caches = [read_json(path) for path in (tmp_path / "artifacts").glob("cache-*/about.json")]
    assert len({row["text_encoder"] for row in caches}) == 2
    with refused("another-request"):
        run(tiny_base, photo_folder, out)

    wanted = CLIPTextModel.from_pretrained(tuned / "clip").state_dict()
    sampler = Sampler(str(tiny_base), str(out), device="cpu")
    found = sampler.pipe.text_encoder.state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in wanted.items())
    own = Sampler(str(tiny_base), str(tmp_path / "plain"), device="cpu")
    assert "text_encoder" in sampler.identity and "text_encoder" not in own.identity
    before = own.pipe.text_encoder.state_dict()
    assert any(not torch.equal(weight, before[name]) for name, weight in wanted.items())

    alone = tmp_path / "alone" / "adapter.safetensors"
    alone.parent.mkdir()
    shutil.copy(out / "adapter.safetensors", alone)
    with refused("text-encoder-missing"):
        Sampler(str(tiny_base), str(alone), device="cpu")
    assert Sampler(str(tiny_base), str(alone), "cpu", text_encoder=str(tuned)).identity[
        "adapter_sha256"
    ]
    other = str(tiny_base / "text_encoder")
    with refused("another-text-encoder"):
        Sampler(str(tiny_base), str(alone), "cpu", text_encoder=other)


def test_a_whole_pipeline_holds_it_and_previews_use_it(tiny_base, photo_folder, tuned, tmp_path):
    run(tiny_base, photo_folder, tmp_path / "run", method="full", text_encoder=str(tuned))
    folder = str(tmp_path / "run" / "pipeline")
    drawn = Sampler(folder, "none", "cpu")
    wanted = CLIPTextModel.from_pretrained(tuned / "clip").state_dict()
    found = drawn.pipe.text_encoder.state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in wanted.items())
    base, images = find_base(str(tiny_base)), []
    parts = {part: load_part(base, part) for part in ("unet", "scheduler")}
    for name in ("", str(tuned)):
        previews = Previews(
            str(tiny_base), ["a red dress"], tmp_path / f"p{len(name)}", steps=2, text_encoder=name
        )
        previews(0, parts)
        text = previews.sampler.pipe.text_encoder.state_dict()
        images.append(next(iter(text.values())).numpy())
    assert not np.array_equal(*images)


def test_one_of_another_hidden_size_or_vocabulary_is_said(tiny_base, tmp_path):
    base = find_base(str(tiny_base))
    assert with_text_encoder(base, "") is base
    config = load_part(base, "text_encoder").config
    for change in (dict(hidden_size=48, num_attention_heads=2), dict(vocab_size=7)):
        folder = tmp_path / next(iter(change))
        CLIPTextModel(type(config)(**{**config.to_dict(), **change})).save_pretrained(folder)
        with refused("text-encoder-unfit"):
            with_text_encoder(base, str(folder))
    with refused("unknown-model"):
        with_text_encoder(base, str(tmp_path / "nothing"))
