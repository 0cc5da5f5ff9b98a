"""The diffusion loop: from a latent cache to an adapter, or to a whole pipeline.

Every random choice of a step is a function of (seed, step, index), so a training that was killed
and run again ends with the bytes of an unbroken one (on a CPU; on a GPU up to its own rounding).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from tvhelpers import manifest
from tvhelpers.config import InputError, TrainConfig, to_dict
from tvhelpers.data.captions import with_captions
from tvhelpers.data.coverage import effective_sample_size, item_weights
from tvhelpers.data.leakage import thin_by_attributes
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_by_product
from tvhelpers.models.base import (
    TEXT_ENCODER_DIR,
    BaseLocation,
    find_base,
    load_part,
    own_resolution,
    save_pipeline,
    text_digest,
    unet_digest,
    with_text_encoder,
)
from tvhelpers.models.baseline import Classes, add_classes, find_classes, forgetful
from tvhelpers.runtime import (
    Interrupted,
    choose_device,
    choose_dtype,
    claim_dir,
    locked,
    make_dir,
    read_json,
    root_dir,
    seed_for,
    spoken_progress,
    stop_requests,
    write_json,
)
from tvhelpers.train import diffusion
from tvhelpers.train.adapter import add_lora, check_adapter, kohya_path, save_adapter
from tvhelpers.train.checkpoint import load_checkpoint, save_checkpoint
from tvhelpers.train.latents import LatentCache, open_cache
from tvhelpers.train.optimizer import make_optimizer
from tvhelpers.train.runlog import RunLog
from tvhelpers.train.schedule import num_steps, rate_factor, scheduler_changes

FLUSH_STEPS = 25  # losses stay on the device this long: reading one waits for the GPU
EVAL_BATCH = 32
CLASS_RATE = 10.0  # times the learning rate, for the embedding of a baseline's classes


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    base: BaseLocation | None = None,
    root: Path | None = None,
    preview: Callable[[int, torch.nn.Module], None] | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Train as `config` says, or go on with it, and return what result.json holds.

    Writes run_dir/{config.json, held_out.json, log.jsonl, eval.jsonl, tensorboard/, checkpoints/,
    result.json} and, for "lora", adapter.safetensors; for "full" and "baseline", pipeline/.
    `base` is where the base is, by default find_base(config.base); `root` holds artifacts/, by
    default $TV_ROOT.
    `preview(step, unet)` is called after each evaluation.  Raises InputError for what cannot be
    used, Interrupted on Ctrl-C or SIGTERM.
    """
    run_dir = Path(run_dir)
    source = open_source(config.data, bare=bool(config.captions))
    if config.captions:
        source = with_captions(source, Path(config.captions))
    base = with_text_encoder(base or find_base(config.base), config.text_encoder)
    root = root or root_dir()
    device = choose_device(config.device)
    dtype, reason = choose_dtype(config.dtype, device)
    unet = load_part(base, "unet")
    digest = unet_digest(unet)
    scheduler = noise_schedule(base, config)
    train_items, held_out = split_items(source, config)
    classes = find_classes(config.classes, source.attributes) if config.classes else Classes()
    request = {**to_dict(config), "data_fingerprint": source.fingerprint, "base_digest": digest}
    where = ("device", "data", "base", "captions", "text_encoder")  # what is there is in digests
    request |= _heard(base)
    with locked(make_dir(run_dir) / ".lock"):
        claim_dir(run_dir, request, "training", marker="config.json", ignore=where)
        if is_finished(run_dir, config.method):
            say(f"{run_dir} holds this training already, finished")
            return read_json(run_dir / "result.json")
        say(f"device {device}, {str(dtype).removeprefix('torch.')}: {reason}")
        cache = open_cache(
            source,
            base,
            config.resolution or own_resolution(base),
            config.flip,
            root,
            limit=config.limit,
            device=device,
            progress=spoken_progress(say, "latent cache"),
        )
        write_json(run_dir / "held_out.json", [source.item_ids[item] for item in held_out])
        unet = forgetful(unet, config.start, seed_for(config.seed, "unet"))
        if classes.words:
            add_classes(unet, classes)
        trainer = Trainer(config, unet, scheduler, cache, train_items, held_out, device, dtype)
        if classes.words:
            trainer.labels = np.array(classes.labels(source.attributes[: cache.num_items]))
        if config.balance:
            trainer.item_weights = _balance(source, train_items, config.balance, say)
        trainer.run(run_dir, preview, say)
        result = _finish(trainer, run_dir, base, digest, source.fingerprint, classes, say)
    before, after = result["held_out_loss_base"], result["held_out_loss"]
    say(f"held-out fixed-noise loss {before:.4f} -> {after:.4f} ({after / before - 1:+.1%})")
    return result


