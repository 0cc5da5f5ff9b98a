"""What would a training do, and what would it cost?  Nothing is trained, and nothing is written."""

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tvhelpers.config import TrainConfig
from tvhelpers.data.items import Source, Subset
from tvhelpers.files import check_idle
from tvhelpers.image import resize
from tvhelpers.models.base import BaseLocation
from tvhelpers.records import check_claim
from tvhelpers.runtime import root_dir
from tvhelpers.train import encoding
from tvhelpers.train.checkpoint import Mirror, is_intact, read_checkpoint
from tvhelpers.train.cost import in_minutes, length_of, measure_pace
from tvhelpers.train.disk import disk_sizes, in_size, shortages
from tvhelpers.train.distributed import Processes
from tvhelpers.train.latents import ARRAYS, LatentCache, cache_dir, cache_request, read_cache
from tvhelpers.train.memory import GB, choose_micro_batch, memory_limit
from tvhelpers.train.regularization import OwnImages
from tvhelpers.train.resume import CLAIM, is_finished
from tvhelpers.train.step import Trainer
from tvhelpers.train.step_files import newest_first
from tvhelpers.train.trainer import Job, Origin, build_trainer, open_job

log = logging.getLogger(__name__)
FEW = 4  # images and captions that are encoded to time what a missing cache takes


def dry_run(
    config: TrainConfig, run_dir: Path, *,
    base: BaseLocation | None = None, root: Path | None = None,
) -> dict:  # fmt: skip
    """Return what `train` with the same arguments would do and cost.

    Data, base and folders are opened and checked as by `train`, which raises the same InputErrors;
    then passes of a micro-batch are tried.  Keys in _gb are in units of 2**30 bytes.  Memory is
    what PyTorch reserves on a GPU, and of the whole process on a CPU.
    """
    run_dir, root = Path(run_dir), root or root_dir()
    job = open_job(config, run_dir, base, root)
    folder = _begun(job, run_dir)
    if is_finished(folder, config.method):
        return {"finished": True, "run": str(folder)}
    resolution = job.origin.cached["resolution"]
    log.info(f"trying a few images of {resolution} pixels a side, which may take minutes")
    made_from = filter(None, (job.origin.cached, _regularization(job.origin)))
    found = [_open_or_stand_in(one, job.processes, root) for one in made_from]
    encoding_seconds = sum(seconds for _, seconds in found)
    trainer = build_trainer(job, *(cache for cache, _ in found))
    checkpoints = filter(is_intact, newest_first(folder / "checkpoints"))
    if newest := next(checkpoints, None):
        trainer.restore(read_checkpoint(newest))
    try:
        return _costs(trainer, job, run_dir, root, encoding_seconds)
    finally:
        trainer.release()


def _costs(trainer: Trainer, job: Job, run_dir: Path, root: Path, encoding_seconds: float) -> dict:
    """Return what `dry_run` does, of a training that is not finished."""
    config, other = job.origin.config, job.origin.regularization
    limit = memory_limit(config.memory_gb, trainer.device)
    memory = choose_micro_batch(trainer, limit)
    trainer.notice = lambda what, **more: log.info(what)
    return {
        "finished": False,
        "resumes_at": trainer.step,
        "steps": trainer.num_steps,
        "length": length_of(trainer),
        "items": {"training": len(job.split[0]), "validation": len(job.split[1])}
        | ({"regularization": len(other)} if other else {}),
        "to_draw": len(other) if _is_undrawn(other) else 0,
        "shapes": [_shape(trainer)],
        "memory": {"predicted_gb": memory / GB, "available_gb": limit and limit / GB},
        "minutes": _minutes(trainer, encoding_seconds),
        "compiles": config.compile,
        "disk": disk_sizes(trainer, job.origin.base, run_dir, root),
    }


def in_lines(found: dict) -> list[str]:
    """Return what `dry_run` found, in words."""
    if found["finished"]:
        return [f"this training is finished; its result is in {found['run']}"]
    items, memory, minutes, disk = (found[key] for key in ("items", "memory", "minutes", "disk"))
    start = f"resumes at step {found['resumes_at']}" if found["resumes_at"] else "from the start"
    shapes = [
        f"{shape['image'][0]} x {shape['image'][1]} pixels, {shape['batch']} at once"
        for shape in found["shapes"]
    ]
    available = memory["available_gb"]
    return [
        "items: " + ", ".join(f"{count:,} for {what}" for what, count in items.items()),
        f"steps: {found['length']}; {start}",
        f"images: {'; '.join(shapes)}",
        f"memory: {memory['predicted_gb']:.2f} GB predicted"
        + (f", {available:.2f} GB available" if available else ""),
        f"time: {in_minutes(sum(minutes.values()))}: steps {minutes['steps']:.1f}, evaluations "
        f"{minutes['evaluations']:.1f}, latent cache {minutes['cache']:.1f}"
        + ("; compiling takes some minutes more at first" if found["compiles"] else ""),
        "disk: latent cache {cache} ({cache_free} free), checkpoints {checkpoints}, "
        "snapshots {snapshots}, result {result} ({free} free)".format(
            **{key.removesuffix("_gb"): in_size(size) for key, size in disk.items()}
        ),
        *(["before that, the base draws the images for regularization"] * bool(found["to_draw"])),
        *(f"warning: {line}" for line in shortages(disk)),
        "nothing was trained or written",
    ]


