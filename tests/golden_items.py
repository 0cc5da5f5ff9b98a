"""What is compared: a function an item, that runs commands of a side and returns what it found.

A finding is {where: value}; values are numbers, texts, lists, dicts, arrays and bytes.  Items of
one area stand in a module of their own; here are saved work, refusals and help.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import golden_data  # noqa: F401  (its items, and those of the next ones)
import golden_study  # noqa: F401
import golden_training  # noqa: F401
from golden_commands import ITEMS, item  # noqa: F401
from golden_reading import plain, read_folder, read_gallery, read_run


@item
def saved(side):
    """Work of an older commit, in tests/saved, resumed by both."""
    from saved.make import COMMANDS, TRAIN

    work = Path(__file__).with_name("saved") / "work"
    for path in work.iterdir():  # its paths are relative to where it lies
        shutil.copytree(path, side.path(path.name), dirs_exist_ok=True) if path.is_dir() else (
            shutil.copy2(path, side.path(path.name))
        )
    found = {name: plain(side.json(*COMMANDS[name])) for name in ("convert", "show", "study")}
    for run in TRAIN:
        side.run(*COMMANDS[run])
        found[run] = read_run(side, f"runs/{run}")
    for name, folder in (("half-gallery", "out/half"), ("adapted", "out/adapted")):
        side.run(*COMMANDS[name])
        found[name] = read_gallery(side, folder)
    found["import"] = side.json("study", "import", "study", "votes-r2.json")
    found["analyse"] = plain(side.json("study", "analyse", "study", "--out", "made/saved-analysis"))
    return {**found, "analysis": read_folder(side, "made/saved-analysis", ("*.json", "*.html"))}


REFUSED = """
generates
generate --out o/a
generate "" --out o/a
generate a --steps -5 --out o/a
generate a --steps ten --out o/a
generate a --device tpu --out o/a
generate a --batch-size 0 --out o/a
generate a --size 33 --out o/a
generate a --guidance 1000 --out o/a
generate a --seed -1 --out o/a
generate a --base sd99 --out o/a
generate a --base inputs/photos --out o/a
generate a --adapter no.safetensors --base inputs/base --out o/a
generate a --adapter shipped --base inputs/base --out o/a
generate a --prompts fb138 --out o/a
generate --prompts fb99 --out o/a
train lara --data inputs/photos --out o/run
train lora --data no-such --out o/run
train lora --data fashion-synthesis --out o/run
train lora --data inputs/bare --out o/run
train lora --data inputs/photos --out o/run --preset h200
train lora --data inputs/photos --out o/run --set step=5
train lora --data inputs/photos --out o/run --set steps=-5
train lora --data inputs/photos --out o/run --set steps=5 --set steps=6
train lora --data inputs/photos --out o/run --set data=flats
train lora --data inputs/photos --out o/run --set classes=category
train lora --data inputs/photos --out o/run --set background_weight=0.5 --set base=inputs/base
train lora --data inputs/photos --out o/run --set optimizer=adamw8bit --set base=inputs/base
train lora --data inputs/photos --out o/run --set zero_terminal_snr=true --set base=inputs/base
train lora --data inputs/photos --out o/run --set device=cuda --set base=inputs/base
data inspect inputs/stores/cut.h5
data inspect inputs/stores/text.h5
data inspect inputs/stores/empty.h5
data inspect inputs/stores/none.h5
data inspect inputs/photos
data inspect inputs/stores/unit.h5 --axes XYZ --picture look.png
data convert inputs/photos
data convert inputs/stores/no-mean.h5 --out o/data
data convert inputs/photos --out o/data --to tiff
data convert inputs/photos --out o/data --size 0
data convert inputs/shop/stock.csv --out o/data --columns caption
data convert inputs/shop/stock.csv --out o/data --columns caption=none,images=pics/{sku}.png
data convert flats --columns caption=title --out o/data
data captions no-such --out o/new.jsonl
data captions inputs/bare --out o/new.jsonl
data split no-such
data coverage no-such
data coverage inputs/photos --by fabric
data get no-such
adapter show no.safetensors
adapter show inputs/base
adapter convert shipped --to comfy --out o/x.safetensors
adapter scale shipped --by inf --out o/x.safetensors
adapter blend shipped --weights a,b --out o/x.safetensors
adapter blend shipped --weights 1,2 --out o/x.safetensors
adapter merge shipped --base inputs/base --out o/merged
clip tune --data inputs/photos --out o/clip --set method=none
clip tune --data inputs/photos --out o/clip --clip no-such
score no-such --out o/m.json
score inputs/photos --out o/m.json --classifier none
score inputs/photos --out o/m.json --device tpu
prompts fb99
prompts fb138:x
study make a=out/plain --out o/study
study make a=out/none b=out/none2 --out o/study
study html no-such --raters r1 --out o/pages
study import no-such votes.json
study analyse no-such --out o/analysis
study power --raters 0 --prompts 5 --effect 0.6
study power --raters 3 --prompts 5 --effect 0.2
mini
"""


@item
def refusals(side):
    """What cannot be used: the exit code, no traceback, and what is left behind."""
    import shlex

    found = {}
    for line in REFUSED.strip().splitlines():
        done = side.run(*shlex.split(line), code=None)
        found[line] = {"code": done.code, "trace": "Traceback" in done.err}
    made = side.path("o")
    found["left behind"] = sorted(str(path.relative_to(made)) for path in made.rglob("*"))
    return found


@item
def usage(side):
    """Every verb has its help, with --help and with --json."""
    names = "generate train score prompts data adapter clip study mini".split()
    return {name: side.run(name, "--help").code for name in names}
