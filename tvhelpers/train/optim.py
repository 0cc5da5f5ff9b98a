"""How do gradients change the weights?  Optimizers, learning-rate schedule, clipping, scaling."""

import importlib
import logging
import math

import torch

from tvhelpers.config import OPTIMIZERS, TrainConfig
from tvhelpers.errors import InputError

log = logging.getLogger(__name__)
LEAST_RATE = 0.1  # usual factor on the learning rate that an optimizer finds itself: 1


def make_optimizer(
    name: str, groups: list[dict], weight_decay: float, device: str
) -> torch.optim.Optimizer:
    """Return the optimizer `name` of OPTIMIZERS for the parameter `groups`.

    Raises InputError if its device or its package is missing.
    """
    entry = OPTIMIZERS[name]
    if entry.only_on not in ("", torch.device(device).type):
        raise InputError("unfit-device", name=name, needed=entry.only_on, device=device)
    package, _, kind = entry.made_by.rpartition(".")
    try:
        kind = getattr(importlib.import_module(package), kind)
    except ImportError:
        package = package.partition(".")[0]
        raise InputError("not-installed.optimizer", name=name, package=package) from None
    return kind(groups, weight_decay=weight_decay, **entry.options)


def _check_rates(groups: list[dict], config: TrainConfig) -> None:
    """Raise InputError for several learning rates where the optimizer takes one, and warn of one
    that is too low to learn anything."""
    if not OPTIMIZERS[config.optimizer].one_rate:
        return
    if len({group["rate"] for group in groups}) > 1:
        raise InputError("unfit-optimizer", name=config.optimizer)
    if config.learning_rate < LEAST_RATE:
        name, rate = config.optimizer, f"{config.learning_rate:g}"
        log.warning(f"{name} finds the learning rate itself: set learning_rate=1, not {rate}")


def num_steps(config: TrainConfig, num_items: int) -> int:
    """Return the number of optimizer steps: `steps`, or if epochs > 0 enough for `epochs` times as
    many samples as there are items (mirrored or not)."""
    samples = config.epochs * num_items
    return math.ceil(samples / config.items_per_step) if samples else config.steps


def rate_factor(step: int, steps: int, warmup_steps: int, schedule: str = "cosine") -> float:
    """Return the factor 0..1 on the learning rate at a step: linear warm-up, then the schedule."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


class Update:
    """The optimizer of a model's weights, and the gradient scaler for fp16."""

    def __init__(self, model, config: TrainConfig, num_steps: int):
        self.weights, self.config, self.num_steps = model.weights, config, num_steps
        _check_rates(model.groups, config)
        self.optimizer = make_optimizer(
            config.optimizer, model.groups, config.weight_decay, model.device
        )
        self.scaler = torch.amp.GradScaler(model.device, enabled=model.dtype == torch.float16)

    def take(self, step: int, factor: float) -> dict[str, torch.Tensor]:
        """Update the weights at `factor` times the learning rate of `step`; return the norm of the
        gradient before and after clipping, still on the device."""
        config = self.config
        factor *= rate_factor(step, self.num_steps, config.warmup_steps, config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * config.learning_rate * factor
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, config.max_grad_norm)
        clipped = self._clipped(norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return {"grad_norm": norm, "grad_norm_clipped": clipped}

    def _clipped(self, norm: torch.Tensor) -> torch.Tensor:
        """Return the norm of the gradient after clipping: on a CPU measured, as ever, and on a GPU
        computed, which reads no gradient again."""
        if not norm.is_cuda:
            grads = [weight.grad for weight in self.weights if weight.grad is not None]
            return torch.nn.utils.get_total_norm(grads)
        return norm * (self.config.max_grad_norm / (norm + 1e-6)).clamp(max=1)

    def state(self) -> dict:
        """Return the state for a checkpoint."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def restore(self, state: dict) -> None:
        """Load `state` in the memory format of the weights, which a fused kernel requires: the
        checkpoint may come from a training with another `channels_last`."""
        self.optimizer.load_state_dict(state["optimizer"])
        for weight, row in self.optimizer.state.items():
            for name, value in row.items():
                if torch.is_tensor(value) and value.shape == weight.shape:
                    row[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
        if state["scaler"]:  # empty if gradients were not scaled
            self.scaler.load_state_dict(state["scaler"])
