"""What becomes of gradients?  Clipped, they move the weights, at the rate of the step."""

import importlib
import math

import torch

from tvhelpers.config import OPTIMIZERS, TrainConfig
from tvhelpers.errors import InputError


def make_optimizer(
    name: str, groups: list[dict], weight_decay: float, device: str
) -> torch.optim.Optimizer:
    """Return the optimizer `name` of OPTIMIZERS, of the weights in `groups`.

    Raises InputError where it cannot be had.
    """
    entry = OPTIMIZERS[name]
    if entry.only_on not in ("", torch.device(device).type):
        raise InputError("unfit-device", name=name, wanted=entry.only_on, device=device)
    package, _, kind = entry.made_by.rpartition(".")
    try:
        kind = getattr(importlib.import_module(package), kind)
    except ImportError:
        package = package.partition(".")[0]
        raise InputError("not-installed.optimizer", name=name, package=package) from None
    return kind(groups, weight_decay=weight_decay, **entry.options)


def num_steps(config: TrainConfig, num_items: int) -> int:
    """Return the optimizer steps: `steps`, or where epochs > 0 those that draw `epochs` times as
    many samples as there are items, each as it is or flipped."""
    samples = config.epochs * num_items
    return math.ceil(samples / (config.batch_size * config.accumulate)) if samples else config.steps


def rate_factor(step: int, steps: int, warmup_steps: int, schedule: str = "cosine") -> float:
    """Return the learning rate's factor 0..1 at a step: linear warm-up, then the schedule."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


class Update:
    """The optimizer of a model's weights, and the scaler of half-precision gradients."""

    def __init__(self, model, config: TrainConfig, num_steps: int):
        self.weights, self.config, self.num_steps = model.weights, config, num_steps
        self.optimizer = make_optimizer(
            config.optimizer, model.groups, config.weight_decay, model.device
        )
        self.scaler = torch.amp.GradScaler(model.device, enabled=model.dtype == torch.float16)

    def take(self, step: int, factor: float) -> dict[str, torch.Tensor]:
        """Move the weights by their gradients, at `factor` times the rate of `step`; return the
        gradient's norm before and after clipping, still on the device."""
        config = self.config
        factor *= rate_factor(step, self.num_steps, config.warmup_steps, config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * config.learning_rate * factor
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, config.max_grad_norm)
        grads = [weight.grad for weight in self.weights if weight.grad is not None]
        clipped = torch.nn.utils.get_total_norm(grads)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return {"grad_norm": norm, "grad_norm_clipped": clipped}

    def state(self) -> dict:
        """Return what a checkpoint holds of it."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def restore(self, state: dict) -> None:
        """Be what `state` holds, in the weights' order in memory, by which a fused kernel pairs
        them: a checkpoint may come from a training with other `channels_last`."""
        self.optimizer.load_state_dict(state["optimizer"])
        for weight, row in self.optimizer.state.items():
            for name, value in row.items():
                if torch.is_tensor(value) and value.shape == weight.shape:
                    row[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
        if state["scaler"]:  # empty where nothing was scaled
            self.scaler.load_state_dict(state["scaler"])
