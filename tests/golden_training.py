"""What is compared of trainings, of adapters and of a tuned CLIP?"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
from golden_commands import LORA_SCALE, PRESET, SMALL, UNCONDITIONAL, draw, item, train
from golden_reading import (
    IGNORED_FILES,
    plain,
    read_folder,
    read_json,
    read_metadata,
    read_pipeline,
    read_run,
    read_tensors,
)


@item
def lora(side):
    """An adapter on photos, with its cache."""
    return side.once(train_lora)


def train_lora(side):
    return train(side, "lora", "inputs/photos", "lora", "steps=30")


@item
def lora_dora_text(side):
    """DoRA on all layers, in the text encoder too, with mirrored images."""
    more = "steps=30 dora=true text_rank=2 text_learning_rate=5e-5 targets=attention+ff+conv"
    return train(side, "lora", "inputs/rows", "dora", *more.split(), "flip=true", "alpha=2")


@item
def lora_balanced(side):
    """No flips, EMA, accumulation, weights, thinning and a constant rate."""
    more = "steps=12 flip=false ema_decay=0.9 accumulate=2 balance=weight at_most=2"
    more += " schedule=constant optimizer=adam caption_dropout=0.3 min_snr_gamma=0 split_seed=3"
    found = train(side, "lora", "inputs/rows", "balanced", *more.split())
    more = "steps=4 balance=category,colour limit=20 resolution=32 seed=5 epochs=1"
    return {"weight": found, "evened": train(side, "lora", "inputs/rows", "even", *more.split())}


@item
def lora_masks(side):
    """Weights of background and skin, by the benchmark's masks."""
    more = "steps=12 background_weight=0.2 skin_weight=0.3 gradient_checkpointing=true"
    return train(side, "lora", "inputs/g2", "masks", *more.split())


@item
def lora_v_prediction(side):
    """Another objective, and drawing with it."""
    more = "steps=12 prediction=v_prediction zero_terminal_snr=true flip=false"
    found = train(side, "lora", "inputs/photos", "v", *more.split())
    words = draw(side, "v", "a red dress", "--adapter", "runs/v", "--count", 2)
    return {"run": found, "gallery": words}


@item
def lora_mini(side):
    """An adapter on mini, by a preset, on drawn garments."""
    more = "steps=6 limit=24 batch_size=2 eval_steps=3"
    return train(side, "lora", "tiny-flats", "mini", *more.split(), small="")


@item
def baseline(side):
    """An unconditional UNet, from random weights."""
    return train(side, "baseline", "inputs/photos", "baseline", "steps=30", "start=scratch")


@item
def baseline_classes(side):
    """The same with classes, and images of a class."""
    more = "steps=30", "classes=category", "learning_rate=1e-4"
    found = train(side, "baseline", "inputs/photos", "classes", *more)
    words = json.loads(side.path("runs/classes/pipeline/classes.json").read_text())["words"]
    prompt = f"category={words[0][0]}"
    return {"run": found, "gallery": draw(side, "class", prompt, base="runs/classes/pipeline")}


@item
def full(side):
    """All of the UNet with language, and with cross-attention from random numbers."""
    found = train(side, "full", "inputs/photos", "full", "steps=6", "ema_decay=0.5")
    other = train(side, "full", "inputs/photos", "random-attention", "steps=3", UNCONDITIONAL)
    return {"full": found, "random-attention": other}


@item
def resumed(side):
    """A training that is killed and resumed, stopped and resumed: the same as an unbroken one."""
    pairs = [*SMALL.split(), "steps=30"]
    words = ["train", "lora", "--data", "inputs/photos", "--out", "runs/resumed"]
    words += PRESET
    words += [word for pair in pairs for word in ("--set", pair)]
    watch = {"files": "runs/resumed/checkpoints/step-*.pt", "count": 1}
    killed = side.run(*words, code=None, watch=watch).code
    watch = {"lines": "runs/resumed/eval.jsonl", "count": 3, "signal": signal.SIGTERM}
    stopped = side.run(*words, code=None, watch=watch).code
    side.run(*words)
    side.run(*words)  # finished: opened, not trained
    unbroken, found = side.once(train_lora), read_run(side, "runs/resumed")
    same = all(
        np.array_equal(found["adapter.safetensors"][name], values)
        for name, values in unbroken["adapter.safetensors"].items()
    )
    return {"run": found, "ended": [killed, stopped], "as the unbroken one": same}


@item
def captions_and_mirror(side):
    """A training on a file of new captions, with a mirror."""
    side.run("data", "captions", "inputs/photos", "--out", "made/new.jsonl")
    more = "steps=6", "captions=made/new.jsonl", "mirror=made/mirror"
    found = train(side, "lora", "inputs/photos", "captioned", *more)
    found["mirror"] = sorted(read_folder(side, "made/mirror", IGNORED_FILES))
    return found


def _adapter(side, verb, out, *words) -> dict:
    said = side.json("adapter", verb, *words, "--out", f"made/{out}.safetensors")
    return {
        "--json": plain(said),
        "tensors": read_tensors(side, f"made/{out}.safetensors"),
        "metadata": read_metadata(side, f"made/{out}.safetensors"),
    }


@item
def adapters(side):
    """Every verb of `adapter`, on ours and on the one that comes with mini."""
    side.once(train_lora)
    lora, shipped, both = "runs/lora", "shipped", ("shipped", "shipped", "--weights", "0.6,-0.2")
    found = {name: plain(side.json("adapter", "show", name)) for name in (lora, shipped)}
    found[shipped]["file"] = Path(found[shipped]["file"]).name  # it lies in the tree
    found |= {
        "kohya": _adapter(side, "convert", "kohya", lora, "--to", "kohya"),
        "half": _adapter(side, "convert", "half", shipped, "--to", "diffusers", "--half"),
        "back": _adapter(side, "convert", "back", "made/kohya.safetensors", "--to", "diffusers"),
        "scale": _adapter(side, "scale", "weak", lora, "--by", "-0.7"),
        "blend": _adapter(side, "blend", "both", lora, lora, "--weights", "0.6,0.4"),
        "rank": _adapter(side, "blend", "rank", *both, "--rank", 3),
    }
    words = "--base", "inputs/base", LORA_SCALE, 0.8, "--out", "made/merged"
    found["merge"] = plain(side.json("adapter", "merge", lora, *words))
    found["merged"] = read_pipeline(side, "made/merged")
    return found


@item
def clip_tune(side):
    """A CLIP tuned for a few steps, and an adapter trained on it."""
    words = "clip", "tune", "--data", "tiny-flats", "--keep", "few-flats", "--out", "made/clip"
    more = "steps=4 batch_size=8 micro_batch=4 eval_steps=2 rank=2".split()
    sets = [word for pair in more for word in ("--set", pair)]
    found = {"--json": plain(side.json(*words, *sets))}
    found["files"] = read_pipeline(side, "made/clip/clip")
    found["tuning.json"] = read_json(side, "made/clip/tuning.json")
    more = "steps=2 limit=12 batch_size=2 eval_steps=0 text_encoder=made/clip"
    found["run"] = train(side, "lora", "tiny-flats", "text-encoder", *more.split(), small="")
    found["gallery"] = draw(
        side, "text-encoder", "a red dress", "--adapter", "runs/text-encoder", base="mini"
    )
    return found
