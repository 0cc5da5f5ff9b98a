"""How is a data set downloaded, inspected, converted, captioned, split and counted?"""

import io
import json
from pathlib import Path

from tvhelpers.cli.options import REQUIRED, SOURCE, add_verbs, option
from tvhelpers.errors import InputError
from tvhelpers.files import write_once
from tvhelpers.output import say
from tvhelpers.words import counted

ARRAYS = "only for .h5, .npz and .npy: "
DECODING = (
    option("--decode", str, "auto", f"{ARRAYS}how pixels are stored: auto (detect it), mean "
           "(0..1 minus a mean image), affine (-1..1), unit (0..1) or uint8 (0..255)"),
    option("--axes", str, "auto", f"{ARRAYS}order of an image's axes, of channels (C), width "
           "(W) and height (H): auto (detect it), CWH, CHW, HWC or WHC"),
    option("--channels", str, "auto", f"{ARRAYS}order of colours: auto (detect it), RGB or BGR"),
    option("--mean FILE", Path, None, f"{ARRAYS}mean image to add: .mat, .npy, .npz or .h5"),
)  # fmt: skip
DATA = option("source SOURCE", text=SOURCE)
SEED = option("--seed N", int, 0, "seed of the random choice; another seed gives another result")
GET = (
    option("name NAME", text="a name in data_manifest.yaml, such as clothing-small"),
    option("--archive FILE", Path, [], "a zip or tar that you downloaded yourself, to unpack into "
           "the data set's folder; can be repeated", action="append"),
)  # fmt: skip
INSPECT = (
    option("path", Path, text="a file of images, .h5, .npz or .npy, or a folder with one"),
    option("--all", bool, False, "look for quality issues in all images, not only in 256"),
    option("--image/--picture PNG", Path, None, "an image file to write: "  # stable name
           "some images in the detected decoding and in wrong ones"),
    *((flag, {**how, "only": "--image"}) for flag, how in DECODING),
)  # fmt: skip
CONVERT = (
    option("path", Path, metavar="SOURCE", text=SOURCE),
    option("--out DIR", Path, None, "folder to write to; required, except with --to latents"),
    option("--to", str, "h5", "h5 (pixels.h5 and items.jsonl), images (PNG and metadata.jsonl), or "
           "latents (cache for a training of --base, in artifacts/ here or in $TV_ROOT)"),
    option("--base", str, "mini", "only for --to latents: the base whose VAE encodes the images",
           only="--to latents"),
    option("--size PX", int, None, "rescale to as many pixels as a square of this side has",
           "each image's own"),
    option("--fit FIT", str, "", "keep (each image's aspect), pad (to squares), or, with --to "
           "latents, pad or bucket, as the setting fit of `train`", "keep; latents: pad"),
    option("--photos ARCHIVE", Path, None, "only for DeepFashion: take the pixels from "
           "img_highres.zip (or its folder), and skip items without a photo there"),
    option("--columns FIELD=COLUMN,...", text="which column of your table is which field, such as "
           "caption=title,images=pics/{sku}.jpg ({sku} is filled in from the column sku)"),
    option("--skip-bad", bool, False, "skip images that cannot be read, and rows whose image is "
           "missing; they are counted at the end"),
    *DECODING,
)  # fmt: skip
CAPTIONS = (
    DATA,
    option("--out FILE.jsonl", Path, REQUIRED, "file to write the new captions to"),
    option("--variants N", int, 3, "number of captions per item, 1 to 5"),
    SEED,
    option("--captioner MODEL", text="model that describes images without captions: a folder, or "
           "from the Hugging Face hub, such as hub:Salesforce/blip-image-captioning-base"),
    option("--base", str, "mini", "the base that you will train; captions that are too long for it "
           "are reported"),
)  # fmt: skip
SHARE = "share of the items for validation, 0..1; products are kept whole"
SPLIT = (
    DATA,
    option("--validation-share/--held-out SHARE", float, 0.1, SHARE),  # stable name
    SEED,
    option("--images", bool, False, "compare images too, to keep near-duplicates in one part"),
    option("--out FILE.json", Path, None, "write the ids of the validation items to this file"),
)
COVERAGE = (
    DATA,
    option("--by NAME,...", str, "", "attributes to count, such as category,colour", "all"),
    option("--base BASE", str, "", "show the aspect buckets of a training of this base, too"),
    option("--image/--picture PNG", Path, None, "write a chart of the counts"),  # stable name
)


def declare(parser) -> None:
    """Add the verbs of `data`."""
    add = add_verbs(parser)
    add("get", run_get, "Download and unpack a data set of data_manifest.yaml.", *GET)
    text = "Show how images are stored in a file: for .h5, .npz and .npy files, not for photos."
    add("inspect", run_inspect, text, *INSPECT)
    text = "Write images and captions as one data set that `train` reads fast."
    add("convert", run_convert, text, *CONVERT)
    text = "Write new captions from attributes, product names and old captions."
    add("captions", run_captions, text, *CAPTIONS)
    text = "Split by product, as `train` does by itself, and show what both parts share (leakage)."
    add("split", run_split, text, *SPLIT)
    text = "Count the attributes of a data set, and find combinations that are missing."
    add("coverage", run_coverage, text, *COVERAGE)


def _decoding(options) -> dict:
    return {name: getattr(options, name) for name in ("decode", "axes", "channels", "mean")}


def _reading(options) -> dict:
    return {**_decoding(options), "photos": options.photos, "skip_bad": options.skip_bad}


