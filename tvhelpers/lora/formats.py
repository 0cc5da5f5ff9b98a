"""How is an adapter's file read and written, in the format of diffusers or of kohya's scripts?

diffusers: unet.mid_block.attentions.0....attn2.to_q.lora_A.weight; read by diffusers and ComfyUI.
kohya:     lora_unet_mid_block_attentions_0_..._attn2_to_q.lora_down.weight, with an alpha for each
           layer; read by A1111, Forge, ComfyUI, kohya's scripts and, without DoRA, by diffusers.
"""

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path
from tvhelpers.models.architecture import FAMILIES
from tvhelpers.records import upgraded

FORMATS = ("diffusers", "kohya")
KOHYA_PREFIXES = {
    prefix: part for family in FAMILIES for prefix, part in family.kohya_prefixes.items()
}
PARTS = tuple(dict.fromkeys(KOHYA_PREFIXES.values()))  # in which an adapter may have layers
# Parts of module names that have an underscore; kohya's names write the dots as underscores too.
UNDERSCORED = (
    "down_blocks", "up_blocks", "mid_block", "transformer_blocks", "to_q", "to_k", "to_v", "to_out",
    "proj_in", "proj_out", "conv_in", "conv_out", "conv_shortcut", "time_emb_proj",
    "time_embedding", "linear_1", "linear_2", "text_model", "self_attn", "q_proj", "k_proj",
    "v_proj", "out_proj",
)  # fmt: skip
KINDS = {  # {end of a tensor's name: field of Layer}
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".alpha": "alpha",
    ".dora_scale": "dora_scale",
}
# {width of the text states: what kohya's scripts call the base's version}
TEXT_WIDTHS = {width: name for family in FAMILIES for width, name in family.text_widths.items()}
XL_KEYS = ("lora_te2_", "lora_unet_input_", "text_encoder_2.")
XL_TEXT_WIDTH = 2048


