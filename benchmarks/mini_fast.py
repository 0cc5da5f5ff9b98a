"""Claim: with its fast adapter, 8 steps draw what mini draws in 20, in less than half the time.

The same prompts and seeds both ways: garments that the base knows, and new ones with the shipped
adapter too; the judge names what it sees.  Times are of one image alone, both ways in turns.

python benchmarks/mini_fast.py [--scale X]      writes results/mini_fast.json
"""

import argparse
import statistics
import time

import numpy as np
from common import write_result
from mini_words import share

from tvhelpers import flats
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scale", type=float, default=1.0, help="of all counts of prompts")
SCALE = parser.parse_args().scale
JUDGE = JudgeAttributeClassifier()
WAYS = {"20 steps": (False, 20), "8 steps, fast": (True, 8)}
SEASONS = {"base": ("none", 400, 301), "new": ("shipped", 200, 302)}  # adapter, prompts, seed
TURNS = 15  # of timing


def prompts_of(season: str, count: int, seed: int) -> tuple[list[str], list[dict]]:
    """Return captions as shops write them that state category, colour and pattern, and these."""
    prompts, asked = [], []
    for i in range(100 * count):
        spec = flats.shop_spec(seed, i, season)
        text, stated = flats.shop_phrase(spec, np.random.default_rng([seed, i]), reserved=True)
        if {"category", "colour", "pattern"} <= set(stated) and len(prompts) < count:
            prompts.append(text)
            asked.append({name: getattr(spec, name) for name in CORE})
    return prompts, asked


def right(sampler: Sampler, steps: int, prompts: list[str], asked: list[dict]) -> np.ndarray:
    """Return bool (N,): whether the judge sees all that was asked for."""
    jobs = [(i, prompt, 60_000 + i) for i, prompt in enumerate(prompts)]
    images = sampler.sample(Request(("a",), steps=steps), jobs, batch_size=16)
    words = JUDGE.words(np.stack([np.asarray(image) for *_, image in images]))
    return agreement(asked, words)["all"]


def seconds(sampler: Sampler, steps: int, seed: int) -> tuple[float, float]:
    """Return the seconds of one image in all, and within the UNet."""
    within, own = 0.0, sampler.pipe.unet.forward

    def timed(*args, **options):
        nonlocal within
        began = time.perf_counter()
        result = own(*args, **options)
        within += time.perf_counter() - began
        return result

    sampler.pipe.unet.forward = timed
    began = time.perf_counter()
    next(sampler.sample(Request(("a red dress",), seed=seed, steps=steps)))
    whole = time.perf_counter() - began
    sampler.pipe.unet.forward = own
    return whole, within


def compared(adapter: str, prompts: list[str], asked: list[dict]) -> dict:
    """Return the share that is right both ways, and the mean difference with its interval."""
    seen = {
        name: right(Sampler("mini", adapter, "cpu", fast=fast), steps, prompts, asked)
        for name, (fast, steps) in WAYS.items()
    }
    first, second = (values.astype(float) for values in seen.values())
    rows = {name: share(values) for name, values in seen.items()}
    spread = 1.96 * (second - first).std(ddof=1) / len(first) ** 0.5
    change = (second - first).mean()
    return {**rows, "change": change, "change_95": [change - spread, change + spread]}


def main() -> None:
    result = {"judge_sha256": JUDGE.digest}
    for season, (adapter, count, seed) in SEASONS.items():
        prompts, asked = prompts_of(season, max(8, round(count * SCALE)), seed)
        result[season] = compared(adapter, prompts, asked)
    samplers = {
        name: (Sampler("mini", "shipped", "cpu", fast=f), n) for name, (f, n) in WAYS.items()
    }
    times = {name: [seconds(*pair, 0)] for name, pair in samplers.items()}  # warm up
    for turn in range(TURNS):
        for name, pair in samplers.items():
            times[name].append(seconds(*pair, turn))
    medians = {
        name: [statistics.median(column) for column in zip(*rows[1:])]
        for name, rows in times.items()
    }
    for i, what in enumerate(("all", "unet")):
        slow, fast = (values[i] for values in medians.values())
        result[f"seconds_{what}"] = {"20 steps": slow, "8 steps, fast": fast, "ratio": slow / fast}
    write_result("mini_fast", result)


if __name__ == "__main__":
    main()
