"""How are adapters shown, scaled, blended, converted, or merged into a pipeline?"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from tvhelpers.errors import InputError
from tvhelpers.files import remove_temporary, writing_beside
from tvhelpers.lora.adapter import check_family, fuse_adapter, load_adapter
from tvhelpers.lora.find import tuned_text_encoder
from tvhelpers.lora.formats import (
    Adapter,
    Layer,
    about_family,
    family_of,
    read_adapter,
    write_adapter,
)
from tvhelpers.lora.layer_names import PARTS
from tvhelpers.models import base as bases
from tvhelpers.tensors import read_contents

DIGESTS = ("base_digest", "text_encoder_digest")  # of the base that an adapter was made for


def show(path: Path) -> dict:
    """Return an adapter's size and metadata, and how much it changes each block.

    "norm" is the root of the sum of squares of alpha / rank * up @ down over the block's layers.
    """
    adapter, metadata = read_adapter(path), read_contents(path).metadata
    blocks: dict[str, list[Layer]] = {}
    for name, layer in adapter.layers.items():
        block = re.match(r"unet\.(down|up)_blocks\.\d+|unet\.\w+|text_encoder\w*", name)[0]
        blocks.setdefault(block, []).append(layer)
    rows = [
        {
            "block": block,
            "layers": len(layers),
            "ranks": sorted({layer.rank for layer in layers}),
            "alphas": sorted({float(layer.alpha) for layer in layers}),
            "norm": sum(_core(layer)[1].square().sum().item() for layer in layers) ** 0.5,
        }
        for block, layers in blocks.items()
    ]
    return {
        "file": str(path),
        "kind": "DoRA" if adapter.is_dora else "LoRA",
        "layers": len(adapter.layers),
        "weights": sum(x.down.numel() + x.up.numel() for x in adapter.layers.values()),
        "about": adapter.about,
        "metadata": {key: metadata[key] for key in sorted(metadata) if key.startswith("ss_")},
        "blocks": rows,
    }


def blend(
    adapters: Sequence[Adapter], weights: Sequence[float], rank: int = 0
) -> tuple[Adapter, dict]:
    """Return (weighted sum of adapters, its relative error).

    The sum is exact: the low-rank matrices of a layer are concatenated.  `rank` > 0 limits the rank
    of each layer by a singular value decomposition (Eckart and Young 1936); the error is then a
    share of the norm, {"overall": ..., "worst_layer": ..., "worst": name of the layer}.  A single
    adapter is scaled.  Raises InputError for adapters of different bases, and for DoRA.
    """
    if len(adapters) != len(weights):
        raise InputError("count-differs", count=len(adapters), given=len(weights))
    if any(adapter.is_dora for adapter in adapters):
        raise InputError("adapter-kind.dora-sum")
    about, layers = _blended_about(adapters, weights), {}
    for adapter, weight in zip(adapters, weights, strict=True):
        for name, layer in adapter.layers.items():
            scaled = layer._replace(up=layer.up * weight)
            layers[name] = _concatenated(name, layers[name], scaled) if name in layers else scaled
    full = {name: layers[name] for name in sorted(layers)}
    if not rank:
        return Adapter(full, about), {"overall": 0.0, "worst_layer": 0.0, "worst": ""}
    reduced = {name: _reduced(layer, rank) for name, layer in full.items()}
    about |= {"rank": rank, "alpha": rank}
    return Adapter({name: row[0] for name, row in reduced.items()}, about), _errors(reduced)


def _concatenated(name: str, first: Layer, second: Layer) -> Layer:
    """Return the sum of two layers; its rank is the sum of their ranks."""
    fitted = second.shaped(torch.Size((len(first.up), *first.down.shape[1:])))
    if fitted is None:
        raise InputError("another-base.sizes", name=name)
    down = torch.cat([first.down, fitted.down])
    return Layer(down, torch.cat([first.scaled_up, fitted.scaled_up], 1), float(len(down)))


def _blended_about(adapters: Sequence[Adapter], weights: Sequence[float]) -> dict:
    """Return the metadata of a blend.

    Raises InputError for adapters of different families, bases or noise schedules.
    """
    families = {family_of(adapter.about) for adapter in adapters} - {""}
    if len(families) > 1:
        raise InputError("another-base.families", names=sorted(families))
    known = [adapter.about for adapter in adapters if "base_digest" in adapter.about]
    made_for = {tuple(x.get(key, "the base's") for key in DIGESTS): x.get("base") for x in known}
    if len(made_for) > 1:
        names = [
            f"{made_for[digests]} (UNet {digests[0]}, text encoder {digests[1]})"
            for digests in sorted(made_for)
        ]
        raise InputError("another-base.blend", names=names)
    schedules = [about.get("scheduler", {}) for about in known]
    if any(schedule != schedules[0] for schedule in schedules):
        raise InputError("another-schedule")
    licences = {}
    for about in known:
        for key, licence in about.get("licences", {}).items():
            licences[key] = "; ".join(dict.fromkeys([*licences.get(key, "").split("; "), licence]))
    first = known[0] if known else {}
    return {
        **{key: first[key] for key in ("base", *DIGESTS, "scheduler") if key in first},
        **next((about_family(x.family) for x in adapters if family_of(x.about)), {}),
        "licences": {key: text.removeprefix("; ") for key, text in licences.items()},
        "blend": [
            {"weight": weight, "adapter": adapter.about}
            for adapter, weight in zip(adapters, weights, strict=True)
        ],
    }


def _core(layer: Layer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return float64 (left, core, right); left @ core @ right.T is what the layer adds.

    The columns of left and right are orthonormal.
    """
    up = layer.scaled_up.flatten(1).double()
    down = layer.down.flatten(1).double()
    (left, upper), (right, lower) = torch.linalg.qr(up), torch.linalg.qr(down.T)
    return left, upper @ lower.T, right


