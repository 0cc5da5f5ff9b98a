"""How long will a training take, and which share of the GPU does a step use?"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from tvhelpers.runtime import on_colab
from tvhelpers.train.evaluation import (
    losses_alone,
    regularization_items,
    repeated_items,
    training_subset,
    trial_items,
)
from tvhelpers.train.memory import is_out_of_memory
from tvhelpers.words import counted

log = logging.getLogger(__name__)
MATRIX, PEAK_SECONDS = 8192, 0.3  # rows of the matrices that are multiplied, and for how long
TRIAL_PASSES = {"cpu": 1, "cuda": 3}  # of a micro-batch, to warm up and again to time them
LONG = 20  # minutes of a training that a session of Colab may not outlive
TRIAL_STEPS = 200  # of a training with so many steps, a trial takes at most a fiftieth
_warned: set[bool] = set()  # whether of sessions that end with a mirror, and of those without


@dataclass(frozen=True)
class Pace:
    """How many seconds a step and an evaluation of a training take, or at most."""

    step: float
    evaluation: float
    at_most: bool = False

    def minutes(self, step: int, num_steps: int, eval_steps: int) -> dict[str, float]:
        """Return the minutes from `step` to the end: of the steps, and of the evaluations that are
        still due."""
        evaluations = evaluations_left(step, num_steps, eval_steps)
        return {
            "steps": (num_steps - step) * self.step / 60,
            "evaluations": evaluations * self.evaluation / 60,
        }


def evaluations_left(step: int, num_steps: int, every: int) -> int:
    """Return how many evaluations are due from `step` on: one before the first step, one after each
    `every` steps (0: none), and one after the last step."""
    between = (num_steps - 1) // every - step // every if every else 0
    return (step == 0) + max(between, 0) + (step < num_steps)


def measure_pace(trainer) -> Pace:
    """Time forward and backward passes, and a batch of an evaluation; the state does not change."""
    share, few = trainer.processes.part(trainer.per_step), trial_items(trainer)
    parts = trainer.data.validation_items, training_subset(trainer)
    count = sum(len(repeated_items(trainer.config, items)) for items in parts)
    count += sum(map(len, regularization_items(trainer)[:1]))
    batches = count / len(few) / trainer.processes.count
    passes = TRIAL_PASSES[trainer.device]
    trainer.rehearse(passes)  # the first ones are slower: a GPU's step is captured there
    a_pass = _seconds(lambda: trainer.rehearse(passes), trainer.device) / passes
    # fp16's first scale of gradients is too high to capture a step; those that train are faster
    at_most = trainer.replays is not None and trainer.replays.on and not trainer.replays.graphs
    if trainer.device != "cpu":  # there the first batch is little slower, and takes long
        losses_alone(trainer, few)
    a_batch = _seconds(lambda: losses_alone(trainer, few), trainer.device)
    step = a_pass * len(share) / len(trainer.first_pass())
    return Pace(step, a_batch * batches, at_most)


def _seconds(work: Callable, device: str) -> float:
    """Return the seconds that work takes, with what it starts on the GPU."""
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def say_length(trainer) -> None:
    """Log what a training does, as `length_of`; and how long what is left of it will take, if it is
    resumed, or long enough for a trial."""
    ends = ""
    text = f"{length_of(trainer)}, {counted(len(trainer.data.validation_items), 'validation item')}"
    place = (trainer.step, trainer.num_steps, trainer.config.eval_steps)
    many = trainer.device != "cpu" or trainer.num_steps >= TRIAL_STEPS
    if trainer.step < trainer.num_steps and (many or trainer.step):
        pace = measure_pace(trainer)
        minutes = sum(pace.minutes(*place).values())
        text += f", {in_minutes(minutes, pace.at_most)}{' left' if trainer.step else ''}"
        ends = session_limit(minutes, bool(trainer.config.mirror))
    for line in filter(None, (text, ends)):
        log.info(line)


def session_limit(minutes: float, mirrored: bool) -> str:
    """Return a line on the end of Colab's sessions for a long training there, once a session; ""
    for others."""
    if not on_colab() or minutes < LONG or mirrored in _warned:
        return ""
    _warned.add(mirrored)
    ends = f"about {minutes:.0f} minutes; free Colab ends after at most 12 hours, often earlier"
    if mirrored:
        return f"{ends}; on the Drive is what a new machine needs to resume where it stopped"
    return f"{ends}, and then all is lost: stop now, tick USE_DRIVE, and run all again"


def length_of(trainer) -> str:
    """Return in words a training's steps and passes, whether images are mirrored, how often the
    validation loss is computed, of which step the result is, and how many items are not drawn."""
    config = trainer.config
    steps, items = counted(trainer.num_steps, "step"), len(trainer.data.train_items)
    images = counted(trainer.per_step, "image")
    passes = trainer.num_steps * config.items_per_step / items
    text = f"{steps} of {images}, {passes:.1f} passes over {counted(items, 'training item')}"
    flip = "mirrored too" if config.flip else "not mirrored"
    often = "before and after training"
    if 0 < config.eval_steps < trainer.num_steps:
        often = f"every {counted(config.eval_steps, 'step')}"
    kept = "adapter" if config.method == "lora" else "UNet"
    text = f"{text} ({flip}), a validation loss {often}, the {config.keep} {kept} is kept"
    if few := trainer.batches.undrawn(trainer.num_steps):
        text += f"; so few steps draw nothing of {counted(few, 'item')} in small buckets"
    return text


def in_minutes(minutes: float, at_most: bool = False) -> str:
    """Return "about 2.5 minutes", or `at_most` so many."""
    return f"{'at most' if at_most else 'about'} {minutes:.{0 if minutes >= 10 else 1}f} minutes"


def gpu_use(trainer) -> float | None:
    """Return the share of the matrix peak of its GPUs that a training uses at one image a second,
    so that images a second times it are the share in use; None on a CPU.

    What gradient checkpointing computes twice counts twice.
    """
    if trainer.device == "cpu":
        return None
    peak = matrix_peak(trainer.dtype, trainer.device)
    flops = peak and flops_per_image(trainer)
    return flops and flops / (peak * trainer.processes.count)


def flops_per_image(trainer) -> float | None:
    """Return the FLOPs of a forward and backward pass for an image, None if there is no memory for
    it; the state does not change."""
    with FlopCounterMode(display=False) as counter:
        fits = trainer.try_micro_batch()
    return counter.get_total_flops() / len(trainer.first_pass()) if fits else None


def matrix_peak(dtype: torch.dtype, device: str, size: int = MATRIX) -> float | None:
    """Return the FLOPs a second that a device reaches when it multiplies square matrices of `size`
    rows in a dtype; None if there is no memory for them.

    In float32 it is that of TF32 where convolutions may use it, as those of a training do.
    """
    precision = torch.get_float32_matmul_precision()
    if precision == "highest" and torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        generator = torch.Generator(device).manual_seed(0)  # the global one is the training's
        matrix = torch.randn(size, size, generator=generator, device=device).to(dtype)
        product = torch.empty_like(matrix)

        def multiply(count: int) -> float:
            work = range(count)
            return _seconds(lambda: [torch.mm(matrix, matrix, out=product) for _ in work], device)

        multiply(1)  # the first one is slower
        count = max(1, round(PEAK_SECONDS / multiply(1)))
        seconds = multiply(count)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        torch.set_float32_matmul_precision(precision)
    return 2 * size**3 * count / seconds