def _heard(base: BaseLocation) -> dict:
    """Return what names the text encoder, where it is not the base's own."""
    return {"text_encoder_digest": text_digest(base)} if base.text_encoder else {}


def noise_schedule(base: BaseLocation, config: TrainConfig):
    """Return the base's scheduler with the changes of `config`; raises InputError for an objective
    that is not known here, or cannot be learnt."""
    scheduler = load_part(base, "scheduler")
    scheduler = type(scheduler).from_config(scheduler.config, **scheduler_changes(config))
    kind = scheduler.config.prediction_type
    if kind not in diffusion.PREDICTION_TYPES:
        known = " and ".join(diffusion.PREDICTION_TYPES)
        raise InputError(f"base {base.name!r} predicts {kind!r}; only {known} can be trained")
    if kind == "epsilon" and scheduler.config.rescale_betas_zero_snr:
        raise InputError(
            "with zero_terminal_snr the last timestep is noise alone, which says nothing of the "
            "picture; give prediction=v_prediction too"
        )
    return scheduler


def is_finished(run_dir: Path, method: str) -> bool:
    """Return whether a run has its result, and what it trained is still there."""
    trained = "adapter.safetensors" if method == "lora" else "pipeline"
    return (run_dir / "result.json").exists() and (run_dir / trained).exists()


def _balance(source, train_items: np.ndarray, balance: str, say) -> np.ndarray:
    """Return a weight for each item of the source, 0 where it is not trained on."""
    weights = np.zeros(len(source))
    weights[train_items] = item_weights([source.attributes[i] for i in train_items], balance)
    size = effective_sample_size(weights[train_items])
    say(f"items drawn by {balance}: effective sample size {size:.0f} of {len(train_items)}")
    return weights


