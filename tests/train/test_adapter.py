import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tvhelpers.config import InputError
from tvhelpers.models.base import find_base, load_part, load_pipeline, unet_digest
from tvhelpers.train.adapter import (
    TARGETS,
    add_lora,
    load_adapter,
    read_adapter_metadata,
    save_adapter,
)


@pytest.fixture
def adapter(tiny_base, tmp_path):
    """An adapter that changes the tiny base visibly, with the UNet that it was made in."""
    unet = load_part(find_base(str(tiny_base)), "unet")
    digest = unet_digest(unet)
    for weight in add_lora(unet, rank=2, alpha=4, seed=1):
        torch.nn.init.normal_(weight.data, std=0.2)
    path = tmp_path / "adapter.safetensors"
    options = {"base_name": "tiny", "base_digest": digest, "rank": 2, "alpha": 4, "seen": {}}
    save_adapter(unet, path, **options)
    return unet, path, options


def draw(pipe):
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    return pipe(["a red dress"], num_inference_steps=3, latents=noise, output_type="np").images


def test_stock_diffusers_loads_it_and_draws_the_same(adapter, tiny_base):
    unet, path, _ = adapter
    ours = load_pipeline(find_base(str(tiny_base)))
    plain = draw(ours)
    ours.unet = unet
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    stock = StableDiffusionPipeline.from_pretrained(tiny_base)
    stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)
    stock.load_lora_weights(str(path.parent), weight_name=path.name)
    assert np.abs(draw(stock) - draw(ours)).max() <= 1e-4
    assert np.abs(draw(ours) - plain).max() > 1e-2  # the adapter is not a nothing


def test_equal_weights_give_equal_bytes(adapter, tmp_path):
    unet, path, options = adapter
    for number in range(5):
        save_adapter(unet, tmp_path / f"{number}.safetensors", **options)
        assert (tmp_path / f"{number}.safetensors").read_bytes() == path.read_bytes()


def test_weights_are_fp32_under_the_names_of_diffusers(adapter):
    weights = load_file(adapter[1])
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    assert all(name.startswith("unet.") and "lora_" in name for name in weights)


def test_an_adapter_of_another_base_is_refused_by_name(adapter, tiny_base):
    pipe = load_pipeline(find_base(str(tiny_base)))
    with torch.no_grad():
        pipe.unet.conv_in.weight[0, 0, 0, 0] += 1  # other weights, same shapes
    with pytest.raises(InputError, match="was made for base 'tiny'"):
        load_adapter(pipe, adapter[1], "other", unet_digest(pipe.unet))


def test_a_foreign_adapter_that_does_not_fit_is_refused(adapter, tiny_base, tmp_path):
    weights = {name: torch.zeros(3, 3) for name in load_file(adapter[1])}
    save_file(weights, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="does not fit base 'tiny'"):
        load(tiny_base, tmp_path / "foreign.safetensors")


def load(tiny_base, path):
    pipe = load_pipeline(find_base(str(tiny_base)))
    load_adapter(pipe, path, "tiny", unet_digest(pipe.unet))


@pytest.mark.parametrize("damage", ["nan", "removed", "renamed"])
def test_a_damaged_adapter_is_refused(adapter, tiny_base, tmp_path, damage):
    load(tiny_base, adapter[1])
    with safe_open(adapter[1], "pt") as file:
        metadata, weights = file.metadata(), load_file(adapter[1])
    first = min(weights)
    if damage == "nan":
        weights[first][0, 0] = float("nan")
    elif damage == "removed":
        block = first.rpartition("lora_")[0]
        weights = {name: weight for name, weight in weights.items() if block not in name}
    else:
        weights, metadata = {f"other.{name}": weight for name, weight in weights.items()}, {}
    save_file(weights, tmp_path / "damaged.safetensors", metadata)
    with pytest.raises(InputError, match=r"holds NaN|damaged|does not fit"):
        load(tiny_base, tmp_path / "damaged.safetensors")


def test_missing_and_broken_files_are_said(adapter, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_adapter_metadata(tmp_path / "nothing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(adapter[1].read_bytes()[:200])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        read_adapter_metadata(broken)


def test_no_path_and_no_date_in_the_metadata(adapter, tmp_path):
    with safe_open(adapter[1], "pt") as file:
        text = str(file.metadata())
    assert str(tmp_path) not in text and "202" not in text


@pytest.mark.parametrize("targets", TARGETS)
def test_every_kind_of_target_goes_through_stock_diffusers(tiny_base, tmp_path, targets):
    from diffusers import StableDiffusionPipeline

    unet = load_part(find_base(str(tiny_base)), "unet")
    digest, plain = unet_digest(unet), sum(w.numel() for w in unet.parameters())
    weights = add_lora(unet, rank=2, alpha=2, seed=0, targets=targets)
    for weight in weights:
        torch.nn.init.normal_(weight.data, std=0.2)
    layers = {name.split(".lora_")[0] for name, w in unet.named_parameters() if w.requires_grad}
    assert all(name.endswith(tuple(TARGETS[targets])) for name in layers)
    assert {end for end in TARGETS[targets] for name in layers if name.endswith(end)} == set(
        TARGETS[targets]
    )
    assert sum(w.numel() for w in unet.parameters() if not w.requires_grad) == plain
    path = tmp_path / "adapter.safetensors"
    about = {"base_name": "tiny", "base_digest": digest, "rank": 2, "alpha": 2, "seen": {}}
    save_adapter(unet, path, **about, targets=targets)
    ours = load_pipeline(find_base(str(tiny_base)))
    stock = load_pipeline(find_base(str(tiny_base)))
    load_adapter(ours, path, "tiny", digest)
    stock.load_lora_weights(str(tmp_path), weight_name=path.name)
    assert isinstance(stock, StableDiffusionPipeline)
    first = draw(ours)
    assert np.abs(first - draw(stock)).max() <= 1e-5
    ours.unet = unet
    assert np.abs(first - draw(ours)).max() <= 1e-4
