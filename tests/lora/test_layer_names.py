"""Adapters as other programs write them are read as what they add to the weights, in our reader
and, where it can read them, in stock diffusers."""

import copy
import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from tests.helpers import refused
from tests.lora.helpers import ALPHA, RANK, SIZES, kohya, layers, peft, renamed
from tvhelpers.lora.adapter import load_adapter
from tvhelpers.lora.find import adapter_file
from tvhelpers.lora.formats import read_adapter, write_adapter
from tvhelpers.lora.layer_names import kohya_name, layer_name
from tvhelpers.lora.merge import blend, save_as
from tvhelpers.models.base import find_base, load_pipeline, unet_digest
from tvhelpers.sample.sampler import Sampler


def old_diffusers():
    """Return tensors as diffusers 0.17 wrote them; a text encoder's have a UNet's words."""
    words = {"q_proj": "to_q", "out_proj": "to_out"}
    tensors = {}
    for name, (down, up, _, _) in layers().items():
        if "attn" not in name:
            continue
        end = name.removesuffix(".0").rpartition(".")[2]
        stem = name.removesuffix(".0").removesuffix(end)
        if name.startswith("unet"):
            stem = f"{stem}processor."
        stem += f"{words.get(end, end)}_lora"
        tensors |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
    return tensors


def tucker():
    """Return LyCORIS's tensors of a convolution, and what they add to it."""
    down, mid, up = (
        torch.randn(4, 64, 1, 1),
        0.1 * torch.randn(4, 4, 3, 3),
        torch.randn(64, 4, 1, 1),
    )
    tensors = {"lora_down.weight": down, "lora_mid.weight": mid, "lora_up.weight": up}
    stem = "lora_unet_mid_block_resnets_0_conv1"
    change = torch.einsum("or,rkhw,ki->oihw", up[..., 0, 0], mid, down[..., 0, 0])
    return {f"{stem}.{end}": tensor for end, tensor in tensors.items()}, change


def only_unet(name):
    return name.removeprefix("unet.")


def comfyui(name):
    blocks = {"mid_block.attentions.0": "middle_block.1", "mid_block.resnets.0": "middle_block.0"}
    for own, original in {**blocks, "conv1": "in_layers.2", "unet": "diffusion_model"}.items():
        name = name.replace(own, original)
    return name


def flat(tensor):
    return tensor.flatten(1) if tensor.shape[2:].numel() == 1 and tensor.ndim == 4 else tensor


def pointwise(tensor):
    return tensor[..., None, None] if tensor.ndim == 2 else tensor


def peft_metadata(only="", **more):
    """Return the metadata that diffusers and peft write for layers with `only` in their names."""
    settings = {"unet.use_rslora": False, **more}
    for name in layers(only):
        part, _, module = name.partition(".")
        settings |= {f"{part}.r": RANK, f"{part}.lora_alpha": ALPHA}
        targets = settings.setdefault(f"{part}.target_modules", [])
        targets.append(module.removeprefix("text_model."))
    return {"lora_adapter_metadata": json.dumps(settings)}


PEFT = peft_metadata()
# {program: (tensors, metadata, scale that is expected: alpha / rank, whether diffusers reads it)}
WRITERS = {
    "diffusers": (peft(), PEFT, ALPHA / RANK, True),
    "without alpha": (peft(), {}, 1, True),
    "without unet.": (peft(only_unet, only="unet"), {}, 1, False),
    "an adapter's name": (peft(end=".default_0.weight"), PEFT, ALPHA / RANK, False),
    "peft": (peft(lambda x: f"base_model.model.{only_unet(x)}", only="unet"), {}, 1, False),
    "peft in a part": (peft(lambda x: x.replace(".", ".base_model.model.", 1)), {}, 1, False),
    "transformers 5": (peft(lambda x: x.replace("text_model.", "")), PEFT, ALPHA / RANK, False),
    "diffusers 0.17": (old_diffusers(), {}, 1, False),
    "MLP layers alone": (peft(only="fc1"), PEFT, ALPHA / RANK, False),
    "text encoder alone": (peft(only="q_proj"), peft_metadata("q_proj"), ALPHA / RANK, True),
    "kohya": (kohya(), {}, ALPHA / RANK, False),
    "kohya, UNet": (kohya(only="unet"), {}, ALPHA / RANK, True),
    "kohya, te1": (
        kohya(lambda x: kohya_name(x).replace("lora_te_", "lora_te1_")),
        {},
        ALPHA / RANK,
        False,
    ),
    "kohya, no alpha": (
        renamed(".lora_down.weight", ".lora_up.weight", "", kohya_name),
        {},
        1,
        False,
    ),
    "kohya, whole alpha": (
        kohya() | {key: torch.tensor(6) for key in kohya() if "alpha" in key},
        {},
        ALPHA / RANK,
        False,
    ),
    "LyCORIS": (
        kohya(lambda x: "lycoris_" + only_unet(x).replace(".", "_"), only="unet"),
        {},
        ALPHA / RANK,
        False,
    ),
    "ComfyUI": (peft(comfyui, only="unet"), {}, 1, False),
    "with dots": (kohya(str), {}, ALPHA / RANK, False),
    "linear for 1 x 1": (kohya(change=lambda x: flat(x) if x.ndim else x), {}, ALPHA / RANK, False),
    "1 x 1 for linear": (kohya(change=pointwise), {}, ALPHA / RANK, False),
    "rank-stabilised": (
        peft(),
        peft_metadata(**{"unet.use_rslora": True}),
        None,
        False,
    ),
}


