"""The settings of mini's recipe are those of the weights that the package ships."""

import pytest
import torch

from recipes.mini import SETTINGS, build
from tvhelpers.models.mini import WEIGHTS_DIR
from tvhelpers.records import read_json

SHIPPED = {  # part of the settings: where the shipped weights say the same
    "vae": ("vae/config.json",),
    "unet": ("unet/config.json",),
    "scheduler": ("scheduler/scheduler_config.json",),
    "text": ("clip/config.json", "text_config"),
    "vision": ("clip/config.json", "vision_config"),
}


NOT_YET = pytest.mark.xfail(strict=True, reason="the second edition's weights are not made yet")
PARTS = [pytest.param(part, marks=NOT_YET if part == "unet" else ()) for part in SHIPPED]


@pytest.mark.parametrize("part", PARTS)
def test_the_sizes_are_those_of_the_shipped_weights(part):
    file, *keys = SHIPPED[part]
    config = read_json(WEIGHTS_DIR / file)
    for key in keys:
        config = config[key]
    sizes = SETTINGS["sizes"][part]
    assert {name: config[name] for name in sizes} == sizes


def test_a_unet_takes_over_what_fits_of_an_earlier_one(tmp_path, monkeypatch):
    earlier = build.build_unet(seed=1)
    earlier.save_pretrained(tmp_path)
    sizes = {**build.SIZES["unet"], "in_channels": 4, "out_channels": 4}
    monkeypatch.setitem(build.SIZES, "unet", sizes)
    unet = build.build_unet(seed=2)
    left = build.take_over(unet, tmp_path)
    assert left == ["conv_in.weight", "conv_out.bias", "conv_out.weight"]
    own, old, fresh = unet.state_dict(), earlier.state_dict(), build.build_unet(seed=2).state_dict()
    for name, value in own.items():
        assert torch.equal(value, (fresh if name in left else old)[name]), name
