"""On a CUDA GPU: what is chosen there, a training and its continuation, images as on the CPU."""

import json
import math

import numpy as np
import pytest

from tvhelpers.cli import main
from tvhelpers.runtime import choose_device, choose_dtype
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

pytestmark = pytest.mark.gpu


def test_the_gpu_is_chosen_and_half_precision():
    assert choose_device("auto") == "cuda"
    assert str(choose_dtype("auto", "cuda")[0]) in ("torch.bfloat16", "torch.float16")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_training_goes_on_and_its_adapter_draws(tiny_base, photo_folder, tmp_path, dtype):
    settings = {"base": tiny_base, "device": "cuda", "dtype": dtype, "batch_size": 4, "rank": 2,
                "eval_items": 4, "eval_steps": 3, "held_out": 0.2, "text_rank": 2}  # fmt: skip
    words = [word for row in settings.items() for word in ("--set", "{}={}".format(*row))]
    command = ["train", "lora", "--data", str(photo_folder), "--out", str(tmp_path / "run"), *words]
    assert main([*command, "--set", "steps=6"]) == 0
    losses = [json.loads(line) for line in open(tmp_path / "run" / "eval.jsonl", encoding="utf-8")]
    assert [row["step"] for row in losses] == [0, 3, 6]
    assert all(math.isfinite(row["validation_loss"]) for row in losses)
    speeds = [json.loads(line) for line in open(tmp_path / "run" / "speed.jsonl", encoding="utf-8")]
    assert all(0 <= row["gpu_share"] < 1 for row in speeds)
    assert main([*command, "--set", "steps=6"]) == 0  # opened, not repeated
    adapter = str(tmp_path / "run" / "adapter.safetensors")
    draw = ["generate", "a red dress", "--base", str(tiny_base), "--adapter", adapter]
    assert main([*draw, "--steps", "2", "--out", str(tmp_path / "drawn")]) == 0


def test_an_image_of_the_gpu_is_that_of_the_cpu():
    request = Request(("a red dress", "a blue skirt"), seed=3)
    drawn = {
        device: [np.asarray(image).astype(int) for *_, image in
                 Sampler("mini", device=device, dtype="float32").sample(request)]
        for device in ("cpu", "cuda")
    }  # fmt: skip
    for one, other in zip(*drawn.values(), strict=True):
        assert np.abs(one - other).mean() < 2
