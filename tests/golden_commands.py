"""Which items are compared, and which commands do many of them run?"""

from __future__ import annotations

from golden_reading import plain, read_caches, read_gallery, read_run

PRESET = ["--preset", "smoke"]  # others choose numbers for the data since then
SMALL = "base=inputs/base batch_size=4 rank=4 eval_items=4 eval_steps=10 checkpoint_steps=10"
PROMPTS = "a red dress", "a blue striped skirt", "a black hoodie"
# Options and a setting by the names that both trees know.
IMAGE, VALIDATION, LORA_SCALE = "--picture", "--held-out", "--strength"  # stable name
UNCONDITIONAL = "start=deaf"  # stable name
ITEMS: dict = {}


def item(function):
    """Put a function into the table, under its name with dashes."""
    ITEMS[function.__name__.strip("_").replace("_", "-")] = function
    return function


def train(side, method, data, out, *settings, small=SMALL, **options) -> dict:
    """Train, and return what it wrote: in runs/OUT, and in caches that were not there."""
    known = read_caches(side)
    pairs = [*small.split(), *settings] if small else settings
    words = PRESET + [word for pair in pairs for word in ("--set", pair)]
    said = side.json("train", method, "--data", data, "--out", f"runs/{out}", *words, **options)
    return {"--json": plain(said), **read_run(side, f"runs/{out}"), **read_caches(side, known)}


def draw(side, out, *words, base="inputs/base", steps=4) -> dict:
    """Draw into out/OUT and return the gallery."""
    words = [*words, "--base", base, "--steps", steps, "--out", f"out/{out}"]
    said = side.json("generate", *words)
    return {"--json": plain(said), **read_gallery(side, f"out/{out}")}
