"""How is a whole training run?  From data and a base to an adapter, or to a whole pipeline."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import TrainConfig, to_dict
from tvhelpers.data.caption_files import with_captions
from tvhelpers.data.coverage import effective_sample_size, item_weights
from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import sampled, split_items
from tvhelpers.errors import InputError, is_disk_full
from tvhelpers.files import writing
from tvhelpers.lora.adapter import check_adapter, kohya_path, save_adapter
from tvhelpers.models import base as bases
from tvhelpers.models.base import BaseLocation, load_part
from tvhelpers.models.baseline import Classes, add_classes, find_classes, reset_weights
from tvhelpers.models.vocabulary import write_words
from tvhelpers.records import check_claim, claim_dir, read_record, write_json
from tvhelpers.runtime import choose_device, choose_dtype, root_dir, seed_for
from tvhelpers.train.batches import Data
from tvhelpers.train.checkpoint import Mirror, remove_checkpoints
from tvhelpers.train.disk import warn_of_shortages
from tvhelpers.train.distributed import Processes
from tvhelpers.train.fit import fitted, resumed
from tvhelpers.train.graph import is_captured
from tvhelpers.train.latents import LatentCache, open_cache
from tvhelpers.train.loop import Loop
from tvhelpers.train.memory import check_weights, memory_limit
from tvhelpers.train.model import noise_schedule
from tvhelpers.train.outcome import metadata_of, outcome, result_of
from tvhelpers.train.regularization import Draw, OwnImages, open_regularization
from tvhelpers.train.resume import CLAIM, begun_settings, is_finished, resumes_at
from tvhelpers.train.snapshots import Snapshots
from tvhelpers.train.step import Trainer
from tvhelpers.train.step_files import newest_first
from tvhelpers.train.trackers import find_trackers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Everything that a training begins with, and the digests that identify it."""

    config: TrainConfig
    source: Source
    base: BaseLocation
    classes: Classes
    digests: dict[str, str]
    regularization: Source | None = None

    @property
    def request(self) -> dict:
        """Return what config.json holds."""
        return {**to_dict(self.config), **self.digests}

    @property
    def cached(self) -> dict:
        """Return what the latent cache is made from, as arguments of `latents.open_cache`."""
        return self._encoded(self.source) | {"limit": self.config.limit}

    @property
    def cached_regularization(self) -> dict | None:
        """Return the same of the regularization images, None without any."""
        return self.regularization and self._encoded(self.regularization)

    def _encoded(self, source: Source) -> dict:
        config, base = self.config, self.base
        resolution = config.resolution or bases.own_resolution(base)
        made_from = {"source": source, "base": base, "resolution": resolution}
        return made_from | {"flip": config.flip, "fit": config.fit}


@dataclass(frozen=True)
class Job:
    """A training that was opened and checked, but has no folder yet."""

    origin: Origin
    split: tuple[np.ndarray, np.ndarray]  # training and validation items
    parts: dict  # of the base: family, UNet and scheduler; empty if the run is finished
    dtype: torch.dtype
    machine: str  # device and dtype, and the reason for them
    processes: Processes


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    base: BaseLocation | None = None,
    root: Path | None = None,
    preview: Callable[[int, dict], None] | None = None,
    draw_own: Draw | None = None,
    finish: bool = False,
) -> dict:
    """Train as `config` says, or resume, and return the content of result.json.

    Values of `config` that mean "fits the data" become numbers first.  Writes run_dir/{config.json,
    held_out.json, log.jsonl, eval.jsonl, speed.jsonl, tensorboard/, result.json} and, for "lora",
    adapter.safetensors; with keep="best" also snapshots/ and adapter_last.safetensors; for "full"
    and "baseline", pipeline/; and checkpoints/ until it is finished.  With `accelerate launch` the
    processes share each step's samples.  `finish` ends a stopped training without another step.

    `base` is by default find_base(config.base), and `root`, the folder of artifacts/, $TV_ROOT.
    `preview(step, parts)` is called after each evaluation with the "unet", the "scheduler" and, if
    they are trained, the text encoders; `draw_own` is `sample.own_images.draw_own`, which
    regularization=own:N needs.  Raises InputError for input that cannot be used,
    Interrupted on Ctrl-C or SIGTERM.
    """
    run_dir, root = Path(run_dir), root or root_dir()
    if finish:
        _check_unfinished(run_dir, config)
    job = open_job(config, run_dir, base, root)
    origin, processes = job.origin, job.processes
    mirror = Mirror(config.mirror, run_dir) if config.mirror and processes.main else None
    with _claimed(run_dir, origin.request, mirror) if processes.main else nullcontext():
        if processes.broadcast(processes.main and is_finished(run_dir, config.method)):
            return _open_finished(run_dir, config.method, mirror)
        log.info(job.machine)
        caches = _open_caches(job, root, draw_own)
        if processes.main:
            ids = [origin.source.item_ids[item] for item in job.split[1]]
            write_json(run_dir / "held_out.json", ids)
        trainer = build_trainer(job, *caches)
        if processes.main:
            warn_of_shortages(trainer, origin.base, run_dir, root)
        loop = Loop(trainer, run_dir, mirror, preview, _snapshots(trainer, run_dir, origin))
        loop.run(finish)
        result = _finish(loop, origin) if processes.main else None
        if processes.main:
            _close(run_dir, mirror)
        return processes.broadcast(result)


