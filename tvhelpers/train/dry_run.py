"""What would a training do, and what would it cost?  Nothing is trained, and nothing is written."""

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tvhelpers.config import TrainConfig
from tvhelpers.data.buckets import Buckets
from tvhelpers.data.items import Source, Subset
from tvhelpers.files import check_idle
from tvhelpers.models.base import BaseLocation
from tvhelpers.records import check_claim
from tvhelpers.runtime import root_dir
from tvhelpers.train import encoding
from tvhelpers.train.checkpoint import Mirror, is_intact, read_checkpoint
from tvhelpers.train.cost import in_minutes, length_of, measure_pace
from tvhelpers.train.disk import disk_sizes, in_size, shortages
from tvhelpers.train.distributed import Processes
from tvhelpers.train.latents import (
    ARRAYS,
    LatentCache,
    buckets_of,
    cache_dir,
    cache_request,
    read_cache,
)
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
        "shapes": _shapes(trainer),
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

    A missing one is not built: its entries are zeros, and take no memory.
    """
    about, (vae, texts) = cache_request(**made_from)
    folder = cache_dir(root, about)
    if folder.is_dir():
        return read_cache(folder), 0.0
    source, device = made_from["source"], processes.device
    buckets = buckets_of(source, about, folder)
    image_seconds = _encode_few(vae.to(device), source, about, buckets)
    captions = list(dict.fromkeys(["", *source.captions[: about["num_items"]]]))
    rows, caption_seconds = _encode_captions(captions, texts, device)
    arrays = {name: _repeated(row, len(captions)) for name, row in rows.items()}
    copies, channels = 1 + about["flip"], 2 * vae.config.latent_channels
    entries, sides = copies * about["num_items"], []
    for shape, count in zip(buckets.shapes, buckets.counts.tolist(), strict=True):
        sides.append((copies * count, encoding.latent_shape(shape, about)))
    arrays["moments"] = [_repeated(np.zeros((channels, *x), np.float16), n) for n, x in sides]
    if about["masks"]:
        arrays["regions"] = [_repeated(np.zeros(x, np.uint8), n) for n, x in sides]
    if "sizes" in about:
        arrays["sizes"] = _repeated(np.zeros(6, np.int32), entries)
    arrays, index = dict.fromkeys(ARRAYS) | arrays, np.zeros(about["num_items"], np.int64)
    cache = LatentCache(folder, buckets, **arrays, caption_index=index, about=about)
    return cache, image_seconds * entries / processes.count + caption_seconds * len(captions)


def _repeated(row: np.ndarray, count: int) -> np.ndarray:
    """Return an array of `count` equal rows, which takes the memory of one."""
    return np.broadcast_to(row, (count, *row.shape))


def _encode_few(vae, source, about: dict, buckets: Buckets) -> float:
    """Return the seconds that one of the first images takes to encode; threads read ahead."""
    shape, count = buckets.shapes[buckets.bucket[0]], min(FEW, about["num_items"])

    def read(number: int) -> np.ndarray:
        rows = range(number)
        return np.stack([encoding.resized(source.pixels(i), shape, about) for i in rows])

    pixels, reading = _timed(read, count)
    encoding.encode(vae, pixels[:1], "item 0")  # the first one is slower
    _, seconds = _timed(encoding.encode, vae, pixels, "the first items")
    reading /= encoding.THREADS * (1 + about["flip"])  # the mirror image is not read
    return (seconds + reading) / count


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


def _shapes(trainer: Trainer) -> list[dict]:
    """Return the (width, height) of the images of a forward pass, and the shape of their latents
    (c, h, w), of each bucket."""
    cache, batch = trainer.data.cache, len(trainer.first_pass())
    rows = [(list(shape[::-1]), cache.latent_shape(cache.buckets.items(number)[0]))
            for number, shape in enumerate(cache.buckets.shapes)]  # fmt: skip
    return [{"image": image, "latents": list(own), "batch": batch} for image, own in rows]


def _minutes(trainer: Trainer, encoding_seconds: float) -> dict[str, float]:
    """Return the minutes that each part of the training takes."""
    place = (trainer.step, trainer.num_steps, trainer.config.eval_steps)
    return {**measure_pace(trainer).minutes(*place), "cache": encoding_seconds / 60}
