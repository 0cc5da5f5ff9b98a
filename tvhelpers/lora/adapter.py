"""How is LoRA added to a model, saved, checked in a stock pipeline, and loaded for drawing?"""

import warnings
from pathlib import Path

import torch

from tvhelpers import manifest
from tvhelpers.errors import InputError
from tvhelpers.lora.formats import Adapter, Layer, family_of, read_adapter, write_adapter
from tvhelpers.lora.layer_names import PARTS, layer_name
from tvhelpers.models.base import BaseLocation
from tvhelpers.runtime import seed_for

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # the projections of self- and cross-attention
FEED_FORWARD = ["ff.net.0.proj", "ff.net.2"]  # of the transformer blocks
CONVOLUTIONS = ["conv1", "conv2", "time_emb_proj"]  # of the residual blocks
TARGETS = {
    "attention": ATTENTION,
    "attention+ff": ATTENTION + FEED_FORWARD,
    "attention+ff+conv": ATTENTION + FEED_FORWARD + CONVOLUTIONS,
}
TEXT_ENCODER = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]  # all of CLIP's layers


def add_lora(
    model, rank: int, alpha: int, seed: int, targets: str = "attention", use_dora: bool = False
) -> list[torch.nn.Parameter]:
    """Freeze a model, add fp32 LoRA weights to its `targets`, and return them in a fixed order.

    The model is a UNet, and `targets` a key of TARGETS; or a text encoder, and "text encoder".
    """
    from peft import LoraConfig

    layers = TEXT_ENCODER if targets == "text encoder" else TARGETS[targets]
    model.requires_grad_(False)
    torch.manual_seed(seed_for(seed, "lora"))  # peft draws the A matrices from the global generator
    config = {"r": rank, "lora_alpha": alpha, "target_modules": layers, "use_dora": use_dora}
    model.add_adapter(LoraConfig(init_lora_weights="gaussian", **config))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()  # half precision would lose most of the small updates
    return weights


def save_adapter(models: dict[str, torch.nn.Module], path: Path, about: dict) -> None:
    """Write the LoRA or DoRA of `models`: {"unet": ..., "text_encoder": ...}, or some of them.

    Writes `path` in the format of diffusers, for a pipeline's `load_lora_weights`, and
    <stem>_kohya.safetensors beside it in that of kohya's scripts.  `about` goes into the metadata:
    what the adapter was made for, "base" and "base_digest" at least, and `about_family`.  It has no
    date, path or name of a run, so that equal trainings write equal bytes.
    """
    adapter = Adapter(trained_layers(models), about)
    write_adapter(adapter, path, "diffusers")
    write_adapter(adapter, kohya_path(path), "kohya")


def kohya_path(path: Path) -> Path:
    """Return the path of the kohya file beside the adapter `path`."""
    return path.with_name(f"{path.stem}_kohya.safetensors")


def trained_layers(models: dict[str, torch.nn.Module]) -> dict[str, Layer]:
    """Return {name: LoRA or DoRA layer} of {"unet": ..., "text_encoder": ...}, fp32, on the CPU."""
    return {name: _weights(layer) for name, layer in _lora_layers(models)}


def _lora_layers(models: dict[str, torch.nn.Module]) -> list[tuple[str, torch.nn.Module]]:
    """Return (name, peft's layer) of each layer that has LoRA, sorted by name."""
    from peft.tuners.lora import LoraLayer

    found = {}
    for part, model in models.items():
        for module, layer in model.named_modules():
            if isinstance(layer, LoraLayer):
                found[layer_name(part, module)] = layer
    return sorted(found.items())


def _weights(layer) -> Layer:
    key = layer.active_adapters[0]
    down, up = layer.lora_A[key].weight, layer.lora_B[key].weight
    rows = layer.lora_magnitude_vector[key].weight if key in layer.lora_magnitude_vector else None
    down, up, rows = (x if x is None else x.detach().float().cpu() for x in (down, up, rows))
    alpha = layer.scaling[key] * layer.r[key]
    return Layer(down, up, alpha, None if rows is None else rows.flatten())


