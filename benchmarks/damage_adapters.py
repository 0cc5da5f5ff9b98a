"""How can an adapter's file be wrong?

Each mutation is mutate(folder, rng), and changes the adapter in the folder that `make_adapter`,
`make_dora` or `make_peft` filled; `read_all` reads it with every verb that needs no base.
"""

import json
import string

import numpy as np
import torch
from damage_arrays import BYTES, of_bytes
from safetensors.torch import load_file, save_file

from tvhelpers.lora.find import adapter_file
from tvhelpers.lora.formats import FORMATS, read_about, read_adapter
from tvhelpers.lora.merge import blend, save_as, show

LAYERS = {  # {layer: sizes of its weight}
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (64, 32),
    "unet.mid_block.attentions.0.proj_in": (64, 64, 1, 1),
    "unet.mid_block.resnets.0.conv1": (64, 64, 3, 3),
    "text_encoder.text_model.encoder.layers.0.mlp.fc1": (64, 32),
}
KOHYA = {"unet.": "lora_unet_", "text_encoder.": "lora_te_"}
ABOUT = {"base": "b", "base_digest": "0", "steps": 3, "rank": 4, "alpha": 4.0, "resolution": 64}
ABOUT |= {"scheduler": {"prediction_type": "v_prediction"}, "licences": {"base": "MIT"}}
ABOUT |= {"blend": [{"weight": 0.5, "adapter": {"base": "b"}}]}
SETTINGS = {"unet.r": 4, "unet.lora_alpha": 4, "unet.alpha_pattern": {"to_k": 2}}


# --------------------------------------------------------------------------------- sound adapters


def weights(ends, name=str, only=""):
    """Return {tensor's name: random weights} of LAYERS; `ends` of down and up."""
    noise, tensors = torch.Generator().manual_seed(0), {}
    for layer, (outputs, inputs, *kernel) in LAYERS.items():
        if only in layer:
            down, up = (4, inputs, *kernel), (outputs, 4, *[1] * len(kernel))
            for end, shape in zip(ends, (down, up), strict=True):
                tensors[name(layer) + end] = torch.randn(shape, generator=noise)
    return tensors


def kohya_name(layer):
    part, _, module = layer.partition(".")
    return KOHYA[f"{part}."] + module.replace(".", "_")


def make_adapter(folder):
    """Write an adapter under kohya's names, with an alpha for each layer."""
    tensors = weights((".lora_down.weight", ".lora_up.weight"), kohya_name)
    tensors |= {kohya_name(layer) + ".alpha": torch.tensor(2.0) for layer in LAYERS}
    save_file(tensors, folder / "a.safetensors", {"ss_network_dim": "4"})


def make_dora(folder):
    """Write a DoRA under diffusers' names, with all metadata that this package writes."""
    tensors = weights((".lora_A.weight", ".lora_B.weight"))
    rows = {name: len(tensors[f"{name}.lora_B.weight"]) for name in LAYERS}
    tensors |= {f"{name}.lora_magnitude_vector.weight": torch.ones(n) for name, n in rows.items()}
    about = {"tvhelpers": json.dumps(ABOUT), "lora_adapter_metadata": json.dumps(SETTINGS)}
    save_file(tensors, folder / "a.safetensors", about)


def make_peft(folder):
    """Write a folder of peft."""
    ends = (".lora_A.weight", ".lora_B.weight")
    tensors = weights(ends, lambda name: name.replace("unet.", "base_model.model."), "unet")
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {key.removeprefix("unet."): value for key, value in SETTINGS.items()}
    text = json.dumps({"peft_type": "LORA", "use_rslora": False, **settings})
    (folder / "adapter_config.json").write_text(text)


def read_all(folder, out, most):
    """Read the adapter, and hold that what is shown, blended and written is finite and equal."""
    path = adapter_file(folder)
    read_about(path)
    adapter = read_adapter(path)
    assert 1 <= len(adapter.layers) <= most, "no layers"
    shown = show(path)
    json.dumps(shown, allow_nan=False)
    assert len(shown["blocks"]) <= len(adapter.layers), "other blocks"
    for layer in adapter.layers.values():
        assert layer.scaled_up.isfinite().all() and layer.down.isfinite().all(), "not finite"
        assert layer.up.shape[1] == len(layer.down) == layer.rank > 0, "matrices do not fit"
        assert layer.down.dtype == layer.up.dtype == torch.float32, "not fp32"
    if not adapter.is_dora:
        blend([adapter, adapter], [0.5, -0.5], rank=2)
    for format in FORMATS:
        save_as(adapter, out / format, format)
        again = read_adapter(out / format)
        assert again.layers.keys() == adapter.layers.keys(), "other layers"
        assert again.about == adapter.about, "other metadata"


