"""What are the losses on validation items and a training subset?  Noise is the same each time."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from tvhelpers.config import TrainConfig
from tvhelpers.runtime import seed_for
from tvhelpers.train.batches import Batches
from tvhelpers.train.latents import send

BATCH = 32
DRAWS = 64  # of noise, at least, where the loss chooses the adapter: one of an item says little
NUM_QUARTERS = 4  # of the timesteps; the loss of each is reported


def evaluate(trainer) -> dict:
    """Return the mean losses of the validation items, in all and by quarter of the timesteps (None
    for a quarter without items), and of the training subset; with keep=best also that of each
    validation item, by which two evaluations are compared."""
    items = repeated_items(trainer.config, trainer.data.validation_items)
    subset = repeated_items(trainer.config, training_subset(trainer))
    validation, training = (item_losses(trainer, x) for x in (items, subset))
    timesteps = trainer.batches.fixed_timesteps(items)
    quarters = timesteps * NUM_QUARTERS // len(trainer.alphas_cumprod)
    by_timestep = [validation[quarters == quarter] for quarter in range(NUM_QUARTERS)]
    row = {
        "validation_loss": validation.mean().item(),
        "training_slice_loss": training.mean().item(),
        "by_timestep": [part.mean().item() if len(part) else None for part in by_timestep],
    }
    if other := regularization_items(trainer):
        row["regularization_loss"] = item_losses(trainer, *other).mean().item()
    if trainer.config.keep == "best":
        count = len(trainer.data.validation_items)
        row["item_losses"] = validation.reshape(-1, count).mean(0).tolist()
    return row


def repeated_items(config: TrainConfig, items: np.ndarray) -> np.ndarray:
    """Return the items of an evaluation: each once, but with keep=best few of them several times,
    at least DRAWS in all."""
    return np.tile(items, math.ceil(DRAWS / max(len(items), 1)) if config.keep == "best" else 1)


def training_subset(trainer) -> np.ndarray:
    """Return as many training items as there are validation items, the same for all trainings."""
    rng = np.random.default_rng(seed_for(trainer.config.split_seed, "slice"))
    return rng.permutation(trainer.data.train_items)[: len(trainer.data.validation_items)]


def regularization_items(trainer) -> tuple[np.ndarray, Batches] | tuple[()]:
    """Return as many regularization images as there are validation items, or all if there are
    fewer, and their batches; () without any."""
    if not trainer.data.regularization:
        return ()
    count, most = trainer.data.regularization.num_items, len(trainer.data.validation_items)
    rng = np.random.default_rng(seed_for(trainer.config.split_seed, "slice"))
    return rng.permutation(count)[:most], trainer.samples.regularization


def item_losses(trainer, items: np.ndarray, batches: Batches | None = None) -> torch.Tensor:
    """Return the unweighted loss (n,) of each item, the j-th at the j-th fixed timestep and noise;
    each process computes its share.  `batches`: those of the items, if not the trainer's."""
    losses = torch.zeros(len(items), dtype=torch.float64, device=trainer.device)
    share = trainer.processes.part(len(items))
    own = slice(share.start, share.stop)
    losses[own] = losses_alone(trainer, items[own], share.start, batches)
    trainer.processes.all_reduce([losses])
    return losses.cpu()


@torch.no_grad()
def losses_alone(
    trainer, items: np.ndarray, first: int = 0, batches: Batches | None = None
) -> torch.Tensor:
    """Return the unweighted loss (n,) of each item, at the fixed timesteps and noise from the
    `first` on, still on the device; no other process is waited for.

    A batch is of up to four micro-batches, as nothing is kept for gradients.
    """
    losses = torch.zeros(len(items), dtype=torch.float64, device=trainer.device)
    size, batches = min(BATCH, 4 * trainer.micro_batch), batches or trainer.batches
    with trainer.model.with_ema():
        for places in passes(batches, items, size):
            batch = batches.fixed(items[places], first + places).to(trainer.device)
            seen = trainer.with_room(lambda batch=batch: trainer.losses(batch, plain=True))
            losses[send(torch.from_numpy(places), trainer.device)] = seen.double()
    return losses


def passes(batches: Batches, items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the places in `items` of each forward pass: at most `size`, of one bucket."""
    buckets = batches.data.cache.buckets.bucket[items]
    for bucket in np.unique(buckets):
        places = np.flatnonzero(buckets == bucket)
        yield from (places[i : i + size] for i in range(0, len(places), size))


def trial_items(trainer) -> np.ndarray:
    """Return the items of an evaluation's largest batch, on which its memory and time are measured:
    each process computes all of them."""
    items = repeated_items(trainer.config, trainer.data.validation_items)
    return items[max(passes(trainer.batches, items, BATCH), key=len)]
