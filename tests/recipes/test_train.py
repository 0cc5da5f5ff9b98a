import json

import pytest

from recipes.mini import train as recipe
from tvhelpers.models.mini import load_judge
from tvhelpers.sample.sampler import Sampler


@pytest.mark.slow
def test_the_recipe_runs_from_nothing_to_an_adapter_and_only_once(tmp_path, monkeypatch):
    said = []
    result = recipe.train_mini(tmp_path, scale=0.002, device="cpu", photos=None, say=said.append)
    assert set(result["minutes"]) == set(recipe.PARTS)
    folder = tmp_path / "mini_weights"
    sampler = Sampler(str(folder), "none", device="cpu")
    picture = next(sampler.sample([(0, "a red t-shirt", 1)], steps=2, guidance=5.0))[3]
    assert picture.size == (128, 128)
    assert load_judge(folder / "judge.safetensors")[0].heads["category"]
    pipeline = json.loads((folder / "model_index.json").read_text())
    assert pipeline["unet"][1] == "UNet2DConditionModel"
    for part in recipe.PARTS:
        monkeypatch.setitem(recipe.PARTS, part, None)  # calling it would fail
    again = recipe.train_mini(tmp_path, scale=0.002, device="cpu", photos=None, say=said.append)
    assert again == result
