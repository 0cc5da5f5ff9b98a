"""What is compared: a function an item, that runs commands of a side and returns what it found.

A finding is {where: value}; values are numbers, texts, lists, dicts, arrays and bytes.  `read_*`
ignore what may differ between two runs of one tree, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from pathlib import Path

import numpy as np
from golden_names import today

# Dates, versions, speeds, memory and the state of the machine.  Nothing else is ignored.
IGNORED = {"versions", "images_per_second", "memory_gb", "seconds_a_step"}
IGNORED_FILES = ("tensorboard/*", "speed.jsonl", "figures/*", ".lock", "*/.*.lock")
METADATA = (  # of an adapter, compared by key: a new tree may say more
    "base base_digest data_digest text_encoder_digest steps rank alpha targets resolution "
    "prediction_type scheduler licences format format_version lora_adapter_metadata "
    "sshs_model_hash ss_network_module ss_network_dim ss_network_alpha ss_network_args "
    "ss_base_model_version"
).split()
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


# ------------------------------------------------------------------------------- reading


def plain(value):
    """Return JSON under today's names, without what is ignored."""
    return _without(today(value))


def _without(value):
    if isinstance(value, dict):
        return {key: _without(one) for key, one in value.items() if key not in IGNORED}
    return [_without(one) for one in value] if isinstance(value, list) else value


def read_json(side, name):
    """Return a file of JSON."""
    return plain(json.loads(side.path(name).read_text()))


def read_lines(side, name) -> list:
    """Return a file of JSON lines."""
    return [plain(json.loads(line)) for line in side.path(name).read_text().splitlines()]


