"""Claim: with regularization images, mini learns a new season within 2 points as well as without,
and keeps at least half of the old garments that it forgets without.

python benchmarks/regularization.py WORK_DIR [--steps 600]      writes results/regularization.json

Each seed trains mini on flats of the new season: alone, with images that mini draws itself, and
with flats of last season; always with the same steps of as many images.  The judge says of each
image which of category, colour and pattern are those of its prompt.  Prompts are of new and of old
flats that no training saw, with the same noise for all; intervals are over prompts (bootstrap), of
means over the seeds.  WORK_DIR/seed-SEED.json holds what a seed gave, the correct share of each
prompt; the result is written after each, of all that are there.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
from common import write_result

from tvhelpers.config import build_config
from tvhelpers.data.convert import write_source
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.records import read_json, write_json
from tvhelpers.sample.own_images import draw_own
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement
from tvhelpers.score.language import requests
from tvhelpers.train.trainer import train

REQUEST = Request(("a garment",), steps=20)
PROMPTS = {"new": (311, "new"), "old": (312, "base")}  # seed and season of the flats
DRAWS, LIMIT, KEPT = 2000, -0.02, 0.5  # of the bootstrap; what is claimed


def flats_folder(work: Path, season: str, count: int) -> Path:
    """Return a folder of flats of a season, which is written if it is missing."""
    folder = work / f"{season}-{count}"
    write_source(FlatsSource(310, count, season=season, name=season), folder, None, "images")
    return folder


def correct(run: Path | None, count: int, judge, seed: int) -> dict[str, list[float]]:
    """Return for new and for old prompts the share of attributes that each image shows."""
    sampler, found = Sampler("mini", str(run) if run else "none"), {}
    for name, (own, season) in PROMPTS.items():
        texts, asked = requests(own, count, season)
        jobs = [(i, text, 1000 * seed + i) for i, text in enumerate(texts)]
        drawn = [np.asarray(image) for *_, image in sampler.sample(REQUEST, jobs, batch_size=16)]
        seen = agreement(asked, judge.words(np.stack(drawn)))
        found[name] = np.mean([seen[attribute] for attribute in CORE], 0).tolist()
    return found


def one_seed(options, seed: int, judge) -> dict:
    """Return {arm: {"new", "old"}} of one seed, "base" without any training."""
    work, began = options.work_dir, time.monotonic()
    data, last = (flats_folder(work, season, options.items) for season in ("new", "base"))
    ways = {"alone": "", "own": f"own:{options.own}", "last season": str(last)}
    found = {"base": correct(None, options.prompts, judge, seed)}
    for name, regularization in ways.items():
        how = dict(data=str(data), steps=options.steps, seed=seed, keep="last", eval_steps=0)
        how |= dict(regularization=regularization, regularization_share=options.share)
        run = work / f"{name.replace(' ', '-')}-{seed}"
        train(build_config("cpu", **how), run, root=work, draw_own=draw_own)
        found[name] = correct(run, options.prompts, judge, seed)
    return {"seed": seed, "minutes": (time.monotonic() - began) / 60, "correct": found}


def means(rows: list[dict], arm: str, season: str) -> np.ndarray:
    """Return the share of each prompt (P,), a mean over the seeds."""
    return np.mean([row["correct"][arm][season] for row in rows], 0)


def gain(new: np.ndarray, alone: np.ndarray, places: np.ndarray) -> float:
    """Return how many more of the attributes are correct than without, over prompts `places`."""
    return float((new - alone)[places].mean())


def kept(old: np.ndarray, alone: np.ndarray, base: np.ndarray, places: np.ndarray) -> float:
    """Return the share of what is forgotten without that is kept; NaN if nothing is forgotten."""
    forgotten = (base - alone)[places].mean()
    return float((old - alone)[places].mean() / forgotten) if forgotten > 0 else float("nan")


def with_interval(figure, count: int) -> dict:
    """Return the value of `figure(places)` of all prompts and its 95 % interval, None for NaN."""
    rng, everything = np.random.default_rng(0), np.arange(count)
    drawn = [figure(rng.integers(count, size=count)) for _ in range(DRAWS)]
    value = figure(everything)
    if np.isnan(value):
        return {"value": None, "ci": None, "n": count}
    return {"value": value, "ci": np.nanpercentile(drawn, [2.5, 97.5]).tolist(), "n": count}


def summary(rows: list[dict]) -> dict:
    """Return the accuracy of each arm, and what each way of regularization gains and keeps."""
    arms, found = [*rows[0]["correct"]], {}
    accuracy = {
        arm: {season: float(means(rows, arm, season).mean()) for season in PROMPTS} for arm in arms
    }
    base, alone = (means(rows, arm, "old") for arm in ("base", "alone"))
    for arm in arms[2:]:
        new = partial(gain, means(rows, arm, "new"), means(rows, "alone", "new"))
        old = partial(kept, means(rows, arm, "old"), alone, base)
        found[arm] = {
            "new_gain": with_interval(new, len(base)),
            "share_kept": with_interval(old, len(base)),
        }
        values = new(np.arange(len(base))), old(np.arange(len(base)))
        found[arm]["is_as_claimed"] = values[0] >= LIMIT and values[1] >= KEPT
    return {"accuracy": accuracy, "regularization": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    numbers = {"steps": 600, "items": 400, "own": 200, "prompts": 120}
    for name, number in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--try", action="store_true", dest="dry", help="write into WORK_DIR")
    options = parser.parse_args()
    judge = JudgeAttributeClassifier()
    asked = {name: getattr(options, name) for name in (*numbers, "share")}
    for seed in map(int, options.seeds.split(",")):
        path = options.work_dir / f"seed-{seed}.json"
        if not path.exists():
            write_json(path, one_seed(options, seed, judge))
        rows = [read_json(path) for path in sorted(options.work_dir.glob("seed-*.json"))]
        result = {**asked, "seeds": [row["seed"] for row in rows], **summary(rows)}
        result["minutes"] = sum(row["minutes"] for row in rows)
        where = {"folder": options.work_dir} if options.dry else {}
        write_result("regularization", result, **where)


if __name__ == "__main__":
    main()
