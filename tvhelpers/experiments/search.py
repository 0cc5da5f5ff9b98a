"""Which settings are best?  A random search whose result no order and no number of workers changes.

Trial i has settings that are a function of (seed, i) alone, an ordinary run folder, and, once it
has ended, trials/<i>.json.  Whoever holds the lock of a trial runs it: a second worker takes the
next one, and after a kill the next call resumes its run folder.  Optuna's study holds the trials
that have ended, for its plots and its dashboard.
"""

import contextlib
import importlib.util
import logging
import math
import multiprocessing
import os
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import TrainConfig, check_range
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.experiments import measure
from tvhelpers.experiments.items import Items
from tvhelpers.experiments.rows import Arm, Experiment
from tvhelpers.experiments.run import Bench, results_of
from tvhelpers.files import locked, make_dir, naming_full_disk, writing_beside
from tvhelpers.models.base import find_base, load_part
from tvhelpers.progress import progress_bar
from tvhelpers.records import claim_dir, read_record, write_json
from tvhelpers.runtime import seed_for
from tvhelpers.train.checkpoint import remove_checkpoints
from tvhelpers.train.log import read_evaluations
from tvhelpers.train.trainer import train

log = logging.getLogger(__name__)
NAME = "search"
BATCHES = {"4": (4, 1), "8": (8, 1), "16": (16, 1), "64": (16, 4)}  # images at once, accumulation
EPOCHS, LEAST_ITEMS = (2, 10), 24
# {setting: (lowest, highest) of a log-uniform number, or what is chosen from}
SPACE: dict[str, tuple | list] = {
    "learning_rate": (2e-5, 2e-3),
    "optimizer": ["adamw", "adam"],
    "batch": [*BATCHES],
    "epochs": [*range(EPOCHS[0], EPOCHS[1] + 1)],
    "prediction": ["epsilon", "v_prediction"],
    "zero_terminal_snr": [False, True],  # the noise schedule; for v_prediction alone
    "min_snr_gamma": [0.0, 5.0],
    "rank": [2, 4, 8, 16, 32],
    "caption_dropout": [0.0, 0.1, 0.2],
}
# A trial ends at this share of its steps if its validation loss, divided by that before the
# training, is above the limit.
LIMITS = ((1 / 3, 1.05), (2 / 3, 1.0))
PAPER = {"method": "full", "learning_rate": 5e-5, "batch": "8", "epochs": 5, "optimizer": "adamw",
         "caption_dropout": 0.0, "min_snr_gamma": 0.0, "schedule": "constant",
         "warmup_steps": 0}  # fmt: skip
FRESH = (11, 12, 13)  # seeds of the comparison at the end
CLAIM = {"what": "search", "marker": "request.json"}


class Pruned(Exception):
    """A trial's validation loss is above its limit at this step."""


