"""How good is what is trained by now?  Losses on held-out items, at noises that stay the same."""

import numpy as np
import torch

from tvhelpers.runtime import seed_for

BATCH = 32
NUM_QUARTERS = 4  # of the timesteps, whose losses are told apart


def evaluate(trainer) -> dict:
    """Return the mean fixed-noise losses of the held-out items, in all and by quarter of the
    timesteps (None where there is none), and of as many training items."""
    items = trainer.data.held_out
    held_out, training = (slice_losses(trainer, x) for x in (items, training_slice(trainer)))
    timesteps = trainer.batches.fixed(items, 0).timesteps
    quarters = timesteps * NUM_QUARTERS // len(trainer.alphas_cumprod)
    by_timestep = [held_out[quarters == quarter] for quarter in range(NUM_QUARTERS)]
    return {
        "held_out_loss": held_out.mean().item(),
        "training_slice_loss": training.mean().item(),
        "by_timestep": [part.mean().item() if len(part) else None for part in by_timestep],
    }


def held_out_loss(trainer) -> float:
    """Return the mean plain loss of the held-out items, each at a timestep and noise of its own for
    ever."""
    return slice_losses(trainer, trainer.data.held_out).mean().item()


def training_slice(trainer) -> np.ndarray:
    """Return as many training items as there are held-out ones, the same for all trainings."""
    rng = np.random.default_rng(seed_for(trainer.config.split_seed, "slice"))
    return rng.permutation(trainer.data.train_items)[: len(trainer.data.held_out)]


@torch.no_grad()
def slice_losses(trainer, items: np.ndarray) -> torch.Tensor:
    """Return the plain loss (n,) of each item, the j-th at the j-th fixed timestep and noise; each
    process computes its share, in parts that take less memory than a training step."""
    losses = torch.zeros(len(items), dtype=torch.float64, device=trainer.device)
    share, size = trainer.processes.part(len(items)), min(BATCH, 4 * trainer.micro_batch)
    with trainer.model.averaged():
        for start in range(share.start, share.stop, size):
            part = items[start : min(start + size, share.stop)]
            batch = trainer.batches.fixed(part, start).to(trainer.device)
            losses[start : start + len(part)] = trainer.losses(batch, min_snr_gamma=0.0).double()
    trainer.processes.add([losses])
    return losses.cpu()
