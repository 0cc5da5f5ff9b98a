"""The steps of one diffusion training, in memory: what is drawn, its loss, its gradient, its state.

Every random choice of a step is a function of (seed, step, index), so a training that was killed
and run again ends with the bytes of an unbroken one (on a CPU; on a GPU up to its own rounding).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from tvhelpers.config import InputError, TrainConfig, one_line
from tvhelpers.data.coverage import effective_sample_size, item_weights
from tvhelpers.lora.adapter import add_lora
from tvhelpers.models.baseline import Classes
from tvhelpers.runtime import device_name, seed_for
from tvhelpers.train import diffusion
from tvhelpers.train.distributed import Processes
from tvhelpers.train.fit import is_out_of_memory, smaller
from tvhelpers.train.latents import LatentCache, send, take
from tvhelpers.train.optim import STATE_BYTES, make_optimizer
from tvhelpers.train.recovery import Health
from tvhelpers.train.schedule import num_steps, rate_factor
from tvhelpers.train.text import TextStates

EVAL_BATCH = 32
NUM_QUARTERS = 4  # of the timesteps, whose losses are told apart
CLASS_RATE = 10.0  # times the learning rate, for the embedding of a baseline's classes


class Trainer:
    """One training in memory: the model, its optimizer, the cache, and the step that it is at."""

    def __init__(
        self,
        config,
        unet,
        scheduler,
        cache: LatentCache,
        train_items,
        held_out,
        device,
        dtype,
        processes: Processes | None = None,
        text_encoder=None,
    ):
        """Make the base ready; it needs a `text_encoder` where the cache has no text states, or
        where it is trained too."""
        self.config, self.device, self.dtype = config, device, dtype
        self.entries = cache.entries(train_items, config.flip)
        self.held_out = held_out
        self.labels: np.ndarray | None = None  # class of each item, for a baseline with classes
        self.item_weights: np.ndarray | None = None  # how often each item is drawn; None = alike
        self.scheduler, self.prediction_type = scheduler, scheduler.config.prediction_type
        self.alphas_cumprod = scheduler.alphas_cumprod.to(device)
        self.region_weights = torch.tensor(config.region_weights, device=device)
        self.scaling_factor = cache.about["scaling_factor"]
        self.unet, self.weights = _prepare(unet, config, device, dtype)
        self.predict = self.unet  # or compiled
        self.cache = cache if device == "cpu" else cache.on_gpu(device)
        self.text = TextStates(self.cache, text_encoder, config, device, dtype)
        groups = _rate_groups(self.unet, self.weights, self.text.weights, config)
        self.weights += self.text.weights
        self.optimizer = make_optimizer(config.optimizer, groups, config.weight_decay, device)
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.averages = (
            [weight.detach().clone() for weight in self.weights] if config.ema_decay else []
        )
        self.step = 0
        per_step = config.batch_size * config.accumulate
        self.num_items = len(train_items)
        self.num_steps = num_steps(config.steps, config.epochs, self.num_items, per_step)
        self.processes, self.health = processes or Processes(device), Health()
        self.micro_batch, self.fitted = config.batch_size, False  # samples in one forward pass
        order = np.random.default_rng(seed_for(config.split_seed, "slice")).permutation(train_items)
        self.training_slice = order[: len(held_out)]
        self.notice: Callable = lambda what, **details: None  # is told of what happens in a step

    def choose_items(self, source, classes: Classes, say) -> None:
        """Take each item's class, and how often it is drawn, from its attributes."""
        if classes.words:
            self.labels = np.array(classes.labels(source.attributes[: self.cache.num_items]))
        if self.config.balance:
            items = np.unique(self.entries % self.cache.num_items)
            weights = item_weights([source.attributes[i] for i in items], self.config.balance)
            self.item_weights = np.zeros(len(source))
            self.item_weights[items] = weights
            size = effective_sample_size(weights)
            say(
                f"items drawn by {self.config.balance}: effective sample size {size:.0f} of "
                f"{len(items)}"
            )

    def models(self) -> dict[str, torch.nn.Module]:
        """Return what is trained, by its name in a pipeline."""
        text = {"text_encoder": self.text.text_encoder} if self.text.weights else {}
        return {"unet": self.unet, **text}

    def parts(self) -> dict:
        """Return what a pipeline needs to draw as this training goes."""
        return {**self.models(), "scheduler": self.scheduler}

    def train_step(self) -> dict[str, torch.Tensor]:
        """Take one optimizer step and return its loss and gradient norms, still on the device; {}
        where its update is left out."""
        if self.step + 1 in self.health.skipped:
            self.step += 1
            return {}
        self._set_rates()
        total = self._gradients()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.max_grad_norm)
        clipped = torch.nn.utils.get_total_norm(
            [w.grad for w in self.weights if w.grad is not None]
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.step += 1
        self._update_averages()
        return {"loss": total, "grad_norm": norm, "grad_norm_clipped": clipped}

    def _set_rates(self) -> None:
        config = self.config
        factor = rate_factor(self.step, self.num_steps, config.warmup_steps, config.schedule)
        factor *= self.health.rate_factor(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * config.learning_rate * factor

    def _gradients(self) -> torch.Tensor:
        """Leave the gradients of the step's samples, of all processes, and return their mean loss.

        Where memory runs out, all is done again from the step's beginning in smaller parts: what a
        step draws depends on its number alone.
        """
        share = self.processes.part(self.config.batch_size * self.config.accumulate)
        while self.processes.any((total := self._backward(share)) is None)[0]:
            self._let_go()
            self.micro_batch = smaller(self.micro_batch)
            self.notice(
                f"out of memory: goes on with micro-batch {self.micro_batch}, the same batch",
                micro_batch=self.micro_batch,
            )
        if self.processes.count > 1:
            for weight in self.weights:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            self.processes.add([total, *(weight.grad for weight in self.weights)])
        return total

    def _backward(self, samples: range) -> torch.Tensor | None:
        """Add the gradients of these samples of the step and return their part of its loss; None
        where memory ran out."""
        per_step = self.config.batch_size * self.config.accumulate
        total = torch.zeros((), device=self.device)
        try:
            for start in range(samples.start, samples.stop, self.micro_batch):
                indices = range(start, min(start + self.micro_batch, samples.stop))
                loss = self._losses(*self._training_batch(indices)).sum() / per_step
                self.scaler.scale(loss).backward()
                total += loss.detach()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return total

    def try_micro_batch(self) -> bool:
        """Return whether one forward and backward pass of a micro-batch fits in memory; nothing is
        changed by it."""
        fits = self._backward(range(self.micro_batch)) is not None
        self._let_go()
        return fits

    def _let_go(self) -> None:
        """Free the gradients, and what the GPU's allocator keeps."""
        self.optimizer.zero_grad()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def optimizer_bytes(self) -> int:
        """Return the memory that the optimizer's state is still to take."""
        bytes_each = 0 if self.optimizer.state else STATE_BYTES[self.config.optimizer]
        return bytes_each * sum(weight.numel() for weight in self.weights)

    def evaluation(self) -> dict:
        """Return the mean fixed-noise losses of the held-out items, in all and by quarter of the
        timesteps (None where there is none), and of as many training items."""
        held_out, training = (self.slice_losses(x) for x in (self.held_out, self.training_slice))
        quarters = self._slice_timesteps() * NUM_QUARTERS // len(self.alphas_cumprod)
        by_timestep = [held_out[quarters == quarter] for quarter in range(NUM_QUARTERS)]
        return {
            "held_out_loss": held_out.mean().item(),
            "training_slice_loss": training.mean().item(),
            "by_timestep": [part.mean().item() if len(part) else None for part in by_timestep],
        }

    def held_out_loss(self) -> float:
        """Return the mean plain loss of the held-out items, each at a timestep and noise of its own
        for ever."""
        return self.slice_losses(self.held_out).mean().item()

    @torch.no_grad()
    def slice_losses(self, items: np.ndarray) -> torch.Tensor:
        """Return the plain loss (n,) of each item, the j-th at the j-th fixed timestep and noise;
        each process computes its share, in parts that take less memory than a training step."""
        losses = torch.zeros(len(items), dtype=torch.float64, device=self.device)
        share, size = self.processes.part(len(items)), min(EVAL_BATCH, 4 * self.micro_batch)
        with self.averaged_weights():
            for start in range(share.start, share.stop, size):
                batch = items[start : min(start + size, share.stop)]
                values = (*self.cache.read(batch), self._labels(batch))
                seeds = self._slice_seeds(start, len(batch))
                part = self._losses(*values, seeds, min_snr_gamma=0.0)
                losses[start : start + len(batch)] = part.double()
        self.processes.add([losses])
        return losses.cpu()

    def _slice_seeds(self, start: int, count: int) -> list[int]:
        return [seed_for(self.config.split_seed, "eval", start + j) for j in range(count)]

    def _slice_timesteps(self) -> torch.Tensor:
        """Return the fixed timesteps (n,) of the held-out items."""
        moments, _ = self.cache.read(self.held_out[:1])
        shape = (moments.shape[1] // 2, *moments.shape[2:])
        seeds = self._slice_seeds(0, len(self.held_out))
        return diffusion.sample_noise(shape, len(self.alphas_cumprod), seeds)[2]

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Let the model have the averaged weights within the block; nothing changes without
        ema_decay."""
        own = [weight.data for weight in self.weights]
        for weight, average in zip(self.weights, self.averages, strict=False):
            weight.data = average
        try:
            yield
        finally:
            for weight, value in zip(self.weights, own, strict=True):
                weight.data = value

    def _training_batch(self, indices: range):
        """Return (moments, caption rows, labels, seeds, pixel weights) of the samples `indices` of
        this step."""
        config = self.config
        first = self.step * config.batch_size * config.accumulate
        entries = np.array([self._entry(first + i) for i in indices])
        moments, rows = self.cache.read(entries)
        labels = self._labels(entries % self.cache.num_items)
        for j, i in enumerate(indices):
            draw = seed_for(config.seed, "caption", self.step, i) / 2**63
            if draw < config.caption_dropout:
                rows[j] = labels[j] = 0  # the empty prompt, no class
        seeds = [seed_for(config.seed, "sample", self.step, i) for i in indices]
        return moments, rows, labels, seeds, self._pixel_weights(entries)

    def _pixel_weights(self, entries: np.ndarray) -> torch.Tensor | None:
        """Return the weight of each latent's loss (B, h, w), None where all weigh alike."""
        if not self.config.is_masked:
            return None
        regions = send(take(self.cache.regions, entries), self.device)
        return self.region_weights[regions.long()]

    def _entry(self, position: int) -> int:
        """Return the cache entry at a position of the endless sequence of shuffled epochs."""
        epoch, place = divmod(position, len(self.entries))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            rng = np.random.default_rng(seed_for(self.config.seed, "order", epoch))
            self._order = rng.permutation(self._drawn(rng))
        return self._order[place]

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Return the entries of an epoch: each once, or in proportion to its weight (systematic
        resampling, which leaves to chance only the rounding)."""
        if self.item_weights is None:
            return self.entries
        weights = self.item_weights[self.entries % self.cache.num_items]
        places = (np.arange(len(self.entries)) + rng.random()) / len(self.entries)
        ends = np.cumsum(weights)
        return self.entries[np.searchsorted(ends / ends[-1], places, side="right")]

    def _labels(self, items: np.ndarray) -> torch.Tensor:
        """Return the classes (B,) of items, zeros where there are no classes."""
        none = np.zeros(len(items), np.int64)
        return torch.from_numpy(none if self.labels is None else self.labels[items])

    def _losses(
        self, moments, rows, labels, seeds, pixel_weights=None, min_snr_gamma: float | None = None
    ) -> torch.Tensor:
        """Return the weighted loss (B,) of each sample."""
        gamma = self.config.min_snr_gamma if min_snr_gamma is None else min_snr_gamma
        alphas, kind = self.alphas_cumprod, self.prediction_type
        shape = (moments.shape[1] // 2, *moments.shape[2:])
        noises = diffusion.sample_noise(shape, len(alphas), seeds)
        posterior, noise, timesteps = (send(tensor, self.device) for tensor in noises)
        moments = send(moments, self.device)
        latents = diffusion.sample_latents(moments, posterior, self.scaling_factor)
        noisy_latents = diffusion.add_noise(latents, noise, timesteps, alphas)
        target = diffusion.prediction_target(latents, noise, timesteps, alphas, kind)
        prediction = self._prediction(noisy_latents, timesteps, rows, labels)
        weight = diffusion.min_snr_weight(timesteps, alphas, gamma, kind)
        return weight * diffusion.sample_losses(prediction, target, pixel_weights)

    def _prediction(self, noisy_latents, timesteps, rows, labels) -> torch.Tensor:
        """Return what the UNet predicts when it is told the captions, or the classes."""
        if self.config.method == "baseline":
            rows = torch.zeros_like(rows)
        if self.config.channels_last:
            noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        told = {} if self.labels is None else {"class_labels": send(labels, self.device)}
        unet = self.predict if torch.is_grad_enabled() else self.unet
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            return unet(noisy_latents, timesteps, self.text(rows), **told).sample

    def compile(self, say) -> None:
        """Compile the UNet for training, and say how long that takes; the weights stay as they are.

        Raises InputError where it cannot be compiled.
        """
        began, self.predict = time.monotonic(), torch.compile(self.unet)
        try:
            self.try_micro_batch()
        except Exception as error:  # of the compiler, or of the one that it calls
            reason = one_line(error)
            raise InputError(
                f"the UNet cannot be compiled ({reason}); give compile=false"
            ) from None
        say(f"compiled in {time.monotonic() - began:.0f} s")

    def _update_averages(self) -> None:
        if self.averages:
            decay = min(
                self.config.ema_decay, (1 + self.step) / (10 + self.step)
            )  # short memory at the start
            torch._foreach_lerp_(self.averages, [w.detach() for w in self.weights], 1 - decay)

    def state(self) -> dict:
        """Return what a checkpoint holds."""
        return {
            "step": self.step,
            "weights": [w.detach() for w in self.weights],
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "dtype": str(self.dtype),
            "health": self.health.state(),
            "micro_batch": {"size": self.micro_batch, "fits": self._room()},
        }

    def _room(self) -> list:
        """Return what a micro-batch is fitted to."""
        return [device_name(self.device), self.config.memory_gb]

    def restore(self, state: dict, say) -> None:
        """Be what `state` holds."""
        if state["dtype"] != str(self.dtype):  # another GPU than before
            say(f"goes on in {self.dtype} what began in {state['dtype']}: results differ slightly")
        self.step, self.health = state["step"], Health(**state["health"])
        self.fitted = state["micro_batch"]["fits"] == self._room()
        if self.fitted:
            self.micro_batch = state["micro_batch"]["size"]
        self.optimizer.load_state_dict(state["optimizer"])
        _follow_layout(self.optimizer)
        if state["scaler"]:  # empty where nothing was scaled
            self.scaler.load_state_dict(state["scaler"])
        for mine, theirs in zip(
            [*self.weights, *self.averages], [*state["weights"], *state["averages"]], strict=True
        ):
            mine.data.copy_(theirs)


def _prepare(
    unet, config: TrainConfig, device: str, dtype
) -> tuple[torch.nn.Module, list[torch.nn.Parameter]]:
    """Return (UNet on the device, its trained fp32 weights)."""
    unet = unet.to(device)
    if config.method == "lora":
        unet = unet.to(dtype)
        alpha, options = config.alpha or config.rank, (config.targets, config.dora)
        weights = add_lora(unet, config.rank, alpha, config.seed, *options)
    else:
        unet.requires_grad_(True)
        weights = list(unet.parameters())
    if config.channels_last:
        unet.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet.train(), weights


def _follow_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's state its weights' order in memory, by which a fused kernel pairs them:
    a checkpoint may come from a training with other `channels_last`."""
    for weight, row in optimizer.state.items():
        for name, value in row.items():
            if torch.is_tensor(value) and value.shape == weight.shape:
                row[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _rate_groups(unet, weights: list, text_weights: list, config: TrainConfig) -> list[dict]:
    """Return the optimizer's groups, each with its multiple of the learning rate.

    A row of the class embedding has a gradient only where its class is drawn.
    """
    table = getattr(unet.class_embedding, "weight", None)
    rest = [weight for weight in weights if weight is not table]
    text_rate = config.text_learning_rate / config.learning_rate or 1.0
    rates = [(rest, 1.0), ([table] if table is not None else [], CLASS_RATE)]
    rates += [(text_weights, text_rate)]
    return [{"params": params, "rate": rate} for params, rate in rates if params]
