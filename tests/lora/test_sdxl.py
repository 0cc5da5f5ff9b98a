"""Adapters of Stable Diffusion XL: three networks, kohya's names by the original code's numbers."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.helpers import refused
from tests.lora.helpers import draw, kohya, train_at_random
from tvhelpers import cli
from tvhelpers.lora.adapter import check_adapter, kohya_path, load_adapter
from tvhelpers.lora.formats import read_about, read_adapter
from tvhelpers.lora.layer_names import find_layer, kohya_name
from tvhelpers.lora.merge import blend, merge, save_as, show
from tvhelpers.models.architecture import SDXL
from tvhelpers.models.base import find_base, unet_digest
from tvhelpers.sample.sampler import Sampler

EVERYTHING = {"targets": "attention+ff+conv", "text": True}


def kohyas_names(unet):
    """Return {module of diffusers' UNet: module in the original code}, by building the row of
    blocks as the original code does: a residual block and perhaps a transformer each."""
    names, number = {"conv_in": "input_blocks.0.0", "conv_out": "out.2"}, 0

    def block(old, new, column=0):
        """Name the layers of a module in a column of a block."""
        ends = {"conv1": "in_layers.2", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
                "time_emb_proj": "emb_layers.1"}  # fmt: skip
        for name, _ in unet.get_submodule(new).named_modules():
            names[f"{new}.{name}"] = f"{old}.{column}.{ends.get(name, name)}"

    for level, down in enumerate(unet.down_blocks):
        for layer in range(len(down.resnets)):
            number += 1
            block(f"input_blocks.{number}", f"down_blocks.{level}.resnets.{layer}")
            if hasattr(down, "attentions"):
                block(f"input_blocks.{number}", f"down_blocks.{level}.attentions.{layer}", 1)
        if down.downsamplers:
            number += 1
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
    for column, module in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        block("middle_block", f"mid_block.{module}", column)
    number = -1
    for level, up in enumerate(unet.up_blocks):
        for layer in range(len(up.resnets)):
            number += 1
            block(f"output_blocks.{number}", f"up_blocks.{level}.resnets.{layer}")
            if hasattr(up, "attentions"):
                block(f"output_blocks.{number}", f"up_blocks.{level}.attentions.{layer}", 1)
        if up.upsamplers:
            column = 1 + hasattr(up, "attentions")
            names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{number}.{column}.conv"
    for k in (0, 1):
        names[f"time_embedding.linear_{k + 1}"] = f"time_embed.{2 * k}"
        names[f"add_embedding.linear_{k + 1}"] = f"label_emb.0.{2 * k}"
    return names


@pytest.fixture(scope="module")
def trained(tiny_sdxl, tmp_path_factory):
    """The models of an adapter on all three networks, and its path."""
    path = tmp_path_factory.mktemp("run") / "adapter.safetensors"
    return train_at_random(tiny_sdxl, path, **EVERYTHING)


def stock(folder):
    """Return diffusers' own pipeline."""
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn_with(folder, path):
    """Return what a base draws with an adapter."""
    pipe = stock(folder)
    load_adapter(pipe, path, "tiny", unet_digest(pipe.unet))
    return draw(pipe)


@pytest.fixture(scope="module")
def wanted(trained, tiny_sdxl):
    """What the trained models draw."""
    pipe = stock(tiny_sdxl)
    plain = draw(pipe)
    for part, model in trained[0].items():
        setattr(pipe, part, model)
    image = draw(pipe)
    assert np.abs(image - plain).max() > 1e-2  # the adapter is not a nothing
    return image


@pytest.mark.parametrize("use_dora", [False, True])
def test_stock_diffusers_draws_from_both_files_what_was_trained(
    use_dora, trained, wanted, tiny_sdxl, tmp_path
):
    models, path = trained
    if use_dora:
        path = tmp_path / "adapter.safetensors"
        models, _ = train_at_random(tiny_sdxl, path, use_dora=True, **EVERYTHING)
    check_adapter(models, path, find_base(str(tiny_sdxl)))
    drawn = [drawn_with(tiny_sdxl, file) for file in (path, kohya_path(path))]
    for file in (path, kohya_path(path))[: 1 if use_dora else 2]:
        pipe = stock(tiny_sdxl)
        pipe.load_lora_weights(str(path.parent), weight_name=file.name)
        drawn.append(draw(pipe))
    if use_dora:
        for part, model in models.items():
            setattr(pipe, part, model)
        wanted = draw(pipe)
    assert max(np.abs(image - wanted).max() for image in drawn) <= 1e-4


def test_each_layer_of_the_real_unet_has_the_name_that_kohyas_scripts_give_it():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280), cross_attention_dim=2048,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
            up_block_types=(*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20),
            use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip
    names = kohyas_names(unet)
    layers = [
        name
        for name, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    ]
    assert names["up_blocks.0.attentions.1.proj_in"] == "output_blocks.1.1.proj_in"
    assert len(layers) == 794
    for name in layers:
        wanted = "lora_unet_" + names[name].replace(".", "_")
        assert kohya_name(f"unet.{name}", SDXL) == wanted
        for old in (wanted, f"diffusion_model.{names[name]}"):
            assert find_layer(f"{old}.alpha") == (f"unet.{name}", "alpha")


