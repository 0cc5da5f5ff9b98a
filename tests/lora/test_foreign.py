"""What is no adapter for Stable Diffusion, or is damaged, is refused by name in every verb."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.helpers import refused
from tests.lora.helpers import BLOCK, RANK, kohya, peft
from tvhelpers import cli
from tvhelpers.lora.find import adapter_file
from tvhelpers.lora.formats import read_about, read_adapter
from tvhelpers.lora.layer_names import kohya_name
from tvhelpers.sample.sampler import Sampler
from tvhelpers.tensors import MAX_HEADER


def pair(stem, inputs=64, kind="lora_down lora_up"):
    down, up = kind.split()
    return {
        f"{stem}.{down}.weight": torch.zeros(4, inputs),
        f"{stem}.{up}.weight": torch.zeros(64, 4),
    }


def one(name, shape=(4, 4), **more):
    return {name: torch.zeros(shape, **more)}


FIRST = f"lora_unet_{BLOCK.replace('.', '_')}_attn1_to_q"
KIND, FAMILY, DAMAGED = "adapter-kind", "unknown-family", "adapter-damaged"
# {what it is: (tensors, words of the message)}
FOREIGN = {
    "FLUX, kohya": (pair("lora_unet_double_blocks_0_img_mod_lin"), "for FLUX,"),
    "FLUX": (
        pair("transformer.single_transformer_blocks.0.attn.to_q", kind="lora_A lora_B"),
        "FLUX or HunyuanVideo",
    ),
    "attention": (
        pair("transformer.transformer_blocks.0.attn.add_q_proj", kind="lora_A lora_B"),
        "FLUX, Stable Diffusion 3 or Qwen-Image",
    ),
    "AuraFlow": (
        pair("transformer.joint_transformer_blocks.0.attn.add_q_proj", kind="lora_A lora_B")
        | pair("transformer.single_transformer_blocks.0.attn.to_q", kind="lora_A lora_B"),
        "AuraFlow",
    ),
    "SD3": (pair("lora_unet_joint_blocks_0_context_block_attn_qkv"), "Diffusion 3"),
    "Wan": (pair("diffusion_model.blocks.0.cross_attn.k", kind="lora_A lora_B"), "Wan"),
    "Hunyuan": (
        pair("transformer.double_blocks.0.img_mod.linear", kind="lora_A lora_B"),
        "for HunyuanVideo",
    ),
    "Qwen-Image": (pair("transformer_blocks.0.img_mlp.net.2", kind="lora_A lora_B"), "Qwen"),
    "LTX": (pair("transformer.transformer_blocks.0.attn1.to_q", kind="lora_A lora_B"), "DiT"),
    "Llama": (
        pair("base_model.model.model.layers.0.self_attn.q_proj", kind="lora_A lora_B"),
        "language",
    ),
    "motion": (pair("down_blocks.0.motion_modules.0.proj_in", kind="lora_A lora_B"), "AnimateDiff"),
    "LoHa": (one(f"{FIRST}.hada_w1_a"), "LoHa"),
    "LoKr": (one(f"{FIRST}.lokr_w1"), "LoKr"),
    "OFT": (one(f"{FIRST}.oft_blocks"), "OFT"),
    "GLoRA": (one(f"{FIRST}.a1.weight") | one(f"{FIRST}.a2.weight"), "GLoRA"),
    "IA3": (one(f"{FIRST}.weight") | one(f"{FIRST}.on_input", ()), "IA3"),
    "differences": (pair(FIRST) | one(f"{FIRST}.diff_b", (4,)), "full weight differences"),
    "ControlNet-LoRA": (one("lora_controlnet", ()) | one("input_blocks.0.0.weight"), "ControlNet"),
    "checkpoint": (one("model.diffusion_model.out.0.weight"), "whole model"),
    "UNet": (one("down_blocks.0.resnets.0.conv1.weight"), "whole UNet"),
    "UNet, ComfyUI": (one("diffusion_model.input_blocks.0.0.weight"), "whole UNet"),
    "VAE": (one("decoder.mid_block.resnets.0.conv1.weight"), "VAE"),
    "textual inversion": (one("<dress>", (2, 768)), "textual inversion"),
    "A1111's embedding": (one("emb_params", (2, 768)), "textual inversion"),
    "IP-Adapter": (one("image_proj.proj.weight"), "IP-Adapter"),
    "another model": (pair("unet.some_new_block.to_q"), "not a LoRA weight"),
}


@pytest.fixture
def foreign(tmp_path):
    """A function that writes tensors and returns the path."""

    def write(tensors, metadata=None):
        save_file(tensors, tmp_path / "theirs.safetensors", metadata)
        return tmp_path / "theirs.safetensors"

    return write


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_lora_of_stable_diffusion_is_refused_by_its_name(what, foreign):
    tensors, words = FOREIGN[what]
    with refused(KIND, FAMILY) as seen:
        read_adapter(foreign(tensors))
    assert words in str(seen.value)


def test_the_family_in_the_metadata_counts_where_names_do_not_decide(foreign):
    tensors = kohya(lambda x: kohya_name(x).replace("te_", "te1_"), only="text")
    assert read_adapter(foreign(tensors, {"ss_base_model_version": "sd_v1"})).layers
    for key in ("ss_base_model_version", "modelspec.architecture"):
        for version in ("sdxl_base_v1-0", "sdxl_1.0", "stable-diffusion-xl-v1-base/lora"):
            seen = read_adapter(foreign(tensors, {key: version}))
            assert seen.family.name == "Stable Diffusion XL"


def verbs(file, base, out):
    """Return {verb: arguments} of all commands that take an adapter."""
    return {
        "show": ["adapter", "show", file],
        "convert": ["adapter", "convert", file, "--to", "kohya", "--out", out],
        "scale": ["adapter", "scale", file, "--by", 0.5, "--out", out],
        "blend": ["adapter", "blend", file, file, "--weights", "1,1", "--out", out],
        "merge": ["adapter", "merge", file, "--base", base, "--out", out],
        "generate": ["generate", "a", "--base", base, "--adapter", file, "--out", out],
    }


@pytest.mark.parametrize("verb", verbs("", "", ""))
def test_every_verb_refuses_what_is_foreign(verb, foreign, tiny_base, tmp_path, capsys):
    for what in ("FLUX, kohya", "SD3", "LoKr", "UNet", "textual inversion", "Wan"):
        file, out = foreign(FOREIGN[what][0]), tmp_path / "out"
        assert cli.main(list(map(str, verbs(file, tiny_base, out)[verb]))) == 2
        assert FOREIGN[what][1] in capsys.readouterr().err
        assert not out.exists()


def test_python_s_doors_refuse_what_is_foreign(foreign, tiny_base):
    file = foreign(FOREIGN["FLUX"][0])
    for door in (read_adapter, read_about, lambda path: Sampler(str(tiny_base), str(path))):
        with refused(FAMILY):
            door(file)


ODD = {  # {what is odd: (change of the tensors of one layer, code)}
    "alpha infinite": ({".alpha": torch.tensor(float("inf"))}, "not-finite"),
    "alpha not a number": ({".alpha": torch.tensor(float("nan"))}, "not-finite"),
    "alpha huge": ({".alpha": torch.tensor(1e30)}, DAMAGED),
    "two alphas": ({".alpha": torch.ones(2)}, DAMAGED),
    "no alpha in it": ({".alpha": torch.ones(0)}, DAMAGED),
    "no weights": ({".lora_down.weight": torch.ones(4, 0)}, DAMAGED),
    "no rank": (
        {".lora_down.weight": torch.ones(0, 64), ".lora_up.weight": torch.ones(64, 0)},
        DAMAGED,
    ),
    "unequal ranks": ({".lora_up.weight": torch.ones(64, 3)}, DAMAGED),
    "a vector": ({".lora_up.weight": torch.ones(64)}, DAMAGED),
    "a volume": ({".lora_up.weight": torch.ones(64, 4, 1)}, DAMAGED),
    "up by 3 x 3": ({".lora_up.weight": torch.ones(64, 4, 3, 3)}, DAMAGED),
    "whole numbers": ({".lora_up.weight": torch.ones(64, 4, dtype=torch.int8)}, "not-floats"),
    "complex": ({".lora_up.weight": torch.ones(64, 4, dtype=torch.complex64)}, "not-floats"),
    "too large": ({".lora_up.weight": torch.full((64, 4), 3e38)}, "not-finite"),
    "beyond fp32": ({".lora_up.weight": torch.eye(64).double()[:, :4] * 1e300}, "not-finite"),
    "another name": ({".lora_side.weight": torch.ones(4, 64)}, KIND),
    "a bias": ({".lora_up.bias": torch.ones(64)}, KIND),
    "DoRA of inputs": ({".dora_scale": torch.ones(1, 64)}, KIND),
    "escapes": ({"\x1b[31m\n.alpha": torch.ones(())}, KIND),
    "huge mid": ({".lora_mid.weight": torch.ones(4, 3, 3, 3)}, DAMAGED),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_a_layer_with_an_odd_tensor_is_refused(what, foreign):
    change, code = ODD[what]
    tensors = kohya() | {FIRST + end: tensor for end, tensor in change.items()}
    with refused(code) as seen:
        read_adapter(foreign(tensors))
    assert str(seen.value).isprintable() and len(str(seen.value)) <= 260


def test_a_layer_twice_is_refused_and_alpha_0_or_below_is_read(foreign):
    for again in (
        "lora_te1_text_model_encoder_layers_1_mlp_fc1.alpha",
        f"unet.{BLOCK}.attn1.to_q.alpha",
    ):
        with refused(DAMAGED):
            read_adapter(foreign(kohya() | {again: torch.ones(())}))
    two = peft(end=".default_0.weight") | peft(end=".default_1.weight")
    with refused(DAMAGED):
        read_adapter(foreign(two))
    for alpha, wanted in ((0, RANK), (-3, -3)):  # in kohya's scripts, 0 means the rank
        seen = read_adapter(foreign(kohya() | {f"{FIRST}.alpha": torch.tensor(float(alpha))}))
        assert seen.layers[f"unet.{BLOCK}.attn1.to_q"].alpha == wanted


OURS = {"base": "tiny", "scheduler": {"prediction_type": "v_prediction"}, "licences": {}}
DEEP = "[" * 5000
METADATA = {  # {what: (key, text)}
    "a list": ("tvhelpers", "[]"),
    "no JSON": ("tvhelpers", "{"),
    "deep": ("tvhelpers", '{"blend":' + DEEP),
    "deep blend": (
        "tvhelpers",
        '{"blend": [{"weight": 1, "adapter": ' * 40 + "{}" + "}]}" * 40,
    ),
    "huge": ("tvhelpers", json.dumps({"base": "x" * 2**21})),
    "base a list": ("tvhelpers", json.dumps({**OURS, "base": []})),
    "family": ("tvhelpers", json.dumps({**OURS, "family": "\x1b[31mXL"})),
    "steps a text": ("tvhelpers", json.dumps({**OURS, "steps": "many"})),
    "licences a list": ("tvhelpers", json.dumps({**OURS, "licences": ["x"]})),
    "scheduler": ("tvhelpers", json.dumps({"scheduler": {"num_train_timesteps": 3e8}})),
    "scheduler's value": ("tvhelpers", json.dumps({"scheduler": {"prediction_type": ["x"]}})),
    "scheduler a list": ("tvhelpers", json.dumps({"scheduler": [1]})),
    "blend a number": ("tvhelpers", json.dumps({"blend": 3})),
    "weight": ("tvhelpers", json.dumps({"blend": [{"weight": 1e999, "adapter": {}}]})),
    "peft a list": ("lora_adapter_metadata", "[1]"),
    "alpha a text": ("lora_adapter_metadata", json.dumps({"unet.lora_alpha": "8"})),
    "alpha infinite": ("lora_adapter_metadata", '{"unet.lora_alpha": Infinity}'),
    "alpha long": ("lora_adapter_metadata", '{"unet.lora_alpha": ' + "9" * 5000 + "}"),
    "patterns a list": ("lora_adapter_metadata", '{"unet.alpha_pattern": [1]}'),
    "expression": ("lora_adapter_metadata", '{"unet.alpha_pattern": {"((a|a)*)*b": 1}}'),
}  # fmt: skip


@pytest.mark.parametrize("what", METADATA)
def test_metadata_that_are_not_as_written_are_refused(what, foreign):
    key, text = METADATA[what]
    file = foreign(peft(), {key: text})
    for door in (read_adapter, read_about) if key == "tvhelpers" else (read_adapter,):
        with refused(DAMAGED, "not-json", "not-a-record", "wrong-type"):
            door(file)


def test_names_in_alpha_patterns_are_ends_and_unknown_metadata_are_ignored(foreign):
    patterns = {"attn1.to_q": 1, r"^mid_block\.resnets\.0\.conv1$": 2, "o_q": 9, "to.out.0": 9}
    settings = {
        "unet.lora_alpha": 5,
        "unet.alpha_pattern": patterns,
        "unet.target_modules": "(a+)+",
    }
    text = json.dumps({"base": "x", "new": {"a": [1]}, "steps": 3})
    file = foreign(peft(), {"lora_adapter_metadata": json.dumps(settings), "tvhelpers": text})
    adapter = read_adapter(file)
    alphas = {name: layer.alpha for name, layer in adapter.layers.items() if layer.alpha != 5}
    assert alphas.pop(f"unet.{BLOCK}.attn1.to_q") == 1
    assert alphas.pop("unet.mid_block.resnets.0.conv1") == 2
    assert set(alphas.values()) == {RANK} and adapter.about == {"base": "x", "steps": 3}


FILES = {  # {what: (bytes, word of the message)}
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "LFS"),
    "web page": (b"<!DOCTYPE html>\n<html>" + b" " * 99, "web page"),
    "JSON": (b'{"error": "Access denied"}' + b" " * 99, "JSON"),
    "pickle": (b"\x80\x02}q\x00." + b"x" * 99, "pickle"),
    "torch": (b"PK\x03\x04" + b"\0" * 22 + b"archive/data.pkl", "pickle"),
    "zip": (b"PK\x03\x04" + b"\0" * 99, "archive"),
    "GGUF": (b"GGUF\x03" + b"\0" * 99, "GGUF"),
    "text": (b"just some text that is no model\n", "safetensors"),
    "nothing": (b"", "safetensors"),
    "long header": ((MAX_HEADER + 1).to_bytes(8, "little") + b"{}", "safetensors"),
    "cut header": ((900).to_bytes(8, "little") + b"{}", "safetensors"),
    "deep header": ((100_001).to_bytes(8, "little") + b'{"a":' + b"[" * 99_996, "safetensors"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_another_kind_is_refused_by_its_name(what, tmp_path):
    content, word = FILES[what]
    (tmp_path / "it.safetensors").write_bytes(content)
    with refused("pickle", "not-safetensors", "not-whole") as seen:
        read_adapter(tmp_path / "it.safetensors")
    assert word in str(seen.value)


def test_folders_are_searched_for_one_adapter(foreign, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with refused("file-missing"):
        adapter_file(empty)
    file = foreign(kohya())
    assert adapter_file(tmp_path) == file
    (tmp_path / "other.safetensors").write_bytes(b"")
    with refused("ambiguous"):
        adapter_file(tmp_path)
    stock = tmp_path / "pytorch_lora_weights.safetensors"
    stock.write_bytes(file.read_bytes())
    assert adapter_file(tmp_path) == stock
    (empty / "model_index.json").write_text("{}")
    with refused(KIND):
        adapter_file(empty)
    for name in ("adapter_model.bin", "model.safetensors.index.json"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / name).write_text("{}")
        with refused(KIND, "pickle"):
            adapter_file(tmp_path / name / "in")
