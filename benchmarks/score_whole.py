"""Claims: `score` of 1,000 images with cached features takes under 60 s and 2 GB on two cores;
order, batch size and the number of threads or processes change no digit.

python benchmarks/score_whole.py WORK_DIR      writes results/score_whole.json

Two folders of 500 flats each are compared with 500 others, with every figure: the second run finds
the networks' outputs in the cache.  Each variant runs in its own process.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from common import REPO, write_result
from PIL import Image

from tvhelpers import flats

RUN = """
import resource, sys
import tvhelpers.score.cache as cached
from tvhelpers.score import features
out, cache, together, *dirs = sys.argv[1:]
cached.TOGETHER = int(together)
from tvhelpers.score.report import score_folders
from tvhelpers.score.request import ScoreRequest
score_folders(ScoreRequest(dirs[:-1], out, "judge", real=dirs[-1], cache=cache or None))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def draw(folder: Path, seed: int, count: int, order: random.Random | None = None) -> Path:
    """Draw flats with records; `order` shuffles the records, not the images."""
    folder.mkdir(parents=True)
    records = []
    for i in range(count):
        spec = flats.random_spec(300, i)
        Image.fromarray(flats.render(spec, seed, i)).save(folder / f"{i:04d}.png")
        records.append({"file": f"{i:04d}.png", "prompt": flats.captions(spec)[0], "seed": i})
    if order:
        order.shuffle(records)
    (folder / "records.jsonl").write_text(
        "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8"
    )
    return folder


def score(out: Path, dirs: list[Path], cache="", together=32, threads=2) -> dict:
    """Score in a process of its own; returns seconds, peak MB and the figures."""
    command = [sys.executable, "-c", RUN, str(out), str(cache), str(together), *map(str, dirs)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(REPO)}
    began = time.monotonic()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds = round(time.monotonic() - began, 1)
    result = json.loads(out.read_text(encoding="utf-8"))
    figures = [folder["metrics"] for folder in result["folders"]]
    figures += [pair["metrics"] for pair in result["pairs"]]
    return {"seconds": seconds, "peak_mb": int(done.stdout) // 1024, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    work, count = options.work_dir, options.count
    dirs = [draw(work / name, seed, count) for name, seed in (("a", 1), ("b", 2), ("real", 3))]
    mixed = [
        draw(work / "mixed" / name, seed, count, random.Random(seed))
        for name, seed in (("a", 1), ("b", 2), ("real", 3))
    ]
    cache = work / "cache"
    runs = {
        "first": score(work / "first.json", dirs, cache),
        "cached": score(work / "cached.json", dirs, cache),
        "other order": score(work / "order.json", mixed),
        "batches of 7": score(work / "batch.json", dirs, together=7),
        "one thread": score(work / "thread.json", dirs, threads=1),
    }
    figures = {json.dumps(run.pop("figures")) for run in runs.values()}
    result = {"pictures": 2 * count, "real": count, "runs": runs}  # stable name
    result["different_figures"] = len(figures)
    result["bytes_of_figures"] = len(next(iter(figures)))
    write_result("score_whole", result)


if __name__ == "__main__":
    main()