def theirs(trained, names, change):
    """Return the tensors of trained layers as another program writes them, alphas of 3."""
    encoders = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    originals, tensors = kohyas_names(trained[0]["unet"]), {}
    for name, layer in read_adapter(trained[1]).layers.items():
        part, _, module = name.partition(".")
        if part == "unet":
            module = originals[module] if names != "diffusers" else module
        stem = encoders.get(part, "lora_unet_") + module.replace(".", "_")
        if names == "ComfyUI" and part == "unet":
            stem = f"diffusion_model.{module}"
        tensors[f"{stem}.lora_down.weight"] = change(layer.down)
        tensors[f"{stem}.lora_up.weight"] = change(layer.scaled_up * layer.rank / 3)
        tensors[f"{stem}.alpha"] = change(torch.tensor(3.0))
    return tensors


@pytest.mark.parametrize("names", ["original", "diffusers", "ComfyUI"])
def test_a_file_of_another_program_draws_the_same(names, trained, wanted, tiny_sdxl, tmp_path):
    file = tmp_path / "theirs.safetensors"
    save_file(theirs(trained, names, lambda x: x.contiguous()), file)
    assert read_about(file) == {"family": SDXL.name}
    assert np.abs(drawn_with(tiny_sdxl, file) - wanted).max() <= 1e-4
    save_file(theirs(trained, names, torch.Tensor.half), file)
    assert np.abs(drawn_with(tiny_sdxl, file) - wanted).max() <= 1e-2


def test_the_files_say_that_they_are_of_sdxl(trained, tmp_path):
    file = tmp_path / "again.safetensors"
    save_as(read_adapter(trained[1]), file, "kohya", half=True)
    for path in (kohya_path(trained[1]), file):
        with safe_open(path, "pt") as opened:
            metadata, names = opened.metadata(), set(opened.keys())
        assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
        assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
        assert "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight" in names
        assert "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight" in names
        first = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha"
        assert first in names and not any("down_blocks" in name for name in names)
    with safe_open(trained[1], "pt") as opened:
        assert opened.metadata()["modelspec.architecture"].startswith("stable-diffusion-xl")