def load_layers(models: dict[str, torch.nn.Module], adapter: Adapter) -> None:
    """Copy an adapter that was saved from `models` back into their LoRA layers."""
    for name, layer in _lora_layers(models):
        own, key = adapter.layers[name], layer.active_adapters[0]
        layer.lora_A[key].weight.data.copy_(own.down)
        layer.lora_B[key].weight.data.copy_(own.scaled_up / layer.scaling[key])
        if own.magnitude is not None:
            rows = layer.lora_magnitude_vector[key].weight.data
            rows.copy_(own.magnitude.reshape(rows.shape))


def check_adapter(models: dict[str, torch.nn.Module], path: Path, base: BaseLocation) -> None:
    """Check that stock diffusers reads both files of `save_adapter` as they were trained.

    A fresh pipeline with empty networks loads each file by `load_lora_weights`; the weights of all
    its LoRA layers may differ from those of `models` by 1e-5 of the largest.  The base is not
    loaded, as there may be no memory for it beside the training.  Raises InputError where they
    differ by more.
    """
    trained, pipe = trained_layers(models), _empty_pipeline(models, base)
    for file in (path, kohya_path(path)):
        _load_with_diffusers(pipe, file)
        _check_equal(file, trained_layers({part: getattr(pipe, part) for part in models}), trained)
        pipe.unload_lora_weights()


def _empty_pipeline(models: dict[str, torch.nn.Module], base: BaseLocation):
    """Return a pipeline of diffusers with new networks like `models`, and no other parts.

    Their weights are not initialised, and take no memory before something writes to them.
    """
    from diffusers import ModelMixin

    with torch.device("meta"):
        new = {
            part: type(model).from_config(model.config)
            if isinstance(model, ModelMixin)
            else type(model)(model.config)
            for part, model in models.items()
        }
    parts = dict.fromkeys(base.architecture.parts) | {
        k: x.to_empty(device="cpu") for k, x in new.items()
    }
    return base.architecture.build_pipeline(parts, base.index)


def _load_with_diffusers(pipe, file: Path) -> None:
    """Load an adapter by stock diffusers, or by our reader where that cannot read the file."""
    adapter = read_adapter(file)
    if not (file.stem.endswith("_kohya") and adapter.is_dora):  # ignored by diffusers
        try:
            pipe.load_lora_weights(str(file.parent), weight_name=file.name)
            return
        except IndexError:  # diffusers 0.39 looks for a text encoder's layers under older names
            pipe.unload_lora_weights()
    _attach_all(pipe, adapter, file, "a folder")


def _check_equal(file: Path, seen: dict[str, Layer], wanted: dict[str, Layer]) -> None:
    """Raise InputError unless the layers that were read from a file are the wanted ones."""
    for name in {**wanted, **seen}:
        one, other = (_numbers(layers.get(name)) for layers in (seen, wanted))
        allowed = 1e-5 * other.abs().max()
        if one.shape != other.shape or not (one - other).abs().max() <= allowed:
            difference = (one - other).abs().max() if one.shape == other.shape else float("inf")
            raise InputError("adapter-differs", file=file, difference=difference, allowed=allowed)


def _numbers(layer: Layer | None) -> torch.Tensor:
    """Return all weights of a layer in one row; a zero without a layer."""
    factors = (layer.down, layer.scaled_up, layer.magnitude) if layer else (torch.zeros(1),)
    return torch.cat([factor.flatten() for factor in factors if factor is not None])


def check_family(about: dict, path: Path, base: BaseLocation) -> None:
    """Raise InputError if an adapter is for another family of bases, by its metadata `about`."""
    family, needed = family_of(about), base.architecture.name
    if family not in ("", needed):
        raise InputError(
            "another-base.family", path=path, made_for=family, base=base.name, family=needed
        )