def added(adapter_layers):
    """Return {layer: what it adds to the weight, as a matrix}."""
    return {
        name: (layer.scaled_up.flatten(1) @ layer.down.flatten(1))
        for name, layer in adapter_layers.items()
    }


@pytest.fixture(scope="module")
def pipe(tiny_base):
    return load_pipeline(find_base(str(tiny_base)))


def added_in(pipe):
    """Return {layer: what peft adds to it in a pipeline}, and unload the adapter."""
    from peft.tuners.lora import LoraLayer

    seen = {}
    for part in ("unet", "text_encoder"):
        for name, module in getattr(pipe, part).named_modules():
            if isinstance(module, LoraLayer):
                (key,) = module.lora_A.keys()
                seen[layer_name(part, name)] = module.get_delta_weight(key).detach().flatten(1)
    pipe.unload_lora_weights()
    return seen


def check_equal(seen, wanted, nearness=1e-6):
    assert set(seen) == set(wanted) and wanted
    for name, matrix in wanted.items():
        assert (seen[name] - matrix).abs().max() <= nearness * matrix.abs().max(), name


@pytest.mark.parametrize("program", WRITERS)
def test_adapters_of_other_programs_add_the_same(program, pipe, tmp_path):
    tensors, metadata, scale, stock_reads = WRITERS[program]
    file = tmp_path / "theirs.safetensors"
    save_file(tensors, file, metadata)
    adapter = read_adapter(file)
    alphas = dict.fromkeys(adapter.layers, RANK * scale if scale else ALPHA)
    if scale is None:
        alphas = {name: x * 2 if name.startswith("unet") else x for name, x in alphas.items()}
    wanted = {name: layers()[name]._replace(alpha=alpha) for name, alpha in alphas.items()}
    assert len(wanted) == sum("down" in key or "lora_A" in key for key in tensors)
    check_equal(added(adapter.layers), added(wanted))
    load_adapter(pipe, file, "tiny", unet_digest(pipe.unet))
    check_equal(added_in(pipe), added(wanted))
    if stock_reads:
        pipe.load_lora_weights(str(tmp_path), weight_name=file.name)
        check_equal(added_in(pipe), added(wanted))
    for format in ("diffusers", "kohya"):
        save_as(adapter, tmp_path / format, format)
        check_equal(added(read_adapter(tmp_path / format).layers), added(wanted))


TYPES = {"float64": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}
TYPES |= {"float8_e4m3fn": 0.1, "float8_e5m2": 0.2}


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_each_type_are_read(kind, tmp_path):
    dtype = getattr(torch, kind)
    save_file(kohya(change=lambda x: x.to(dtype)), tmp_path / "it.safetensors")
    seen = read_adapter(tmp_path / "it.safetensors").layers
    assert {x.down.dtype for x in seen.values()} == {torch.float32}
    check_equal(added(seen), added(layers()), TYPES[kind])


def test_a_tucker_decomposition_is_read(tmp_path):
    tensors, change = tucker()
    save_file(tensors, tmp_path / "it.safetensors")
    (seen,) = added(read_adapter(tmp_path / "it.safetensors").layers).values()
    assert torch.allclose(seen, change.flatten(1), rtol=1e-4, atol=1e-5)