def _reduced(layer: Layer, rank: int) -> tuple[Layer, float, float]:
    """Return (layer of at most `rank`, squared norm of the error, squared norm before)."""
    left, core, right = _core(layer)
    if layer.rank <= rank:
        return layer, 0.0, core.square().sum().item()
    u, values, v = torch.linalg.svd(core)
    kept = values[:rank].sqrt()  # fewer where a layer has fewer inputs or outputs
    shape = (len(kept), *layer.down.shape[1:])
    down = ((right @ v[: len(kept)].T) * kept).T.reshape(shape)
    up = ((left @ u[:, : len(kept)]) * kept).reshape(len(layer.up), len(kept), *layer.up.shape[2:])
    lost = values[rank:].square().sum().item()
    return Layer(down.float(), up.float(), float(len(kept))), lost, values.square().sum().item()


def _errors(reduced: dict[str, tuple[Layer, float, float]]) -> dict:
    shares = {name: (lost / max(all_, 1e-300)) ** 0.5 for name, (_, lost, all_) in reduced.items()}
    worst = max(shares, key=shares.get)
    lost, before = (sum(row[i] for row in reduced.values()) for i in (1, 2))
    overall = (lost / max(before, 1e-300)) ** 0.5
    return {"overall": overall, "worst_layer": shares[worst], "worst": worst}


def save_as(adapter: Adapter, out: Path, format: str = "diffusers", half: bool = False) -> None:
    """Write an adapter to a new file; raises InputError where the file exists."""
    _check_new(out)
    try:
        write_adapter(adapter, out, format, torch.float16 if half else torch.float32, once=True)
    except FileExistsError:  # made by another process meanwhile
        raise InputError("file-exists", path=out) from None


def _check_new(out: Path) -> None:
    if os.path.lexists(out):
        raise InputError("file-exists", path=out)
    remove_temporary(out.parent)


def merge(
    path: Path, base: bases.BaseLocation, out: Path, lora_scale: float = 1.0, half: bool = False
) -> None:
    """Write the base with an adapter merged into its weights, as a folder for stock diffusers.

    The weights are computed in fp32, and stored as fp32, or as fp16 with `half`.  Raises InputError
    for an adapter that does not fit, a folder that exists, and weights too large for fp16.
    """
    _check_new(out)
    adapter = read_adapter(path)
    about = adapter.about
    check_family(about, path, base)
    with writing_beside(out):
        _check_new(out)
        if "text_encoder_digest" in about:  # trained with a tuned CLIP beside it
            base = bases.with_text_encoder(base, tuned_text_encoder(path))
        pipe = bases.load_pipeline(base)
        load_adapter(pipe, path, base.name, bases.unet_digest(pipe.unet), adapter)
        fuse_adapter(pipe, lora_scale, once=True)
        pipe.unload_lora_weights()
        if half:
            _halve(pipe)
        scheduler = bases.load_part(base, "scheduler")
        scheduler = type(scheduler).from_config(scheduler.config, **about.get("scheduler", {}))
        bases.write_pipeline(pipe, base, out, scheduler, adapter=about, lora_scale=lora_scale)


def _halve(pipe) -> None:
    pipe.to(dtype=torch.float16)
    models = [getattr(pipe, part) for part in PARTS if hasattr(pipe, part)]
    for name, weight in (pair for model in models for pair in model.named_parameters()):
        if not weight.isfinite().all():
            raise InputError("not-finite.half", name=name)
