"""How is an adapter's file read and written, in the format of diffusers or of kohya's scripts?

diffusers: unet.mid_block.attentions.0....attn2.to_q.lora_A.weight; read by diffusers and ComfyUI.
kohya:     lora_unet_mid_block_attentions_0_..._attn2_to_q.lora_down.weight, with an alpha for each
           layer; read by A1111, Forge, ComfyUI, kohya's scripts and, without DoRA, by diffusers.
"""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_path
from tvhelpers.lora.families import find_family
from tvhelpers.lora.layer_names import EMBEDDED, PARTS, find_layer, kohya_name
from tvhelpers.lora.metadata import is_alpha, own_metadata, peft_alpha, read_alphas
from tvhelpers.models.architecture import FAMILIES, Architecture
from tvhelpers.tensors import MAX_WEIGHTS, Contents, read_contents, read_tensors

log = logging.getLogger(__name__)

FORMATS = ("diffusers", "kohya")
# {kohya's name of the base's version, with the prediction type where it counts: modelspec's}
MODELSPEC = {
    "sd_v1": "stable-diffusion-v1/lora",
    "sd_v2": "stable-diffusion-v2-512/lora",
    "sd_v2 v": "stable-diffusion-v2-768-v/lora",
}
PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}


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

    def shaped(self, shape: torch.Size) -> "Layer | None":
        """Return the layer in the form for weights of `shape`, None if it does not fit.

        Some programs write a 1 x 1 convolution as a linear layer, or the other way round.
        """
        down, up = (self.rank, *shape[1:]), (shape[0], self.rank, *[1] * len(shape[2:]))
        is_point = self.down.shape[2:].numel() == 1 and shape[2:].numel() == 1
        fits = self.down.shape == down or (is_point and self.down.shape[1] == shape[1])
        if not fits or len(self.up) != shape[0]:
            return None
        return self._replace(down=self.down.reshape(down), up=self.up.reshape(up))


@dataclass
class Adapter:
    """Layers by module name ("unet....", "text_encoder.text_model....") and their metadata."""

    layers: dict[str, Layer]
    # our metadata; of one made elsewhere at most the family of bases, if its file tells that
    about: dict = field(default_factory=dict)

    @property
    def family(self) -> Architecture:
        """Return the family of bases that it is for; the first one if that is not known."""
        return next((own for own in FAMILIES if own.name == family_of(self.about)), FAMILIES[0])

    @property
    def is_dora(self) -> bool:
        """Return whether any layer is DoRA."""
        return any(layer.magnitude is not None for layer in self.layers.values())

    def most_common(self, key: str, part: str = ""):
        """Return the value of `key` ("rank", "alpha") that most layers of a part have."""
        layers = (layer for name, layer in self.layers.items() if name.startswith(part))
        return Counter(getattr(layer, key) for layer in layers).most_common(1)[0][0]


def family_of(about: dict) -> str:
    """Return the name of the family of bases that an adapter is for, by its metadata; "" where it
    is not known.  Adapters made here name each family but the first, as there was no other."""
    return about.get("family", FAMILIES[0].name if "base_digest" in about else "")


def about_family(family: Architecture) -> dict:
    """Return the metadata that name a family for `family_of`."""
    return {} if family is FAMILIES[0] else {"family": family.name}


