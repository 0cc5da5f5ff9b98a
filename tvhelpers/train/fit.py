"""Which numbers of a training fit its data?  Steps, validation share, flips, evaluations."""

import math
from dataclasses import replace
from pathlib import Path

from tvhelpers.config import TrainConfig
from tvhelpers.data.items import Source
from tvhelpers.data.split import split_by_product, split_items
from tvhelpers.presets import FITS
from tvhelpers.records import read_json
from tvhelpers.train.optim import num_steps
from tvhelpers.train.resume import begun_settings

PASSES = 100  # over the training items, of a training that chooses its steps
STEPS = (200, 2000)  # fewest and most steps that it chooses
FEW_HELD, HELD_SHARE, MOST_HELD = 8, 1 / 10, 1 / 3  # validation items, and shares of all items
FLIP_FROM = 200  # items; a network learns fewer by heart, and the mirrored ones with them
EVALUATIONS, WARMUP = 10, 1 / 20  # of all steps


def fitted(config: TrainConfig, source: Source) -> TrainConfig:
    """Return the config with a number for each value that means "fits the data" (`presets.FITS`).

    Raises InputError where the data are too few to be split.
    """
    count = min(config.limit or len(source), len(source))
    share = config.held_out or _share_held(source.product_ids[:count], config.split_seed)
    flip = is_mirrored(count) if config.flip is None else config.flip
    config = replace(config, flip=flip, held_out=share)  # stable name
    if not config.steps or config.eval_steps < 0 or config.warmup_steps < 0:
        config = _with_steps(config, len(split_items(source, config)[0]))
    return config


def _share_held(product_ids: list[str], seed: int) -> float:
    """Return the share of validation items; a smaller one where whole products would make more than
    MOST_HELD of it, unless the smallest product alone is more."""
    count = len(product_ids)
    wanted = min(max(FEW_HELD, HELD_SHARE * count), MOST_HELD * count) / max(count, 1)
    shares = [round(wanted / 2**halved, 6) for halved in range(6)]
    held = (split_by_product(product_ids, share, seed).mean() for share in shares)
    fit = (share for share, seen in zip(shares, held, strict=True) if seen <= MOST_HELD)
    return next(fit, shares[-1])


def is_mirrored(num_items: int) -> bool:
    """Return whether a training has the mirrored items too, if `flip` is not given."""
    return num_items >= FLIP_FROM


def _with_steps(config: TrainConfig, num_items: int) -> TrainConfig:
    """Return the config with its steps for `num_items` training items, and what depends on them."""
    steps = num_steps(config, num_items)
    if not steps:
        wanted = round(PASSES * num_items / config.items_per_step)
        steps = min(max(wanted, STEPS[0]), STEPS[1])
    eval_steps, warmup_steps = config.eval_steps, config.warmup_steps
    return replace(
        config,
        steps=config.steps if config.epochs else steps,
        eval_steps=math.ceil(steps / EVALUATIONS) if eval_steps < 0 else eval_steps,
        warmup_steps=int(WARMUP * steps) if warmup_steps < 0 else warmup_steps,
    )


def resumed(config: TrainConfig, run_dir: Path) -> TrainConfig:
    """Return the config with the numbers that a training in `run_dir` (or its mirror) began with,
    where `config` leaves them to the data.

    A training of a version without `keep` ends as it would have then: with its last step.
    """
    folder, begun = begun_settings(run_dir, config.mirror)
    open_keys = [key for key, value in FITS.items() if getattr(config, key) == value]
    if begun and "keep" in read_json(folder / "config.json"):
        open_keys = [key for key in open_keys if key != "keep"]
    return replace(config, **{key: begun[key] for key in open_keys if key in begun})
