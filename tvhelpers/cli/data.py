"""The verbs of `python -m tvhelpers data`: each is thin over one function of tvhelpers.data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tvhelpers.config import InputError


def add_verbs(add: Callable) -> None:
    """Add the verbs of `data`; `add(name, run, text)` returns the parser of one."""
    for one in (_add_get, _add_inspect, _add_convert, _add_captions, _add_split, _add_coverage):
        one(add)


def _add_get(add) -> None:
    get = add("get", run_get, "Download a data set of data_manifest.yaml, and unpack it.")
    get.add_argument("name", metavar="NAME")
    get.add_argument(
        "--archive",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a zip or tar that you got by hand, to be unpacked into the data set's folder",
    )


def _add_inspect(add) -> None:
    inspect = add("inspect", run_inspect, "Say what an image file holds and how it is encoded.")
    inspect.add_argument("path", type=Path)
    inspect.add_argument(
        "--all", action="store_true", help="look for faults in all images, not in 256 of them"
    )
    inspect.add_argument(
        "--picture", type=Path, metavar="PNG", help="draw what each decoding would give"
    )
    _add_reading(inspect)


def _add_convert(add) -> None:
    convert = add("convert", run_convert, "Write all images decoded: one file, a folder, latents.")
    convert.add_argument("path", type=Path)
    convert.add_argument("--out", type=Path, metavar="DIR", help="needed but for latents")
    convert.add_argument(
        "--to",
        default="h5",
        help="h5 (pixels.h5, items.jsonl), images (PNG, metadata.jsonl), or latents: what training "
        "on --base encodes first, in $TV_ROOT/artifacts (default: h5)",
    )
    convert.add_argument("--base", default="mini", help="whose latents (default: mini)")
    convert.add_argument("--size", type=int, help="rescale to this many pixels a side")
    convert.add_argument(
        "--photos",
        type=Path,
        metavar="ARCHIVE",
        help="take the original photos instead, from img_highres.zip or its folder; items without "
        "one are left out",
    )
    convert.add_argument(
        "--columns",
        metavar="OURS=THEIRS,...",
        help="of a table: caption=name,images=photos/{sku}.jpg,category=type,product=sku",
    )
    _add_reading(convert)


def _add_captions(add) -> None:
    verb = add(
        "captions",
        run_captions,
        "Write new captions from labels, product names and old ones.",
    )
    verb.add_argument(
        "source", metavar="SOURCE", help="a data set's name or folder, or a language_original.mat"
    )
    verb.add_argument("--out", required=True, type=Path, metavar="FILE.jsonl")
    verb.add_argument("--variants", type=int, default=3, help="captions an item (default: 3)")
    verb.add_argument("--seed", type=int, default=0, help="another seed, other words (default: 0)")
    verb.add_argument(
        "--captioner", metavar="MODEL", help="a folder or hub id that captions the pictures first"
    )
    verb.add_argument("--base", default="mini", help="whose tokens are counted (default: mini)")


def _add_split(add) -> None:
    verb = add("split", run_split, "Split by product, and say what each split leaks.")
    verb.add_argument(
        "source", metavar="SOURCE", help="a data set's name or folder, or a language_original.mat"
    )
    verb.add_argument("--held-out", type=float, default=0.1, help="share of items (default: 0.1)")
    verb.add_argument("--seed", type=int, default=0, help="another seed, other products")
    verb.add_argument(
        "--images", action="store_true", help="keep near-duplicate photos on one side too"
    )
    verb.add_argument("--out", type=Path, metavar="FILE.json", help="write the held-out items")


def _add_coverage(add) -> None:
    verb = add("coverage", run_coverage, "Count what a data set shows, and what it never does.")
    verb.add_argument(
        "source", metavar="SOURCE", help="a data set's name or folder, or a language_original.mat"
    )
    verb.add_argument(
        "--by", default="", help="attributes, parted by commas (default: all that items state)"
    )
    verb.add_argument("--picture", type=Path, metavar="PNG", help="draw counts and pairs")


def _add_reading(verb) -> None:
    verb.add_argument(
        "--decode", default="auto", help="auto, mean, affine, unit or uint8 (default: auto)"
    )
    verb.add_argument(
        "--axes", default="auto", help="of a row: auto, CWH, CHW, HWC or WHC (default: auto)"
    )
    verb.add_argument("--channels", default="auto", help="auto, RGB or BGR (default: auto)")
    verb.add_argument(
        "--mean", type=Path, metavar="FILE", help="a mean image to add: .mat, .npy, .npz or .h5"
    )


def _reading(options) -> dict:
    return {name: getattr(options, name) for name in ("decode", "axes", "channels", "mean")}


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(ours.strip() and theirs.strip() for ours, _, theirs in pairs):
        raise InputError(f"--columns is {text!r}; give OURS=THEIRS, parted by commas")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def run_get(options) -> dict:
    """Obtain the data set, and return where it is."""
    from tvhelpers.data.download import obtain

    return {"name": options.name, "path": str(obtain(options.name, archives=options.archive))}


def run_inspect(options) -> dict:
    """Return, and print as text unless --json, what the file holds."""
    from tvhelpers.data.detect import format_report
    from tvhelpers.data.h5 import check_choices, inspect_images, open_images

    check_choices(options.decode, options.axes, options.channels)
    report = inspect_images(options.path, options.all)
    print(format_report(report))
    if options.picture:
        _draw_decodings(open_images(options.path, **_reading(options)), options.picture)
    return report


def _draw_decodings(images, path: Path) -> None:
    """Write a picture of three rows: decoded right, and as other decodings would give them."""
    from tvhelpers.data.example import decodings
    from tvhelpers.files import atomic_path
    from tvhelpers.show.figures import gallery

    rows = [decodings(images, i) for i in sorted({0, len(images) // 2, len(images) - 1})]
    names = [name for row in rows for name in row]
    picture = gallery([one for row in rows for one in row.values()], names, columns=len(rows[0]))
    with atomic_path(path) as aside:
        picture.save(aside, "PNG")
    print(f"see {path}")


def run_convert(options) -> dict:
    """Convert, and return what was written."""
    from tvhelpers.runtime import spoken_progress

    if options.to == "latents":
        return _encode_latents(options, spoken_progress(print, "latents"))
    if options.out is None:
        raise InputError("where to write is not said; give --out DIR")
    from tvhelpers.data.convert import convert

    return convert(
        options.path,
        options.out,
        options.size,
        _reading(options) | {"photos": options.photos},
        options.to,
        spoken_progress(print, "converted"),
        print,
        _pairs(options.columns) if options.columns else None,
    )


def _encode_latents(options, progress) -> dict:
    """Make the latent cache that a training with this base, data and size opens."""
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.base import find_base, own_resolution
    from tvhelpers.runtime import choose_device, root_dir
    from tvhelpers.train.latents import open_cache

    source = open_source(options.path, photos=options.photos, **_reading(options))
    base = find_base(options.base)
    size = options.size or own_resolution(base)
    device = choose_device("auto")
    cache = open_cache(source, base, size, True, root_dir(), device=device, progress=progress)
    print(f"{cache.folder}: {cache.num_items} items, and mirrored, at {size} pixels")
    return {"out": str(cache.folder), "items": cache.num_items, "size": size}


def run_captions(options) -> dict:
    """Write the captions, print the report before and after, and return it."""
    from tvhelpers.data.caption_files import open_captioned, write_captions
    from tvhelpers.models.base import find_base, load_part

    return write_captions(
        open_captioned(options.source, bare=bool(options.captioner)),
        options.out,
        variants=options.variants,
        seed=options.seed,
        captioner=options.captioner,
        tokenizer=load_part(find_base(options.base), "tokenizer"),
    )


def run_split(options) -> dict:
    """Print and return what the source's own split and one by product leak; write the latter."""
    import numpy as np

    from tvhelpers.data import leakage
    from tvhelpers.data.caption_files import open_captioned
    from tvhelpers.data.split import split_by_product
    from tvhelpers.records import write_json
    from tvhelpers.runtime import spoken_progress

    source = open_captioned(options.source)
    pairs, groups = None, source.product_ids
    if options.images:
        thumbs = leakage.thumbnails(source, spoken_progress(print, "looked at"))
        pairs = leakage.near_duplicates(thumbs)
        groups = leakage.merge_groups(groups, pairs)
    held_out = split_by_product(groups, options.held_out, options.seed)
    own = np.array([split not in ("", "train") for split in source.splits])
    splits = {"its own split": own} if own.any() and not own.all() else {}
    splits |= {"by product": held_out}
    report = {name: leakage.leakage(source, held, pairs) for name, held in splits.items()}
    print(leakage.format_leakage(report))
    if options.out:
        ids = [source.item_ids[i] for i in np.flatnonzero(held_out)]
        asked = {"held_out": options.held_out, "seed": options.seed}
        about = {"source": source.fingerprint, **asked, "report": report}
        write_json(options.out, {**about, "held_out_items": ids})
        print(f"{options.out}: {len(ids):,} held-out items")
    return report


def run_coverage(options) -> dict:
    """Print and return the counts and gaps of a source's attributes."""
    from tvhelpers.data.caption_files import open_captioned
    from tvhelpers.data.coverage import coverage, format_coverage

    rows = open_captioned(options.source).attributes
    stated = {name: None for row in rows for name in row if name != "weight"}
    names = [name.strip() for name in options.by.split(",") if name.strip()] or list(stated)
    report = coverage(rows, names)
    print(format_coverage(report))
    if options.picture:
        from tvhelpers.files import atomic_path
        from tvhelpers.show.figures import coverage_figure

        with atomic_path(options.picture) as aside:
            coverage_figure(rows, names).save(aside, "PNG")
        print(f"see {options.picture}")
    return report
