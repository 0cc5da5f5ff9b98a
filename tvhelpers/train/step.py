"""What is one step of a training?  Draw a batch, compute gradients, update the weights.

`Batches` draws on the host, `Trainer._compute` computes on the device (on a GPU as a replay of
`graph.Replays`), `Update` changes the weights; with AdamW no step waits for the GPU.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from tvhelpers.config import TrainConfig
from tvhelpers.errors import InputError
from tvhelpers.runtime import device_name, root_dir
from tvhelpers.train import diffusion
from tvhelpers.train.batches import Batch, Batches, Data, Prefetcher
from tvhelpers.train.distributed import Processes
from tvhelpers.train.graph import Replays, is_captured
from tvhelpers.train.memory import is_out_of_memory, smaller
from tvhelpers.train.mixed import Mixed
from tvhelpers.train.model import Model
from tvhelpers.train.optim import Update, num_steps
from tvhelpers.train.recovery import Health
from tvhelpers.words import counted

log = logging.getLogger(__name__)


class Trainer:
    """The state of a training in memory: model, data, optimizer and step."""

    def __init__(
        self, config: TrainConfig, parts: dict, data: Data,
        dtype: torch.dtype = torch.float32, processes: Processes | None = None,
    ):  # fmt: skip
        """Prepare a base's `parts`: "family", "unet", "scheduler", and its text encoders if the
        cache has no text states or if they are trained too."""
        self.processes, self.health = processes or Processes(), Health()
        device = self.device = self.processes.device
        self.config, self.dtype = config, dtype
        self.scheduler = parts["scheduler"]
        self.alphas_cumprod = self.scheduler.alphas_cumprod.to(device)
        self.region_weights = torch.tensor(config.region_weights, device=device)
        self.scaling_factor = data.cache.about["scaling_factor"]
        self.model = Model(parts, config, device, dtype)
        cache, stored = data.cache, not self.model.text_encoders
        self.data = replace(data, cache=cache if device == "cpu" else cache.on_gpu(device))
        self.batches = Batches(self.data, config, len(self.alphas_cumprod), stored)
        self.samples = self.batches  # of steps
        if other := data.regularization:
            other = other if device == "cpu" else other.on_gpu(device)
            self.samples = Mixed(self.batches, other, stored, device)
        texts = self.batches.texts_of(np.zeros(1, int)).items()
        self.empty_prompt = {key: x if x is None else x.to(device) for key, x in texts}
        if not stored and "empty_prompt" in cache.about:
            self.model.empty_ids = self.empty_prompt["text"]
        self.per_step, self.step = config.samples_per_step, 0
        self.num_steps = num_steps(config, len(data.train_items))
        self.update = Update(self.model, config, self.num_steps)
        self.micro_batch = config.batch_size  # samples in one forward pass
        self.micro_batch_known = False  # whether it was chosen for this device
        self.notice: Callable = lambda what, **details: None  # called with an event of a step
        self.draw: Callable = lambda step, indices, then: self.samples.of_step(step, indices)
        self.replays: Replays | None = None
        if device != "cpu":
            own_gpu = partial(torch.cuda.set_device, torch.cuda.current_device())
            self.draw = Prefetcher(lambda *which: self.samples.of_step(*which).pinned(), own_gpu)
        if is_captured(config, device):
            self.replays = Replays(self._compute, self.model.weights, dtype, self._notify)

    def parts(self) -> dict:
        """Return the parts that a pipeline needs to draw with the weights of this training."""
        return {**self.model.trained(), "scheduler": self.scheduler}

    def _notify(self, what: str, **details) -> None:
        self.notice(what, **details)

    def train_step(self) -> dict[str, torch.Tensor]:
        """Take one optimizer step and return its loss and gradient norms, still on the device; {}
        if the update is skipped."""
        row = {}
        if self.step + 1 not in self.health.skipped:
            loss = self._gradients()
            norms = self.update.take(self.step, self.health.rate_factor(self.step))
            row = {"loss": loss, **norms}
        self.step += 1
        if row:
            self.model.update_ema(self.step)
        return row

    def _gradients(self) -> torch.Tensor:
        """Compute the gradients of the step's samples, summed over processes; return the mean
        loss."""
        total = self._within_memory(lambda: self.processes.part(self.per_step))
        if self.processes.count > 1:
            for weight in self.model.weights:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            self.processes.all_reduce([total, *(weight.grad for weight in self.model.weights)])
        return total

    def _within_memory(self, samples: Callable[[], range]) -> torch.Tensor:
        """Add the gradients of `samples()` of the step, and return their part of its loss.

        If memory runs out, it begins again with a smaller micro-batch; the samples of a step stay
        the same, as they depend only on its number.
        """
        compute = self.replays or self._compute
        while self.processes.any((total := self._backward(samples(), compute)) is None)[0]:
            self.free_memory()
            self.micro_batch = smaller(self.micro_batch)
            count = counted(self.micro_batch, "image")
            what = f"out of memory: from now on {count} per forward pass"
            self.notice(what, micro_batch=self.micro_batch)
        return total

    def _backward(self, samples: range, compute: Callable) -> torch.Tensor | None:
        """Add the gradients of these samples of the step by `compute`, and return their part of
        its loss, None if memory ran out."""
        total, size = torch.zeros((), device=self.device), self.micro_batch
        parts = [samples[i : i + size] for i in range(0, len(samples), size)]
        following = [(self.step, part) for part in parts[1:]] + [(self.step + 1, parts[0])]
        try:
            for part, then in zip(parts, following, strict=True):
                batch = self.draw(self.step, part, then)
                total += compute(batch.to(self.device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return total

    def _compute(self, batch: Batch) -> torch.Tensor:
        """Add the gradients of a batch on the device, and return its part of the step's loss.

        It uses nothing from the host: neither the step nor the samples' numbers.
        """
        loss = self.losses(batch).sum() / self.per_step
        self.update.scaler.scale(loss).backward()
        return loss.detach()

    def losses(self, batch: Batch, plain: bool = False) -> torch.Tensor:
        """Return the loss (B,) of each sample of a batch on the device: that of the settings, or
        with `plain` the squared error of a validation loss."""
        config = self.config
        kind = self.scheduler.config.prediction_type
        noise, at = batch.noise, (batch.timesteps, self.alphas_cumprod)
        latents = diffusion.sample_latents(batch.moments, batch.posterior, self.scaling_factor)
        noisy_latents = diffusion.add_noise(latents, noise, *at)
        if config.distill_guidance:
            target = self._guided(noisy_latents, batch)
        else:
            target = diffusion.prediction_target(latents, noise, *at, kind)
        prediction = self.model.predict(noisy_latents, batch)
        pixel_weights = batch.regions
        if pixel_weights is not None:
            pixel_weights = self.region_weights[batch.regions.long()]
        change = None
        if config.loss != "l2" and not plain:
            thresholds = diffusion.huber_thresholds(*at, config.huber_c, config.huber_schedule)
            change = partial(diffusion.pseudo_huber, thresholds=thresholds, kind=config.loss)
        weight = diffusion.min_snr_weight(*at, 0.0 if plain else config.min_snr_gamma, kind)
        weight = weight if batch.weights is None else weight * batch.weights
        return weight * diffusion.sample_losses(prediction, target, pixel_weights, change)

    @torch.no_grad()
    def _guided(self, noisy_latents: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return what the base without its LoRA predicts with guidance (Ho & Salimans 2022)."""
        rows = self.empty_prompt.items()
        empty = {
            key: x if x is None else x.expand(len(noisy_latents), *x.shape[1:]) for key, x in rows
        }
        with self.model.base():
            conditional, unconditional = (
                self.model.predict(noisy_latents, each).float()
                for each in (batch, replace(batch, **empty))
            )
        return unconditional + self.config.distill_guidance * (conditional - unconditional)

    def try_micro_batch(self) -> bool:
        """Return whether one forward and backward pass of a micro-batch fits in memory; the state
        does not change."""
        fits = self._backward(self.first_pass(), self._compute) is not None
        self.free_memory()
        return fits

    def with_room(self, compute: Callable):
        """Return what `compute` returns, which is no step; if memory runs out, try again after
        freeing that of captured steps, which nothing else can use.  The next step captures again.
        """
        try:
            return compute()
        except RuntimeError as error:
            if not (is_out_of_memory(error) and self.replays and self.replays.graphs):
                raise
        self.free_memory()
        return compute()

    def first_pass(self) -> range:
        """Return the samples of this process's first forward pass of a step."""
        return self.processes.part(self.per_step)[: self.micro_batch]

    def rehearse(self, passes: int) -> None:
        """Compute the gradients of the first forward pass of each of the next steps, captured or
        not as a step computes them, and drop them; the state does not change."""
        for _ in range(passes):
            self._within_memory(self.first_pass)
            self.update.optimizer.zero_grad()
            self.step += 1  # so that the next batch is the one that is drawn ahead
        self.step -= passes

    def release(self) -> None:
        """End the thread that draws ahead, and free the memory of captured steps, in which the
        trainer's reference cycles would keep it when the training has ended, with an error or
        without; raises none of its own."""
        if isinstance(self.draw, Prefetcher):
            self.draw.close()
        with contextlib.suppress(RuntimeError):  # of a GPU that has failed
            self.free_memory()

    def free_memory(self) -> None:
        """Free what no step needs: captured steps, gradients, and unused memory of the GPU."""
        if self.replays:
            self.replays.release()
        self.update.optimizer.zero_grad()
        torch.cuda.empty_cache()

    def compile(self) -> None:
        """Compile the UNet for training, which takes minutes, or seconds if artifacts/compiled has
        it; the weights do not change.  What is compiled can be captured too.

        Raises InputError if it cannot be compiled.
        """
        cache = (root_dir() / "artifacts" / "compiled").absolute()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
        began, self.model.compiled = time.monotonic(), torch.compile(self.model.unet)
        try:
            self.try_micro_batch()
        except Exception as error:  # of torch's compiler, or of the C++ compiler that it calls
            raise InputError("not-compiled", error=error) from None
        log.info(f"compiled in {time.monotonic() - began:.0f} s")

    def state(self) -> dict:
        """Return the state for a checkpoint."""
        return {
            "step": self.step,
            "weights": [weight.detach() for weight in self.model.weights],
            "averages": self.model.ema_weights,  # stable name
            **self.update.state(),
            "dtype": str(self.dtype),
            "health": self.health.state(),
            "micro_batch": {"size": self.micro_batch, "fits": self._room()},
        }

    def _room(self) -> list:
        """Return the device and the memory limit, for which a micro-batch was chosen."""
        return [device_name(self.device), self.config.memory_gb]

    def restore(self, state: dict) -> None:
        """Load the state of a checkpoint."""
        if state["dtype"] != str(self.dtype):  # another GPU than before
            log.info(
                f"resumed in {self.dtype}; the checkpoint was made in {state['dtype']}, so that "
                "results differ slightly"
            )
        self.step, self.health = state["step"], Health(**state["health"])
        self.micro_batch_known = state["micro_batch"]["fits"] == self._room()
        if self.micro_batch_known:
            self.micro_batch = state["micro_batch"]["size"]
        self.update.restore(state)
        weights = [*self.model.weights, *self.model.ema_weights]
        values = [*state["weights"], *state["averages"]]  # stable name
        for weight, value in zip(weights, values, strict=True):
            weight.data.copy_(value)