def load_adapter(
    pipe, path: Path, base_name: str, digest: str, adapter: Adapter | None = None
) -> None:
    """Load an adapter in any format into a pipeline whose UNet has `digest` (`unet_digest`).

    `adapter`: the result of `read_adapter(path)`, if it was read before.  Raises InputError for an
    adapter of another base, and for one that is damaged or does not fit.
    """
    adapter = adapter or read_adapter(path)
    made_for = adapter.about
    if (own := made_for.get("base_digest", digest)) != digest:
        name, tag = made_for.get("base", ""), manifest.former_tag(own)
        if tag:
            raise InputError("another-base.former", path=path, made_for=name, tag=tag)
        raise InputError(
            "another-base.adapter",
            path=path,
            made_for=name,
            made_for_digest=own,
            base=base_name,
            digest=digest,
        )
    # diffusers' readers are not used: they fail on some sets of layers, and would use names and
    # settings of the file as regular expressions.
    _attach_all(pipe, adapter, path, base_name)
    if changes := made_for.get("scheduler"):  # use the scheduler that it was trained with
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **changes)


def _attach_all(pipe, adapter: Adapter, path: Path, base_name: str) -> None:
    """Attach the layers of an adapter to the networks of a pipeline."""
    for part, layers in _fitted(pipe, adapter, path, base_name).items():
        _attach(getattr(pipe, part), layers)


def _fitted(pipe, adapter: Adapter, path: Path, base_name: str) -> dict[str, dict[str, Layer]]:
    """Return {part: {module's name in the pipeline: layer in that module's shape}}."""
    modules = {
        layer_name(part, name): (part, name, module)
        for part in PARTS
        if getattr(pipe, part, None) is not None
        for name, module in getattr(pipe, part).named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    if missing := sorted(set(adapter.layers) - set(modules)):
        raise InputError(
            "adapter-unfit.layers", path=path, count=len(missing), base=base_name, first=missing[0]
        )
    fitted: dict[str, dict[str, Layer]] = {}
    for name, layer in adapter.layers.items():
        part, module_name, module = modules[name]
        if (own := layer.shaped(module.weight.shape)) is None:
            raise InputError("adapter-unfit.sizes", path=path, base=base_name, name=name)
        fitted.setdefault(part, {})[module_name] = own
    return fitted


def _attach(model: torch.nn.Module, layers: dict[str, Layer]) -> None:
    """Attach layers of `_fitted` to a model, those of each rank as one adapter of peft."""
    from peft import LoraConfig

    kinds: dict[tuple[int, bool], list[str]] = {}
    for name, layer in layers.items():
        kinds.setdefault((layer.rank, layer.magnitude is not None), []).append(name)
    keys = []
    for (rank, use_dora), names in kinds.items():
        keys.append(f"rank_{rank}_dora" if use_dora else f"rank_{rank}")
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=names, use_dora=use_dora)
        with warnings.catch_warnings():  # peft warns of more than one
            warnings.simplefilter("ignore")
            model.add_adapter(config, keys[-1])
        for name in names:
            module, layer = model.get_submodule(name), layers[name]
            module.lora_A[keys[-1]].weight.data.copy_(layer.down)
            module.lora_B[keys[-1]].weight.data.copy_(layer.scaled_up)
            if use_dora:
                rows = module.lora_magnitude_vector[keys[-1]].weight.data
                rows.copy_(layer.magnitude.reshape(rows.shape))
    model.set_adapter(keys)


def fuse_adapter(pipe, lora_scale: float, once: bool = False) -> None:
    """Add the loaded adapter's change, times `lora_scale`, to the weights of a float32 pipeline.

    Generating then costs what it costs without an adapter.  The model's own weights are kept,
    unless it is done `once`: an earlier LoRA scale leaves no trace.  Half of a DoRA is half of its
    change, as of a LoRA.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    models = [getattr(pipe, part) for part in PARTS if hasattr(pipe, part)]
    for layer in (layer for model in models for layer in model.modules()):
        if not isinstance(layer, BaseTunerLayer):
            continue
        weight = layer.get_base_layer().weight
        if layer.merged:
            weight.data.copy_(layer.plain_weight)
            layer.merged_adapters.clear()
        else:
            layer.plain_weight = weight.detach().clone()
        layer.merge()
        weight.data.lerp_(layer.plain_weight, 1 - lora_scale)
        if once:
            del layer.plain_weight
