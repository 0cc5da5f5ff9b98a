"""Claims: what notebook 07 shows of mini, each experiment with three seeds.

python benchmarks/experiments.py WORK_DIR [--only NAME ...] [--scale mini]

Writes results/experiments/NAME.json, and NAME.png with images of each arm.  The same command
resumes in WORK_DIR.
"""

import argparse
import json
from pathlib import Path

from common import RESULTS, commit

from tvhelpers.experiments.lesson import arm_images
from tvhelpers.experiments.rows import experiments, find_experiment, find_scale
from tvhelpers.experiments.run import Bench, run_experiment
from tvhelpers.experiments.search import NAME, Search, run_search
from tvhelpers.image import save_png
from tvhelpers.records import write_json

LONG = ("losses",)  # curves that only the figures by epoch need
BY_EPOCH = "sizes"
TRIALS, WORKERS = 40, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="+", default=[*experiments(), NAME])
    parser.add_argument("--scale", default="mini")
    options = parser.parse_args()
    bench = Bench(options.work, "mini", "flats-new-season", find_scale(options.scale))
    for name in options.only:
        if name == NAME:
            result = run_search(Search(bench, TRIALS), WORKERS)
        else:
            result = run_experiment(find_experiment(name), bench)
        store(name, result, options.work)


def store(name: str, result: dict, work: Path) -> None:
    """Write a result without the long curves of other experiments than that by epoch."""
    image = arm_images(result, work)
    result = json.loads(json.dumps({**result, "commit": commit()}))
    for row in result["rows"] if name != BY_EPOCH else ():
        row["curves"] = {key: x for key, x in row["curves"].items() if key not in LONG}
    folder = RESULTS / "experiments"
    write_json(folder / f"{name}.json", result)
    save_png(image, folder / f"{name}.png")


if __name__ == "__main__":
    main()
