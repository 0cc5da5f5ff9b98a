"""How much of a disk does a training need, and is it free?"""

import logging
import shutil
from pathlib import Path

from tvhelpers.config import OPTIMIZERS
from tvhelpers.models.base import BaseLocation, load_part
from tvhelpers.train.memory import GB

log = logging.getLogger(__name__)


def disk_sizes(trainer, base: BaseLocation, run_dir: Path, root: Path) -> dict[str, float]:
    """Return the disk space that is needed and free, where the cache and where the run is; keys in
    _gb are in units of 2**30 bytes.

    One more checkpoint than is kept is there while it is written.  "there_gb" is what the run has
    written already.
    """
    config, caches = trainer.config, filter(None, (trainer.data.cache, trainer.data.regularization))
    weights = sum(weight.numel() for weight in trainer.model.weights)
    state = 4 * (1 + (config.ema_decay > 0)) + OPTIMIZERS[config.optimizer].state_bytes
    best = config.keep == "best"  # then the last adapter lies beside the result
    adapters = 4 * (2 + best) * weights  # the result is written in two formats
    sizes = {
        "cache": sum(cache.num_bytes for cache in caches if not cache.folder.is_dir()),
        "cache_free": _free(root),
        "checkpoints": (config.keep_checkpoints + 1) * state * weights,
        "snapshots": best * 4 * (config.keep_snapshots + 1) * weights,  # the newest and the best
        "result": adapters if config.method == "lora" else _pipeline_bytes(trainer, base),
        "there": sum(path.stat().st_size for path in run_dir.glob("*/step-*") if path.is_file()),
        "free": _free(run_dir),
    }
    same = _existing(root).stat().st_dev == _existing(run_dir).stat().st_dev
    return {f"{name}_gb": size / GB for name, size in sizes.items()} | {"same_disk": same}


def shortages(disk: dict) -> list[str]:
    """Return a line for each disk on which less is free than is needed; `disk` as `disk_sizes`."""
    run, cache = disk["checkpoints_gb"] + disk["snapshots_gb"] + disk["result_gb"], disk["cache_gb"]
    run = max(run - disk["there_gb"], 0)
    places = {"the latent cache": (cache, disk["cache_free_gb"]), "the run": (run, disk["free_gb"])}
    if disk["same_disk"]:
        places = {"latent cache and run" if cache else "the run": (run + cache, disk["free_gb"])}
    return [
        f"the disk of {what} is too small: {in_size(needed)} needed, {in_size(free)} free"
        for what, (needed, free) in places.items()
        if needed > free
    ]


def warn_of_shortages(trainer, base: BaseLocation, run_dir: Path, root: Path) -> None:
    """Log a warning for each disk that is too small for a training, and what its mirror gets."""
    disk = disk_sizes(trainer, base, run_dir, root)
    for line in shortages(disk):
        log.warning(line)
    if trainer.config.mirror:
        _say_mirror(Path(trainer.config.mirror), disk, trainer.config.keep_checkpoints)


def _say_mirror(mirror: Path, disk: dict, kept: int) -> None:
    """Log how much a training writes to its mirror; two checkpoints are there for a moment."""
    a_checkpoint, result = disk["checkpoints_gb"] / (kept + 1), disk["result_gb"]
    needed, free = max(2 * a_checkpoint, result), _free(mirror) / GB
    log.info(
        f"mirror {mirror}: the newest checkpoint, {in_size(a_checkpoint)}, and in its place at the "
        f"end the result, {in_size(result)}; {in_size(free)} are free there"
    )
    if needed > free:
        log.warning(
            f"that may be too little room for the mirror: {in_size(needed)} are needed at most; "
            "what does not fit stays on this machine alone"
        )


def in_size(gigabytes: float) -> str:
    """Return "1.5 GB", or "20.0 MB"."""
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{1024 * gigabytes:.1f} MB"


def _pipeline_bytes(trainer, base: BaseLocation) -> int:
    """Return the bytes of a base's pipeline in fp32."""
    parts = ("vae", *base.architecture.text_encoders)
    networks = [trainer.model.unet, *(load_part(base, part) for part in parts)]
    return 4 * sum(weight.numel() for network in networks for weight in network.parameters())


def _free(path: Path) -> int:
    """Return the free bytes of the disk on which a folder is or would be."""
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    """Return a path, or the first of the folders above it that exists."""
    places = (path.absolute(), *path.absolute().parents)
    return next(place for place in places if place.exists())
