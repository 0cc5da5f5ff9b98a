"""What do the verbs of `adapter` do with an adapter's file?"""

from pathlib import Path

from tvhelpers.cli.options import BASE, REQUIRED, add_verbs, option
from tvhelpers.config import check_choice, check_range
from tvhelpers.errors import InputError

FILE = option("file FILE", Path, text="adapter, its run, or shipped")
OUT = option("--out OUT", Path, REQUIRED)
HALF = option("--half", bool, False, "store fp16: half the size")
TO = option("--to", str, REQUIRED, "diffusers or kohya")
BY = option("--by FACTOR", float, REQUIRED)
LORA_SCALE = option(
    "--lora-scale/--strength", float, 1.0, "how much of the adapter: 0 = none, 1 = all"
)
BLEND = (
    option("files FILE", Path, nargs="+"),
    option("--weights W,W", str, REQUIRED, "one for each file: 0.6,0.4"),
    option("--rank", int, 0, "bring each layer to it at most", "exact sum"),
)


def declare(parser) -> None:
    """Add the verbs of `adapter`."""
    add = add_verbs(parser)
    add("show", run_show, "Say what an adapter's file holds.", FILE)
    add("convert", run_convert, "Write an adapter under other names.", FILE, TO, OUT, HALF)
    add("scale", run_scale, "Make an adapter stronger or weaker.", FILE, BY, OUT)
    add("blend", run_blend, "Add adapters up, each with a weight.", *BLEND, OUT)
    text = "Fold an adapter into its base: a pipeline folder."
    add("merge", run_merge, text, FILE, BASE, LORA_SCALE, OUT, HALF)


def run_show(options) -> dict:
    """Print an adapter's metadata and blocks, and return them."""
    from tvhelpers.lora.merge import show

    result = show(_path(options.file))
    print(f"{result['kind']} on {result['layers']} layers, {result['weights']:,} weights")
    for key, value in {**result["metadata"], **result["about"]}.items():
        print(f"  {key}: {value}")
    for row in result["blocks"]:
        ranks, alphas = (", ".join(f"{x:g}" for x in row[key]) for key in ("ranks", "alphas"))
        print(
            f"{row['block']:24} {row['layers']:4} layers, rank {ranks}, alpha {alphas}, "
            f"norm {row['norm']:.4g}"
        )
    return result


def run_convert(options) -> dict:
    """Write the adapter anew, and return where."""
    from tvhelpers.lora.formats import NAMES
    from tvhelpers.lora.merge import save_as

    check_choice("kind of names", options.to, NAMES)
    save_as(_read(options.file), options.out, options.to, options.half)
    return _written(options.out)


def run_scale(options) -> dict:
    """Write the scaled adapter, and return where."""
    from tvhelpers.lora.merge import blend, save_as

    save_as(blend([_read(options.file)], [_finite(options.by)])[0], options.out)
    return _written(options.out)


def run_blend(options) -> dict:
    """Write the blend, say what was lost, and return where it is."""
    from tvhelpers.lora.merge import blend, save_as

    try:
        weights = [_finite(float(text)) for text in options.weights.split(",")]
    except ValueError as error:
        raise InputError("wrong-type.weights", weights=options.weights) from error
    check_range("rank", options.rank, 0, 2**31)
    adapter, lost = blend([_read(file) for file in options.files], weights, options.rank)
    save_as(adapter, options.out)
    ranks = sorted({layer.rank for layer in adapter.layers.values()})
    text = f"{100 * lost['overall']:.2f} % of the norm" if options.rank else "nothing"
    print(f"{len(adapter.layers)} layers of rank {', '.join(map(str, ranks))}; lost: {text}")
    if options.rank:
        print(f"most in {lost['worst']}: {100 * lost['worst_layer']:.2f} %")
    return {**_written(options.out), "ranks": ranks, "lost": lost}


def run_merge(options) -> dict:
    """Write the pipeline, and return where."""
    from tvhelpers.lora.merge import merge
    from tvhelpers.models.base import find_base

    base, lora_scale = find_base(options.base), _finite(options.lora_scale)
    merge(_path(options.file, options.base), base, options.out, lora_scale, options.half)
    return _written(options.out)


def _path(file: Path, base: str = "mini") -> Path:
    """Return an adapter's file; "shipped" stands for the one that comes with `base`."""
    from tvhelpers.lora.formats import adapter_file
    from tvhelpers.models.base import find_base

    shipped = find_base(base).adapter if str(file) == "shipped" else None
    return shipped or adapter_file(file)


def _read(file: Path):
    from tvhelpers.lora.formats import read_adapter

    return read_adapter(_path(file))


def _finite(number: float) -> float:
    check_range("the factor of an adapter", number, -1e6, 1e6)
    return number


def _written(out: Path) -> dict:
    print(f"written: {out}")
    return {"out": str(out)}
