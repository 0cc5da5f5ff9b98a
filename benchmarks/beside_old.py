"""Claim: this tree is not slower than an older one: start, refusal, an image, conversion, score.

python benchmarks/beside_old.py OLD_CHECKOUT WORK [--runs 7]

Both trees run the same commands in turn, one thread each.  A ratio is the older tree's CPU seconds
over this one's, run by run; above 1 this tree is faster.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from common import REPO, commit, write_result
from PIL import Image

from tvhelpers import flats
from tvhelpers.data.example import write_g2

IMAGES = 1000  # scored; as many are converted
IMPORT = ["-c", "import tvhelpers"]
REFUSED = ["-m", "tvhelpers", "generate", "a red dress", "--out", "out", "--steps", "-3"]


def make_inputs(work: Path) -> None:
    """Write a gallery of drawn garments and a file in the benchmark's format."""
    specs = [flats.random_spec(7, i) for i in range(IMAGES)]
    pixels = np.stack([flats.render(spec, 7, i) for i, spec in enumerate(specs)])
    captions = [flats.caption(spec, 7, i) for i, spec in enumerate(specs)]
    (work / "gallery").mkdir(parents=True)
    rows = []
    for i, (image, caption) in enumerate(zip(pixels, captions, strict=True)):
        Image.fromarray(image).save(work / "gallery" / f"{i:04d}.png")
        rows.append({"index": i, "file": f"{i:04d}.png", "prompt": caption, "seed": i})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (work / "gallery" / "records.jsonl").write_text(lines, encoding="utf-8")
    write_g2(work / "g2", pixels, captions, ["dress"] * IMAGES, ["red"] * IMAGES)


def cases(work: Path, side: str, run: int) -> dict[str, list[str]]:
    """Return {name: arguments of python} of one run of one side."""
    out = work / side / str(run)
    tv = ["-m", "tvhelpers"]
    score = ["score", str(work / "gallery"), "--classifier", "judge"]
    score += ["--cache", str(work / side / "cache"), "--out", str(out / "metrics.json")]
    return {
        "import tvhelpers": IMPORT,
        "tvhelpers --help": [*tv, "--help"],
        "a refused argument": REFUSED,
        "one image on mini, 20 steps": [*tv, "generate", "a dress", "--out", str(out / "image")],
        f"conversion of {IMAGES} images": [
            *tv, "data", "convert", str(work / "g2"), "--out", str(out / "converted"),
        ],
        f"score of {IMAGES} images, cached": [*tv, *score],
    }  # fmt: skip


def cpu_seconds(tree: Path, arguments: list[str], cwd: Path) -> float:
    """Run python in a tree, and return the CPU seconds that it took."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "TV_ROOT": str(cwd)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wanted = 2 if arguments == REFUSED else 0
    assert done.returncode == wanted, done.stderr[-2000:]
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Time both trees in turn; the first run of each warms the caches and is not counted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("old", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    work = options.work.resolve()
    make_inputs(work)
    trees = {"old": options.old.resolve(), "new": REPO}
    seconds: dict[str, dict[str, list[float]]] = {}
    for run in range(options.runs + 1):
        for side, tree in trees.items():
            (work / side / str(run)).mkdir(parents=True)
            for name, arguments in cases(work, side, run).items():
                took = cpu_seconds(tree, arguments, work / side / str(run))
                if run:
                    seconds.setdefault(name, {}).setdefault(side, []).append(took)
    result = {}
    for name, sides in seconds.items():
        ratios = [old / new for old, new in zip(sides["old"], sides["new"], strict=True)]
        medians = {side: round(statistics.median(row), 3) for side, row in sides.items()}
        result[name] = {"cpu_seconds": medians, "old_over_new": round(statistics.median(ratios), 3)}
        print(f"{name}: {medians}, ratio {result[name]['old_over_new']}")
    old = commit(options.old)
    write_result("beside_old", {"old": old, "runs": options.runs, "cases": result})


if __name__ == "__main__":
    main()
