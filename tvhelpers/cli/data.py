"""What do the verbs of `data` do: get, inspect, convert, caption, split, count?"""

from pathlib import Path

from tvhelpers.cli.options import REQUIRED, add_verbs, option
from tvhelpers.errors import InputError

READING = (
    option("--decode", str, "auto", "auto, mean, affine, unit or uint8"),
    option("--axes", str, "auto", "of a row: auto, CWH, CHW, HWC or WHC"),
    option("--channels", str, "auto", "auto, RGB or BGR"),
    option("--mean FILE", Path, None, "a mean image to add: .mat, .npy, .npz or .h5"),
)
SOURCE = option("source SOURCE", text="a data set's name or folder, or a language_original.mat")
SEED = option("--seed", int, 0, "another seed, other words or products")
GET = (
    option("name NAME"),
    option("--archive FILE", Path, [], "a zip or tar that you got by hand, to be unpacked into the "
           "data set's folder", action="append"),
)  # fmt: skip
INSPECT = (
    option("path", Path),
    option("--all", bool, False, "look for faults in all images, not in 256 of them"),
    option("--picture PNG", Path, None, "draw what each decoding would give"),
    *READING,
)
CONVERT = (
    option("path", Path),
    option("--out DIR", Path, None, "needed but for latents"),
    option("--to", str, "h5", "h5 (pixels.h5, items.jsonl), images (PNG, metadata.jsonl), or "
           "latents: what training on --base encodes first, in $TV_ROOT/artifacts"),
    option("--base", str, "mini", "whose latents"),
    option("--size", int, None, "rescale to this many pixels a side"),
    option("--photos ARCHIVE", Path, None, "take the original photos instead, from img_highres.zip "
           "or its folder; items without one are left out"),
    option("--columns OURS=THEIRS,...", text="of a table: caption=name,images=photos/{sku}.jpg,"
           "category=type,product=sku"),
    *READING,
)  # fmt: skip
CAPTIONS = (
    SOURCE,
    option("--out FILE.jsonl", Path, REQUIRED),
    option("--variants", int, 3, "captions an item"),
    SEED,
    option("--captioner MODEL", text="a folder or hub id that captions the pictures first"),
    option("--base", str, "mini", "whose tokens are counted"),
)
SPLIT = (
    SOURCE,
    option("--validation-share/--held-out", float, 0.1, "share of items, 0..1"),  # stable name
    SEED,
    option("--images", bool, False, "keep near-duplicate photos on one side, too"),
    option("--out FILE.json", Path, None, "write the ids of the validation items"),
)
COVERAGE = (
    SOURCE,
    option("--by", str, "", "attributes, parted by commas", "all that items state"),
    option("--picture PNG", Path, None, "draw counts and pairs"),
)


def declare(parser) -> None:
    """Add the verbs of `data`."""
    add = add_verbs(parser)
    add("get", run_get, "Download a data set of data_manifest.yaml, and unpack it.", *GET)
    add("inspect", run_inspect, "Say what an image file holds and how it is encoded.", *INSPECT)
    text = "Write all images decoded: one file, a folder, latents."
    add("convert", run_convert, text, *CONVERT)
    text = "Write new captions from labels, product names and old ones."
    add("captions", run_captions, text, *CAPTIONS)
    add("split", run_split, "Split by product, and say what each split leaks.", *SPLIT)
    text = "Count what a data set shows, and what it never does."
    add("coverage", run_coverage, text, *COVERAGE)


def _reading(options) -> dict:
    return {name: getattr(options, name) for name in ("decode", "axes", "channels", "mean")}


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(ours.strip() and theirs.strip() for ours, _, theirs in pairs):
        raise InputError("usage.columns", text=text)
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def run_get(options) -> dict:
    """Obtain the data set, and return where it is."""
    from tvhelpers.data.download import obtain

    return {"name": options.name, "path": str(obtain(options.name, archives=options.archive))}