def _columns(options) -> dict[str, str] | None:
    if not options.columns:
        return None
    pairs = [pair.partition("=") for pair in options.columns.split(",")]
    if not all(ours.strip() and theirs.strip() for ours, _, theirs in pairs):
        raise InputError("usage.columns", text=options.columns)
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def run_get(options) -> dict:
    """Obtain the data set, and return where it is."""
    from tvhelpers.data.download import obtain

    return {"name": options.name, "path": str(obtain(options.name, archives=options.archive))}


def run_inspect(options) -> dict:
    """Print and return the inspection of a file."""
    from tvhelpers.data.detect import format_report
    from tvhelpers.data.h5 import check_choices, inspect_images

    check_choices(decode=options.decode, axes=options.axes, channels=options.channels)
    report = inspect_images(options.path, options.all)
    image = options.image and _draw_rows(options)
    _print(format_report(report), image, options.image)
    return report


def _draw_rows(options):
    """Return an image of three rows: in the correct decoding and in wrong ones, or, of several
    sizes, as they are."""
    from tvhelpers.data.arrays import find_array_file
    from tvhelpers.data.example import decodings
    from tvhelpers.data.h5 import open_images
    from tvhelpers.data.mixed_sizes import MixedImages, is_mixed
    from tvhelpers.show.figures import gallery

    is_known = is_mixed(file := find_array_file(options.path))
    images = MixedImages(file) if is_known else open_images(file, **_decoding(options))
    numbers = sorted({0, len(images) // 2, len(images) - 1})
    if is_known:
        return gallery([images[i] for i in numbers], [f"image {i}" for i in numbers], len(numbers))
    rows = [decodings(images, i) for i in numbers]
    names = [name for row in rows for name in row]
    images = [one for row in rows for one in row.values()]
    return gallery(images, names, columns=len(rows[0]))


def _print(report: str, image, path: Path | None) -> None:
    """Print a report, and write its PIL image as PNG; raises InputError, and prints nothing, where
    the file has other content."""
    if image:
        png = io.BytesIO()
        image.save(png, "PNG")
        write_once(path, png.getvalue())
    say(*report.split("\n"), *([f"see {path}"] if image else []))


def run_convert(options) -> dict:
    """Convert, and return what was written."""
    if options.to == "latents":
        if options.out:
            raise InputError("usage.only", option="--out", needed="--to h5 or images")
        return _encode_latents(options)
    if options.out is None:
        raise InputError("usage.out")
    from tvhelpers.data.convert import convert

    where = options.path, options.out, options.size, _reading(options)
    return convert(*where, options.to, _columns(options), fit=options.fit or "keep")


def _encode_latents(options) -> dict:
    """Encode the latent cache that a training with this base, data and size opens."""
    from tvhelpers.config import CHOICES, check_choice
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.base import find_base, own_resolution
    from tvhelpers.runtime import choose_device, root_dir
    from tvhelpers.train.distributed import Processes
    from tvhelpers.train.fit import is_mirrored
    from tvhelpers.train.latents import open_cache

    fit = options.fit or "pad"
    check_choice("fit", fit, CHOICES["fit"])
    source = open_source(options.path, _columns(options), **_reading(options))
    base = find_base(options.base)
    size = options.size or own_resolution(base)
    flip, processes = is_mirrored(len(source)), Processes(choose_device())
    cache = open_cache(source, base, size, flip, root_dir(), fit=fit, processes=processes)
    items = counted(cache.num_items, "item") + (" and the mirror images" if flip else "")
    shapes = counted(len(cache.buckets.shapes), "bucket")
    what = f"{size} pixels a side" if fit == "pad" else f"{shapes} at resolution {size}"
    say(f"{cache.folder}: {items}, {what}")
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
    """Print and return the leakage of the source's own split and of a split by product."""
    import numpy as np

    from tvhelpers.data import leakage
    from tvhelpers.data.sources import open_source
    from tvhelpers.data.split import split_by_product

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
    lines = leakage.format_leakage(report).split("\n")
    if options.out:
        ids = [source.item_ids[i] for i in np.flatnonzero(validation)]
        asked = {"validation": options.validation_share, "seed": options.seed}
        about = {"source": source.fingerprint, **asked, "report": report}
        content = json.dumps({**about, "validation_items": ids}, indent=1) + "\n"
        write_once(options.out, content.encode())
        lines.append(f"{options.out}: {counted(len(ids), 'validation item')}")
    say(*lines)
    return report


def run_coverage(options) -> dict:
    """Print and return the counts and gaps of a source's attributes."""
    from tvhelpers.data.coverage import coverage, format_coverage, stated_attributes
    from tvhelpers.data.sources import open_source

    source = open_source(options.source)
    rows, taken = stated_attributes(source)
    stated = {name: None for row in rows for name in row if name != "weight"}
    names = [name.strip() for name in options.by.split(",") if name.strip()] or list(stated)
    report = {**coverage(rows, names), "from_captions": taken}
    lines = [format_coverage(report)]
    if options.base:
        report["buckets"], more = _buckets(source, options.base)
        lines += more
    image = None
    if options.image:
        from tvhelpers.show.figures import coverage_figure

        image = coverage_figure(rows, names)
    _print("\n".join(lines), image, options.image)
    return report


def _buckets(source, base: str) -> tuple[dict[str, int], list[str]]:
    """Return {"832x1216": items} of a base's aspect buckets, and lines that describe them."""
    from tvhelpers.data.buckets import find_buckets
    from tvhelpers.models.base import find_base, own_resolution, side_multiple

    where = find_base(base)
    shape = own_resolution(where), side_multiple(where)
    buckets, lines = find_buckets(source, len(source), *shape)
    counts = zip(buckets.shapes, buckets.counts.tolist(), strict=True)
    return {f"{wide}x{high}": count for (high, wide), count in counts}, lines
