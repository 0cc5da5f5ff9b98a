"""How are adapters shown, converted, scaled, blended and merged from the command line?"""

from pathlib import Path

from tvhelpers.cli.options import BASE, CONFIG, LORA_SCALE, REQUIRED, add_verbs, option
from tvhelpers.config import check_choice, check_range
from tvhelpers.errors import InputError, cut
from tvhelpers.output import say
from tvhelpers.words import counted

FILE = option("file FILE", Path, text="a LoRA file, folder of a training, or shipped (mini's own)")
FILES = option("files FILE", Path, nargs="+", text="two or more LoRA files or folders of trainings")
OUT = option("--out FILE.safetensors", Path, REQUIRED, "new file to write")
FOLDER = option("--out DIR", Path, REQUIRED, "new folder to write")
HALF = option("--half", bool, False, "store weights as fp16, in half the space")
TO = option("--to FORMAT", str, REQUIRED, "diffusers, or kohya (for A1111, Forge and ComfyUI)")
BY = option("--by FACTOR", float, REQUIRED, "0.5 halves its effect, 1 keeps it as it is")
WEIGHTS = option("--weights W,W", str, REQUIRED, "how much of each file, in order: 0.6,0.4")
RANK = option("--rank N", int, 0, "maximum rank of a layer; a lower one makes the file smaller and "
              "the blend less exact", "the rank of an exact blend")  # fmt: skip
RUN = option("run_dir RUN", Path, text="the folder of a finished training")
METRICS = option("--metrics FILE", Path, None, "metrics.json that `score` wrote, for the figures")
IMAGES = option("--images DIR", Path, None, "a folder that `generate` wrote, for its grid", "the "
                "previews of the training")  # fmt: skip
PUSH = (
    option("repository HUB", text="hub:owner/name, the model of huggingface.co to upload to"),
    option("--out DIR", Path, None, "folder to write and upload; one that exists is uploaded as "
           "it is", "RUN/card"),
    option("--public", bool, text="let everybody see it; without this option it is private"),
    option("--yes", bool, text="do not ask before uploading"),
)  # fmt: skip
WORDS = {  # for what an adapter's file says of its making
    "base": "made for base",
    "base_digest": "digest of the base's UNet",
    "text_encoder_digest": "digest of its own text encoder",
    "data_digest": "digest of the training data",
    "steps": "training steps",
    "targets": "trained layers",
    "resolution": "pixels a side in training",
    "trigger_words": "trigger words",
    "prediction_type": "the UNet predicts",
    "scheduler": "changes to the base's scheduler",
    "blend": "blended from",
}
MAX_METADATA = 1000  # characters shown of a value; kohya stores all tags of the images


def declare(parser) -> None:
    """Add the verbs of `adapter`."""
    add = add_verbs(parser)
    add("show", run_show, "Show what an adapter was made for and what it changes.", FILE)
    text = "Write an adapter in the format of other programs."
    add("convert", run_convert, text, FILE, TO, OUT, HALF)
    add("scale", run_scale, "Write a weaker or stronger copy of an adapter.", FILE, BY, OUT)
    text = "Combine several adapters into one, each with a weight."
    add("blend", run_blend, text, FILES, WEIGHTS, RANK, OUT)
    text = "Write a complete model (a diffusers pipeline folder) of a base and an adapter."
    add("merge", run_merge, text, FILE, BASE, CONFIG, LORA_SCALE, FOLDER, HALF)

    text = "Write a folder with an adapter and its model card, to upload or pass on."
    add("card", run_card, text, RUN, FOLDER, METRICS, IMAGES)
    text = "Upload an adapter with its model card to huggingface.co."
    add("push", run_push, text, RUN, *PUSH, METRICS, IMAGES)


def run_card(options) -> dict:
    """Write the folder, and return where."""
    from tvhelpers.show.model_card import write_card

    write_card(options.run_dir, options.out, options.metrics, options.images)
    return _written(options.out)


def run_push(options) -> dict:
    """Write the folder unless it exists, ask, upload it, and return its address."""
    from tvhelpers import hub
    from tvhelpers.show.model_card import write_card

    repository = options.repository.removeprefix(hub.HUB)
    if not (options.repository.startswith(hub.HUB) and hub.HUB_ID.fullmatch(repository)):
        raise InputError("not-a-hub-id", name=options.repository)
    folder = options.out or options.run_dir / "card"
    if not folder.is_dir():
        write_card(options.run_dir, folder, options.metrics, options.images)
        say(f"written: {folder}")
    elif options.metrics or options.images:
        raise InputError("file-exists", path=folder)
    files = sorted(file.name for file in folder.glob("[!.]*") if file.is_file())
    if not (folder / "README.md").is_file():
        raise InputError("file-exists", path=folder)
    hub.check_upload(folder)
    size = sum((folder / name).stat().st_size for name in files) / 1e6
    who = "everybody" if options.public else "you alone"
    say(f"{', '.join(files)} ({size:.1f} MB), visible to {who}")
    if not options.yes and not _agreed(f"upload to {options.repository}? [y/N] ", folder):
        say("nothing was uploaded")
        return {"out": str(folder), "address": None}
    address = hub.upload(folder, files, repository, options.public)
    say(f"uploaded: {address}")
    return {"out": str(folder), "address": address}