@dataclass(frozen=True)
class Search:
    """A search on a bench: its seed, and how many trials it has."""

    bench: Bench
    trials: int
    seed: int = 0

    @property
    def folder(self) -> Path:
        """The folder of its trials, runs and study."""
        return self.bench.out / NAME

    @cached_property
    def items(self) -> Path:
        """The folder of the items that trials train on: so many that the most epochs are within
        the limit of a run."""
        few = len(self.bench.parts["train"])
        most = max(LEAST_ITEMS, self.bench.scale.image_steps // EPOCHS[1])
        return self.bench.items("train", Items(count=min(most, few)))

    @cached_property
    def fixed(self) -> dict:
        """Settings without a choice: a base of zero terminal SNR cannot learn the noise alone."""
        config = load_part(find_base(self.bench.base), "scheduler").config
        is_zero = config.get("rescale_betas_zero_snr", False)
        return {"prediction": "v_prediction", "zero_terminal_snr": True} if is_zero else {}

    def params(self, number: int) -> dict:
        """Return the settings of a trial."""
        return settings_of(self.seed, number) | self.fixed

    @property
    def request(self) -> dict:
        """What identifies the search, as JSON."""
        names = [self.items.name, self.bench.items("selection").name]
        row = {"seed": self.seed, "space": {k: [*v] for k, v in SPACE.items()}, "items": names}
        return row | {"limits": [[*x] for x in LIMITS], "base_digest": self.bench.base_digest,
                      "scale": self.bench.scale.name}  # fmt: skip

    def path(self, number: int) -> Path:
        """Return the file of a trial that has ended."""
        return self.folder / "trials" / f"{number:04d}.json"

    def config(self, params: dict, seed: int) -> TrainConfig:
        """Return the settings of a training with some of SPACE, evaluated at each third."""
        batch, steps, row = BATCHES[params["batch"]], self._steps(params), {**params}
        del row["batch"], row["epochs"]
        scale = self.bench.scale
        row |= {"batch_size": batch[0], "accumulate": batch[1], "steps": steps}
        row |= {"eval_steps": math.ceil(steps / 3), "checkpoint_steps": 25}
        arm = Arm("", {**scale.train, **row})
        given = {"base": self.bench.base, "data": str(self.items.resolve()), "seed": seed}
        return scale.config(arm, **given)

    def _steps(self, params: dict) -> int:
        items = 0.9 * len(open_source(self.items))
        return max(3, round(params["epochs"] * items / math.prod(BATCHES[params["batch"]])))


def settings_of(seed: int, number: int) -> dict:
    """Return settings of SPACE, a function of the seed and a trial's number."""
    rng = np.random.default_rng(seed_for(seed, "trial", number))
    found = {}
    for name, values in SPACE.items():
        if isinstance(values, tuple):
            low, high = map(math.log, values)
            found[name] = float(f"{math.exp(rng.uniform(low, high)):.3g}")
        else:
            found[name] = values[int(rng.integers(len(values)))]
    if found["prediction"] == "epsilon":
        found["zero_terminal_snr"] = False
    return found


def run_search(search: Search, workers: int = 1) -> dict:
    """Run, resume or open a search; write OUT/search.json, and return its content.

    Raises InputError without Optuna and where the disk is full, and TakenError where the folder has
    another search.
    """
    if not importlib.util.find_spec("optuna"):
        raise InputError("no-optuna")
    check_range("trials", search.trials, 1, 10_000)
    check_range("workers", workers, 1, 64)
    with naming_full_disk(search.bench.out):
        _run_trials(search, workers)
        with writing_beside(search.bench.out / f"{NAME}.json"):
            return finished(search)


def _run_trials(search: Search, workers: int) -> None:
    """Run the trials in this process and `workers` - 1 others."""
    claim_dir(search.folder, search.request, **CLAIM)
    from tvhelpers.experiments.trials import open_study

    open_study(search)  # that of another search is refused before anything is trained
    context = multiprocessing.get_context("spawn")
    fresh = replace(search, bench=replace(search.bench))  # without what is open
    others = [context.Process(target=_help, args=(fresh, os.getpid())) for _ in range(workers - 1)]
    for other in others:
        other.start()
    try:
        work(search)
    finally:
        for other in others:
            other.terminate()
            other.join()


def _help(search: Search, parent: int) -> None:
    """Run trials beside the process `parent`, which meets a full disk itself, and says it."""
    with contextlib.suppress(InputError), naming_full_disk(search.bench.out):
        work(search, parent)


def work(search: Search, parent: int = 0) -> None:
    """Run trials until all have ended; a worker whose `parent` process has ended ends too.

    All trainings use one thread: sums on several have other digits.
    """
    torch.set_num_threads(1)
    make_dir(search.folder / "trials")
    with progress_bar("trials", search.trials, done=_ended(search)) as bar:
        while _ended(search) < search.trials:
            taken = [_take(search, number) for number in range(search.trials)
                     if not parent or parent == os.getppid()]  # fmt: skip
            bar.update(_ended(search) - bar.n)
            if parent and parent != os.getppid():
                return
            if not any(taken):  # others run the last ones
                time.sleep(1)


def _ended(search: Search) -> int:
    return sum(search.path(number).exists() for number in range(search.trials))


def _take(search: Search, number: int) -> bool:
    """Run a trial unless it has ended or another process has it; return whether it was run."""
    path = search.path(number)
    if path.exists():
        return False
    try:
        with locked(path.with_name(f".{path.stem}.lock")):
            if not path.exists():
                write_json(path, _trial(search, number))
    except InputError as error:
        if error.code != "at-work":
            raise
        return False
    from tvhelpers.experiments.trials import add_trial

    add_trial(search, number)
    return True


def _trial(search: Search, number: int) -> dict:
    """Return the row of a trial, which is run or resumed."""
    params = search.params(number)
    config, folder = search.config(params, search.seed), search.folder / "runs" / f"{number:04d}"
    log.info(f"trial {number}: {params}")

    def watch(step: int = 0, parts: dict | None = None) -> None:
        """Raise Pruned if a limit is exceeded."""
        for row in pruned_at(read_evaluations(folder), config.steps):
            raise Pruned(row["step"])

    row = {"number": number, "params": params}
    try:
        watch()  # of a trial that was killed as it was pruned
        train(config, folder, root=search.bench.out, preview=watch)
    except Pruned as pruned:
        remove_checkpoints(folder / "checkpoints")
        return {**row, "state": "pruned", "step": pruned.args[0], "loss": None}
    bench = search.bench
    loss = measure.test_loss(bench.base, bench.items("selection"), bench.out, folder)
    return {**row, "state": "complete", "step": config.steps, "loss": loss}


def pruned_at(evaluations: list[dict], steps: int) -> list[dict]:
    """Return the evaluations whose loss is above its limit in LIMITS."""
    first, found = evaluations[0]["validation_loss"] if evaluations else 0.0, []
    for share, limit in LIMITS:
        place = next((x for x in evaluations if x["step"] >= share * steps), None)
        if place and place["step"] < steps and place["validation_loss"] > limit * first:
            found.append(place)
    return found


def finished(search: Search) -> dict:
    """Write and return the results of a search whose trials have ended: the trials, the best one as
    a preset, and its comparison with the paper's settings and the default on test items."""
    rows = [read_record(search.path(number), "trial") for number in range(search.trials)]
    done = [row for row in rows if row["state"] == "complete"]
    if not done:
        raise InputError("no-trial-left", count=len(rows))
    best = min(done, key=lambda row: (row["loss"], row["number"]))
    from tvhelpers.experiments.trials import importances

    compared = compare_best(search, best["params"])
    write_json(search.folder / "best.json", preset_of(search, best["params"]))
    result = {**compared, "experiment": NAME, "trials": rows, "best": best["number"],
              "importances": importances(search)}  # fmt: skip
    write_json(search.bench.out / f"{NAME}.json", result)
    return result


def preset_of(search: Search, params: dict) -> dict:
    """Return the settings of a trial as a file that `train --preset` takes: epochs, not steps."""
    batch = BATCHES[params["batch"]]
    row = {key: value for key, value in params.items() if key != "batch"}
    return {**row, "batch_size": batch[0], "accumulate": batch[1], "keep": "last", "flip": False}


def compare_best(search: Search, params: dict) -> dict:
    """Return the results of an experiment: the best settings, the paper's and the default for as
    many images, with fresh seeds, on test items that no selection saw."""
    images = search.config(params, 0)
    images = images.steps * images.samples_per_step
    items = {"count": len(open_source(search.items))}
    default = {"batch_size": 8, "steps": max(1, images // 8)}
    arms = {"the paper's settings": PAPER, "default": default, "best of the search": params}
    rows = []
    for name, own in arms.items():
        if "batch" in own:
            config = search.config({**own}, 0)
            own = {key: value for key, value in own.items() if key not in ("batch", "epochs")}
            own |= {"batch_size": config.batch_size}
            own["accumulate"] = config.accumulate  # stable name
            own["steps"] = max(1, images // config.samples_per_step)
        rows.append(Arm(name, own, items=items))
    experiment = Experiment(
        NAME, "Which settings are best?",
        "Section 5.5: of rates from 2e-5 to 5e-5, 5e-5 with AdamW, batch size 8 and 5 epochs were "
        "chosen.", "the paper's settings", ("test_loss", "attribute:all", "kernel_distance"),
        tuple(rows),
    )  # fmt: skip
    fresh = FRESH[: len(search.bench.scale.seeds)]
    bench = replace(search.bench, scale=replace(search.bench.scale, seeds=fresh))
    return results_of(experiment, bench)
