"""Adapters shown, scaled, blended, converted and merged: compared by what they add to the weights,
and by what stock diffusers draws with them."""

import json

import pytest
import torch

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.lora.adapter import add_lora, kohya_path, load_adapter, save_adapter
from tvhelpers.lora.formats import read_adapter
from tvhelpers.lora.merge import blend, merge, save_as, show
from tvhelpers.models.base import find_base, load_part, load_pipeline, unet_digest


@pytest.fixture(scope="module")
def make(tiny_base, tmp_path_factory):
    """Return a function that writes an adapter of random weights on the tiny base."""
    folder = tmp_path_factory.mktemp("adapters")

    def make(name, rank, targets, text=False, use_dora=False, digest=None, **more):
        base = find_base(str(tiny_base))
        models = {"unet": load_part(base, "unet")}
        own = digest or unet_digest(models["unet"])
        weights = add_lora(models["unet"], rank, 2 * rank, 1, targets, use_dora)
        if text:
            models["text_encoder"] = load_part(base, "text_encoder")
            weights += add_lora(models["text_encoder"], rank, rank, 1, "text encoder")
        noise = torch.Generator().manual_seed(rank)
        for weight in weights:
            weight.data += 0.1 * torch.randn(weight.shape, generator=noise)
        licences = {"data": f"the licence of {name}"}
        about = {"base": "tiny", "base_digest": own, "licences": licences, **more}
        save_adapter(models, folder / f"{name}.safetensors", about)
        return folder / f"{name}.safetensors"

    return make


@pytest.fixture(scope="module")
def first(make):
    return make("first", 2, "attention", text=True)


@pytest.fixture(scope="module")
def second(make):
    return make("second", 3, "attention+ff+conv")


def added(adapter):
    """Return {layer: matrix that is added}, float64."""
    return {
        name: layer.scaled_up.flatten(1).double() @ layer.down.flatten(1).double()
        for name, layer in adapter.layers.items()
    }


def furthest(seen, wanted):
    assert set(seen) == set(wanted)
    return max((seen[name] - wanted[name]).abs().max() for name in seen)


@pytest.mark.parametrize("names", ["diffusers", "kohya"])
def test_a_blend_is_the_sum_and_goes_through_either_file(first, second, tmp_path, names):
    adapters = [read_adapter(first), read_adapter(kohya_path(second))]
    one, other = (added(adapter) for adapter in adapters)
    wanted = {name: 0.5 * one.get(name, 0) - 2 * other.get(name, 0) for name in {*one, *other}}
    sum_, lost = blend(adapters, [0.5, -2.0])
    assert furthest(added(sum_), wanted) < 1e-6 and lost["overall"] == 0
    save_as(sum_, tmp_path / "sum.safetensors", names)
    again = read_adapter(tmp_path / "sum.safetensors")
    assert furthest(added(again), wanted) < 1e-6
    assert again.about["licences"]["data"] == "the licence of first; the licence of second"