def write_adapter(
    adapter: Adapter, path: Path, format: str = "diffusers", dtype: torch.dtype = torch.float32,
    once: bool = False,
) -> None:  # fmt: skip
    """Write an adapter in one of FORMATS; equal adapters write equal bytes.

    Raises InputError where a weight is too large for `dtype`, and for a DoRA on only some layers of
    a part, which diffusers' format cannot hold; with `once`, FileExistsError if the file exists.
    """
    from safetensors.torch import save

    tensors, metadata = (_to_kohya if format == "kohya" else _to_diffusers)(adapter)
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError("not-finite.written", name=name, kind=str(dtype))
    data = save(tensors)
    size = 8 + int.from_bytes(data[:8], "little")
    metadata |= {"format": "pt", "tvhelpers": json.dumps(adapter.about)}
    metadata |= _modelspec(adapter)
    metadata["sshs_model_hash"] = hashlib.sha256(data[size:]).hexdigest()  # as kohya's scripts do
    header = json.loads(data[8:size]) | {"__metadata__": metadata}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path, once) as aside:
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
        own = {name: x for name, x in adapter.layers.items() if name.startswith(f"{part}.")}
        short = (name.removeprefix(f"{part}.").removeprefix("text_model.") for name in own)
        ranks = dict(zip(short, (layer.rank for layer in own.values()), strict=True))
        is_dora = {layer.magnitude is not None for layer in own.values()}
        if len(is_dora) > 1:
            raise InputError("adapter-kind.partly-dora")
        if ranks:
            rank = adapter.most_common("rank", part)
            other = {name: own for name, own in ranks.items() if own != rank}
            lora = {"r": rank, "lora_alpha": rank, "target_modules": sorted(ranks)}
            lora |= {"rank_pattern": other, "alpha_pattern": other, "use_dora": True in is_dora}
            config |= {f"{part}.{key}": value for key, value in lora.items()}
    return tensors, {"lora_adapter_metadata": json.dumps(config)}


def _to_kohya(adapter: Adapter) -> tuple[dict, dict]:
    """Return (tensors, metadata) in kohya's format.

    All layers of a part get one alpha, and the up weights make up for it: diffusers ignores the
    alphas of single layers in this format.
    """
    tensors = {}
    for name, layer in adapter.layers.items():
        alpha = adapter.most_common("alpha", name.partition(".")[0])
        stem = kohya_name(name, adapter.family)
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
    version = _version(adapter)
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
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def _modelspec(adapter: Adapter) -> dict[str, str]:
    """Return what is known of an adapter under the keys of the Stability.AI model metadata
    standard, which A1111, ComfyUI and model sites show; no date."""
    about, side = adapter.about, adapter.about.get("resolution")
    version, predicts = _version(adapter), PREDICTIONS.get(about.get("prediction_type"))
    usual = MODELSPEC.get(f"{version} {predicts}", MODELSPEC.get(version))
    known = {
        "architecture": adapter.family.modelspec or usual,
        "title": about.get("title"),
        "resolution": side and f"{side}x{side}",
        "trigger_phrase": about.get("trigger_words"),
        "prediction_type": predicts,
        "license": "; ".join(sorted(set(about.get("licences", {}).values()))),
    }
    known = {f"modelspec.{key}": value for key, value in known.items() if value}
    return known and {"modelspec.sai_model_spec": "1.0.0", **known}


def _version(adapter: Adapter) -> str | None:
    """Return what kohya's scripts call the base's version, None where unknown; it depends on the
    width of the text states in cross-attention."""
    versions = adapter.family.text_widths
    if len(versions) == 1:
        return next(iter(versions.values()))
    layers = (layer for name, layer in adapter.layers.items() if name.endswith("attn2.to_k"))
    return next((versions.get(layer.down.shape[1]) for layer in layers), None)


def read_adapter(path: Path) -> Adapter:
    """Return the adapter of a file in fp32; the file may be in our formats or other programs'.

    Raises InputError for a file that is missing, damaged, empty or of another family of models, and
    for other kinds than LoRA, LoCon and DoRA.
    """
    contents = read_contents(path)
    about = _checked_about(contents)
    if not contents.shapes:
        raise InputError("adapter-damaged.empty", path=path)
    if "tvhelpers" in contents.metadata and not _hash_matches(path, contents.metadata):
        raise InputError("adapter-damaged.changed", path=path)
    places = _places(contents)
    tensors, settings = read_tensors(contents, list(places)), read_alphas(contents)
    layers: dict[str, dict] = {}
    for key, (name, kind) in places.items():
        layers.setdefault(name, {})[kind] = tensors[key]
    whole = {name: _layer(path, name, layers[name], settings) for name in sorted(layers)}
    if any(key.startswith(EMBEDDED) for key in contents.shapes):
        log.warning("%s also holds a textual inversion, which is ignored", in_words(Path(path)))
    return Adapter(whole, about)