def test_peft_s_folder_is_read_with_its_settings(pipe, tiny_base, tmp_path):
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    ends = {"attn2.to_k": 8, "to_q": 2}
    config = LoraConfig(
        r=4, lora_alpha=3, target_modules=["to_q", "attn2.to_k"], use_rslora=True,
        rank_pattern=ends, alpha_pattern={"attn2.to_k": 5}, init_lora_weights=False,
    )  # fmt: skip
    model = get_peft_model(copy.deepcopy(pipe.unet), config)
    model.save_pretrained(tmp_path / "theirs")
    assert adapter_file(tmp_path / "theirs").name == "adapter_model.safetensors"
    seen = read_adapter(adapter_file(tmp_path / "theirs")).layers
    wanted = {
        f"unet.{name.removeprefix('base_model.model.')}": module.get_delta_weight("default")
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    assert {layer.rank for layer in seen.values()} == {2, 8}
    check_equal(added(seen), wanted, 1e-5)
    file = tmp_path / "theirs" / "adapter_config.json"
    settings = json.loads(file.read_text())
    for change, code in (
        ({"peft_type": "LOHA"}, "adapter-kind"),
        ({"alpha_pattern": {"(a+)+": 5}}, "adapter-damaged"),
        ({"lora_alpha": float("inf")}, "adapter-damaged"),
        ({"init_lora_weights": "pissa"}, "adapter-damaged"),
        ([], "not-a-record"),
    ):
        file.write_text(json.dumps({**settings, **change} if change else change))
        with refused(code):
            read_adapter(adapter_file(tmp_path / "theirs"))
    file.write_text(json.dumps(settings))
    before = Sampler(str(tiny_base), str(tmp_path / "theirs")).identity
    file.write_text(json.dumps({**settings, "lora_alpha": 4}))
    assert Sampler(str(tiny_base), str(tmp_path / "theirs")).identity != before


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_dora_on_some_layers_is_loaded_and_not_written_for_diffusers(part, pipe, tmp_path):
    own = layers(f"{part}.")
    name = next(name for name in own if "to_q" in name or "fc1" in name)
    magnitude = torch.rand(len(own[name].up)) + 1
    tensors = kohya(only=f"{part}.")
    tensors[f"{kohya_name(name)}.dora_scale"] = magnitude[:, None]
    save_file(tensors, tmp_path / "it.safetensors")
    adapter = read_adapter(tmp_path / "it.safetensors")
    with refused("adapter-kind"):
        write_adapter(adapter, tmp_path / "no.safetensors")
    load_adapter(pipe, tmp_path / "it.safetensors", "tiny", unet_digest(pipe.unet))
    short = name.partition(".")[2]
    model = getattr(pipe, part)
    modules = {key.removeprefix("text_model."): module for key, module in model.named_modules()}
    module = modules[short.removeprefix("text_model.")]
    before = module.get_base_layer().weight.detach().clone()
    module.merge()
    change = before + own[name].scaled_up @ own[name].down
    wanted = magnitude[:, None] * change / change.norm(dim=1, keepdim=True)
    assert torch.allclose(module.get_base_layer().weight, wanted, atol=1e-5)
    module.unmerge()
    module.get_base_layer().weight.data.copy_(before)
    pipe.unload_lora_weights()
    write_adapter(adapter, tmp_path / "yes.safetensors", "kohya")
    assert torch.equal(read_adapter(tmp_path / "yes.safetensors").layers[name].magnitude, magnitude)


def test_a_textual_inversion_within_is_ignored_and_named(tmp_path, caplog):
    tensors = kohya() | {"bundle_emb.x.string_to_param.*": torch.zeros(2, 768)}
    save_file(tensors, tmp_path / "it.safetensors")
    with caplog.at_level(logging.WARNING):
        assert set(read_adapter(tmp_path / "it.safetensors").layers) == set(SIZES)
    assert "textual inversion" in caplog.text


def test_linear_and_1_x_1_layers_are_added_up(tmp_path):
    for name, change in (("a", pointwise), ("b", lambda x: flat(x) if x.ndim else x)):
        save_file(kohya(change=change), tmp_path / name)
    both, _ = blend([read_adapter(tmp_path / name) for name in "ab"], [0.5, 0.5])
    check_equal(added(both.layers), added(layers()))
