"""Claims: the judge is accurate on new flats, and agrees with a person on generated images.

A person's labels of 100 generated images are in benchmarks/eye_labels.json.

python benchmarks/mini_judge.py                writes results/mini_judge.json
python benchmarks/mini_judge.py --draw DIR     draws the 100 images, for new labels
"""

import argparse
import json
from pathlib import Path

import numpy as np
from common import write_result
from PIL import Image

from tvhelpers import flats
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement

LABELS = Path(__file__).with_name("eye_labels.json")
COUNT = 100


def generated() -> list[np.ndarray]:
    """Generate the images: new garments and old ones, with the shipped adapter."""
    specs = [flats.random_spec(201, i) for i in range(COUNT)]
    jobs = [(i, flats.captions(spec)[1], 500 + i) for i, spec in enumerate(specs)]
    images = Sampler("mini").sample(Request(("a garment",)), jobs, batch_size=10)
    return [np.asarray(image) for *_, image in images]


def on_fresh_flats(judge: JudgeAttributeClassifier, count: int) -> dict[str, float]:
    specs = [flats.random_spec(202, i) for i in range(count)]
    seen = judge.words(np.stack([flats.render(spec, 202, i) for i, spec in enumerate(specs)]))
    wanted = [{a: getattr(spec, a) or "none" for a in flats.ATTRIBUTES} for spec in specs]
    return {name: float(values.mean()) for name, values in agreement(wanted, seen).items()}


def against_the_eye(judge: JudgeAttributeClassifier) -> dict[str, float]:
    eye = json.loads(LABELS.read_text(encoding="utf-8"))["labels"]
    right = agreement(eye, judge.words(np.stack(generated())))
    right["words"] = np.stack([right[name] for name in CORE])
    return {name: float(values.mean()) for name, values in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", type=Path)
    folder = parser.parse_args().draw
    if folder:
        folder.mkdir(parents=True)
        for i, pixels in enumerate(generated()):
            Image.fromarray(pixels).save(folder / f"{i:03d}.png")
        return
    judge = JudgeAttributeClassifier()
    result = {"judge_sha256": judge.digest, "fresh_flats": 2000}
    result["on_fresh_flats"] = on_fresh_flats(judge, 2000)
    result["pictures_seen_by_eye"] = COUNT  # stable name
    write_result("mini_judge", {**result, "agreement_with_the_eye": against_the_eye(judge)})


if __name__ == "__main__":
    main()
