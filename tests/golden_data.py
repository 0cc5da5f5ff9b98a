"""What is compared of data that are inspected, converted, captioned, split and counted?"""

from __future__ import annotations

from golden_commands import IMAGE, VALIDATION, item
from golden_reading import plain, read_caches, read_chart, read_folder, read_json


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
    if "--size" in words and "--fit" in (side.checkout / "tvhelpers/cli/data.py").read_text():
        words += "--fit", "pad"  # all that there was at first
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
    found["coverage.png"] = read_chart(side, "made/coverage.png")
    return found
