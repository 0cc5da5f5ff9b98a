"""Claim: with 30 photos, the adapter that a training keeps (best validation loss) has no higher
loss on photos that neither training nor selection saw than the adapter of its last step.

python benchmarks/small_data.py WORK_DIR [--seeds 0,1,2,3,4]      writes results/small_data.json

Each seed draws 30 photos to train mini on, with the preset `cpu` (whose numbers fit the data), and
200 others; the loss on these is a mean over fixed timesteps and noises, the same for all adapters.
The interval of the mean gain is over seeds (t distribution).  WORK_DIR/row-SEED.json holds what a
seed gave; the result is written after each, of all that are there.
"""

import argparse
import csv
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import shared_folder, write_result
from scipy.stats import t

from tvhelpers.config import TrainConfig, build_config
from tvhelpers.data.sources import open_source
from tvhelpers.lora.adapter import load_layers
from tvhelpers.lora.formats import read_adapter
from tvhelpers.models.base import find_base, load_part
from tvhelpers.records import read_json, write_json
from tvhelpers.train.batches import Data
from tvhelpers.train.evaluation import item_losses
from tvhelpers.train.latents import open_cache
from tvhelpers.train.log import read_evaluations
from tvhelpers.train.model import noise_schedule
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

PHOTOS, UNSEEN, NOISES = 30, 200, 4


def write_photos(folder: Path, rows: list[dict]) -> Path:
    """Write a folder of photos with their table, unless it is there; return it."""
    table = folder / "metadata.csv"
    if not table.exists():
        for row in rows:
            target = folder / row["file_name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shared_folder() / "data" / "clothing" / row["file_name"], target)
        with open(table, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, ["file_name", "category", "colour"], extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(rows)
    return folder


def photos_of(work: Path, seed: int) -> tuple[Path, Path]:
    """Return the folders of the photos to train on, and of those that are never seen."""
    table = shared_folder() / "data" / "clothing" / "metadata.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    order = np.random.default_rng(seed).permutation(len(rows))[: PHOTOS + UNSEEN]
    chosen = [rows[i] for i in order]
    names = f"train-{seed}", f"unseen-{seed}"
    parts = chosen[:PHOTOS], chosen[PHOTOS:]
    return tuple(write_photos(work / name, part) for name, part in zip(names, parts))


def losses(config: TrainConfig, photos: Path, adapters: list[Path | None], root: Path):
    """Return the loss (adapters, photos) of each photo with each adapter, None for the base."""
    base, source = find_base(config.base), open_source(str(photos))
    cache = open_cache(source, base, 128, False, root)
    items = np.arange(len(source))
    parts = {"unet": load_part(base, "unet"), "scheduler": noise_schedule(base, config)}
    parts["family"] = base.architecture
    if cache.embeds is None:
        parts |= {part: load_part(base, part) for part in base.architecture.text_encoders}
    trainer = Trainer(
        replace(config, steps=1, flip=False, ema_decay=0.0), parts, Data(cache, items, items)
    )
    rows = []
    for path in adapters:
        if path:  # the new layers of a model change nothing: it is the base
            load_layers(trainer.model.trained(), read_adapter(path))
        noises = []
        for noise in range(NOISES):
            trainer.batches.config = replace(trainer.config, split_seed=1000 + noise)
            noises.append(item_losses(trainer, items).numpy())
        rows.append(np.mean(noises, 0))
    return np.array(rows)


def one_seed(work: Path, seed: int, changes: dict) -> dict:
    """Return the losses of one training on photos that it never saw."""
    began, (photos, unseen) = time.monotonic(), photos_of(work, seed)
    run = work / f"run-{seed}"
    config = build_config("cpu", data=str(photos), seed=seed, split_seed=seed, **changes)
    result = train(config, run, root=work)
    minutes = (time.monotonic() - began) / 60
    names = [None, run / "adapter.safetensors", run / "adapter_last.safetensors"]
    base, kept, last = losses(config, unseen, names, work)
    curve = {row["step"]: row["validation_loss"] for row in read_evaluations(run)}
    return {
        "seed": seed,
        "steps": result["steps"],
        "kept_step": result["kept_step"],
        "validation_items": result["num_held_out"],
        "validation_loss": curve,
        "unseen_loss": dict(base=base.mean(), kept=kept.mean(), last=last.mean()),
        "gain": 1 - kept.mean() / last.mean(),
        "share_of_photos_better": float((kept < last).mean()),
        "training_minutes": round(minutes, 2),
    }


def summary(rows: list[dict]) -> dict:
    """Return the mean gain over the seeds with its interval, and the losses beside the base's."""
    gains = np.array([row["gain"] for row in rows])
    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
    ratios = {
        f"{name}_to_base": float(
            np.mean([row["unseen_loss"][name] / row["unseen_loss"]["base"] for row in rows])
        )
        for name in ("kept", "last")
    }
    return {"mean_gain": gains.mean(), "ci": [gains.mean() - half, gains.mean() + half], **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    changes = dict(pair.split("=", 1) for pair in options.set)
    for seed in map(int, options.seeds.split(",")):
        path = options.work_dir / f"row-{seed}.json"
        if not path.exists():
            write_json(path, one_seed(options.work_dir, seed, changes))
        rows = [read_json(path) for path in sorted(options.work_dir.glob("row-*.json"))]
        if len(rows) > 1:
            about = {"photos": PHOTOS, "unseen_photos": UNSEEN, "noises": NOISES}
            about |= {"settings": options.set, "seeds": len(rows), **summary(rows)}
            write_result("small_data", {**about, "rows": rows})


if __name__ == "__main__":
    main()
