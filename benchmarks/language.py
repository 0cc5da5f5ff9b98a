"""Claim: at equal steps from the same start, text conditioning gives the colour and pattern of the
prompt; class conditioning cannot, and is no better at the category.

python benchmarks/language.py WORK_DIR [--steps 600]      writes results/language.json

Start: mini's UNet with random cross-attention, which can draw flats but knows no word and no class
(`--start scratch`: all weights random, which takes far more steps).  Both are trained by the same
trainer on the same flats, order, noise and steps, one with the category as class, the other with
the caption.  Prompts: flats that neither was trained on, one seed each.  Then the paper's Table 2
on mini, with its rows defined in score/language.py, on prompts of the whole vocabulary.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from common import write_result

from tvhelpers.config import build_config
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.features import JudgeClassifier
from tvhelpers.score.language import compare_systems, requests
from tvhelpers.train.trainer import train

REQUEST = Request(("a garment",), steps=20, guidance=2.5)
BUDGET = dict(
    data="flats", batch_size=16, flip=False, min_snr_gamma=0.0, learning_rate=1e-3,
    warmup_steps=50, eval_steps=0, held_out=0.05, checkpoint_minutes=2.0, checkpoint_steps=0,
    ema_decay=0.99,
)  # fmt: skip
METHODS = {"class": dict(method="baseline", classes="category"), "language": dict(method="full")}


def draw(sampler: Sampler, prompts: list[str]) -> list[np.ndarray]:
    jobs = [(i, prompt, i) for i, prompt in enumerate(prompts)]
    return [np.asarray(image) for *_, image in sampler.sample(REQUEST, jobs, batch_size=16)]


def plain(table: dict) -> dict:
    """Return {system: {figure: value and interval}} of results."""
    return {
        name: {f: {"value": r.value, "ci": r.ci, "n": r.n} for f, r in figures.items()}
        for name, figures in table.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--start", default="unconditional", choices=("unconditional", "scratch"))
    options = parser.parse_args()
    began, classifier = time.monotonic(), JudgeClassifier()
    texts, asked = requests(301, options.images)
    prompts = {"class": [f"category={row['category']}" for row in asked], "language": texts}
    drawn, losses, groups = {}, {}, list(range(options.images))
    for name, settings in METHODS.items():
        config = build_config(**BUDGET, **settings, steps=options.steps, start=options.start)
        result = train(config, options.work_dir / name, root=options.work_dir)
        losses[name] = result["held_out_loss"]
        sampler = Sampler(str(options.work_dir / name / "pipeline"), "none")
        drawn[name] = draw(sampler, prompts[name])
    rows, pairs = compare_systems(drawn, asked, groups, classifier)
    result = {
        "steps": options.steps,
        "start": options.start,
        "pictures": options.images,  # stable name
        "held_out_loss": losses,
    }
    result |= {"systems": plain(rows), "paired": plain(pairs)}
    texts, asked = requests(302, options.images, "all")
    table = {
        "pretrained": draw(Sampler("mini", "none", text_conditioning=False), texts),
        "+ CLIP": draw(Sampler("mini", "none"), texts),
        "fine-tuned": draw(Sampler("mini", "shipped"), texts),
    }
    rows, pairs = compare_systems(table, asked, groups, classifier)
    result["table_2_on_mini"] = {"systems": plain(rows), "paired": plain(pairs)}
    write_result("language", {**result, "minutes": (time.monotonic() - began) / 60})


if __name__ == "__main__":
    main()
