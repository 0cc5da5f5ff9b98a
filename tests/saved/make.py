"""Make what is saved beside this file, with the code of COMMIT.

    python tests/saved/make.py CHECKOUT        # a clean checkout of that commit

What lies here stands for the work of users of that commit: newer code must resume it.  It is
made once; a newer commit gets files of its own.  All paths in it are relative to work/.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from golden_sides import Side  # noqa: E402

COMMIT = "4881c0d"
STEPS = 16
TRAIN = {  # the trainings: method, and settings beside SMALL
    "done": "lora seed=0",
    "half": "lora seed=1",
    "half-rich": "lora seed=2 dora=true text_rank=1 ema_decay=0.8 accumulate=2",
    "half-classes": "baseline seed=3 classes=category start=deaf flip=false",  # stable name
}
SMALL = (
    f"base=base steps={STEPS} batch_size=2 rank=2 eval_items=2 eval_steps=4 checkpoint_steps=4 "
    "keep_checkpoints=1 warmup_steps=2 "
    "learning_rate=0.03"
)
PROMPTS = "a red dress", "a blue skirt"
DRAW = ["--steps", "3", "--batch-size", "1", "--base", "base", "--seed", "3"]
COMMANDS = {  # that were begun, or ended; the tests give them again
    **{
        run: ["train", line.split()[0], "--data", "converted", "--out", f"runs/{run}"]
        + [word for pair in f"{SMALL} {line.split(' ', 1)[1]}".split() for word in ("--set", pair)]
        for run, line in TRAIN.items()
    },
    "convert": ["data", "convert", "photos", "--out", "converted"],
    "plain": ["generate", *PROMPTS, *DRAW, "--adapter", "none", "--out", "out/plain"],
    "adapted": ["generate", *PROMPTS, *DRAW, "--adapter", "runs/done", "--out", "out/adapted"],
    "half-gallery": ["generate", *PROMPTS, *DRAW, "--count", "3", "--adapter", "runs/done",
                     "--out", "out/half"],
    "study": ["study", "make", "base=out/plain", "mine=out/adapted", "--real", "converted",
              "--tasks", "pair,rating,real", "--out", "study"],
    "score": ["score", "out/plain", "--classifier", "judge", "--out", "out/plain.json"],
    "captions": ["data", "captions", "photos", "--out", "captions.jsonl"],
    "show": ["adapter", "show", "runs/done"],
    "inspect": ["data", "inspect", "converted"],
}  # fmt: skip
IGNORED = (
    "tensorboard",
    "figures",
    "speed.jsonl",
    ".lock",
    "said",
    "*.lock",
    "plain-figures",
    "grid.png",
)
VERBS = """generate train score prompts mini.train data.get data.inspect data.convert data.captions
data.split data.coverage adapter.show adapter.convert adapter.scale adapter.blend adapter.merge
clip.tune study.make study.html study.import study.analyse study.power""".split()


def main(checkout: Path) -> None:
    """Make all, and bring it beside this file."""
    git = ["git", "-C", checkout]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    if not head.startswith(COMMIT):
        sys.exit(f"{checkout} is at {head[:7]}, not at {COMMIT}")
    with tempfile.TemporaryDirectory() as folder:
        side = Side("old", checkout, Path(folder) / "work")
        try:
            side.script(Path(__file__), "inputs")
            said = make(side)
            work = HERE / "work"
            shutil.rmtree(work, ignore_errors=True)
            ignored = shutil.ignore_patterns(*IGNORED)
            shutil.copytree(side.root, work, ignore=ignored)
            expected = {"commit": COMMIT, "said": said, "finished": finish(side)}
            write(HERE / "expected.json", expected)
            side.script(Path(__file__), "names", HERE / "names.json")
            write(HERE / "flags.json", flags(side))
        finally:
            side.close()


def write(path: Path, value) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def inputs() -> None:
    """Write a base of few weights and photos; runs on the old tree."""
    import csv

    from golden_inputs import Garments, write_base

    write_base(Path("base"), (8, 16), 16, 4, seed=7)
    shutil.rmtree("words")
    garments = Garments(9, 12, 32)
    garments.save(Path("photos"), "{:02d}.png".format)
    with open("photos/metadata.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "caption", "category", "product"])
        for i, words in enumerate(zip(garments.captions, garments.categories)):
            rows.writerow([f"{i:02d}.png", *words, f"p{i // 2}"])


def make(side: Side) -> dict:
    """Make the work that is saved, and return what commands printed."""
    said = {"convert": side.json(*COMMANDS["convert"]), "done": side.json(*COMMANDS["done"])}
    for run in TRAIN:
        if run.startswith("half"):
            watch = {"lines": f"runs/{run}/eval.jsonl", "count": 2, "signal": signal.SIGTERM}
            side.run(*COMMANDS[run], watch=watch, code=130)
    for name in ("plain", "adapted"):
        side.run(*COMMANDS[name])
    watch = {"lines": "out/half/records.jsonl", "count": 2}
    side.run(*COMMANDS["half-gallery"], watch=watch, code=-signal.SIGKILL)
    for leftover in side.path("out/half").glob(".*"):
        leftover.unlink()
    side.script(Path(__file__), "studio")
    for name in ("study", "score", "captions", "show", "inspect"):
        said[name] = side.json(*COMMANDS[name])
    said["study"]["trials"] = votes(side)
    return said


def studio() -> None:
    """Draw and keep an image in the prompt studio; runs on the old tree."""
    from tvhelpers.sample.sampler import Sampler
    from tvhelpers.show.prompt_studio import PromptStudio

    words = {"categories": ["dress"], "colours": ["red"]}
    sitting = PromptStudio(Sampler("base", "runs/done"), Path("studio"), **words)
    sitting.seed.value, sitting.steps.value = 5, 3
    sitting.draw()
    sitting.save()


def votes(side: Side) -> dict[str, int]:
    """Let one rater answer all, another half; keep the other half as a file of the page."""
    from golden_study import answers

    raters = ["r1", "r2"]
    side.run("study", "html", "study", "--raters", *raters, "--out", "pages")
    counts = {}
    for number, rater in enumerate(raters):
        content = answers(side.path("study"), side.path(f"pages/{rater}.html"), number)
        counts[rater] = len(content["votes"])
        side.path(f"votes-{rater}.json").write_text(json.dumps(content))
        half = {**content, "votes": content["votes"][: counts[rater] // (1 + number)]}
        side.path("some.json").write_text(json.dumps(half))
        side.run("study", "import", "study", "some.json")
    side.path("some.json").unlink()
    shutil.rmtree(side.path("pages"))
    return counts


def finish(side: Side) -> dict:
    """Finish the half work with the same code, and return what came of it."""
    found = {}
    for run in TRAIN:
        result = side.json(*COMMANDS[run])
        lines = side.path(f"runs/{run}/eval.jsonl").read_text().splitlines()
        found[run] = {"result": result, "eval": [json.loads(line) for line in lines]}
    found["half-gallery"] = [
        {key: value for key, value in row.items() if key != "versions"}
        for row in side.json(*COMMANDS["half-gallery"])
    ]
    found["import"] = side.json("study", "import", "study", "votes-r2.json")
    found["analyse"] = side.json("study", "analyse", "study", "--out", "analysis")
    return found


def names(path: str) -> None:
    """Write the names that are stable: settings with the presets, variables; on the old tree."""
    import tvhelpers
    from tvhelpers.config import METHODS, PRESETS, build_config, to_dict

    package = Path(tvhelpers.__file__).parent
    text = "".join(file.read_text() for file in sorted(package.rglob("*.py")))
    presets = {
        f"{preset} {method}": to_dict(build_config(preset, method=method))
        for preset in PRESETS
        for method in METHODS
    }
    write(Path(path), {"variables": sorted({*re.findall(r"TV_[A-Z_]*[A-Z]", text)}),
                       "presets": presets})  # fmt: skip


def flags(side: Side) -> dict[str, list[str]]:
    """Return {verb: its options} from the help."""
    return {verb: read_help(side.run(*verb.split("."), "--help").out) for verb in VERBS}


def read_help(text: str) -> list[str]:
    """Return the options that a help text has."""
    return sorted({*re.findall(r"--[a-z-]+", text.split("\n\n")[0])})


if __name__ == "__main__":
    task, *rest = sys.argv[1:]
    works = {"inputs": inputs, "studio": studio, "names": names}
    works.get(task, lambda: main(Path(task)))(*rest)
