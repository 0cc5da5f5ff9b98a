"""What is measured of an arm?  Losses on test items, drawn images and their scores, its logs."""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import safe_open

from tvhelpers.config import REGION_WEIGHTS, TrainConfig, build_config, typed_settings
from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.items import Source
from tvhelpers.lora.adapter import load_layers
from tvhelpers.lora.formats import read_adapter
from tvhelpers.records import read_record, read_records
from tvhelpers.runtime import seed_for
from tvhelpers.score.draw_suite import caption_row
from tvhelpers.score.report import read_metrics
from tvhelpers.train.evaluation import item_losses
from tvhelpers.train.latents import open_cache
from tvhelpers.train.log import read_evaluations, read_steps
from tvhelpers.train.resume import begun_settings
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import build_trainer, open_job

DRAWS = 8  # of noise for each test item
RARE = 0.2  # share of the training items whose colours are the rarest
ADAM_BYTES = 16  # of a trained weight: itself, its gradient, two moments


def test_loss(
    base: str, items: Path, root: Path, run: Path | None = None, text_encoder: str = "",
    text: bool = True,
) -> float:  # fmt: skip
    """Return the mean loss of a folder of items for a base, or for what a run made of it.

    The unweighted squared error of the predicted noise, at timesteps and noise that depend on
    nothing but the item's place; an error of v is converted, so that both kinds compare.  `root`
    has the folder artifacts/.
    """
    trainer = open_trainer(base, items, root, run, text_encoder, text)
    rows = np.tile(np.arange(trainer.data.cache.num_items), DRAWS)
    losses = item_losses(trainer, rows).numpy()
    if trainer.scheduler.config.prediction_type == "v_prediction":
        timesteps = trainer.batches.fixed_timesteps(rows).numpy()
        losses = losses * trainer.alphas_cumprod.cpu().numpy()[timesteps]
    trainer.release()
    return float(losses.mean())


def open_trainer(
    base: str, items: Path, root: Path, run: Path | None = None, text_encoder: str = "",
    text: bool = True,
) -> Trainer:  # fmt: skip
    """Return a trainer that holds the weights of a base, or of a run, and a folder of items."""
    config = replace(_config(base, run, text_encoder, text), data=str(items), held_out=0.5)
    job = open_job(config, items)
    trainer = build_trainer(job, open_cache(root=root, **job.origin.cached))
    if run and (run / "adapter.safetensors").exists():
        load_layers(trainer.model.trained(), read_adapter(run / "adapter.safetensors"))
    return trainer


def _config(base: str, run: Path | None, text_encoder: str, text: bool) -> TrainConfig:
    """Return the settings of a trainer that holds the weights of a run, and trains nothing."""
    begun = typed_settings(TrainConfig, begun_settings(run)[1]) if run else {}
    if begun.get("method", "lora") == "lora":
        row = {"method": "lora" if text else "baseline", "keep": "last", **begun, "base": base}
        row |= {"text_encoder": text_encoder}
    else:
        row = {"method": "full", "base": str(run / "pipeline")}
        row |= {key: begun[key] for key in ("prediction", "zero_terminal_snr")}
    plain = {"ema_decay": 0.0, "flip": False, "balance": "", "regularization": ""}
    return replace(build_config(**row), **plain, **dict.fromkeys(REGION_WEIGHTS, 1.0))


def suite_rows(test: Source, count: int, seed: int, rare: set[str]) -> list[dict]:
    """Return up to `count` test items as rows of a prompt suite: their captions, the attributes
    that these state, seeds that are a function of (seed, item), and the stratum rare or frequent by
    their colour."""
    rows = []
    for item, caption, labels in zip(test.item_ids, test.captions, test.attributes, strict=True):
        stated = parse_caption(caption)
        shown = {
            name: word
            for name, word in labels.items()
            if stated.get(name) == word or re.search(rf"\b{re.escape(word)}\b", caption, re.I)
        }
        stratum = "rare" if labels.get("colour") in rare else "frequent"
        own = {"stratum": stratum, "seeds": [seed_for(seed, "image", item) % 2**32]}
        if caption.strip():
            rows.append(caption_row(item, caption, shown) | own)
    return rows[:count]


def rare_colours(attributes: list[dict[str, str]]) -> set[str]:
    """Return the rarest colours, which together at most a share RARE of the items have."""
    counts, found, taken = Counter(row.get("colour", "") for row in attributes), set(), 0
    for colour, count in sorted(counts.items(), key=lambda pair: (pair[1], pair[0])):
        taken += count
        if taken > RARE * len(attributes):
            break
        found.add(colour)
    return found - {""}


def scores_of(path: Path) -> dict[str, float]:
    """Return {name: value} of the first folder in a file that `score` wrote."""
    found = {}
    for row in read_metrics(path)["folders"][0]["metrics"]:
        found[row["name"]] = row["value"]
        parts = ("ten_split_mean", "ten_split_std", "corrected")
        names = {part: part if "split" in part else f"{row['name']}, {part}" for part in parts}
        details = {names[part]: row["details"].get(part) for part in parts}
        found |= {name: value for name, value in details.items() if value is not None}
    return found


def figures_of_run(run: Path) -> dict:
    """Return the figures that the logs and weights of a finished run give.

    `epoch_losses` are the losses of the last batch of each epoch, as the paper printed them, and
    `validation` [epoch, loss on the same noise]; `batch_loss_sd` is the spread of the last half of
    the batch losses, about a straight line.
    """
    config, result = begun_settings(run)[1], read_record(run / "result.json", "result")
    losses = [row["loss"] for row in read_steps(run) if row.get("loss") is not None]
    evaluations = read_evaluations(run)
    speeds = read_records(run / "speed.jsonl", "speed")
    samples = config["batch_size"] * config["accumulate"]
    epoch = result["num_items"] / samples  # in steps
    weights = trained_weights(run)
    last = evaluations[-1]
    return {
        "validation_loss": last["validation_loss"],
        "gap": last["validation_loss"] - last["training_slice_loss"],
        "batch_loss_sd": _spread(losses[len(losses) // 2 :]),
        "trained_weights": weights,
        "state_mb": weights * ADAM_BYTES / 2**20,
        "measured": {"memory_gb": max((row["memory_gb"] for row in speeds), default=None)},
        "losses": losses,
        "epoch_losses": [losses[end - 1] for end in _epoch_ends(len(losses), epoch)],
        "validation": [[row["step"] / epoch, row["validation_loss"]] for row in evaluations],
        "image_steps": result["steps"] * samples,
    }


def trained_weights(run: Path) -> int:
    """Return how many numbers a run trained: those of its adapter, or of its UNet."""
    paths = [run / "adapter.safetensors"] if (run / "adapter.safetensors").exists() else []
    paths = paths or sorted((run / "pipeline" / "unet").glob("*.safetensors"))
    count = 0
    for path in paths:
        with safe_open(path, "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in sorted(file.keys())]
        count += sum(map(math.prod, shapes))
    return count


def _epoch_ends(steps: int, epoch: float) -> list[int]:
    """Return the last step of each of the epochs, of `epoch` steps, that `steps` steps complete."""
    return [max(1, round(k * epoch)) for k in range(1, 1 + int(steps / epoch + 1e-9))]


def _spread(values: list[float]) -> float | None:
    """Return the standard deviation about a straight line, None for fewer than 4 values."""
    if len(values) < 4:
        return None
    steps = np.arange(len(values))
    return float(np.std(values - np.polyval(np.polyfit(steps, values, 1), steps), ddof=2))