def run_inspect(options) -> dict:
    """Return, and print as text unless --json, what the file holds."""
    from tvhelpers.data.detect import format_report
    from tvhelpers.data.h5 import check_choices, inspect_images, open_images

    check_choices(decode=options.decode, axes=options.axes, channels=options.channels)
    report = inspect_images(options.path, options.all)
    print(format_report(report))
    if options.picture:
        _draw_decodings(open_images(options.path, **_reading(options)), options.picture)
    return report


def _draw_decodings(images, path: Path) -> None:
    """Write a picture of three rows: decoded right, and as other decodings would give them."""
    from tvhelpers.data.example import decodings
    from tvhelpers.image import save_png
    from tvhelpers.show.figures import gallery

    rows = [decodings(images, i) for i in sorted({0, len(images) // 2, len(images) - 1})]
    names = [name for row in rows for name in row]
    picture = gallery([one for row in rows for one in row.values()], names, columns=len(rows[0]))
    save_png(picture, path)
    print(f"see {path}")


def run_convert(options) -> dict:
    """Convert, and return what was written."""
    if options.to == "latents":
        return _encode_latents(options)
    if options.out is None:
        raise InputError("usage.out")
    from tvhelpers.data.convert import convert

    return convert(
        options.path,
        options.out,
        options.size,
        _reading(options) | {"photos": options.photos},
        options.to,
        _pairs(options.columns) if options.columns else None,
    )


def _encode_latents(options) -> dict:
    """Make the latent cache that a training with this base, data and size opens."""
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.base import find_base, own_resolution
    from tvhelpers.runtime import choose_device, root_dir
    from tvhelpers.train.distributed import Processes
    from tvhelpers.train.latents import open_cache

    source = open_source(options.path, photos=options.photos, **_reading(options))
    base = find_base(options.base)
    size = options.size or own_resolution(base)
    cache = open_cache(source, base, size, True, root_dir(), processes=Processes(choose_device()))
    print(f"{cache.folder}: {cache.num_items} items, and mirrored, at {size} pixels")
    return {"out": str(cache.folder), "items": cache.num_items, "size": size}


def run_captions(options) -> dict:
    """Write the captions, print the report before and after, and return it."""
    from tvhelpers.data.caption_files import write_captions
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.base import find_base, load_part

    return write_captions(
        open_source(options.source, captions_optional=bool(options.captioner)),
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
    from tvhelpers.data.sources import open_source
    from tvhelpers.data.split import split_by_product
    from tvhelpers.records import write_json

    source = open_source(options.source)
    pairs, groups = None, source.product_ids
    if options.images:
        pairs = leakage.near_duplicates(leakage.thumbnails(source))
        groups = leakage.merge_groups(groups, pairs)
    validation = split_by_product(groups, options.validation_share, options.seed)
    own = np.array([split not in ("", "train") for split in source.splits])
    splits = {"its own split": own} if own.any() and not own.all() else {}
    splits |= {"by product": validation}
    report = {name: leakage.leakage(source, held, pairs) for name, held in splits.items()}
    print(leakage.format_leakage(report))
    if options.out:
        ids = [source.item_ids[i] for i in np.flatnonzero(validation)]
        asked = {"validation": options.validation_share, "seed": options.seed}
        about = {"source": source.fingerprint, **asked, "report": report}
        write_json(options.out, {**about, "validation_items": ids})
        print(f"{options.out}: {len(ids):,} validation items")
    return report


def run_coverage(options) -> dict:
    """Print and return the counts and gaps of a source's attributes."""
    from tvhelpers.data.coverage import coverage, format_coverage
    from tvhelpers.data.sources import open_source

    rows = open_source(options.source).attributes
    stated = {name: None for row in rows for name in row if name != "weight"}
    names = [name.strip() for name in options.by.split(",") if name.strip()] or list(stated)
    report = coverage(rows, names)
    print(format_coverage(report))
    if options.picture:
        from tvhelpers.image import save_png
        from tvhelpers.show.figures import coverage_figure

        save_png(coverage_figure(rows, names), options.picture)
        print(f"see {options.picture}")
    return report
