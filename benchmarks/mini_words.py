"""Claim: mini draws what a shop's words ask for: synonyms, titles, fillers, strange words.

300 fixed prompts (shop_prompts.json), whose texts no training uses; the judge names what it sees.

python benchmarks/mini_words.py [--base FOLDER] [--draw DIR]      writes results/mini_words.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import write_result
from PIL import Image

from tvhelpers import flats
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import JudgeAttributeClassifier, agreement
from tvhelpers.score.metrics import mean_score

PROMPTS = Path(__file__).with_name("shop_prompts.json")
STEPS, FIRST_SEED = 20, 40_000
NAMES = ("category", "colour", "pattern")


def wanted_of(row: dict) -> dict[str, str]:
    return {name: row[name] for name in NAMES if row[name]}


def share(right: np.ndarray) -> dict:
    """Return the share that is right, its 95 % interval and the number of images."""
    result = mean_score("right", right.astype(float))
    return {"value": round(result.value, 4), "ci": result.ci, "n": len(right)}


def shares(rows: list[dict], seen: list[dict]) -> dict[str, dict]:
    """Return the shares of each attribute, of the images whose prompt states it, and of all."""
    found = {}
    for name in NAMES:
        pairs = [(row, one) for row, one in zip(rows, seen, strict=True) if row[name]]
        if pairs:
            asked, named = [{name: row[name]} for row, _ in pairs], [one for _, one in pairs]
            found[name] = share(agreement(asked, named)[name])
    right = [all(one[k] == v for k, v in wanted_of(row).items()) for row, one in zip(rows, seen)]
    return {**found, "all": share(np.array(right))}


def judged_drawings(judge: JudgeAttributeClassifier, count: int = 600) -> dict[str, dict]:
    """Return how often the judge is right of drawn flats in shades and cuts of shops."""
    specs = [flats.shop_spec(902, i) for i in range(count)]
    pixels = np.stack([flats.render(spec, 902, i) for i, spec in enumerate(specs)])
    return shares(
        [{name: getattr(spec, name) for name in NAMES} for spec in specs], judge.words(pixels)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--draw", type=Path, help="a folder that the images are written to")
    options = parser.parse_args()
    began, rows = time.monotonic(), json.loads(PROMPTS.read_text(encoding="utf-8"))
    sampler, judge = Sampler(options.base), JudgeAttributeClassifier()
    jobs = [(i, row["prompt"], FIRST_SEED + i) for i, row in enumerate(rows)]
    images = [image for *_, image in sampler.sample(Request(("a",), steps=STEPS), jobs)]
    for i, image in enumerate(images if options.draw else []):
        options.draw.mkdir(parents=True, exist_ok=True)
        Image.Image.save(image, options.draw / f"{i:03d}.png")
    seen = judge.words(np.stack([np.asarray(image) for image in images]))
    groups = {"base": [], "new season": []}
    for row, one in zip(rows, seen, strict=True):
        groups["new season" if row["new"] else "base"].append((row, one))
    known = sampler.vocabulary
    unseen = [bool(known and known.unseen(row["prompt"])) for row in rows]
    result = {
        "base": {key: sampler.identity[key] for key in ("base_revision", "adapter_sha256")},
        "judge_sha256": judge.digest,
        "steps": STEPS,
        "prompts_with_unseen_words": sum(unseen),
        "right": shares(rows, seen),
        **{
            f"right_{name.replace(' ', '_')}": shares(*zip(*pairs))
            for name, pairs in groups.items()
        },
        "judge_on_drawn_shop_flats": judged_drawings(judge),
        "minutes": (time.monotonic() - began) / 60,
    }
    write_result("mini_words", result)


if __name__ == "__main__":
    main()