def open_job(
    config: TrainConfig, run_dir: Path, base: BaseLocation | None = None, root: Path | None = None
) -> Job:
    """Open the data and the base of a training, split its items, and check what was given; nothing
    is written.  Raises InputError as `train` does."""
    find_trackers(config.trackers)  # refuses unknown ones
    source = open_data(config)
    config = fitted(resumed(config, run_dir), source)
    base = bases.with_text_encoder(base or bases.find_base(config.base), config.text_encoder)
    device = choose_device(config.device)
    is_captured(config, device)  # refuses it on a CPU, before the folder is claimed
    dtype, reason = choose_dtype(config.dtype, device)
    parts = {}
    if not is_finished(run_dir, config.method):  # loading takes seconds
        own = dtype if config.method == "lora" else torch.float32  # of the frozen UNet
        parts = {"unet": load_part(base, "unet", own), "scheduler": noise_schedule(base, config)}
        parts["family"] = base.architecture
        check_weights(parts["unet"], config, memory_limit(config.memory_gb, device))
    split = split_items(source, config)
    classes = find_classes(config.classes, source.attributes) if config.classes else Classes()
    other = open_regularization(config, source, split[0], base, root or root_dir())
    origin = Origin(config, source, base, classes, _digests(source, base, other), other)
    processes = Processes(device)
    _check_share(processes, config)
    machine = f"device {device}, {str(dtype).removeprefix('torch.')}: {reason}"
    return Job(origin, split, parts, dtype, machine, processes)


def _open_caches(job: Job, root: Path, draw_own: Draw | None) -> list[LatentCache | None]:
    """Return the latent caches of the items and of the regularization images, None without any;
    those that the base draws itself are drawn first."""
    origin, processes = job.origin, job.processes
    if isinstance(own := origin.regularization, OwnImages) and processes.main:
        own.complete(origin.config.base, processes.device, draw_own)
    how = {"root": root, "processes": processes, "mirror": origin.config.mirror}
    made_from = (origin.cached, origin.cached_regularization)
    return [one and open_cache(**how, **one) for one in made_from]


def build_trainer(
    job: Job, cache: LatentCache, regularization: LatentCache | None = None
) -> Trainer:
    """Return the trainer of a job at step 0, with the parts of its base prepared."""
    origin, parts = job.origin, job.parts
    config, data = origin.config, _data(job, cache)
    data.regularization = regularization
    caches = filter(None, (cache, regularization))
    is_stored = all(one.embeds is not None for one in caches)
    if config.text_rank or not is_stored:
        encoders = origin.base.architecture.text_encoders
        parts |= {part: load_part(origin.base, part) for part in encoders}
    parts["unet"] = reset_weights(parts["unet"], config.start, seed_for(config.seed, "unet"))
    if origin.classes.words:
        add_classes(parts["unet"], origin.classes)
    return Trainer(config, parts, data, job.dtype, job.processes)


def _check_unfinished(run_dir: Path, config: TrainConfig) -> None:
    """Raise InputError for a training that is finished, or that never began."""
    if is_finished(run_dir, config.method):
        raise InputError("nothing-to-finish.done", path=run_dir)
    if not begun_settings(run_dir, config.mirror)[1]:
        raise InputError("nothing-to-finish.not-begun", path=run_dir)


def open_data(config: TrainConfig) -> Source:
    """Return a training's source with its captions, or its sample of it; raises InputError if
    needed masks are missing."""
    source = open_source(config.data, captions_optional=bool(config.captions))
    if config.captions:
        source = with_captions(source, Path(config.captions))
    if config.is_masked and source.regions(0) is None:
        raise InputError("no-masks", name=source.name)
    return sampled(source, config.sample, config.split_seed)


def _digests(source: Source, base: BaseLocation, regularization: Source | None) -> dict[str, str]:
    """Return digests of the data, the base and, if it is not the base's own, the text encoder, and
    of regularization images; they stay the same when files are moved."""
    digests = {"data_fingerprint": source.fingerprint, "base_digest": bases.base_digest(base)}
    if regularization:
        digests["regularization_fingerprint"] = regularization.fingerprint
    if base.text_encoder:
        digests["text_encoder_digest"] = bases.text_digest(base)
    return digests