class Layer(NamedTuple):
    """What an adapter adds to one layer: alpha / rank * up @ down; for DoRA, magnitudes too.

    down (rank, in) or (rank, in, height, width); up (out, rank) or (out, rank, 1, 1); fp32.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float
    magnitude: torch.Tensor | None = None  # (out,), DoRA's (Liu et al. 2024)

    @property
    def rank(self) -> int:
        """Return the rank."""
        return len(self.down)

    @property
    def scaled_up(self) -> torch.Tensor:
        """Return `up` times alpha / rank."""
        return self.up * (self.alpha / self.rank)


@dataclass
class Adapter:
    """Layers by module name ("unet....", "text_encoder.text_model....") and their metadata."""

    layers: dict[str, Layer]
    about: dict = field(default_factory=dict)  # our metadata; {} for one made elsewhere

    @property
    def is_dora(self) -> bool:
        """Return whether any layer is DoRA."""
        return any(layer.magnitude is not None for layer in self.layers.values())

    def most_common(self, key: str, part: str = ""):
        """Return the value of `key` ("rank", "alpha") that most layers of a part have."""
        layers = (layer for name, layer in self.layers.items() if name.startswith(part))
        return Counter(getattr(layer, key) for layer in layers).most_common(1)[0][0]


def write_adapter(
    adapter: Adapter, path: Path, format: str = "diffusers", dtype: torch.dtype = torch.float32
) -> None:
    """Write an adapter in one of FORMATS; equal adapters write equal bytes."""
    from safetensors.torch import save

    tensors, metadata = (_to_kohya if format == "kohya" else _to_diffusers)(adapter)
    data = save({name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()})
    size = 8 + int.from_bytes(data[:8], "little")
    metadata |= {"format": "pt", "tvhelpers": json.dumps(adapter.about)}
    metadata["sshs_model_hash"] = hashlib.sha256(data[size:]).hexdigest()  # as kohya's scripts do
    header = json.loads(data[8:size]) | {"__metadata__": metadata}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as aside:
        aside.write_bytes(len(text).to_bytes(8, "little") + text + data[size:])


def _to_diffusers(adapter: Adapter) -> tuple[dict, dict]:
    """Return (tensors, metadata) in diffusers' format.

    The up weights are multiplied by alpha / rank: not every program reads an alpha in this format.
    """
    tensors, config = {}, {}
    for name, layer in adapter.layers.items():
        tensors[f"{name}.lora_A.weight"] = layer.down
        tensors[f"{name}.lora_B.weight"] = layer.scaled_up
        if layer.magnitude is not None:  # in peft, a convolution's is (1, out, 1, 1)
            shape = (1, -1, 1, 1) if layer.down.ndim == 4 else (-1,)
            tensors[f"{name}.lora_magnitude_vector.weight"] = layer.magnitude.reshape(shape)
    for part in PARTS:
        ranks = {
            name.removeprefix(f"{part}.").removeprefix("text_model."): layer.rank
            for name, layer in adapter.layers.items()
            if name.startswith(f"{part}.")
        }
        if ranks:
            rank = adapter.most_common("rank", part)
            other = {name: own for name, own in ranks.items() if own != rank}
            lora = {"r": rank, "lora_alpha": rank, "target_modules": sorted(ranks)}
            lora |= {"rank_pattern": other, "alpha_pattern": other, "use_dora": adapter.is_dora}
            config |= {f"{part}.{key}": value for key, value in lora.items()}
    return tensors, {"lora_adapter_metadata": json.dumps(config)}


def _to_kohya(adapter: Adapter) -> tuple[dict, dict]:
    """Return (tensors, metadata) in kohya's format.

    All layers of a part get one alpha, and the up weights make up for it: diffusers ignores the
    alphas of single layers in this format.
    """
    tensors = {}
    for name, layer in adapter.layers.items():
        part, _, module = name.partition(".")
        alpha = adapter.most_common("alpha", part)
        prefix = next(prefix for prefix, own in KOHYA_PREFIXES.items() if own == part)
        stem = prefix + module.replace(".", "_")
        tensors[f"{stem}.lora_down.weight"] = layer.down
        tensors[f"{stem}.lora_up.weight"] = layer.up * (layer.alpha / alpha)
        tensors[f"{stem}.alpha"] = torch.tensor(float(alpha))
        if layer.magnitude is not None:
            shape = (-1, *[1] * (layer.down.ndim - 1))
            tensors[f"{stem}.dora_scale"] = layer.magnitude.reshape(shape)
    return tensors, _kohya_metadata(adapter)


def _kohya_metadata(adapter: Adapter) -> dict[str, str]:
    """Return the metadata that kohya's scripts write, as far as it is known; no date."""
    about, convs = adapter.about, [x for x in adapter.layers.values() if x.down.shape[2:] == (3, 3)]
    version = TEXT_WIDTHS.get(_text_width(adapter.layers))
    resolution, alpha = about.get("resolution"), float(adapter.most_common("alpha"))
    known = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": adapter.most_common("rank"),
        "ss_network_alpha": alpha,
        "ss_network_args": json.dumps({"conv_dim": convs[0].rank, "conv_alpha": alpha})
        if convs
        else None,
        "ss_base_model_version": version,
        "ss_v2": version and version == "sd_v2",
        "ss_sd_model_name": about.get("base"),
        "ss_steps": about.get("steps"),
        "ss_resolution": resolution and f"({resolution}, {resolution})",
        "modelspec.license": "; ".join(sorted(set(about.get("licences", {}).values()))) or None,
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def _text_width(layers: dict[str, Layer]) -> int | None:
    """Return the width of the text states in cross-attention, None where unknown."""
    widths = (x.down.shape[1] for name, x in layers.items() if name.endswith("attn2.to_k"))
    return next(widths, None)


def adapter_file(path: Path) -> Path:
    """Return the path of an adapter, given its file or the folder of its training.

    Raises InputError for the folder of a training that is not finished.
    """
    inside = path / "adapter.safetensors"
    if inside.is_file():
        return inside
    if (path / "config.json").is_file() and not (path / "result.json").exists():
        raise InputError("file-missing.unfinished", path=path)
    return path


