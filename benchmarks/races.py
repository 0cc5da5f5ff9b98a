"""Claim: two commands on one folder never leave wrong bytes, nor a result that is not one.

Each pair is interleaved at ten points: the first command is stopped before one of its writes, the
second one runs, the first continues.  The first is also killed at these points, and run again.
Exit status 0 must mean that all of a command's files are there, as when it runs alone.

python benchmarks/races.py WORK_DIR [--only PAIR ...]      writes results/races.json after each pair
"""

import argparse
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a forked process has none of torch's threads

from interleaving import contents, fresh, leftovers, race, run

# Times and, as torch.save writes equal tensors in other bytes after a resume, checkpoints.
IGNORED = (
    "tensorboard",
    "figures/training.png",
    "speed.jsonl",
    "log.jsonl",
    "minutes.json",
    ".incomplete",
    "out/step-",
)
TRAIN = "train lora --data photos --out out --preset smoke --set resolution=64 --set device=cpu"
MODULES = (
    "data.convert", "show.studio_folder", "show.scores", "study.make", "study.page", "study.report",
    "train.clip_tuning", "train.trainer",
)  # fmt: skip
TUNE = "clip tune --data photos --out out --device cpu --set batch_size=4 --set eval_steps=1"
SCORE = "score gallery --classifier judge --out out.json"
GENERATE = "generate --out out --adapter none --device cpu --width 64 --height 64"


@dataclass(frozen=True)
class Pair:
    """Two commands; `kills`: whether the first, killed and run again, does the same as once."""

    first: Callable[[], int]
    second: Callable[[], int]
    kills: bool = True


def words(line: str) -> Callable[[], int]:
    """Return a command line as a function."""

    def command() -> int:
        from tvhelpers.cli import main

        os.environ["TV_ROOT"] = os.getcwd()
        return main(line.split())

    return command


def made_study(seed: int) -> Callable[[], int]:
    """Return a function that makes a study of two galleries."""

    def command() -> int:
        from tvhelpers.study.make import make_study

        return _status(
            lambda: make_study({"a": Path("gallery"), "b": Path("other")}, "out", seed=seed)
        )

    return command


def captioned() -> int:
    """Caption the photos by a stand-in for a model, which counts what is bright."""
    from tvhelpers.data import captioner
    from tvhelpers.data.sources import open_source

    captioner._load_captioner = lambda *rest: (
        lambda images: [f"level {x.mean():.3f}" for x in images]
    )
    source = open_source("photos")
    return _status(
        lambda: captioner.caption_images(source, "model", Path("out.jsonl"), batch_size=2)
    )


def saved_by_studio() -> int:
    """Save an image as the prompt studio does."""
    from PIL import Image

    from tvhelpers.show.studio_folder import Entry, StudioFolder

    record = {"prompt": "x", "seed": 1, "steps": 1, "guidance": 1.0, "size": 8}
    entry = Entry(record, Image.new("RGB", (8, 8)))
    return _status(lambda: StudioFolder(Path("out")).keep(entry))


def _status(work: Callable) -> int:
    """Return the exit status that the command line gives."""
    from tvhelpers.errors import InputError

    try:
        work()
    except InputError as error:
        print(f"error: {error}")
        return 2
    return 0


def pair(first: str, second: str = "") -> Pair:
    """Return a pair of two commands, or of one twice."""
    return Pair(words(first), words(second or first))