def _check_share(processes: Processes, config: TrainConfig) -> None:
    """Raise InputError if a process would have no sample of a step."""
    samples = config.samples_per_step
    if processes.count > samples:
        raise InputError("too-many-processes", count=processes.count, samples=samples)


@contextmanager
def _claimed(run_dir: Path, request: dict, mirror: Mirror | None) -> Iterator[None]:
    """Make `run_dir` the folder of this training and hold its lock; restore it from its mirror if
    it is empty.  Raises InputError if either holds another training, or another process has it."""
    check_claim(run_dir, request, **CLAIM)
    with writing(run_dir):
        if mirror:
            mirror.restore(lambda folder: check_claim(folder, request, **CLAIM))
        claim_dir(run_dir, request, **CLAIM)
        yield


def _open_finished(run_dir: Path, method: str, mirror: Mirror | None) -> dict:
    """Return the result of a finished training, and copy to its mirror what is missing there."""
    log.info(f"this training is finished already; its result is in {run_dir}")
    done = mirror and is_finished(mirror.folder, method)
    _close(run_dir, None if done and not newest_first(mirror.folder / "checkpoints") else mirror)
    result = read_record(run_dir / "result.json", "result")
    # of an older version, which kept the last step and did not say so
    last = {"kept_step": result.get("steps"), "validation_loss_last": result.get("held_out_loss")}
    return last | result


def _data(job: Job, cache: LatentCache) -> Data:
    """Return the latent cache with the split, labels and item weights."""
    config, attributes = job.origin.config, job.origin.source.attributes
    data = Data(cache, *job.split)
    if job.origin.classes.words:
        data.labels = np.array(job.origin.classes.labels(attributes[: cache.num_items]))
    if config.balance:
        data.weights = np.zeros(len(attributes))
        weights = item_weights([attributes[item] for item in data.train_items], config.balance)
        data.weights[data.train_items] = weights
        size = f"effective sample size {effective_sample_size(weights):.0f} of {len(weights)}"
        log.info(f"items balanced by {config.balance}: {size}")
    return data


def _finish(loop: Loop, origin: Origin) -> dict:
    """Write and check the trained weights, then write result.json, which marks the run as done.

    Raises InputError where the disk is full: the training resumes from its newest checkpoint.
    """
    try:
        return _write_result(loop, origin)
    except Exception as error:
        if not is_disk_full(error):
            raise
        step, folder = resumes_at(loop.run_dir), loop.run_dir
        raise InputError("disk-full.result", folder=folder, step=step) from error


def _write_result(loop: Loop, origin: Origin) -> dict:
    trainer, run_dir = loop.trainer, loop.run_dir
    kept = trainer.step
    with trainer.model.with_ema():
        if origin.config.method == "lora":
            if loop.snapshots:
                kept = loop.snapshots.load_best(trainer.model.trained(), loop.curve, kept)
            _save_adapter(trainer, run_dir, origin, kept)
        else:
            unet = trainer.model.unet.to(memory_format=torch.contiguous_format)
            scheduler = noise_schedule(origin.base, origin.config)
            bases.save_pipeline(origin.base, unet, run_dir / "pipeline", scheduler)
            if origin.config.method == "baseline":
                origin.classes.save(run_dir / "pipeline")
    result = result_of(loop, kept)
    write_json(run_dir / "result.json", result)
    for line in outcome(result):
        log.info(line)
    return result


def _snapshots(trainer: Trainer, run_dir: Path, origin: Origin) -> Snapshots | None:
    """Return where the adapter of each evaluation is kept, None if the last one is the result."""
    config = origin.config
    about = partial(metadata_of, trainer, origin)
    return Snapshots(run_dir, config.keep_snapshots, about) if config.keep == "best" else None


def _save_adapter(trainer: Trainer, run_dir: Path, origin: Origin, step: int) -> None:
    path, base, models = run_dir / "adapter.safetensors", origin.base, trainer.model.trained()
    if base.text_encoder:
        load_part(base, base.tuned_part).save_pretrained(run_dir / bases.TEXT_ENCODER_DIR)
    save_adapter(models, path, metadata_of(trainer, origin, step))
    check_adapter(models, path, base)
    write_words(base, run_dir, [origin.source.captions[i] for i in trainer.data.train_items])
    log.info(f"{path} and {kohya_path(path).name} were loaded again and checked")


def _close(run_dir: Path, mirror: Mirror | None) -> None:
    """Copy the result to the mirror, then delete the checkpoints, which a finished training no
    longer needs: 10 GB for all weights of SD 1.5."""
    if mirror:
        mirror.update(finished=True)
    if not (mirror and mirror.failing):
        remove_checkpoints(run_dir / "checkpoints")