# -------------------------------------------------------------------------------------- mutations


def of_tensors(name, change):
    """Return a mutation of all tensors of a file: change(tensors, one of their names, rng)."""

    def mutate(folder, rng):
        path = next(folder.glob("*.safetensors"))
        tensors = load_file(path)
        change(tensors, sorted(tensors)[rng.integers(len(tensors))], rng)
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        save_file(tensors, path, header.get("__metadata__"))

    mutate.__name__ = name
    return mutate


def of_metadata(name, key, change):
    """Return a mutation of the JSON under a key of the metadata, or of peft's file of settings:
    change(value, rng) returns another value, or the text itself."""

    def mutate(folder, rng):
        beside, path = folder / "adapter_config.json", next(folder.glob("*.safetensors"))
        data = path.read_bytes()
        size = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:size])
        metadata = header.get("__metadata__", {})
        before = json.loads(beside.read_text() if beside.exists() else metadata.get(key, "{}"))
        after = change(before, rng)
        text = after if isinstance(after, str) else json.dumps(after)
        if beside.exists():
            beside.write_text(text)
            return
        header["__metadata__"] = {**metadata, key: text}
        write_header(path, header, data[size:])

    mutate.__name__ = f"{key}: {name}"
    return mutate


def of_header(name, change):
    """Return a mutation of a file's header: change(header, one of its tensors, rng)."""

    def mutate(folder, rng):
        path = next(folder.glob("*.safetensors"))
        data = path.read_bytes()
        size = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:size])
        names = sorted(header.keys() - {"__metadata__"})
        header = change(header, names[rng.integers(len(names))], rng) or header
        write_header(path, header, data[size:])

    mutate.__name__ = f"header: {name}"
    return mutate


