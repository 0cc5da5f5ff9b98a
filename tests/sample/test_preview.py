"""Images drawn during a training: they show the model in training and do not change it."""

import numpy as np
import torch
from PIL import Image

from tvhelpers.config import build_config
from tvhelpers.models.base import find_base, load_part
from tvhelpers.sample.preview import Previews
from tvhelpers.train.trainer import train


def test_they_show_the_model_in_training_and_change_nothing(tiny_base, photo_folder, tmp_path):
    config = build_config(
        base=str(tiny_base), data=str(photo_folder), steps=4, eval_steps=2, batch_size=4, rank=2,
        eval_items=4, device="cpu", learning_rate=0.05, warmup_steps=0, held_out=0.2,
    )  # fmt: skip
    prompts = ["a red dress", "a blue skirt"]
    previews = Previews(str(tiny_base), prompts, tmp_path / "shots", steps=2)
    train(config, tmp_path / "seen", preview=previews)
    train(config, tmp_path / "unseen")
    adapters = [(tmp_path / run / "adapter.safetensors").read_bytes() for run in ("seen", "unseen")]
    assert adapters[0] == adapters[1]
    shots = sorted((tmp_path / "shots").glob("*.png"))
    assert [path.stem for path in shots] == ["step-0000000", "step-0000002", "step-0000004"]
    assert Image.open(shots[2]).info["prompts"] == "\n".join(prompts)
    images = [np.asarray(Image.open(path)) for path in shots]
    assert images[0].shape == (64, 128, 3)
    assert not np.array_equal(images[0], images[2])


def test_a_unet_in_half_precision_is_drawn_with_beside_float32_parts(tiny_base, tmp_path):
    base = find_base(str(tiny_base))
    parts = {"unet": load_part(base, "unet").bfloat16(), "scheduler": load_part(base, "scheduler")}
    Previews(str(tiny_base), ["a red dress"], tmp_path, steps=2)(7, parts)  # dtype=bfloat16, a CPU
    assert np.asarray(Image.open(tmp_path / "step-0000007.png")).std() > 0


def test_a_float32_unet_is_drawn_with_beside_parts_in_half_precision(
    tiny_base, tmp_path, monkeypatch
):
    half = (torch.bfloat16, "as on a GPU")
    monkeypatch.setattr("tvhelpers.sample.sampler.choose_dtype", lambda name, device: half)
    base = find_base(str(tiny_base))
    parts = {part: load_part(base, part) for part in ("unet", "scheduler")}
    unet = parts["unet"].train()
    loaded = []
    monkeypatch.setattr(
        "tvhelpers.models.base.load_part",
        lambda *which: loaded.append(which[1]) or load_part(*which),
    )
    Previews(str(tiny_base), ["a red dress"], tmp_path, steps=2)(7, parts)
    assert "vae" in loaded and "unet" not in loaded  # which would not fit into memory twice
    assert unet.training and unet.dtype == torch.float32
    assert np.asarray(Image.open(tmp_path / "step-0000007.png")).std() > 0