def read_adapter(path: Path) -> Adapter:
    """Return the adapter of a file in either format, fp32.

    Raises InputError for a file that is missing, damaged or empty, for Stable Diffusion XL, and for
    other kinds than LoRA and DoRA.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    tensors = load_file(path)
    if not tensors:
        raise InputError("adapter-damaged.empty", path=path)
    if "tvhelpers" in metadata and not _hash_matches(path, metadata):
        raise InputError("adapter-damaged.changed", path=path)
    if any(key.startswith(XL_KEYS) for key in tensors):
        raise _xl_error(path)
    is_kohya = any(key.startswith(tuple(KOHYA_PREFIXES)) for key in tensors)
    if is_kohya:
        renamed = {_kohya_key(key): tensor for key, tensor in tensors.items()}
    else:
        renamed = _from_diffusers(tensors)
    layers: dict[str, dict] = {}
    for key, tensor in renamed.items():
        name, kind = _split(key)
        if not kind or name.partition(".")[0] not in PARTS:
            raise InputError("adapter-kind.foreign-weight", path=path, key=key)
        if not tensor.isfinite().all():
            raise InputError("not-finite.adapter", path=path, key=key)
        layers.setdefault(name, {})[kind] = tensor.float()
    alphas = {} if is_kohya else json.loads(metadata.get("lora_adapter_metadata", "{}"))
    whole = {name: _layer(path, name, layers[name], alphas) for name in sorted(layers)}
    if _text_width(whole) == XL_TEXT_WIDTH:
        raise _xl_error(path)
    return Adapter(whole, _about(metadata))


def read_about(path: Path) -> dict:
    """Return our metadata ("base", "base_digest", ...), {} for an adapter made elsewhere.

    The weights are not read.  Raises InputError for a file that is missing or not safetensors.
    """
    return _about(read_metadata(path))


def _about(metadata: dict[str, str]) -> dict:
    return upgraded(json.loads(metadata.get("tvhelpers", "{}")), "adapter")


def read_metadata(path: Path) -> dict[str, str]:
    """Return all metadata of an adapter's file.

    Raises InputError for a file that is missing or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError("file-missing.adapter", path=path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        for key in ("tvhelpers", "lora_adapter_metadata"):
            json.loads(metadata.get(key, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError("adapter-damaged.not-whole", path=path, error=error) from None
    return metadata


def _hash_matches(path: Path, metadata: dict) -> bool:
    with open(path, "rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), 1)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return metadata.get("sshs_model_hash", digest) == digest


def _xl_error(path: Path) -> InputError:
    return InputError("unknown-family.adapter", path=path)


def _split(key: str) -> tuple[str, str | None]:
    """Return (module, field of Layer) of a tensor's name; the field is None where it is unknown."""
    for end, kind in KINDS.items():
        if key.endswith(end):
            return key.removesuffix(end), kind
    return key, None


def _kohya_key(key: str) -> str:
    """Return a name of kohya's format with the module's name as torch has it; others unchanged."""
    stem, _, end = key.partition(".")
    for prefix, part in KOHYA_PREFIXES.items():
        if stem.startswith(prefix):
            module = stem.removeprefix(prefix).replace("_", ".")
            for word in UNDERSCORED:
                module = module.replace(word.replace("_", "."), word)
            return f"{part}.{module}.{end}"
    return key


def _from_diffusers(tensors: dict) -> dict:
    """Return the tensors with peft's names; older files of diffusers have other names."""
    from diffusers.utils.state_dict_utils import (
        DIFFUSERS_OLD_TO_PEFT,
        UNET_TO_DIFFUSERS,
        convert_state_dict,
    )

    text = {key: tensor for key, tensor in tensors.items() if key.startswith("text_encoder")}
    rest = {key: tensor for key, tensor in tensors.items() if key not in text}
    text = convert_state_dict(text, DIFFUSERS_OLD_TO_PEFT)
    text = {layer_name(*key.split(".", 1)): tensor for key, tensor in text.items()}
    return text | convert_state_dict(rest, UNET_TO_DIFFUSERS)


def layer_name(part: str, module: str) -> str:
    """Return the name of a part's layer.

    A text encoder's has the level `text_model`, which transformers 5.6 and later lack.
    """
    if part == "unet":
        return f"unet.{module}"
    return f"{part}.text_model.{module.removeprefix('text_model.')}"


def _layer(path: Path, name: str, fields: dict, config: dict) -> Layer:
    """Return one layer; raises InputError where tensors are missing or do not fit together."""
    down, up = fields.get("down"), fields.get("up")
    if down is None or up is None or down.ndim < 2 or up.ndim < 2 or len(down) != up.shape[1]:
        raise InputError("adapter-damaged.layer", path=path, name=name)
    rank, magnitude = len(down), fields.get("dora_scale", fields.get("magnitude"))
    by_input = "dora_scale" in fields and len(magnitude) != len(up)
    if magnitude is not None and (by_input or magnitude.numel() != len(up)):
        raise InputError("adapter-kind.by-input", path=path, name=name)
    if "alpha" in fields:
        alpha = fields["alpha"].item() or rank  # in kohya's scripts, 0 means the rank
    else:
        alpha = _peft_alpha(name, rank, config)
    return Layer(down, up, alpha, None if magnitude is None else magnitude.flatten())


def _peft_alpha(name: str, rank: int, config: dict) -> float:
    """Return a layer's alpha from peft's config, its rank where there is none."""
    from peft.utils.other import get_pattern_key

    part, _, module = name.partition(".")
    patterns = config.get(f"{part}.alpha_pattern") or {}
    alpha = patterns.get(get_pattern_key(patterns, module), config.get(f"{part}.lora_alpha", rank))
    return alpha * math.sqrt(rank) if config.get(f"{part}.use_rslora") else alpha
