"""Claim: of 40 files, 32 photos without captions and 8 bad files, all 32 are in the table of photos
and all 8 are named with a reason; metadata.csv reads back equal, also after captions were edited.

python benchmarks/photo_intake.py [--keep FOLDER]      writes results/photo_intake.json

The photos are 28 from data/clothing of the shared data and 4 from cases, the bad files come from
cases: damaged, cut, empty, of a format that is not read, and other files with the name of a photo.
They are zipped, unpacked, and taken in as notebook 00 does.
"""

import argparse
import re
import shutil
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from common import shared_folder, write_result

from tvhelpers.data.intake import Intake, take_in, unpack_photos
from tvhelpers.data.sources import open_source
from tvhelpers.show.intake import certain_colour
from tvhelpers.show.photo_table import contact_sheet

CATEGORIES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "skirt")
SOUND = (
    "img_mix_ext/1.jfif",
    "img_mix_ext/3.avif",
    "icc_p3_colours/a.png",
    "img_gray16_trns/a.png",
)
BAD = {  # {name in the zip: file of cases}; the last two are cut to no bytes and to 3,000
    "IMG_2001.jpg": "img_some_bad/4.jpg",
    "IMG_2002.HEIC": "csv_u2028/1.jpg",
    "IMG_2003.jpg": "lora/flux.safetensors",
    "IMG_2004.png": "h5/two.npz",
    "IMG_2005.jpg": "txt_latin1/0.txt",
    "IMG_2006.webp": "tab_hf_parquet/train-00000-of-00001.parquet",
    "IMG_2007.jpg": "csv_u2028/0.jpg",
    "IMG_2008.jpg": "csv_u2028/2.jpg",
}
CUT = {"IMG_2007.jpg": 0, "IMG_2008.jpg": 3000}  # bytes of the file that are kept
HEAD = {"IMG_2002.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"}  # a file of an iPhone begins so


def files(shared: Path) -> dict[str, bytes]:
    """Return {name: content} of the 40 files, with names as a camera gives them."""
    clothing, cases = shared / "data" / "clothing" / "images", shared / "cases"
    found = [path for name in CATEGORIES for path in sorted((clothing / name).iterdir())[:4]]
    found += [cases / name for name in SOUND]
    named = {f"IMG_{1001 + i}{path.suffix}": path.read_bytes() for i, path in enumerate(found)}
    bad = {name: (cases / path).read_bytes() for name, path in BAD.items()}
    cut = {name: content[: CUT.get(name)] for name, content in bad.items()}
    return named | {name: HEAD.get(name, b"") + content for name, content in cut.items()}


def is_equal(intake: Intake) -> bool:
    """Return whether the saved table, opened as a source, has the items of the intake."""
    source, used = open_source(intake.folder), [photo for photo in intake.photos if photo.use]
    columns = source.item_ids, source.captions, source.product_ids
    wanted = zip(*((photo.file_name, photo.caption, photo.product) for photo in used))
    return [*map(list, wanted)] == [*map(list, columns)]


def measure(work: Path) -> tuple[dict, Intake]:
    """Take the zip in, edit it, save it, and take it in again; return what was seen."""
    given = files(shared_folder())
    with zipfile.ZipFile(work / "photos.zip", "w") as archive:
        for name, content in given.items():
            archive.writestr(name, content)
    folder = unpack_photos(work / "photos.zip", work / "mine")
    began = time.monotonic()
    intake = take_in(folder, word="garment", seen=certain_colour)
    seconds = time.monotonic() - began
    intake.save()
    first = is_equal(intake)
    texts = ['a "quilted" coat, with hood', "ein grünes Kleid", " a hat; straw ", "red\u2028skirt"]
    for photo, text in zip(intake.photos, texts):
        photo.caption, photo.drafted = text, False
    intake.photos[-1].use = False
    intake.save()
    again = take_in(folder, word="dress", seen=certain_colour)
    kept = [photo.caption for photo in again.photos[: len(texts)]] == [x.strip() for x in texts]
    reasons = {one.file_name: one.why for one in intake.bad}
    issues = Counter(re.split(r": | IMG_", x)[0] for one in intake.photos for x in one.issues)
    found = {
        "files": len(given),
        "in_the_table": len(intake.photos),
        "named_with_reasons": len(reasons),
        "reads_back_equal": first and is_equal(intake),
        "edited_captions_kept": kept and not again.photos[-1].use,
        "colour_in_the_draft": sum(photo.caption.count(" ") > 4 for photo in again.photos),
        "seconds": round(seconds, 1),
        "reasons": reasons,
        "issues": dict(issues),
    }
    if set(reasons) != set(BAD):
        raise SystemExit(f"other files were refused: {reasons}")
    return found, again


def main() -> None:
    """Measure, keep what was made where `--keep` asks for it, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found, intake = measure(Path(work))
        if options.keep:
            shutil.copytree(work, options.keep)
            contact_sheet(intake).save(options.keep / "sheet.png")
    write_result("photo_intake", found)


if __name__ == "__main__":
    main()