def read_tensors(side, name) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file."""
    from safetensors.numpy import load_file

    return load_file(side.path(name))


def read_metadata(side, name) -> dict:
    """Return the metadata of an adapter that are compared, parsed where they are JSON."""
    from safetensors import safe_open

    with safe_open(side.path(name), "np") as file:
        found = dict(file.metadata() or {})
    flat = {**found, **_json_of(found.get("tvhelpers", ""))}
    return {key: _json_of(flat[key]) or flat[key] for key in METADATA if key in flat}


def _json_of(text) -> dict:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_folder(side, folder, ignored=()) -> dict[str, bytes]:
    """Return the bytes of all files of a folder by their names, without hidden ones."""
    top, found = side.path(folder), {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and not any(name.match(one) for one in ignored):
            found[str(name)] = path.read_bytes()
    return found


def read_pipeline(side, folder) -> dict[str, bytes]:
    """Return a pipeline's files: weights as they are, configs without the libraries' versions."""
    found = read_folder(side, folder)
    for name, data in found.items():
        if name.endswith(".json") and b"_version" in data:
            row = json.loads(data)
            found[name] = {k: v for k, v in row.items() if not k.endswith("_version")}
    if "base.json" in found:  # ours, whose keys have other names today
        found["base.json"] = plain(json.loads(found["base.json"]))
    return found


def read_run(side, run) -> dict:
    """Return all that a finished training says and holds, its cache too."""
    found = {
        "names": sorted(
            name for name in read_folder(side, run, IGNORED_FILES) if "checkpoints" not in name
        ),
        "result.json": read_json(side, f"{run}/result.json"),
        "config.json": read_json(side, f"{run}/config.json"),
        "held_out.json": read_json(side, f"{run}/held_out.json"),
        "eval.jsonl": read_lines(side, f"{run}/eval.jsonl"),
        "log.jsonl": read_lines(side, f"{run}/log.jsonl"),
    }
    for path in sorted(side.path(run).glob("*.safetensors")):
        found[path.name] = read_tensors(side, f"{run}/{path.name}")
        found[f"{path.name} metadata"] = read_metadata(side, f"{run}/{path.name}")
    if side.path(f"{run}/pipeline").is_dir():
        found["pipeline"] = read_pipeline(side, f"{run}/pipeline")
    return found


def read_caches(side, known=()) -> dict:
    """Return the latent caches in artifacts/, by name, that are not `known`."""
    folders = side.path("root/artifacts").glob("cache-*")
    names = sorted(path.name for path in folders if path.is_dir())
    return {
        name: read_folder(side, f"root/artifacts/{name}") for name in names if name not in known
    }


def read_gallery(side, folder) -> dict:
    """Return the images of a drawing as bytes, their records and the request."""
    found = read_folder(side, folder)
    found["records.jsonl"] = read_lines(side, f"{folder}/records.jsonl")
    found["request.json"] = read_json(side, f"{folder}/request.json")
    return found


# ------------------------------------------------------------------------------- training


def train(side, method, data, out, *settings, small=SMALL, **options) -> dict:
    """Train, and return what it wrote: in runs/OUT, and in caches that were not there."""
    known = read_caches(side)
    pairs = [*small.split(), *settings] if small else settings
    words = [word for pair in pairs for word in ("--set", pair)]
    said = side.json("train", method, "--data", data, "--out", f"runs/{out}", *words, **options)
    return {"--json": plain(said), **read_run(side, f"runs/{out}"), **read_caches(side, known)}


@item
def lora(side):
    """An adapter on photos, with its cache."""
    return side.once(_lora)


def _lora(side):
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
    words += [word for pair in pairs for word in ("--set", pair)]
    watch = {"files": "runs/resumed/checkpoints/step-*.pt", "count": 1}
    killed = side.run(*words, code=None, watch=watch).code
    watch = {"lines": "runs/resumed/eval.jsonl", "count": 3, "signal": signal.SIGTERM}
    stopped = side.run(*words, code=None, watch=watch).code
    side.run(*words)
    side.run(*words)  # finished: opened, not trained
    unbroken, found = side.once(_lora), read_run(side, "runs/resumed")
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


# ------------------------------------------------------------------------------- data


@item
def inspect(side):
    """What each store is said to hold."""
    found = {}
    for path in sorted(side.path("inputs/stores").iterdir()):
        done = side.run("data", "inspect", f"inputs/stores/{path.name}", "--json", code=None)
        found[path.name] = [done.code, plain(done.json()) if done.code == 0 else ""]
    report = side.json("data", "inspect", "inputs/g2", "--all", IMAGE, "made/look.png")
    found["g2"] = plain(report)
    found["look.png"] = side.path("made/look.png").read_bytes()
    return found


@item
def convert_stores(side):
    """The same stores decoded, as evidence says and as the user says."""
    found = {}
    for path in sorted(side.path("inputs/stores").iterdir()):
        name = f"inputs/stores/{path.name}"
        found[path.name] = convert(side, name, f"auto-{path.stem}{path.suffix}", code=None)
    ways = {
        "no-mean.h5": "--mean inputs/stores/mean.npy",
        "affine.h5": "--decode affine --axes CHW --channels RGB --size 48",
        "bytes-bgr.h5": "--decode uint8 --axes HWC --channels BGR",
        "lying.h5": "--axes WHC --channels RGB --to images",
        "unit.npy": "--decode unit --axes WHC --channels BGR",
    }
    for name, words in ways.items():
        found[f"{name} {words}"] = convert(
            side, f"inputs/stores/{name}", f"as-{name}", *words.split()
        )
    return found


@item
def convert_benchmark(side):
    """The benchmark's files as HDF5, as images, enlarged, and with the original photos."""
    photos = "--photos", "inputs/img_highres.zip", "--size", "32"
    return {
        "h5": convert(side, "inputs/g2", "g2-h5"),
        "images": convert(side, "inputs/g2", "g2-images", "--to", "images", "--size", "64"),
        "photos": convert(side, "inputs/g2", "g2-photos", *photos),
        "again": convert(side, "made/g2-h5", "g2-again", "--size", "40"),
        "prediction": convert(side, "inputs/prediction", "prediction", "--size", "32"),
    }


@item
def convert_folders(side):
    """Photos with words beside them, of every kind."""
    found = {}
    for name in ("photos", "rows", "texts", "kinds", "wide"):
        found[name] = convert(side, f"inputs/{name}", name, "--size", "32")
    found["images"] = convert(side, "inputs/wide", "wide-images", "--to", "images", "--size", "24")
    found["flats"] = convert(side, "tiny-flats", "flats", "--size", "24")
    return found


@item
def convert_tables(side):
    """A shop's table in each format, rows of a manifest, an HDF5 file with words in it."""
    columns = "images=pics/{sku}.png,caption=title,category=kind,product=sku,weight=sold"
    found = {}
    for path in sorted(side.path("inputs/shop").glob("stock.*")):
        more = "--columns", columns, "--size", "32"
        found[path.name] = convert(side, f"inputs/shop/{path.name}", f"of-{path.name}", *more)
    columns = "pixels=images,caption=words,category=kind"
    found["h5"] = convert(side, "inputs/packed/rows.h5", "of-rows", "--columns", columns)
    found |= {
        name: convert(side, name, f"row-{name}", "--size", "32") for name in ("shop", "packed")
    }
    return found


