"""The recipe of mini trains every part once; without a checkout, the command is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recipes.mini import SETTINGS
from recipes.mini import train as recipe
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.cli import mini
from tvhelpers.models.mini import load_judge
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

OWN_VAE = Path(recipe.__file__).with_name("autoencoder")


@pytest.mark.slow
def test_the_recipe_runs_from_nothing_to_an_adapter_and_only_once(tmp_path, monkeypatch):
    for row in (*SETTINGS["fits"].values(), *SETTINGS["trainings"].values()):
        monkeypatch.setitem(row, "batch_size", 2)
    few = {"scale": 0.0003, "device": "cpu"}  # steps: nine of the UNet, one else
    assert "stopped" in recipe.train_mini(tmp_path, **few, minutes=1e-6)
    result = recipe.train_mini(tmp_path, **few)
    assert set(result["minutes"]) == set(recipe.PARTS)
    folder = tmp_path / "mini_weights"
    sampler = Sampler(str(folder), "none", device="cpu")
    kept, made = (
        load_file(f / "diffusion_pytorch_model.safetensors") for f in (OWN_VAE, folder / "vae")
    )
    changed = {name for name in kept if not torch.equal(kept[name], made[name])}
    assert changed and all(name.startswith(("decoder.", "post_quant")) for name in changed)
    image = next(sampler.sample(Request(("a red t-shirt",), seed=1, steps=2)))[3]
    assert image.size == (128, 128)
    assert "pleated" in load_judge(folder / "judge.safetensors")[0].heads["cut"]
    assert sampler.unseen("navy blazer, zebra") == "this base has never seen 'zebra'"
    pipeline = json.loads((folder / "model_index.json").read_text())
    assert pipeline["unet"][1] == "UNet2DConditionModel"
    for part in recipe.PARTS:
        monkeypatch.setitem(recipe.PARTS, part, None)  # calling it would fail
    assert recipe.train_mini(tmp_path, **few) == result


def test_an_installed_package_says_where_the_recipe_is(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "__file__", str(tmp_path / "tvhelpers" / "cli" / "mini.py"))
    options = cli.build_parser().parse_args(["mini", "train", "--work", str(tmp_path / "work")])
    monkeypatch.setattr(recipe, "train_mini", None)  # calling it would fail
    with refused("no-checkout"):
        mini.run_train(options)
    assert not (tmp_path / "work").exists()


def test_a_scale_that_is_no_share_is_refused(tmp_path):
    for scale in (0.0, -1.0, 101.0, float("nan")):
        with refused("out-of-range"):
            recipe.train_mini(tmp_path, scale=scale)
