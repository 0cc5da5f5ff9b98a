"""How many samples fit in one forward pass?  Found by trial, and reduced when memory runs out.

The samples of a step stay the same; a smaller micro-batch only means more passes.
"""

import logging
import math

import torch

from tvhelpers.config import OPTIMIZERS, TrainConfig
from tvhelpers.errors import InputError
from tvhelpers.runtime import peak_memory, reset_peak_memory
from tvhelpers.train.evaluation import losses_alone, trial_items

log = logging.getLogger(__name__)
SPARE = 0.95  # usable share of the memory: predictions are never exact
GB = 2**30


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that there is not enough memory, on a GPU or a CPU."""
    # the last one: of memory of the host for a GPU, or of code that is loaded late
    words = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(word in str(error) for word in words)


def memory_limit(memory_gb: float, device: str) -> float | None:
    """Return the bytes that training may use: the given limit, or else what is free on the GPU now;
    None if there is no limit."""
    if memory_gb:
        return memory_gb * GB
    if device == "cpu":
        return None
    free, _ = torch.cuda.mem_get_info()
    return SPARE * (free + torch.cuda.memory_reserved())


def check_weights(unet: torch.nn.Module, config: TrainConfig, limit: float | None) -> None:
    """Raise InputError if the weights of a UNet that is trained whole, with their gradients and the
    optimizer's state, take more than `limit` bytes: before images are encoded, which takes long."""
    copies = 4 + 4 + 4 * bool(config.ema_decay) + OPTIMIZERS[config.optimizer].state_bytes
    needed = copies * sum(weight.numel() for weight in unet.parameters())
    if config.method != "lora" and limit is not None and needed > limit:
        raise InputError(
            "no-memory.weights", method=config.method, needed=needed / GB, limit=limit / GB
        )


def used_by_others() -> int:
    """Return the bytes of the GPU that are not of this training's tensors, 0 on a CPU: those of
    other programs, and some half GB that CUDA itself takes for this process."""
    if not torch.cuda.is_initialized():
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def choose_micro_batch(trainer, limit: float | None) -> float:
    """Halve the trainer's micro-batch until a trial forward and backward pass, with the optimizer's
    state, fits in `limit` bytes (None = in the memory of the machine); return the bytes predicted.

    Raises InputError if a single sample does not fit.
    """
    while True:
        reset_peak_memory(trainer.device)
        fits = trainer.try_micro_batch()
        predicted = (peak_memory(trainer.device) or 0) + optimizer_bytes(trainer)
        if not trainer.processes.any(not fits)[0]:
            predicted += evaluation_bytes(trainer)
            too_much = limit is not None and predicted > limit
            if not trainer.processes.any(too_much)[0]:
                break
            if too_much and trainer.micro_batch == 1 and used_by_others() <= GB:
                raise InputError("no-memory.limit", needed=predicted / GB, limit=limit / GB)
        trainer.micro_batch = smaller(trainer.micro_batch)
    what = f"{predicted / GB:.2f} GB predicted"
    what += f", {limit / GB:.2f} GB available" if limit is not None else ""
    if (others := used_by_others()) > GB:
        what += f"; {others / GB:.2f} GB of this GPU are not of this training's tensors"
    log.info(f"images per forward pass: {trainer.micro_batch} ({what})")
    return predicted


def optimizer_bytes(trainer) -> int:
    """Return the bytes that the optimizer's state will still need."""
    if trainer.update.optimizer.state:
        return 0
    bytes_each = OPTIMIZERS[trainer.config.optimizer].state_bytes
    return bytes_each * sum(weight.numel() for weight in trainer.model.weights)


def evaluation_bytes(trainer) -> float:
    """Return the bytes that an evaluation takes beside a captured step, which keeps its own; 0 if
    steps are not captured: then both use the same.  Infinite if there is no memory for it."""
    if trainer.replays is None:
        return 0
    before = torch.cuda.memory_reserved()
    reset_peak_memory(trainer.device)
    try:
        losses_alone(trainer, trial_items(trainer))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return math.inf
    finally:
        trainer.free_memory()
    return peak_memory(trainer.device) - before


def smaller(micro_batch: int) -> int:
    """Return the next smaller micro-batch; raises InputError after 1."""
    if micro_batch == 1 and (others := used_by_others()) > GB:
        raise InputError("no-memory.others", used=others / GB)
    if micro_batch == 1:
        raise InputError("no-memory")
    return micro_batch // 2
