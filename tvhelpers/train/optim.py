"""The optimizer of a training, by name."""

from __future__ import annotations

import torch

from tvhelpers.config import InputError

STATE_BYTES = {"adamw": 8, "adam": 8, "adamw8bit": 2}  # that an optimizer keeps of each weight


def make_optimizer(
    name: str, groups: list[dict], weight_decay: float, device: str
) -> torch.optim.Optimizer:
    """Return the optimizer `name` ("adamw", "adam", "adamw8bit") of the weights in `groups`.

    Raises InputError for 8-bit states where they cannot be had.
    """
    if name == "adamw8bit":
        return _eight_bit(device)(groups, weight_decay=weight_decay)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[name]
    # Fused: one kernel for all weights, 3 to 4 times as fast on a CPU too, and it asks no device
    # for a number.
    return kind(groups, weight_decay=weight_decay, fused=True)


def _eight_bit(device: str) -> type:
    if torch.device(device).type != "cuda":
        raise InputError(f"optimizer adamw8bit runs on a GPU, not on {device}; use adamw")
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise InputError(
            "optimizer adamw8bit needs bitsandbytes, which is not installed: "
            "pip install bitsandbytes, or use adamw"
        ) from None
    return AdamW8bit