def write_header(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def to_type(dtype):
    def change(tensors, name, rng):
        tensors[name] = tensors[name].to(dtype)

    return change


def to_value(value):
    def change(tensors, name, rng):
        tensors[name] = torch.full_like(tensors[name], value)

    return change


def to_shape(make):
    def change(tensors, name, rng):
        shape = tuple(max(0, int(size)) for size in make(list(tensors[name].shape), rng))
        tensors[name] = torch.ones(shape)

    return change


def to_name(make):
    def change(tensors, name, rng):
        tensors[make(name, rng)] = tensors.pop(name)

    return change


def twice(tensors, name, rng):
    other = name.replace("lora_te_", "lora_te1_").replace("unet.", "base_model.model.")
    tensors[f"module.{name}" if other == name else other] = tensors[name].clone()


def without(tensors, name, rng):
    del tensors[name]


def other_letter(name, rng):
    place, letters = rng.integers(len(name)), string.printable
    return name[:place] + letters[rng.integers(len(letters))] + name[place + 1 :]


def other_value(value, rng):
    """Return a JSON value in which one part, at any depth, is of another kind."""
    others = [None, True, -1, 1e308, "x", "\x1b[2J", [], {}, [[1]], {"a": 1}, 10**30, "9" * 3000]
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key, value = keys[rng.integers(len(keys))], value.copy()
        value[key] = other_value(value[key], rng)
        return value
    return others[rng.integers(len(others))]


DTYPES = "float64 float16 bfloat16 float8_e4m3fn float8_e5m2 int8 int64 bool complex64".split()
VALUES = (0, -1, 1e-30, 1e30, 3e38, float("inf"), float("nan"))
SHAPES = {
    "scalar": lambda shape, rng: [],
    "empty": lambda shape, rng: [0, *shape[1:]],
    "empty inputs": lambda shape, rng: [*shape[:1], 0],
    "flat": lambda shape, rng: [np.prod(shape)],
    "turned": lambda shape, rng: shape[::-1],
    "one more": lambda shape, rng: [size + (i == 0) for i, size in enumerate(shape or [1])],
    "one axis more": lambda shape, rng: [*shape, 1],
    "any": lambda shape, rng: rng.integers(0, 5, rng.integers(0, 6)),
}
NAMES = {
    "other letter": other_letter,
    "foreign block": lambda name, rng: name.replace("mid_block", "single_blocks_0"),
    "XL": lambda name, rng: name.replace("lora_te_", "lora_te2_").replace("s.0.att", "s.7.att"),
    "LoHa": lambda name, rng: name.rpartition(".lora")[0] + ".hada_w1_a",
    "long": lambda name, rng: name + ".x" * 5000,
    "empty": lambda name, rng: "",
    "escapes": lambda name, rng: "\x1b[31m\n" + name,
    "path": lambda name, rng: "../../" + name,
    "expression": lambda name, rng: f"({name}|a+)+$",
}
TENSORS = [
    *(of_tensors(f"as {kind}", to_type(getattr(torch, kind))) for kind in DTYPES),
    *(of_tensors(f"all {value}", to_value(value)) for value in VALUES),
    *(of_tensors(f"shape: {name}", to_shape(make)) for name, make in SHAPES.items()),
    *(of_tensors(f"name: {name}", to_name(make)) for name, make in NAMES.items()),
    of_tensors("twice", twice),
    of_tensors("without", without),
]
TEXTS = {
    "deep": "[" * 50_000,
    "deep object": '{"a":' * 900 + "1" + "}" * 900,
    "deep blend": '{"blend":[{"weight":1,"adapter":' * 90 + "{}" + "}]}" * 90,
    "half": '{"base": "b',
    "long": json.dumps({"base": "x" * 3_000_000}),
    "schedule": '{"scheduler": {"num_train_timesteps": 300000000}}',
    "expression": '{"unet.alpha_pattern": {"(a|a)*b": 1}, "alpha_pattern": {"(.*)*x": 1}}',
    "infinite": '{"alpha": Infinity, "lora_alpha": Infinity, "unet.lora_alpha": Infinity}',
    "no number": '{"alpha": NaN, "lora_alpha": NaN, "unet.lora_alpha": NaN}',
    "LoHa": '{"peft_type": "LOHA"}',
    "nothing": "",
}
METADATA = [
    of_metadata(name, key, change)
    for key in ("tvhelpers", "lora_adapter_metadata")
    for name, change in [
        *((name, lambda value, rng, text=text: text) for name, text in TEXTS.items()),
        *((f"other value {number}", other_value) for number in range(20)),
    ]
]


def of_field(field, value):
    def change(header, name, rng):
        header[name][field] = value

    return change


EMPTY, LARGE = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, {"a": "x" * 10_000_000}
HEADERS = [
    of_header("dtype F4", of_field("dtype", "F4")),
    of_header("dtype I64", of_field("dtype", "I64")),
    of_header("dtype unknown", of_field("dtype", "X")),
    of_header("shape huge", of_field("shape", [1 << 62, 1 << 62])),
    of_header("shape negative", of_field("shape", [-1, 4])),
    of_header("shape a text", of_field("shape", "4")),
    of_header("offsets back", of_field("data_offsets", [8, 0])),
    of_header("offsets far", of_field("data_offsets", [0, 1 << 60])),
    of_header("deep", lambda header, name, rng: b"[" * 100_000),
    of_header("a list", lambda header, name, rng: b"[]"),
    of_header("no UTF-8", lambda header, name, rng: b'{"\xff": 1}'),
    of_header("many", lambda header, name, rng: header | {f"n{i}": EMPTY for i in range(30_000)}),
    of_header("metadata a list", lambda header, name, rng: header | {"__metadata__": [1]}),
    of_header("metadata nested", lambda header, name, rng: header | {"__metadata__": {"a": {}}}),
    of_header("metadata large", lambda header, name, rng: header | {"__metadata__": LARGE}),
]  # fmt: skip
OTHERS = {
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "web page": b"<!DOCTYPE html><html></html>",
    "JSON": b'{"error": "Access denied"}',
    "pickle": b"\x80\x02}q\x00." * 9,
    "torch": b"PK\x03\x04" + b"\0" * 22 + b"archive/data.pkl" + b"\0" * 99,
    "GGUF": b"GGUF\x03" + b"\0" * 99,
    "zeros": b"\0" * 999,
    "nothing": b"",
}


def of_file(name, content):
    """Return a mutation that writes `content` in the place of the adapter."""

    def mutate(folder, rng):
        next(folder.glob("*.safetensors")).write_bytes(content)

    mutate.__name__ = f"file: {name}"
    return mutate


ADAPTERS = [
    *TENSORS,
    *METADATA,
    *HEADERS,
    *(of_file(*row) for row in OTHERS.items()),
    *(of_bytes(change, "*.safetensors") for change in BYTES),
]
