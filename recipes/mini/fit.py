"""How is one part of mini trained, so that it can be stopped and resumed?"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tvhelpers.progress import Interrupted, progress_bar, stop_requests
from tvhelpers.runtime import computes_bfloat16, seed_for
from tvhelpers.train.checkpoint import load_checkpoint, save_checkpoint
from tvhelpers.train.optim import rate_factor


@dataclass(frozen=True)
class FitConfig:
    """Settings of one part's training (AdamW, one-cycle learning rate)."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of the steps in which the learning rate rises
    autocast: bool = True  # compute in bfloat16 where it is safe and the device has it
    checkpoint_minutes: float = 2.0
    seed: int = 0
    device: str = "cpu"


def fit(
    model: nn.Module, loss_of: Callable, count: int, config: FitConfig, work_dir: Path
) -> nn.Module:
    """Minimise loss_of(model, indices int64 (batch_size,), generator, progress 0..1).

    The batch and the generator of a step depend only on (seed, step), so a training that was
    resumed has the same result as an uninterrupted one.  Checkpoints are written to `work_dir`.
    Raises Interrupted on Ctrl-C or SIGTERM, after a checkpoint.
    """
    model = model.to(config.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    parts = {"model": model, "optimizer": optimizer}
    done = _restore(parts, work_dir)
    saved = time.monotonic()
    bar = progress_bar(work_dir.name, config.steps, done=done, unit="steps")
    with bar, stop_requests() as stop:
        for step in range(done, config.steps):
            loss = _step(model, optimizer, loss_of, count, config, step)
            bar.update()
            due = time.monotonic() - saved > 60 * config.checkpoint_minutes
            if due or stop or step + 1 == config.steps:
                bar.set_postfix(loss=f"{loss.item():.4f}")
                state = {name: part.state_dict() for name, part in parts.items()}
                save_checkpoint(work_dir, step + 1, {"step": step + 1, **state}, keep=1)
                saved = time.monotonic()
            if stop and step + 1 < config.steps:
                said = f"{work_dir.name}: stopped at step {step + 1} of {config.steps}"
                raise Interrupted(said, {"to resume": ()})
    return model.eval()


def _step(model, optimizer, loss_of, count: int, config: FitConfig, step: int) -> torch.Tensor:
    """Train the model for one step and return its loss."""
    generator = torch.Generator().manual_seed(seed_for(config.seed, "fit", step))
    indices = torch.randint(count, (config.batch_size,), generator=generator)
    warmup_steps = round(config.warmup * config.steps)
    rate = config.learning_rate * rate_factor(step, config.steps, warmup_steps)
    optimizer.param_groups[0]["lr"] = rate
    autocast = config.autocast and computes_bfloat16(config.device)
    with torch.autocast(config.device, torch.bfloat16, enabled=autocast):
        loss = loss_of(model, indices.numpy(), generator, step / config.steps)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


def _restore(parts: dict, work_dir: Path) -> int:
    """Load the newest checkpoint into the parts and return the number of finished steps."""
    state = load_checkpoint(work_dir)
    for name, part in parts.items() if state else ():
        part.load_state_dict(state[name])
    return state["step"] if state else 0