def test_stock_diffusers_draws_a_blend_of_unequal_ranks(first, second, tiny_base, tmp_path):
    sum_, _ = blend([read_adapter(first), read_adapter(second)], [0.7, 0.4])
    pipe = load_pipeline(find_base(str(tiny_base)))
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    states = torch.randn((1, 5, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for number, path in enumerate((first, second)):
            pipe.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=str(number)
            )
        pipe.unet.set_adapters(["0", "1"], [0.7, 0.4])
        wanted = pipe.unet(noise, 300, states).sample
        pipe.unload_lora_weights()
        plain = pipe.unet(noise, 300, states).sample
        assert (wanted - plain).abs().max() > 1e-2
        for names in ("diffusers", "kohya"):
            save_as(sum_, tmp_path / f"{names}.safetensors", names)
            try:
                pipe.load_lora_weights(str(tmp_path), weight_name=f"{names}.safetensors")
            except IndexError:  # diffusers 0.39 does not find kohya's text layers
                continue
            seen = pipe.unet(noise, 300, states).sample
            assert (seen - wanted).abs().max() <= 1e-4
            pipe.unload_lora_weights()


def test_the_best_approximation_of_a_rank_loses_what_it_says(first, second):
    whole, _ = blend([read_adapter(first), read_adapter(second)], [1.0, 1.0])
    small, lost = blend([read_adapter(first), read_adapter(second)], [1.0, 1.0], rank=2)
    wanted, seen = added(whole), added(small)
    assert max(layer.rank for layer in small.layers.values()) == 2
    left, norm = 0.0, 0.0
    for name, matrix in wanted.items():
        best = torch.linalg.svdvals(matrix)[2:].square().sum()  # Eckart-Young: none is nearer
        error = (matrix - seen[name]).square().sum()
        assert abs(error - best) <= 1e-5 * matrix.square().sum()
        left, norm = left + error, norm + matrix.square().sum()
    assert lost["overall"] == pytest.approx((left / norm).sqrt().item(), rel=1e-4)
    assert 0 < lost["overall"] < lost["worst_layer"] <= 1


def test_what_cannot_be_added_up_is_refused(first, make):
    other = make("other", 2, "attention", digest="0123456789abcdef")
    with refused("another-base"):
        blend([read_adapter(first), read_adapter(other)], [1, 1])
    dora = make("dora", 2, "attention", use_dora=True)
    with refused("adapter-kind"):
        blend([read_adapter(dora)], [0.5])
    with refused("count-differs"):
        blend([read_adapter(first)], [1, 2])


def test_what_an_adapter_predicts_is_kept(first, make, tiny_base, tmp_path):
    schedule = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    path = make("velocity", 2, "attention", scheduler=schedule)
    weaker, _ = blend([read_adapter(path)], [0.5])
    assert weaker.about["scheduler"] == schedule
    with refused("another-schedule"):
        blend([read_adapter(path), read_adapter(first)], [1, 1])
    merge(path, find_base(str(tiny_base)), tmp_path / "merged")
    kept = load_part(find_base(str(tmp_path / "merged")), "scheduler").config
    assert schedule.items() <= dict(kept).items()


@pytest.mark.parametrize("kind", ["first", "dora"])
def test_a_merged_pipeline_is_the_base_with_its_adapter(kind, first, make, tiny_base, tmp_path):
    from diffusers import StableDiffusionPipeline

    path = first if kind == "first" else make("dora", 2, "attention+ff+conv", use_dora=True)
    base = find_base(str(tiny_base))
    pipe = load_pipeline(base)
    plain = dict(pipe.unet.state_dict())
    load_adapter(pipe, path, "tiny", unet_digest(pipe.unet))
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 1, 2, 3]])

    def predict(pipe):
        with torch.no_grad():
            return pipe.unet(noise, 300, pipe.text_encoder(ids)[0]).sample

    wanted = predict(pipe)
    merge(path, base, tmp_path / "whole")
    whole = StableDiffusionPipeline.from_pretrained(tmp_path / "whole")
    assert (predict(whole) - wanted).abs().max() <= 1e-4
    assert set(whole.unet.state_dict()) == set(plain)  # no trace of LoRA's layers
    merge(path, base, tmp_path / "half", lora_scale=0.5, half=True)
    half = load_part(find_base(str(tmp_path / "half")), "unet")
    stored = StableDiffusionPipeline.from_pretrained(tmp_path / "half", torch_dtype=torch.float16)
    assert stored.unet.dtype == torch.float16
    for name, weight in half.state_dict().items():
        middle = (whole.unet.state_dict()[name] + plain[name]) / 2
        assert (weight - middle).abs().max() <= 1e-3 * middle.abs().max()
    assert json.loads((tmp_path / "half" / "base.json").read_text())["lora_scale"] == 0.5
    with refused("file-exists"):
        merge(path, base, tmp_path / "half")


def test_the_command_line_shows_converts_scales_and_blends(first, second, tmp_path, capsys):
    def run(*words):
        assert cli.main(["adapter", *map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    seen = run("show", first)
    assert seen["about"]["base"] == "tiny" and seen["kind"] == "LoRA"
    assert {row["block"] for row in seen["blocks"]} >= {"unet.mid_block", "text_encoder"}
    norms = sum(row["norm"] ** 2 for row in seen["blocks"]) ** 0.5
    matrices = added(read_adapter(first)).values()
    assert norms == pytest.approx(sum(x.square().sum().item() for x in matrices) ** 0.5, rel=1e-5)
    out = run("convert", first, "--to", "kohya", "--out", tmp_path / "a.safetensors")["out"]
    norms = [[row["norm"] for row in show(path)["blocks"]] for path in (out, kohya_path(first))]
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    run("scale", first, "--by", "0.25", "--out", tmp_path / "b.safetensors")
    quarter = {name: matrix / 4 for name, matrix in added(read_adapter(first)).items()}
    assert furthest(added(read_adapter(tmp_path / "b.safetensors")), quarter) < 1e-6
    lost = run("blend", first, second, "--weights=1,0.5", "--rank", 4, "--out", tmp_path / "c")
    assert lost["ranks"][-1] == 4 and 0 < lost["lost"]["overall"] < 1