def read_about(path: Path) -> dict:
    """Return our metadata ("base", "base_digest", ...), {} for an adapter made elsewhere.

    The weights are not read.  Raises InputError for a file that is missing or no adapter.
    """
    return _checked_about(read_contents(path))


def _checked_about(contents: Contents) -> dict:
    family, about = find_family(contents), own_metadata(contents)
    if family and "base_digest" not in about:
        about["family"] = family
    return about


def _hash_matches(path: Path, metadata: dict) -> bool:
    with open(path, "rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), 1)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return metadata.get("sshs_model_hash", digest) == digest


def _places(contents: Contents) -> dict[str, tuple[str, str]]:
    """Return {tensor's name: (layer, field)}; raises InputError for an unknown name, and for two
    tensors of one layer and field."""
    places: dict[str, tuple[str, str]] = {}
    for key in sorted(contents.shapes):
        if key.startswith(EMBEDDED):
            continue
        if (place := find_layer(key)) is None:
            raise InputError("adapter-kind.foreign-weight", path=contents.path, key=key)
        places[key] = place
    twice = [place for place, count in Counter(places.values()).items() if count > 1]
    if twice:
        raise InputError("adapter-damaged.twice", path=contents.path, name=".".join(twice[0]))
    return places


def _layer(path: Path, name: str, fields: dict, settings: dict) -> Layer:
    """Return one layer; raises InputError where tensors are missing or do not fit together."""
    down, up = _matrices(fields)
    if down is None:
        raise InputError("adapter-damaged.layer", path=path, name=name)
    rank, magnitude = len(down), fields.get("dora_scale", fields.get("magnitude"))
    if magnitude is not None:
        by_input = "dora_scale" in fields and magnitude.shape[:1] != up.shape[:1]
        if by_input or magnitude.numel() != len(up):
            raise InputError("adapter-kind.by-input", path=path, name=name)
        magnitude = magnitude.flatten()
    alphas = fields.get("alpha", torch.zeros(1)).flatten()[:2].tolist()
    if len(alphas) != 1 or not is_alpha(alphas[0]):
        raise InputError("adapter-damaged.alpha", path=path, name=name)
    # In kohya's scripts, an alpha of 0 means the rank.
    alpha = (alphas[0] or rank) if "alpha" in fields else peft_alpha(name, rank, settings)
    largest = down.abs().max() * up.abs().max() * abs(alpha)
    if not largest.isfinite():
        raise InputError("not-finite.tensors", path=path, key=name)
    return Layer(down, up, alpha, magnitude)


def _matrices(fields: dict) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
    """Return (down, up) of a layer, (None, None) if their shapes do not match."""
    down, up, mid = (fields.get(key) for key in ("down", "up", "mid"))
    if down is None or up is None or down.ndim not in (2, 4) or up.ndim not in (2, 4):
        return None, None
    if mid is not None:  # LyCORIS's Tucker decomposition: down by 1 x 1, mid by the kernel
        fit = mid.ndim == 4 and down.shape[2:].numel() == 1 and mid.shape[1] == len(down)
        if not fit or mid[:, 0].numel() * down.shape[1] > MAX_WEIGHTS:
            return None, None
        down = torch.einsum("rkhw,ki->rihw", mid, down.flatten(1))
    if len(down) != up.shape[1] or up.shape[2:].numel() != 1 or not down.numel() * up.numel():
        return None, None
    return down, up.reshape(*up.shape[:2], *[1] * (down.ndim - 2))