def convert(side, source, out, *words, code: int | None = 0) -> dict:
    """Convert into made/OUT and return the exit code, what was printed, and the files."""
    words = "data", "convert", source, "--out", f"made/{out}", *words, "--json"
    done = side.run(*words, code=code)
    found = {"code": done.code}
    if done.code == 0:
        found |= {"--json": plain(done.json()), **read_folder(side, f"made/{out}")}
    return found


@item
def convert_resumed(side):
    """A conversion that is killed and resumes."""
    words = "data", "convert", "few-flats", "--out", "made/killed", "--to", "images"
    watch = {"files": "made/killed/*.png", "count": 3}
    killed = side.run(*words, code=None, watch=watch).code
    side.run(*words)
    return {"killed": killed, **read_folder(side, "made/killed")}


@item
def latents(side):
    """Latent caches: of photos, of a store with masks, on mini, and at a size."""
    found, known = {}, sorted(read_caches(side))
    for data, more in (
        ("inputs/texts", "--base inputs/base"),
        ("inputs/g2", "--base inputs/base --size 32"),
        ("few-flats", "--base mini --size 64"),
    ):
        words = "data", "convert", data, "--to", "latents", *more.split()
        found[data] = plain(side.json(*words))
    return {"--json": found, **read_caches(side, known)}


@item
def captions(side):
    """New captions of photos, of the benchmark, of its table alone, of prediction's labels."""
    found = {}
    for name in ("photos", "g2", "g2/Anno/language_original.mat", "prediction", "kinds"):
        out = f"made/captions-{name.replace('/', '-')}.jsonl"
        more = ("--variants", 2, "--seed", 7) if name == "kinds" else ()
        said = side.json("data", "captions", f"inputs/{name}", "--out", out, *more)
        found[name] = {"--json": plain(said), "file": side.path(out).read_bytes()}
    return found


@item
def split(side):
    """Splits by product and by images."""
    found = {}
    for name in ("photos", "g2", "g2/Anno/language_original.mat", "prediction", "rows"):
        out = f"made/split-{name.replace('/', '-')}.json"
        more = (VALIDATION, 0.25, "--seed", 3) if name == "rows" else ()
        more += ("--images",) if name in ("photos", "rows") else ()
        said = side.json("data", "split", f"inputs/{name}", "--out", out, *more)
        found[name] = {"--json": plain(said), "file": read_json(side, out)}
    return found


@item
def coverage(side):
    """Counts and gaps, and their image."""
    found = {}
    for name in ("inputs/photos", "inputs/g2", "tiny-flats", "inputs/prediction", "shop"):
        found[name] = plain(side.json("data", "coverage", name))
    image = "--by", "category,colour", IMAGE, "made/coverage.png"
    found["by"] = plain(side.json("data", "coverage", "tiny-flats", *image))
    found["coverage.png"] = side.path("made/coverage.png").is_file()  # it holds words for people
    return found


# ------------------------------------------------------------------------------- drawing


def draw(side, out, *words, base="inputs/base", steps=4) -> dict:
    """Draw into out/OUT and return the gallery."""
    words = [*words, "--base", base, "--steps", steps, "--out", f"out/{out}"]
    said = side.json("generate", *words)
    return {"--json": plain(said), **read_gallery(side, f"out/{out}")}


@item
def demo(side):
    """The eight images of the README, as `make demo` draws them."""
    words = [
        "green bomber jacket", "brown leather belt", "formal black dress", "V-neck t-shirt",
        "short overalls", "black sweatsuit", "tartan skirt", "black high-waisted skirt",
    ]  # fmt: skip
    return draw(side, "demo", *words, "--seed", 2, base="mini", steps=20)


def _galleries(side):
    """Draw what scores, studies and others look at."""
    side.once(_lora)
    two = "--count", 4, "--seed", 4
    return {
        "plain": draw(side, "plain", *PROMPTS, *two, "--adapter", "none"),
        "adapted": draw(side, "adapted", *PROMPTS, *two, "--adapter", "runs/lora"),
    }


@item
def generate(side):
    """Galleries with and without an adapter, a LoRA scale, a size, either kind of names."""
    found = dict(side.once(_galleries))
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