def split_items(source, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return (training items, held-out items) among the first `limit`: by product, and no item of a
    test split; of the held-out ones `eval_items`, spread over the source."""
    count = config.limit or len(source)
    held = split_by_product(source.product_ids[:count], config.held_out, config.split_seed)
    own = np.array([split in ("", "train") for split in source.splits[:count]])
    if config.at_most:
        own &= thin_by_attributes(source, config.at_most, config.split_seed)[:count]
    train_items, held_out = np.flatnonzero(~held & own), np.flatnonzero(held)
    if not len(train_items) or not len(held_out):
        raise InputError(
            f"{source.name} gives {len(train_items)} training and {len(held_out)} held-out items; "
            "both are needed: give more items, of two products at least"
        )
    order = sorted(held_out, key=lambda item: seed_for(config.split_seed, source.item_ids[item]))
    return train_items, np.sort(order[: config.eval_items])


class Trainer:
    """One training in memory: the model, its optimizer, the cache, and the step that it is at."""

    def __init__(
        self, config, unet, scheduler, cache: LatentCache, train_items, held_out, device, dtype
    ):
        self.config, self.cache, self.device, self.dtype = config, cache, device, dtype
        self.entries = cache.entries(train_items, config.flip)
        self.held_out = held_out
        self.labels: np.ndarray | None = None  # class of each item, for a baseline with classes
        self.item_weights: np.ndarray | None = None  # how often each item is drawn; None = alike
        self.prediction_type = scheduler.config.prediction_type
        self.alphas_cumprod = scheduler.alphas_cumprod.to(device)
        self.scaling_factor = cache.about["scaling_factor"]
        self.unet, self.weights = _prepare(unet, config, device, dtype)
        groups = _rate_groups(self.unet, self.weights)
        self.optimizer = make_optimizer(config.optimizer, groups, config.weight_decay, device)
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.averages = (
            [weight.detach().clone() for weight in self.weights] if config.ema_decay else []
        )
        self.step = 0
        per_step = config.batch_size * config.accumulate
        self.num_steps = num_steps(config.steps, config.epochs, len(self.entries), per_step)

    def run(self, run_dir: Path, preview, say) -> None:
        """Train to the last step, from the newest checkpoint on."""
        config, folder = self.config, run_dir / "checkpoints"
        self._restore(load_checkpoint(folder), say)
        saved, losses = time.monotonic(), []
        loses_steps = self.scaler.is_enabled()  # it leaves out steps that overflow
        log = RunLog(run_dir, self.step, self.num_steps, say, may_overflow=loses_steps)
        with log, stop_requests() as stop:
            if self.step == 0:
                self._evaluate(log, preview)
            while self.step < self.num_steps:
                losses.append(self.train_step())
                last = self.step == self.num_steps
                look = last or (config.eval_steps > 0 and self.step % config.eval_steps == 0)
                if look:
                    log.losses(self.step, losses)
                    losses = []
                    self._evaluate(log, preview)
                stopping = bool(stop)  # asked once: what is said below must be what is done
                due = last or stopping
                due |= config.checkpoint_steps > 0 and self.step % config.checkpoint_steps == 0
                due |= 0 < 60 * config.checkpoint_minutes < time.monotonic() - saved
                if losses and (due or len(losses) == FLUSH_STEPS):
                    log.losses(self.step, losses)
                    losses = []
                if due:
                    save_checkpoint(folder, self.step, self._state(), config.keep_checkpoints)
                    saved = time.monotonic()
                if stopping and not last:
                    raise Interrupted(
                        f"stopped at step {self.step} of {self.num_steps}; checkpoint written"
                    )

    def train_step(self) -> dict[str, torch.Tensor]:
        """Take one optimizer step and return its loss and gradient norm, still on the device."""
        config = self.config
        per_step = config.batch_size * config.accumulate
        for group in self.optimizer.param_groups:
            group["lr"] = (
                group["rate"]
                * config.learning_rate
                * rate_factor(self.step, self.num_steps, config.warmup_steps, config.schedule)
            )
        total = torch.zeros((), device=self.device)
        for start in range(0, per_step, config.batch_size):
            indices = range(start, start + config.batch_size)
            losses = self._losses(*self._training_batch(indices))
            loss = losses.sum() / per_step
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, config.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.step += 1
        self._update_averages()
        return {"loss": total, "grad_norm": norm.detach()}

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Return the mean plain loss of the held-out items, each at a timestep and noise of its own
        for ever."""
        losses = []
        with self.averaged_weights():
            for start in range(0, len(self.held_out), EVAL_BATCH):
                items = self.held_out[start : start + EVAL_BATCH]
                seeds = [
                    seed_for(self.config.split_seed, "eval", start + j) for j in range(len(items))
                ]
                batch = (*self.cache.read(items), self._labels(items))
                losses.append(self._losses(*batch, seeds, min_snr_gamma=0.0))
        return torch.cat(losses).double().mean().item()

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
        """Return (moments, caption rows, labels, seeds) of the samples `indices` of this step."""
        config = self.config
        first = self.step * config.batch_size * config.accumulate
        entries = np.array([self._entry(first + i) for i in indices])
        moments, rows = self.cache.read(entries)
        labels = self._labels(entries % self.cache.num_items)
        for j, i in enumerate(indices):
            draw = seed_for(config.seed, "caption", self.step, i) / 2**63
            if draw < config.caption_dropout:
                rows[j] = labels[j] = 0  # the empty prompt, no class
        return (
            moments,
            rows,
            labels,
            [seed_for(config.seed, "sample", self.step, i) for i in indices],
        )

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
        self, moments, rows, labels, seeds, min_snr_gamma: float | None = None
    ) -> torch.Tensor:
        """Return the weighted loss (B,) of each sample."""
        gamma = self.config.min_snr_gamma if min_snr_gamma is None else min_snr_gamma
        if self.config.method == "baseline":
            rows = torch.zeros_like(rows)
        shape = (moments.shape[1] // 2, *moments.shape[2:])
        noises = diffusion.sample_noise(shape, len(self.alphas_cumprod), seeds)
        posterior, noise, timesteps = (tensor.to(self.device) for tensor in noises)
        latents = diffusion.sample_latents(moments.to(self.device), posterior, self.scaling_factor)
        noisy_latents = diffusion.add_noise(latents, noise, timesteps, self.alphas_cumprod)
        target = diffusion.prediction_target(
            latents, noise, timesteps, self.alphas_cumprod, self.prediction_type
        )
        text_embeds = torch.from_numpy(self.cache.embeds[rows.numpy()]).to(self.device).float()
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            told = {} if self.labels is None else {"class_labels": labels.to(self.device)}
            prediction = self.unet(noisy_latents, timesteps, text_embeds, **told).sample
        weight = diffusion.min_snr_weight(
            timesteps, self.alphas_cumprod, gamma, self.prediction_type
        )
        return weight * diffusion.sample_losses(prediction, target)

    def _evaluate(self, log: RunLog, preview) -> None:
        log.held_out(self.step, self.held_out_loss())
        if preview:
            with self.averaged_weights():
                preview(self.step, self.unet)

    def _update_averages(self) -> None:
        if self.averages:
            decay = min(
                self.config.ema_decay, (1 + self.step) / (10 + self.step)
            )  # short memory at the start
            torch._foreach_lerp_(self.averages, [w.detach() for w in self.weights], 1 - decay)

    def _state(self) -> dict:
        return {
            "step": self.step,
            "weights": [w.detach() for w in self.weights],
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "dtype": str(self.dtype),
        }

    def _restore(self, state: dict | None, say) -> None:
        if state is None:
            return
        if state["dtype"] != str(self.dtype):  # another GPU than before
            say(f"goes on in {self.dtype} what began in {state['dtype']}: results differ slightly")
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
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
        weights = add_lora(
            unet, config.rank, config.alpha or config.rank, config.seed, config.targets
        )
    else:
        unet.requires_grad_(True)
        weights = list(unet.parameters())
    if config.channels_last:
        unet.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet.train(), weights


def _rate_groups(unet, weights: list[torch.nn.Parameter]) -> list[dict]:
    """Return the optimizer's groups, each with its multiple of the learning rate.

    A row of the class embedding has a gradient only where its class is drawn.
    """
    table = getattr(unet.class_embedding, "weight", None)
    rest = [weight for weight in weights if weight is not table]
    groups = [{"params": rest, "rate": 1.0}]
    return groups if table is None else [*groups, {"params": [table], "rate": CLASS_RATE}]


def _about(trainer: Trainer, base: BaseLocation, digest: str, fingerprint: str) -> dict:
    """Return what an adapter's file says of its making; no path and no date."""
    config, rows = trainer.config, manifest.entries()
    names = {"base": base.name, "data": config.data}
    return {
        "base": base.name,
        "base_digest": digest,
        **_heard(base),
        "data_digest": fingerprint,
        "steps": trainer.step,
        "rank": config.rank,
        "alpha": config.alpha or config.rank,
        "targets": config.targets,
        "resolution": trainer.cache.about["resolution"],
        "prediction_type": trainer.prediction_type,
        "licences": {key: rows[name]["licence"] for key, name in names.items() if name in rows},
    }


def _finish(
    trainer: Trainer, run_dir: Path, base, digest: str, fingerprint: str, classes: Classes, say
) -> dict:
    """Write what was trained and check it, then write result.json, which marks the run as done."""
    config = trainer.config
    with trainer.averaged_weights():
        if config.method == "lora":
            path, models = run_dir / "adapter.safetensors", {"unet": trainer.unet}
            if base.text_encoder:
                load_part(base, "text_encoder").save_pretrained(run_dir / TEXT_ENCODER_DIR)
            save_adapter(models, path, _about(trainer, base, digest, fingerprint))
            check_adapter(models, path, base)
            say(f"{path} and {kohya_path(path).name}, loaded anew, predict what was trained")
        else:
            unet = trainer.unet.to(memory_format=torch.contiguous_format)
            save_pipeline(base, unet, run_dir / "pipeline", noise_schedule(base, config))
            if config.method == "baseline":
                classes.save(run_dir / "pipeline")
    curve = RunLog.read_held_out(run_dir)
    result = {
        "steps": trainer.step,
        "num_items": len(trainer.entries),
        "num_held_out": len(trainer.held_out),
        "held_out_loss_base": curve[0]["held_out_loss"],
        "held_out_loss": curve[-1]["held_out_loss"],
    }
    write_json(run_dir / "result.json", result)
    return result