def _agreed(question: str, folder: Path) -> bool:
    """Return whether the user says yes; raises InputError where nobody can be asked."""
    import sys

    if not sys.stdin.isatty():
        raise InputError("not-pushed.unasked", folder=folder)
    return input(question).strip().lower() in ("y", "yes")


def run_show(options) -> dict:
    """Print what an adapter is and how much it changes each block, and return it."""
    from tvhelpers.lora.merge import show

    path = _path(options.file)
    result = {**show(path), "file": str(path), **_training_of(path.parent)}
    layers, weights = (counted(result[f"{name}s"], name) for name in ("layer", "weight"))
    say(f"{path}: {result['kind']} on {layers}, {weights}")
    if "training" in result:
        say("  of the training in {folder}, with the data {data}".format(**result["training"]))
    for key, value in {**result["metadata"], **result["about"]}.items():
        if text := _in_words(value):
            say(f"  {WORDS.get(key, key)}: {cut(text, MAX_METADATA)}")
    say("blocks, with the norm of what is added to their weights:")
    for row in result["blocks"]:
        ranks, alphas = (", ".join(f"{x:g}" for x in row[key]) for key in ("ranks", "alphas"))
        say(
            f"  {row['block']:22} {counted(row['layers'], 'layer'):>11}, rank {ranks}, "
            f"alpha {alphas}, norm {row['norm']:.4g}"
        )
    return result


def _training_of(folder: Path) -> dict:
    """Return {"training": {"folder", "data"}} of the folder of a training, {} for others."""
    from tvhelpers.train.resume import begun_settings

    try:
        data = begun_settings(folder)[1].get("data")
    except InputError:  # a file of another program that has the same name
        return {}
    return {"training": {"folder": str(folder), "data": data}} if data else {}


def _in_words(value) -> str:
    """Return a value of JSON as text, "" for an empty one."""
    if isinstance(value, dict) and "weight" in value:  # one part of a blend
        return f"{value['weight']:g} x ({_in_words(value['adapter'])})"
    if isinstance(value, dict):
        words = {key.replace("_", " "): _in_words(one) for key, one in value.items()}
        return ", ".join(f"{key} {text}" for key, text in words.items() if text)
    return " + ".join(map(_in_words, value)) if isinstance(value, list) else str(value)


def run_convert(options) -> dict:
    """Write the adapter in another format, and return where."""
    from tvhelpers.lora.formats import FORMATS
    from tvhelpers.lora.merge import save_as

    check_choice("format", options.to, FORMATS)
    save_as(_read(options.file), options.out, options.to, options.half)
    return _written(options.out)


def run_scale(options) -> dict:
    """Write the scaled adapter, and return where."""
    from tvhelpers.lora.merge import blend, save_as

    save_as(blend([_read(options.file)], [_finite(options.by)])[0], options.out)
    return _written(options.out)


def run_blend(options) -> dict:
    """Write the blend, print how exact it is, and return where it is."""
    from tvhelpers.lora.merge import blend, save_as

    try:
        weights = [_finite(float(text)) for text in options.weights.split(",")]
    except ValueError as error:
        raise InputError("wrong-type.weights", weights=options.weights) from error
    check_range("rank", options.rank, 0, 2**31)
    adapter, lost = blend([_read(file) for file in options.files], weights, options.rank)
    save_as(adapter, options.out)
    ranks = sorted({layer.rank for layer in adapter.layers.values()})
    say(f"{counted(len(adapter.layers), 'layer')} of rank {', '.join(map(str, ranks))}")
    if options.rank:
        say(f"lost by the lower rank: {100 * lost['overall']:.2f} % of the norm")
        say(f"most lost in {lost['worst']}: {100 * lost['worst_layer']:.2f} %")
    return {**_written(options.out), "ranks": ranks, "lost": lost}


def run_merge(options) -> dict:
    """Write the merged pipeline, and return where."""
    from tvhelpers.lora.merge import merge
    from tvhelpers.models.base import find_base

    base, lora_scale = find_base(options.base), _finite(options.lora_scale)
    merge(_path(options.file, options.base), base, options.out, lora_scale, options.half)
    return _written(options.out)


def _path(file: Path, base: str = "mini") -> Path:
    """Return an adapter's file; "shipped" is the one that comes with `base`."""
    from tvhelpers.lora.find import adapter_file
    from tvhelpers.models.base import find_base

    shipped = find_base(base).adapter if str(file) == "shipped" else None
    return shipped or adapter_file(file)


def _read(file: Path):
    from tvhelpers.lora.formats import read_adapter

    return read_adapter(_path(file))


def _finite(number: float) -> float:
    check_range("the scale of an adapter", number, -1e6, 1e6)
    return number


def _written(out: Path) -> dict:
    say(f"written: {out}")
    return {"out": str(out)}
