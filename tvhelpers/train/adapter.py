"""LoRA adapters: add to a UNet, save in the format of stock diffusers, check, load."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

import torch

from tvhelpers.config import InputError
from tvhelpers.runtime import atomic_path, seed_for

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # the projections of self- and cross-attention
FEED_FORWARD = ["ff.net.0.proj", "ff.net.2"]  # of the transformer blocks
CONVOLUTIONS = ["conv1", "conv2", "time_emb_proj"]  # of the residual blocks
TARGETS = {
    "attention": ATTENTION,
    "attention+ff": ATTENTION + FEED_FORWARD,
    "attention+ff+conv": ATTENTION + FEED_FORWARD + CONVOLUTIONS,
}
PLAIN_LORA = {"rank_pattern": {}, "alpha_pattern": {}, "use_dora": False}  # read by diffusers 0.39


def add_lora(
    unet, rank: int, alpha: int, seed: int, targets: str = "attention"
) -> list[torch.nn.Parameter]:
    """Freeze the UNet, add fp32 LoRA weights to its `targets`, and return them in a fixed order."""
    from peft import LoraConfig

    layers = TARGETS[targets]

    unet.requires_grad_(False)
    torch.manual_seed(seed_for(seed, "lora"))  # peft draws the A matrices from the global generator
    unet.add_adapter(
        LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=layers)
    )
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()  # half precision would lose most of the small updates
    return weights


def save_adapter(
    unet,
    path: Path,
    *,
    base_name: str,
    base_digest: str,
    rank: int,
    alpha: int,
    seen: dict,
    targets: str = "attention",
) -> None:
    """Write the UNet's LoRA weights so that `StableDiffusionPipeline.load_lora_weights` reads them.

    The metadata names the base, the rank, the targets and what was `seen` in training; it holds no
    date, path or run name, so equal trainings give equal bytes.
    """
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save

    weights = {
        f"unet.{key}": value.detach().cpu().contiguous()
        for key, value in get_peft_model_state_dict(unet).items()
    }
    about = {"base": base_name, "base_digest": base_digest, "rank": rank, "alpha": alpha}
    about |= {"targets": targets, **seen}
    lora = {"r": rank, "lora_alpha": alpha, "target_modules": TARGETS[targets], **PLAIN_LORA}
    lora = {f"unet.{key}": value for key, value in lora.items()}
    metadata = {
        "format": "pt",
        "tvhelpers": json.dumps(about),
        "lora_adapter_metadata": json.dumps(lora),
    }
    with atomic_path(path) as aside:
        aside.write_bytes(_with_sorted_header(save(weights, metadata)))


def _with_sorted_header(data: bytes) -> bytes:
    """Return safetensors bytes with their header's keys sorted: the library's order is random."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":"))
    header = header.encode() + b" " * (-len(header.encode()) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def read_adapter_metadata(path: Path) -> dict:
    """Return what `save_adapter` wrote about the adapter; {} for one made elsewhere.

    Raises InputError for a missing file and for one that is not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(
            f"adapter {path} does not exist; give a .safetensors file, 'shipped' or 'none'"
        )
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("tvhelpers", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"adapter {path} is not a whole safetensors file ({error})") from None


def load_adapter(pipe, path: Path, base_name: str, digest: str) -> None:
    """Load an adapter into a pipeline whose UNet has `digest` (`unet_digest`).

    Raises InputError if it was made for another base, and for one that is damaged or does not fit.
    """
    made_for = read_adapter_metadata(path)
    if made_for and made_for["base_digest"] != digest:
        raise InputError(
            f"adapter {path} was made for base {made_for['base']!r} "
            f"(UNet {made_for['base_digest']}), not for {base_name!r} (UNet {digest}); "
            "give the base that it was made for, or train an adapter for this one"
        )
    num_tensors = _check_finite(path)
    ends = tuple(f".{name}" for name in TARGETS[made_for.get("targets", "attention")])
    wanted = 2 * sum(name.endswith(ends) for name, _ in pipe.unet.named_modules())
    try:
        with _quiet_mismatches():
            pipe.load_lora_weights(str(Path(path).parent), weight_name=Path(path).name)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"adapter {path} does not fit base {base_name!r}: {reason}") from None
    models = (pipe.unet, pipe.text_encoder)
    loaded = sum("lora_" in name for model in models for name, _ in model.named_parameters())
    if not loaded or (made_for and not wanted == loaded == num_tensors):
        raise InputError(
            f"adapter {path} gives {num_tensors} weights, but base {base_name!r} takes {loaded} of "
            "such: the file is damaged, or made for another kind of model"
        )


def fold_adapter(model: torch.nn.Module, strength: float) -> None:
    """Add the loaded adapter, times `strength`, to the weights of a float32 model.

    Drawing then costs what it costs without an adapter.  The model's own weights are kept: what was
    folded before leaves no trace.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in model.modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        weight = layer.get_base_layer().weight
        if layer.merged:
            weight.data.copy_(layer.own_weight)
            layer.merged_adapters.clear()
        else:
            layer.own_weight = weight.detach().clone()
        layer.scale_layer(strength)
        layer.merge()
        layer.unscale_layer()


def _check_finite(path: Path) -> int:
    """Return the number of an adapter's tensors; raises InputError for NaN or infinity."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"adapter {path} holds NaN or infinity in {name}; train it anew")
    return len(tensors)


@contextlib.contextmanager
def _quiet_mismatches():
    """Keep diffusers from logging a line a tensor before it raises."""
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