TO_H5, TO_PNG = ("data convert photos --out out --size 16 --to " + to for to in ("h5", "images"))
CAPTIONS, SPLIT = (
    "data captions photos --out out.jsonl --seed ",
    "data split photos --out out.json --seed ",
)
ADAPTER, HTML = (
    "adapter convert shipped --out out.safetensors --to ",
    "study html study --out out --raters ",
)
SUITE = "prompts --out out.jsonl "
PAIRS = {
    "convert, convert": pair(TO_H5),
    "convert, convert to another size": pair(TO_H5, TO_H5.replace("16", "24")),
    "convert to images, the same": pair(TO_PNG),
    "convert, convert to images": pair(TO_H5, TO_PNG),
    "convert, captions": pair(TO_H5, "data captions photos --out out/captions.jsonl"),
    "captions, captions": pair(CAPTIONS + "1"),
    "captions, captions by another seed": pair(CAPTIONS + "1", CAPTIONS + "2"),
    "captioner, captioner": Pair(captioned, captioned),
    "split, split": pair(SPLIT + "1"),
    "split, split by another seed": pair(SPLIT + "1", SPLIT + "2"),
    "prompts, other prompts": pair(SUITE + "paper-8", SUITE + "fb138"),
    "study make, the same": Pair(made_study(1), made_study(1)),
    "study make, another": Pair(made_study(1), made_study(2)),
    "study html, study html": pair(HTML + "ann ben", HTML + "ben cem"),
    "studio, studio": Pair(saved_by_studio, saved_by_studio, kills=False),
    "adapter convert, to another format": pair(ADAPTER + "kohya", ADAPTER + "diffusers"),
    "adapter merge, with another scale": pair(
        "adapter merge shipped --out out", "adapter merge shipped --lora-scale 0.5 --out out"
    ),
    "generate, generate": pair(f"{GENERATE} --steps 1 --count 2 dress coat"),
    "generate, generate others": pair(f"{GENERATE} --steps 1 dress", f"{GENERATE} --steps 1 coat"),
    "generate, score": pair(
        f"{GENERATE} --steps 1 --count 2 dress coat", SCORE.replace("gallery", "out")
    ),
    "score, score": pair(SCORE),
    "latents, latents": pair("data convert photos --to latents --size 64"),
    "train, train": pair(f"{TRAIN} --set steps=2"),
    "train, another train": pair(f"{TRAIN} --set steps=2", f"{TRAIN} --set steps=3"),
    "tune, tune": pair(f"{TUNE} --set steps=2"),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """Make the inputs: photos with captions, two galleries, and a study of them."""
    from PIL import Image

    from tvhelpers.data.flats_source import FlatsSource
    from tvhelpers.records import write_json

    source = FlatsSource(1, 16, size=64)
    (folder / "photos").mkdir(parents=True)
    lines = ["file_name,caption,category,product"]
    for i in range(16):
        Image.fromarray(source.pixels(i)).save(folder / "photos" / f"{i}.png")
        lines.append(f'{i}.png,"{source.captions[i]}",{source.attributes[i]["category"]},p{i}')
    (folder / "photos" / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    for name, first in (("gallery", 0), ("other", 8)):
        rows = [
            {"index": i, "file": f"{i}.png", "prompt": source.captions[i], "seed": 1}
            for i in range(8)
        ]
        (folder / name).mkdir()
        for i in range(8):
            shutil.copy(folder / "photos" / f"{first + i}.png", folder / name / f"{i}.png")
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / "records.jsonl").write_text(text, encoding="utf-8")
        write_json(folder / name / "request.json", {"prompts": [row["prompt"] for row in rows]})


def warm() -> None:
    """Load the modules that commands need, so that a forked process begins at once."""
    import diffusers
    import matplotlib.figure
    import transformers

    _ = diffusers.StableDiffusionPipeline, transformers.CLIPTextModel, matplotlib.figure.Figure
    for name in MODULES:
        importlib.import_module(f"tvhelpers.{name}")


def try_pair(name: str, two: Pair, template: Path, work: Path, points: int) -> dict:
    """Return {"events", "races", "kills", "problems"} of a pair."""
    logs = work / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    alone, problems = [], []
    first, second = two.first, two.second
    for number, order in enumerate(((first,), (second,), (first, second), (second, first))):
        folder = fresh(template, work / "folder")
        statuses = [run(command, folder, logs / f"{number}.log") for command in order]
        if not {*statuses} <= {0, 2} or (number == 0 and statuses != [0]):
            problems.append(f"alone, exit {statuses}: {_tail(logs / f'{number}.log')}")
        alone.append(contents(folder, IGNORED))
    right = {file: {tree.get(file) for tree in alone} for file in set().union(*alone)}
    events = int((logs / "0.events").read_text())
    share = (events - 1) / max(1, points - 1)
    steps = sorted({max(1, round(1 + i * share)) for i in range(points)})
    for at in steps:
        folder = fresh(template, work / "folder")
        ends = race(first, second, folder, logs, at)
        said = [_tail(logs / f"{name}.log") for name in "ab"]
        problems += [f"event {at}: {x}" for x in _problems(ends, said, folder, alone, right)]
    for at in steps if two.kills else ():
        folder = fresh(template, work / "folder")
        run(first, folder, logs / "k.log", at=at, kill=True)
        ends = [run(first, folder, logs / "k.log")]
        said = [_tail(logs / "k.log")]
        found = _problems(ends, said, folder, alone, right) + leftovers(folder)
        problems += [f"killed at {at}: {x}" for x in found]
    kills = len(steps) if two.kills else 0
    return {"events": events, "races": len(steps), "kills": kills, "problems": problems}


def _problems(ends, said: list[str], folder: Path, alone: list[dict], right: dict) -> list[str]:
    """Return what is wrong with the exit statuses of commands and the files that they left."""
    seen = contents(folder, IGNORED)
    found = [f"exit {end}: {text}" for end, text in zip(ends, said) if end not in (0, 2)]
    if 0 not in ends:
        found.append(f"all refused: {said}")
    found += [f"wrong bytes in {file}" for file in seen if seen[file] not in right.get(file, ())]
    for end, tree, text in zip(ends, alone, said):
        lacking = [file for file in tree if file not in seen]
        if end == 0 and lacking:
            found.append(f"done ({text}), but {lacking[:3]} missing")
    return found


def _tail(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    return text.splitlines()[-1][:300] if text else ""


def prepared(work: Path) -> Path:
    """Return the folder with all inputs."""
    template = work / "template"
    shutil.rmtree(template, ignore_errors=True)
    prepare(template)
    run(made_study(3), template, work / "study.log")
    (template / "out").rename(template / "study")
    return template


def main() -> None:
    """Try all pairs, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="+", default=[*PAIRS])
    parser.add_argument("--points", type=int, default=10)
    options = parser.parse_args()
    work = options.work.resolve()
    warm()
    template = prepared(work)
    from common import RESULTS, write_result

    known = RESULTS / "races.json"
    rows = json.loads(known.read_text(encoding="utf-8"))["pairs"] if known.exists() else {}
    for name in options.only:
        rows[name] = try_pair(name, PAIRS[name], template, work / "one", options.points)
        print(name, rows[name], file=sys.stderr, flush=True)
        _write(rows, write_result)


def _write(rows: dict, write_result: Callable) -> None:
    """Write the result of the pairs so far, in the order of PAIRS."""
    rows = {name: rows[name] for name in PAIRS if name in rows}
    total = {key: sum(row[key] for row in rows.values()) for key in ("races", "kills")}
    total |= {"pairs": len(rows), "problems": sum(len(row["problems"]) for row in rows.values())}
    write_result("races", {"all": total, "pairs": rows})


if __name__ == "__main__":
    main()
