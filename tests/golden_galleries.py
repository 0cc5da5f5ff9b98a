"""What is compared of galleries, their scores and prompt suites?"""

from __future__ import annotations

from golden_commands import LORA_SCALE, PROMPTS, VALIDATION, draw, item
from golden_names import today
from golden_reading import plain, read_chart, read_folder, read_gallery, read_json
from golden_training import train_lora


@item
def demo(side):
    """The eight images of the README, as `make demo` draws them."""
    words = [
        "green bomber jacket", "brown leather belt", "formal black dress", "V-neck t-shirt",
        "short overalls", "black sweatsuit", "tartan skirt", "black high-waisted skirt",
    ]  # fmt: skip
    return draw(side, "demo", *words, "--seed", 2, base="mini", steps=20)


def make_galleries(side):
    """Draw what scores, studies and others look at."""
    side.once(train_lora)
    two = "--count", 4, "--seed", 4
    return {
        "plain": draw(side, "plain", *PROMPTS, *two, "--adapter", "none"),
        "adapted": draw(side, "adapted", *PROMPTS, *two, "--adapter", "runs/lora"),
    }


@item
def generate(side):
    """Galleries with and without an adapter, a LoRA scale, a size, either kind of names."""
    found = dict(side.once(make_galleries))
    weak = "--adapter", "runs/lora/adapter.safetensors", LORA_SCALE, 0.5, "--guidance", 1
    found["weak"] = draw(side, "weak", "a red dress", *weak, "--size", 96, "--batch-size", 1)
    names = "--adapter", "runs/lora/adapter_kohya.safetensors"
    found["kohya"] = draw(side, "kohya", *PROMPTS, *names)
    found["mini"] = draw(side, "bare-mini", "a red dress", "--adapter", "none", base="mini")
    return found


@item
def generate_suite(side):
    """The first rows of a suite, two seeds each."""
    side.run("prompts", "paper-8", "--out", "made/paper.jsonl")
    lines = side.path("made/paper.jsonl").read_text().splitlines(True)[:3]
    side.path("made/suite.jsonl").write_text("".join(lines))
    return draw(side, "suite", "--prompts", "made/suite.jsonl", "--count", 2)


@item
def generate_resumed(side):
    """A gallery that is killed and resumes."""
    words = ["generate", *PROMPTS, "--count", 4, "--steps", 6, "--batch-size", 1]
    words += ["--base", "inputs/base", "--out", "out/killed"]
    watch = {"lines": "out/killed/records.jsonl", "count": 2}
    killed = side.run(*words, code=None, watch=watch).code
    side.run(*words)
    return {"killed": killed, **read_gallery(side, "out/killed")}


def score(side, out, *words) -> dict:
    """Score, and return the metrics and the figures."""
    said = side.json("score", *words, "--out", f"made/{out}.json")
    folder = f"made/{out}-figures"
    figures = {name: read_chart(side, f"{folder}/{name}") for name in read_folder(side, folder)}
    return {"--json": plain(said), "file": read_json(side, f"made/{out}.json"), **today(figures)}


@item
def scores(side):
    """Two galleries beside real images, with copies, a cache, features and a CLIP."""
    side.once(make_galleries)
    two = "out/plain", "out/adapted"
    first = score(side, "plain", *two, "--classifier", "judge", "--real", "inputs/photos",
                  "--train", "many-flats", "--cache", "made/cache")  # fmt: skip
    second = score(side, "clip", *two, "--clip", "mini", "--features", "judge", "--copies", "judge",
                   "--train", "tiny-flats", VALIDATION, "few-flats")  # fmt: skip
    return {"plain": first, "clip": second, "photos": score(side, "photos", "inputs/photos")}


@item
def score_suite(side):
    """A suite's images, read by the judge and by a CLIP."""
    side.once(generate_suite)
    judge = score(side, "judge", "out/suite", "--reader", "judge", "--known", "few-flats")
    words = "out/suite", "--reader", "clip", "--clip", "mini", "--known", "tiny-flats"
    return {"judge": judge, "clip": score(side, "reader", *words)}


@item
def prompts(side):
    """Every suite as bytes."""
    found = {}
    for name, words in {
        "paper-8": "paper-8", "fb138": "fb138", "fb1000": "fb1000", "seed": "fb138 --seed 7",
        "mini": "fb138 --base mini", "own": "fb138 --captions inputs/photos",
    }.items():  # fmt: skip
        out = f"made/prompts-{name}.jsonl"
        said = side.json("prompts", *words.split(), "--out", out)
        found[name] = {"--json": said, "file": side.path(out).read_bytes()}
    found["printed"] = side.run("prompts", "paper-8").out
    return found
