"""A whole training: from data and a base to an adapter, or to a whole pipeline."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from tvhelpers import manifest
from tvhelpers.config import InputError, TrainConfig, to_dict
from tvhelpers.data.caption_files import with_captions
from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.files import locked, make_dir
from tvhelpers.lora.adapter import check_adapter, kohya_path, save_adapter
from tvhelpers.models.base import (
    TEXT_ENCODER_DIR,
    BaseLocation,
    base_digest,
    find_base,
    load_part,
    own_resolution,
    save_pipeline,
    text_digest,
    with_text_encoder,
)
from tvhelpers.models.baseline import Classes, add_classes, find_classes, forgetful
from tvhelpers.records import check_claim, claim_dir, read_json, write_json
from tvhelpers.runtime import choose_device, choose_dtype, root_dir, seed_for, spoken_progress
from tvhelpers.train import diffusion
from tvhelpers.train.checkpoint import newest_first
from tvhelpers.train.distributed import Processes
from tvhelpers.train.latents import LatentCache, open_cache
from tvhelpers.train.log import RunLog
from tvhelpers.train.loop import Loop
from tvhelpers.train.mirror import Mirror
from tvhelpers.train.resume import MAY_DIFFER
from tvhelpers.train.schedule import scheduler_changes
from tvhelpers.train.step import Trainer


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    base: BaseLocation | None = None,
    root: Path | None = None,
    preview: Callable[[int, dict], None] | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Train as `config` says, or go on with it, and return what result.json holds.

    Writes run_dir/{config.json, held_out.json, log.jsonl, eval.jsonl, speed.jsonl, tensorboard/,
    result.json} and, for "lora", adapter.safetensors; for "full" and "baseline", pipeline/; and
    checkpoints/ until it is finished.  Under `accelerate launch` the processes share each step's
    samples.
    `base` is where the base is, by default find_base(config.base); `root` holds artifacts/, by
    default $TV_ROOT.
    `preview(step, parts)` is called after each evaluation with the "unet", the "scheduler" and, if
    it is trained, the "text_encoder".  Raises InputError for what cannot be used, Interrupted on
    Ctrl-C or SIGTERM.
    """
    run_dir = Path(run_dir)
    source = _open_data(config)
    base = with_text_encoder(base or find_base(config.base), config.text_encoder)
    root = root or root_dir()
    device = choose_device(config.device)
    dtype, reason = choose_dtype(config.dtype, device)
    digest = base_digest(base)
    if not is_finished(run_dir, config.method):  # loading takes seconds
        unet, scheduler = load_part(base, "unet"), noise_schedule(base, config)
    train_items, held_out = split_items(source, config)
    classes = find_classes(config.classes, source.attributes) if config.classes else Classes()
    named = {"data_fingerprint": source.fingerprint, "base_digest": digest, **_heard(base)}
    processes = Processes(device)
    _check_share(processes, config)
    say = say if processes.main else lambda text: None
    mirror = Mirror(config.mirror, run_dir, say) if config.mirror and processes.main else None
    with locked(make_dir(run_dir) / ".lock") if processes.main else contextlib.nullcontext():
        if processes.main:
            _claim(run_dir, {**to_dict(config), **named}, mirror)
        if processes.share(processes.main and is_finished(run_dir, config.method)):
            return _open_finished(run_dir, config.method, mirror, say)
        say(f"device {device}, {str(dtype).removeprefix('torch.')}: {reason}")
        cache = _open_cache(source, base, config, root, device, processes, say)
        heard = config.text_rank or cache.embeds is None  # else its states are enough
        text_encoder = load_part(base, "text_encoder") if heard else None
        if processes.main:
            write_json(run_dir / "held_out.json", [source.item_ids[item] for item in held_out])
        unet = forgetful(unet, config.start, seed_for(config.seed, "unet"))
        if classes.words:
            add_classes(unet, classes)
        data = (cache, train_items, held_out)
        trainer = Trainer(config, unet, scheduler, *data, device, dtype, processes, text_encoder)
        trainer.choose_items(source, classes, say)
        Loop(trainer, run_dir, mirror, preview, say).run()
        finish = _finish if processes.main else lambda *rest: None
        result = finish(trainer, run_dir, base, digest, source.fingerprint, classes, say)
        if processes.main:
            _close(run_dir, mirror)
        return processes.share(result)


