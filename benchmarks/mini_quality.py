"""How often mini draws what it is told, by the judge: base on patterns it has seen, and the new
season (tartan) without and with the shipped adapter, same prompts and seeds.

python benchmarks/mini_quality.py [--prompts N]      writes results/mini_quality.json
"""

import argparse

import numpy as np
import torch
from common import write_result

from tvhelpers.data import flats
from tvhelpers.models.mini import load_judge
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.pretrain import to_images
from tvhelpers.train.recipe import BASE_PATTERNS, NEW_SEASON

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--prompts", type=int, default=150)
count = parser.parse_args().prompts
JUDGE, DIGEST = load_judge()


@torch.no_grad()
def named(pixels: np.ndarray) -> dict[str, list[str]]:
    """Return the judge's word for each picture and head."""
    logits = JUDGE(to_images(pixels))
    return {head: [JUDGE.heads[head][i] for i in rows.argmax(1)] for head, rows in logits.items()}


def accuracy(specs, pixels: np.ndarray) -> dict[str, float]:
    """Return the share of pictures whose category, colour, pattern, and all three are right."""
    words = named(pixels)
    right = {h: np.array([getattr(s, h) == w for s, w in zip(specs, words[h])]) for h in words}
    right["all"] = np.logical_and.reduce(list(right.values()))
    return {head: round(float(values.mean()), 4) for head, values in right.items()}


def drawn(sampler: Sampler, specs) -> np.ndarray:
    jobs = [(i, flats.captions(spec)[1], i) for i, spec in enumerate(specs)]
    pictures = sampler.sample(jobs, steps=20, guidance=2.5, batch_size=16)
    return np.stack([np.asarray(picture) for *_, picture in pictures])


def specs_of(seed: int, patterns) -> list[flats.Spec]:
    return [flats.random_spec(seed, i, patterns=patterns) for i in range(count)]


seen, new = specs_of(101, BASE_PATTERNS), specs_of(102, NEW_SEASON)
fresh = specs_of(103, flats.PATTERNS)
real = np.stack([flats.render(spec, 103, i) for i, spec in enumerate(fresh)])
base, adapted = Sampler("mini", "none"), Sampler("mini", "shipped")
write_result(
    "mini_quality",
    {
        "prompts": count,
        "judge_sha256": DIGEST,
        "judge_on_fresh_flats": accuracy(fresh, real),
        "base_on_seen_patterns": accuracy(seen, drawn(base, seen)),
        "adapter_on_seen_patterns": accuracy(seen, drawn(adapted, seen)),
        "base_on_new_season": accuracy(new, drawn(base, new)),
        "adapter_on_new_season": accuracy(new, drawn(adapted, new)),
    },
)