# ------------------------------------------------------------------------------- scores


def score(side, out, *words) -> dict:
    """Score, and return the metrics and the figures' names and cards."""
    said = side.json("score", *words, "--out", f"made/{out}.json")
    figures = dict.fromkeys(read_folder(side, f"made/{out}-figures"))  # their text is English
    return {"--json": plain(said), "file": read_json(side, f"made/{out}.json"), **today(figures)}


@item
def scores(side):
    """Two galleries beside real images, with copies, a cache, features and a CLIP."""
    side.once(_galleries)
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


# ------------------------------------------------------------------------------- adapters


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
    side.once(_lora)
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


# ------------------------------------------------------------------------------- studies


@item
def study(side):
    """A study from its making to its report."""
    side.once(_galleries)
    words = ["base=out/plain", "mine=out/adapted", "--real", "inputs/photos"]
    words += ["--tasks", "pair,rating,real", "--primary", "mine,base", "--out", "made/study"]
    found = {"make": side.json("study", "make", *words)}
    raters = ["r1", "r2", "r3"]
    found["html"] = side.json(
        "study", "html", "made/study", "--raters", *raters, "--out", "made/pages"
    )
    found["files"] = read_folder(side, "made/study")
    found["pages"] = read_folder(side, "made/pages", ("*.html",))
    found["trials"] = [_page_content(side.path(f"made/pages/{rater}.html")) for rater in raters]
    files = [_answers(side, rater, number) for number, rater in enumerate(raters)]
    found["import"] = side.json("study", "import", "made/study", *files)
    found["again"] = side.json("study", "import", "made/study", files[0])
    found["analyse"] = plain(side.json("study", "analyse", "made/study", "--out", "made/analysis"))
    found["analysis"] = read_json(side, "made/analysis/analysis.json")
    found["votes.csv"] = read_folder(side, "made/analysis", ("*.json", "*.html"))
    power = "--raters", 4, "--prompts", 12, "--effect", 0.7, "--ties", 0.1
    found["power"] = side.json("study", "power", *power)
    return found


def _answers(side, rater: str, number: int) -> str:
    """Write a file as the page of a rater gives it, and return its name."""
    content = answers(side.path("made/study"), side.path(f"made/pages/{rater}.html"), number)
    name = f"made/votes-{rater}.json"
    side.path(name).write_text(json.dumps(content))
    return name


def answers(study: Path, page: Path, number: int) -> dict:
    """Return what a rater's page gives at its end, attention checks answered right."""
    content = _page_content(page)
    key, about = (json.loads((study / f"{name}.json").read_text()) for name in ("key", "study"))
    orders = {item["id"]: item["pictures"] for item in about["items"]}  # stable name
    votes = []
    for trial in content["trials"]:
        answer = _answer(trial, trial["number"] + number, key, orders)
        row = {"trial": trial["number"], "item": trial["item"], "answer": answer, "seconds": 2.5}
        votes.append({**row, "at": "2026-01-01T00:00:00+00:00"})
    return {"study": content["study"], "rater": content["rater"], "votes": votes}


def _page_content(page: Path) -> dict:
    """Return what a rater's page holds, without the words around it."""
    text = page.read_text().split('<script type="application/json" id="study">')[1]
    return json.loads(text.split("</script>")[0])


def _answer(trial: dict, turn: int, key: dict, orders: dict) -> str:
    expected = key["expected"].get(trial["item"])
    if expected:
        systems = key["items"][trial["item"]]
        flip = trial["shown"] != orders[trial["item"]]
        systems = systems[::-1] if flip else systems
        return "same" if expected == "same" else ("left", "right")[systems.index(expected)]
    if trial["kind"] == "rating":
        return "".join(str(1 + (turn + k) % 5) for k in range(3))
    return ("left", "right", "same")[turn % 3] if trial["kind"] == "pair" else (
        ("real", "generated")[turn % 2])  # fmt: skip


# ------------------------------------------------------------------------------- saved work


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


# ------------------------------------------------------------------------------- refusals

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
data inspect inputs/stores/unit.h5 --axes XYZ
data convert inputs/photos
data convert inputs/stores/no-mean.h5 --out o/data
data convert inputs/wide --out o/data
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


def digest(data: bytes) -> str:
    """Return what names bytes in a report."""
    return f"{len(data):,} bytes, {hashlib.sha256(data).hexdigest()[:12]}"
