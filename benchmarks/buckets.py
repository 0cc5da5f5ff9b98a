"""Claim: on tall garments, mini does not learn clearly worse from aspect buckets of 96 x 160 pixels
than from the same images padded to 128 x 128 (the interval of the difference in accuracy reaches
0), and at most 8 % of the pixels are margins, not 40 %.

python benchmarks/buckets.py WORK_DIR [--steps 600]                writes results/buckets.json

Images are flats of 160 pixels cut to the 96 columns in the middle, of those garments that fit.
Each seed trains mini on them with fit=pad and with fit=bucket, with the same steps of as many
images, and draws the same prompts of other tall flats at the size that it was trained at.  The
judge says of each image which of category, colour and pattern are those of its prompt; intervals
are over prompts (bootstrap), of means over the seeds.  WORK_DIR/seed-SEED.json holds what a seed
gave, the correct share of each prompt; the result is written after each, of all that are there.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import write_result
from PIL import Image
from regularization import with_interval

from tvhelpers import flats
from tvhelpers.config import build_config
from tvhelpers.data.buckets import find_buckets, image_sizes, shares_cut
from tvhelpers.data.sources import open_source
from tvhelpers.files import make_dir
from tvhelpers.records import read_json, write_json
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement
from tvhelpers.score.language import requests
from tvhelpers.train.trainer import train

HIGH, WIDE, SIDE = 160, 96, 128  # pixels
SIZES = {"pad": (SIDE, SIDE), "bucket": (WIDE, HIGH)}  # width and height that an arm is trained at
TRAINING, PROMPTS = 320, 321  # seeds of flats
LIMIT = 0.08  # share of margins


def tall_flats(seed: int, count: int):
    """Yield (number, spec, pixels uint8 (160, 96, 3)) of `count` flats whose garment fits."""
    edge, number = (HIGH - WIDE) // 2, 0
    while count:
        spec = flats.random_spec(seed, number, season="base")
        pixels = flats.render(spec, seed, number, HIGH)
        sides = np.concatenate([pixels[:, : edge + 2], pixels[:, -edge - 2 :]], 1)
        if np.ptp(sides.astype(int), (0, 1)).max() < 24:  # nothing but the background
            yield number, spec, pixels[:, edge:-edge]
            count -= 1
        number += 1


def tall_folder(work: Path, count: int) -> Path:
    """Return a folder of tall flats with captions, which is written if it is missing."""
    folder = work / f"tall-{count}"
    if not (folder / "metadata.jsonl").exists():
        make_dir(folder)
        rows = []
        for number, spec, pixels in tall_flats(TRAINING, count):
            name = f"{number:05d}.png"
            Image.fromarray(pixels).save(folder / name)
            caption = flats.caption(spec, TRAINING, number)
            rows.append(json.dumps({"file_name": name, "caption": caption}))
        (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def wasted(folder: Path) -> dict[str, float]:
    """Return the share of the pixels of each arm that are margins, and what buckets crop."""
    source = open_source(folder)
    sizes = image_sizes(source, len(source))
    buckets, _ = find_buckets(source, len(source), SIDE, 32)
    padded = 1 - sizes.min(1) / sizes.max(1)
    return {
        "pad": float(padded.mean()),
        "bucket": 0.0,  # images cover their bucket
        "cropped": float(shares_cut(sizes, buckets).mean()),
    }


def correct(run: Path, fit: str, count: int, judge, seed: int) -> list[float]:
    """Return the share of attributes of its prompt that each image shows."""
    numbers = [number for number, *_ in tall_flats(PROMPTS, count)]
    texts, asked = requests(PROMPTS, numbers[-1] + 1)
    asked = [asked[number] for number in numbers]
    jobs = [(i, texts[number], 1000 * seed + i) for i, number in enumerate(numbers)]
    width, height = SIZES[fit]
    request = Request(("a garment",), steps=20, width=width, height=height)
    sampler = Sampler("mini", str(run))
    drawn = [np.asarray(image) for *_, image in sampler.sample(request, jobs, batch_size=16)]
    seen = agreement(asked, judge.words(np.stack(drawn)))
    return np.mean([seen[attribute] for attribute in CORE], 0).tolist()


def one_seed(options, seed: int, judge) -> dict:
    """Return what the arms of one seed draw."""
    work, began, found = options.work_dir, time.monotonic(), {}
    how = dict(data=str(tall_folder(work, options.items)), steps=options.steps, seed=seed)
    for fit in SIZES:
        run = work / f"{fit}-{seed}"
        config = build_config("cpu", **how, fit=fit, keep="last", eval_steps=0)
        train(config, run, root=work)
        found[fit] = correct(run, fit, options.prompts, judge, seed)
    return {"seed": seed, "minutes": (time.monotonic() - began) / 60, "correct": found}


def summary(rows: list[dict], shares: dict[str, float]) -> dict:
    """Return the accuracy of each arm, how much more buckets have, and the shares of margins."""
    means = {fit: np.mean([row["correct"][fit] for row in rows], 0) for fit in SIZES}
    count = len(means["pad"])
    gain = with_interval(lambda places: (means["bucket"] - means["pad"])[places].mean(), count)
    return {
        "accuracy": {
            fit: with_interval(lambda places, own=own: own[places].mean(), count)
            for fit, own in means.items()
        },
        "gain": gain,
        "wasted": shares,
        "is_as_claimed": bool(gain["ci"][1] >= 0 and shares["bucket"] <= LIMIT),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    numbers = {"steps": 600, "items": 400, "prompts": 120}
    for name, number in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--try", action="store_true", dest="dry", help="write into WORK_DIR")
    options = parser.parse_args()
    judge = JudgeAttributeClassifier()
    asked = {name: getattr(options, name) for name in numbers}
    for seed in map(int, options.seeds.split(",")):
        path = options.work_dir / f"seed-{seed}.json"
        if not path.exists():
            write_json(path, one_seed(options, seed, judge))
        rows = [read_json(path) for path in sorted(options.work_dir.glob("seed-*.json"))]
        shares = wasted(tall_folder(options.work_dir, options.items))
        result = {**asked, "seeds": [row["seed"] for row in rows], **summary(rows, shares)}
        result["minutes"] = sum(row["minutes"] for row in rows)
        where = {"folder": options.work_dir} if options.dry else {}
        write_result("buckets", result, **where)


if __name__ == "__main__":
    main()
