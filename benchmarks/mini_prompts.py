"""Claims: mini's images match their prompts; its adapter adds new garments and costs little.

Prompts of combinations that it was trained on and of others; new garments and old ones without and
with the adapter, same seeds; the demo's prompts; Inception Score beside drawn flats; copying.

python benchmarks/mini_prompts.py [--scale X]      writes results/mini_prompts.json
"""

import argparse
import time

import numpy as np
from common import write_result

from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement
from tvhelpers.score.copying import copying, nearest
from tvhelpers.score.features import JudgeClassifier, PixelExtractor
from tvhelpers.score.metrics import inception_score

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scale", type=float, default=1.0, help="of all counts of prompts")
SCALE = parser.parse_args().scale
JUDGE = JudgeAttributeClassifier()
STEPS, GUIDANCE = 20, 2.5
REQUEST = Request(("a garment",), steps=STEPS, guidance=GUIDANCE)
DEMO = {  # prompt: what it asks for
    "green bomber jacket": {"category": "bomber jacket", "colour": "green", "pattern": "plain"},
    "brown leather belt": {"category": "belt", "colour": "brown", "pattern": "plain"},
    "formal black dress": {"category": "dress", "colour": "black", "pattern": "plain"},
    "V-neck t-shirt": {"category": "t-shirt", "neckline": "V-neck"},
    "short overalls": {"category": "overalls", "length": "short"},
    "black sweatsuit": {"category": "sweatsuit", "colour": "black", "pattern": "plain"},
    "tartan skirt": {"category": "skirt", "pattern": "tartan"},
    "black high-waisted skirt": {"category": "skirt", "colour": "black", "waist": "high-waisted"},
}


def number(count: int) -> int:
    return max(8, round(count * SCALE))


def specs_of(seed: int, count: int, season: str, keep=lambda spec: True) -> list[flats.Spec]:
    found = (flats.random_spec(seed, i, season=season) for i in range(100 * count))
    return [spec for spec, _ in zip(filter(keep, found), range(count))]


def draw(sampler: Sampler, prompts: list[str], seeds: list[int]) -> np.ndarray:
    jobs = [(i, prompt, seed) for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))]
    images = sampler.sample(REQUEST, jobs, batch_size=16)
    return np.stack([np.asarray(image) for *_, image in images])


def prompt_of(spec: flats.Spec, number: int) -> str:
    """Return a phrasing that states category, colour and pattern."""
    texts = [text for text, stated in flats.phrasings(spec) if set(CORE) <= set(stated)]
    return texts[number % len(texts)]


def shares(wanted: list[dict], pixels: np.ndarray) -> dict[str, float]:
    right = agreement(wanted, JUDGE.words(pixels))
    return {name: round(float(values.mean()), 4) for name, values in right.items()}


def asked(specs) -> list[dict]:
    return [{name: getattr(spec, name) for name in CORE} for spec in specs]


def drawn_specs(sampler, specs, first_seed: int) -> np.ndarray:
    prompts = [prompt_of(spec, i) for i, spec in enumerate(specs)]
    return draw(sampler, prompts, [first_seed + i for i in range(len(specs))])


def copies(generated: np.ndarray, validation: np.ndarray) -> dict:
    """Return how near images are to training flats, beside flats that no training has seen."""
    source, pixels = open_source("flats-base"), PixelExtractor()
    sides = [pixels.features(side) for side in (generated, validation)]
    found = nearest(sides, len(source), lambda some: pixels.features(np.stack([*map(source.pixels, some)])))  # noqa: E501  # fmt: skip
    result = copying(*(distances for distances, _ in found))
    return {
        "generated": round(result.details["median_drawn"], 2),
        "held_out": round(result.details["median_validation"], 2),
        "nearer_than_99_percent_of_held_out": result.value,  # stable name
        "ci": result.ci,
    }


def main() -> None:
    began = time.monotonic()
    base, adapted = Sampler("mini", "none"), Sampler("mini", "shipped")
    seen = specs_of(101, number(600), "base")
    unseen = specs_of(102, number(300), "new", lambda spec: not spec.has_new_word)
    new = specs_of(103, number(600), "new", lambda spec: spec.has_new_word)
    seen_pixels = drawn_specs(base, seen, 0)
    result = {
        "judge_sha256": JUDGE.digest,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "num_prompts": {"seen": len(seen), "unseen": len(unseen), "new": len(new)},
        "base_on_seen_triples": shares(asked(seen), seen_pixels),
        "base_on_unseen_triples": shares(asked(unseen), drawn_specs(base, unseen, 10_000)),
        "base_on_new_season": shares(asked(new), drawn_specs(base, new, 20_000)),
        "adapter_on_new_season": shares(asked(new), drawn_specs(adapted, new, 20_000)),
        "adapter_on_seen_triples": shares(asked(seen), drawn_specs(adapted, seen, 0)),
    }
    seeds = range(number(20))
    demo = {
        prompt: shares([wanted] * len(seeds), draw(adapted, [prompt] * len(seeds), list(seeds)))
        for prompt, wanted in DEMO.items()
    }
    result["demo"] = {prompt: row["all"] for prompt, row in demo.items()}
    result["demo_right"] = round(float(np.mean([row["all"] for row in demo.values()])), 4)
    real = np.stack([flats.render(spec, 104, i) for i, spec in enumerate(seen)])
    classifier = JudgeClassifier(heads=("category", "colour"))
    scores = [inception_score(classifier.probs(pixels)).value for pixels in (seen_pixels, real)]
    result["inception_score"] = {"generated": scores[0], "real": scores[1], "n": len(seen)}
    result["inception_score"]["ratio"] = scores[0] / scores[1]
    result["nearest_training_flat"] = copies(seen_pixels[:200], real[:200])
    write_result("mini_prompts", {"minutes": (time.monotonic() - began) / 60, **result})


if __name__ == "__main__":
    main()