def _begun(job: Job, run_dir: Path) -> Path:
    """Return the folder that `train` would resume from: the run's, or its mirror if that is empty.

    Raises InputError if either holds another training, or another process writes there.
    """
    request, mirror = job.origin.request, job.origin.config.mirror
    check_claim(run_dir, request, **CLAIM)
    check_idle(run_dir)
    if not mirror:
        return run_dir
    copy = Mirror(mirror, run_dir).folder
    with contextlib.suppress(OSError):  # a drive that is gone, which `train` does not need either
        check_claim(copy, request, **CLAIM)
    is_empty = not run_dir.is_dir() or all(path.name[0] == "." for path in run_dir.iterdir())
    return copy if is_empty else run_dir


def _is_undrawn(source: Source | None) -> bool:
    return isinstance(source, OwnImages) and not source.is_drawn


def _regularization(origin: Origin) -> dict | None:
    """Return what the latent cache of the regularization images is made from; where a base has not
    drawn them yet, of as many copies of the first item."""
    found, other = origin.cached_regularization, origin.regularization
    if _is_undrawn(other):
        found["source"] = Subset(origin.source, [0] * len(other))
    return found


def _open_or_stand_in(
    made_from: dict, processes: Processes, root: Path
) -> tuple[LatentCache, float]:
    """Return the latent cache, and the seconds that encoding takes.

    A missing one is not built: each of its entries is that of the first item, and takes no memory.
    """
    about, (vae, texts) = cache_request(**made_from)
    folder = cache_dir(root, about)
    if folder.is_dir():
        return read_cache(folder), 0.0
    source, device = made_from["source"], processes.device
    moments, image_seconds = _encode_few(vae.to(device), source, about)
    captions = list(dict.fromkeys(["", *source.captions[: about["num_items"]]]))
    rows, caption_seconds = _encode_captions(captions, texts, device)
    entries = about["num_items"] * (1 + about["flip"])
    items = {"moments": moments[0]}
    if about["masks"]:
        items["regions"] = encoding.latent_regions(source.regions(0), about["side"])
    if "sizes" in about:
        items["sizes"] = encoding.sizes_of(source.pixels(0), about).astype(np.int32)
    arrays = {name: _repeated(row, entries) for name, row in items.items()}
    arrays |= {name: _repeated(row, len(captions)) for name, row in rows.items()}
    index = np.zeros(about["num_items"], np.int64)
    cache = LatentCache(folder, **dict.fromkeys(ARRAYS) | arrays, caption_index=index, about=about)
    return cache, image_seconds * entries / processes.count + caption_seconds * len(captions)


def _repeated(row: np.ndarray, count: int) -> np.ndarray:
    """Return an array of `count` equal rows, which takes the memory of one."""
    return np.broadcast_to(row, (count, *row.shape))


def _encode_few(vae, source, about: dict) -> tuple[np.ndarray, float]:
    """Return the moments of the first images, and the seconds for one; threads read ahead."""
    resolution, count = about["resolution"], min(FEW, about["num_items"])

    def read(number: int) -> np.ndarray:
        return np.stack([resize(source.pixels(item), resolution) for item in range(number)])

    pixels, reading = _timed(read, count)
    encoding.encode(vae, pixels[:1], "item 0")  # the first one is slower
    moments, seconds = _timed(encoding.encode, vae, pixels, "the first items")
    reading /= encoding.THREADS * (1 + about["flip"])  # the mirror image is not read
    return moments, (seconds + reading) / count


def _encode_captions(captions: list[str], texts, device: str) -> tuple[dict, float]:
    """Return the first caption's rows of a cache, without text states if it would not hold them,
    and the seconds for one."""
    ids = texts.tokenize(captions[:FEW])
    row = {"token_ids": ids[0].int().numpy()}
    if not texts.keeps_states(len(captions)):
        return row, 0.0
    texts.encode(ids[:1], device)  # the first one is slower
    found, seconds = _timed(texts.encode, ids, device)
    return row | {name: rows[0] for name, rows in found.items()}, seconds / len(ids)


def _timed(work: Callable, *arguments) -> tuple:
    """Return the result of a call that ends on the CPU, and its seconds."""
    began = time.perf_counter()
    return work(*arguments), time.perf_counter() - began


def _shape(trainer: Trainer) -> dict:
    """Return the shape of the images of a forward pass, and of their latents (c, h, w)."""
    cache = trainer.data.cache
    _, channels, *sides = cache.moments.shape
    image = [cache.about["resolution"]] * 2
    return {"image": image, "latents": [channels // 2, *sides], "batch": len(trainer.first_pass())}


def _minutes(trainer: Trainer, encoding_seconds: float) -> dict[str, float]:
    """Return the minutes that each part of the training takes."""
    place = (trainer.step, trainer.num_steps, trainer.config.eval_steps)
    return {**measure_pace(trainer).minutes(*place), "cache": encoding_seconds / 60}