def test_a_blend_and_a_merged_pipeline_draw_the_same_in_stock_diffusers(
    trained, wanted, tiny_sdxl, tmp_path
):
    halves = [read_adapter(path) for path in (trained[1], kohya_path(trained[1]))]
    both, _ = blend(halves, [0.25, 0.75])
    save_as(both, tmp_path / "both.safetensors", "kohya")
    pipe = stock(tiny_sdxl)
    pipe.load_lora_weights(str(tmp_path), weight_name="both.safetensors")
    assert np.abs(draw(pipe) - wanted).max() <= 1e-4
    merge(tmp_path / "both.safetensors", find_base(str(tiny_sdxl)), tmp_path / "whole")
    whole = stock(tmp_path / "whole")
    whole.scheduler = type(pipe.scheduler).from_config(whole.scheduler.config)
    assert np.abs(draw(whole) - wanted).max() <= 1e-4
    blocks = {row["block"] for row in show(tmp_path / "both.safetensors")["blocks"]}
    assert {"text_encoder", "text_encoder_2", "unet.down_blocks.1"} <= blocks


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2"])
def test_an_adapter_of_one_text_encoder_is_used_and_shown(part, trained, tiny_sdxl, tmp_path):
    whole, file = read_adapter(trained[1]), tmp_path / "one.safetensors"
    whole.layers = {k: x for k, x in whole.layers.items() if k.startswith(f"{part}.")}
    save_as(whole, file, "kohya")
    assert [row["block"] for row in show(file)["blocks"]] == [part]
    pipe = stock(tiny_sdxl)
    plain = draw(pipe)
    pipe.load_lora_weights(str(tmp_path), weight_name=file.name)
    assert np.abs(drawn_with(tiny_sdxl, file) - draw(pipe)).max() <= 1e-4
    assert np.abs(draw(pipe) - plain).max() > 1e-4


def check_refused(base, file, out):
    """Check that every verb and door refuses an adapter for a base."""
    verbs = ["generate", "a", "--adapter", file], ["adapter", "merge", file]
    for words in verbs:
        assert cli.main([*map(str, words), "--base", str(base), "--out", str(out)]) == 2
        assert not out.exists()
    with refused("another-base"):
        Sampler(str(base), str(file))


def test_an_adapter_of_another_family_is_refused_before_anything_is_loaded(
    trained, tiny_base, tiny_sdxl, tmp_path, monkeypatch, capsys
):
    _, own = train_at_random(tiny_base, tmp_path / "own.safetensors", text=True)
    monkeypatch.setattr("tvhelpers.models.base.load_part", None)
    foreign, xl, second = (tmp_path / f"{name}.safetensors" for name in ("sd", "xl", "second"))
    save_file(kohya(), foreign)
    tensors = theirs(trained, "original", torch.clone)
    save_file(tensors, xl)
    save_file({name: x for name, x in tensors.items() if "te2" in name}, second)
    for file in (own, kohya_path(own), foreign):
        check_refused(tiny_sdxl, file, tmp_path / "out")
    for file in (trained[1], kohya_path(trained[1]), xl, second):
        check_refused(tiny_base, file, tmp_path / "out")
        check_refused("mini", file, tmp_path / "out")
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 * (3 + 8) and all("Stable Diffusion XL" in line for line in errors)
    with refused("another-base") as seen:
        blend([read_adapter(own), read_adapter(xl)], [1, 1])
    assert "Stable Diffusion XL" in str(seen.value)


def test_the_refiner_and_other_methods_are_refused_by_name(trained, tmp_path):
    file, tensors = tmp_path / "it.safetensors", theirs(trained, "original", torch.clone)
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    wide = {
        f"{stem}.lora_down.weight": torch.ones(2, 1280),
        f"{stem}.lora_up.weight": torch.ones(8, 2),
    }
    cases = {
        "refiner": (kohya(only="unet"), {"ss_base_model_version": "sdxl_refiner_v1-0"}),
        "the refiner": (wide, None),
        "LoKr": (
            tensors | {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lokr_w1": torch.ones(2, 2)},
            None,
        ),
        "LoHa": (
            tensors | {"lora_te1_text_model_encoder_layers_0_mlp_fc1.hada_w1_a": torch.ones(2, 2)},
            None,
        ),
    }
    save_file(wide, file, {"tvhelpers": '{"base_digest": "0"}'})
    assert read_about(file) == {"base_digest": "0"}  # trained here, on a base of an unusual width
    for word, (weights, metadata) in cases.items():
        save_file(weights, file, metadata)
        with refused("unknown-family", "adapter-kind") as seen:
            read_about(file)
        assert word in str(seen.value)