def _check_share(processes: Processes, config: TrainConfig) -> None:
    """Raise InputError where a process would have no sample of a step."""
    samples = config.batch_size * config.accumulate
    if processes.count > samples:
        raise InputError(
            f"{processes.count} processes share {samples} samples a step; start {samples} at most, "
            "or raise batch_size"
        )


def _open_finished(run_dir: Path, method: str, mirror: Mirror | None, say) -> dict:
    """Return the result of a finished training, and give its mirror what did not come there."""
    say(f"{run_dir} holds this training already, finished")
    done = mirror and is_finished(mirror.folder, method)
    _close(run_dir, None if done and not newest_first(mirror.folder / "checkpoints") else mirror)
    return read_json(run_dir / "result.json")


def _close(run_dir: Path, mirror: Mirror | None) -> None:
    """Give the mirror the result, then give back the disk that a finished training needs no more:
    10 GB for all of SD 1.5."""
    if mirror:
        mirror.update(finished=True)
    if mirror and mirror.failing:
        return
    shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)


def _heard(base: BaseLocation) -> dict:
    """Return what names the text encoder, where it is not the base's own."""
    return {"text_encoder_digest": text_digest(base)} if base.text_encoder else {}


def _open_data(config: TrainConfig) -> Source:
    """Return the training's source with its captions; raises InputError where it lacks masks."""
    source = open_source(config.data, bare=bool(config.captions))
    if config.captions:
        source = with_captions(source, Path(config.captions))
    if config.is_masked and source.regions(0) is None:
        raise InputError(
            f"{source.name} has no masks, by which garment_weight, skin_weight and "
            "background_weight could be told apart; leave these alike"
        )
    return source


def _open_cache(source, base, config, root: Path, device, processes, say) -> LatentCache:
    return open_cache(
        source,
        base,
        config.resolution or own_resolution(base),
        config.flip,
        root,
        limit=config.limit,
        device=device,
        progress=spoken_progress(say, "latent cache"),
        processes=processes,
    )


def _claim(run_dir: Path, request: dict, mirror: Mirror | None) -> None:
    """Make `run_dir` the folder of this training, brought back from its mirror where it is empty;
    raises InputError where either holds another training."""
    claim = {"what": "training", "marker": "config.json"}
    claim["ignore"] = MAY_DIFFER
    if mirror:
        mirror.restore(lambda folder: check_claim(folder, request, **claim))
    claim_dir(run_dir, request, **claim)


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
        "scheduler": scheduler_changes(config),
        "licences": {key: rows[name]["licence"] for key, name in names.items() if name in rows},
    }


def _finish(
    trainer: Trainer, run_dir: Path, base, digest: str, fingerprint: str, classes: Classes, say
) -> dict:
    """Write what was trained and check it, then write result.json, which marks the run as done."""
    config = trainer.config
    with trainer.averaged_weights():
        if config.method == "lora":
            path, models = run_dir / "adapter.safetensors", trainer.models()
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
        "num_items": trainer.num_items,
        "num_held_out": len(trainer.held_out),
        "held_out_loss_base": curve[0]["held_out_loss"],
        "held_out_loss": curve[-1]["held_out_loss"],
    }
    write_json(run_dir / "result.json", result)
    before, after = result["held_out_loss_base"], result["held_out_loss"]
    say(f"held-out fixed-noise loss {before:.4f} -> {after:.4f} ({after / before - 1:+.1%})")
    return result
