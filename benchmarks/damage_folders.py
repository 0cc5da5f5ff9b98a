"""How do people keep photos and captions, and what lies among them?

`of_shape` builds a random folder of photos whose right items are known: each photo has a colour of
its own, so that a caption, or a split, that is given to another photo is found out.
"""

import contextlib
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
from bounded import Right
from PIL import Image

COLOURS = [(200, 30, 30), (30, 160, 40), (30, 40, 190), (220, 200, 40), (120, 20, 140)]
TEXTS = (
    "a red dress",
    "платье, синее",
    "robe d'été",
    "a “quoted” skirt",
    "ジャケット",
    "a \u2028 b",
)
SPLITS = {
    "train": "train", "Training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "TEST": "test", "eval": "val", "": "",
}  # fmt: skip
CONTAINERS = ("", "images", "data", "photos", "1")
FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "bmp": ".bmp", "tiff": ".tif"}
WRITTEN = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1251", "utf-16-le")
STEMS = ("img-{}", "IMG_{:04d}", "{}", "été-{}", "a b ({})", "ΑΒΓ{}", "x.y.{}")


def write_photo(path, colour, format="png"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((32, 24, 3), colour, np.uint8)
    Image.fromarray(pixels).save(path, format, **({"quality": 95} if format != "png" else {}))


def pick(rng, values):
    return [*values][rng.integers(len(values))]


# ------------------------------------------------------------------- ways to say what a photo shows


def beside(folder, rng, photos, texts):
    ending = pick(rng, (".txt", ".caption", ".TXT", "{}.txt"))
    for path, text in zip(photos, texts, strict=True):
        name = path.name + ".txt" if ending == "{}.txt" else path.stem + ending
        path.with_name(unicodedata.normalize(pick(rng, ("NFC", "NFD")), name)).write_bytes(text)


def apart(folder, rng, photos, texts):
    name = pick(rng, ("captions", "labels", "text"))
    for path, text in zip(photos, texts, strict=True):
        above = [part for part in path.relative_to(folder).parts[:-1] if part != "images"]
        place = folder.joinpath(*above, name)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{path.stem}.txt").write_bytes(text)


WAYS = {"beside": beside, "apart": apart}


# ------------------------------------------------------------------------------- what lies among it


def stale(name):
    def add(folder, rng, photos):
        write_photo(photos[0].parent / name / "stale.png", (0, 0, 0))
        (photos[0].parent / name / "stale.txt").write_text("stale")

    add.__name__ = name
    return add


def apple_double(folder, rng, photos):
    (photos[0].parent / f"._{photos[0].name}").write_bytes(b"\0\5\x16\7" + b"\0" * 90)


def pipe(folder, rng, photos):
    os.mkfifo(photos[0].parent / "pipe.png")
    os.mkfifo(photos[0].parent / "pipe.txt")


def link_loop(folder, rng, photos):
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "circle.png").symlink_to("circle.png")


def link_out(folder, rng, photos):
    write_photo(folder.parent / "outside" / "secret.png", (0, 0, 0))
    (folder / "out.png").symlink_to(folder.parent / "outside" / "secret.png")
    (folder / "outer").symlink_to(folder.parent / "outside", target_is_directory=True)


def other_formats(folder, rng, photos):
    starts = {
        "x.heic": b"\0\0\0\x18ftypheic",
        "x.psd": b"8BPS\0\1",
        "x.eps": b"%!PS-Adobe-3.0 EPSF",
    }
    name = pick(rng, starts)
    (photos[0].parent / name).write_bytes(starts[name] + b"\0" * 99)


def no_utf8(folder, rng, photos):
    (Path(photos[0].parent) / os.fsdecode(b"d\xe9.png")).write_bytes(photos[0].read_bytes())


def read_me(folder, rng, photos):
    (folder / "README.md").write_text("# photos")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 9)


def damaged_hidden(folder, rng, photos):
    (photos[0].parent / ".half.png").write_bytes(photos[0].read_bytes()[:40])


AMONG = [
    *map(stale, (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000", ".thumbnails")),
    apple_double, pipe, link_loop, link_out, other_formats, no_utf8, read_me, damaged_hidden,
]  # fmt: skip


# ------------------------------------------------------------------------------------------- checks


def items_of(source):
    """Return [(caption, split, pixels)] sorted, of a source."""
    return sorted(
        ((item.caption, item.split, item.pixels) for item in source), key=lambda item: item[:2]
    )


def same_items(right):
    """Return the check that items are [(caption, split, colour)]."""
    wanted = sorted(right)

    def check(source):
        found = items_of(source)
        said, seen = [item[:2] for item in found], [item[:2] for item in wanted]
        assert said == seen, f"{said} for {seen}"[:300]
        for (caption, _, pixels), (_, _, colour) in zip(found, wanted):
            centre = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].astype(int)
            assert abs(centre - colour).max() <= 8, f"{caption!r} shows {centre} for {colour}"

    return check


# ---------------------------------------------------------------------------------------- mutations


def encoded(texts, rng):
    """Return texts in one of the encodings that have all their letters."""
    while True:
        encoding = pick(rng, WRITTEN)
        with contextlib.suppress(UnicodeEncodeError):
            return [text.encode(encoding) for text in texts]


def is_read(texts, data):
    """Return whether bytes are what we read: UTF-8, or another with its mark."""
    marks = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
    if all(one.startswith(marks) for one in data):
        return True
    return data == [text.encode() for text in texts]


def lay(folder, rng, images=True):
    """Return (photos, their splits, colours) of a random layout, with from three to five."""
    container, stem = pick(rng, CONTAINERS), pick(rng, STEMS)
    words = [*SPLITS] if rng.random() < 0.5 else [""]
    format = pick(rng, FORMATS)
    photos, splits, colours = [], [], COLOURS[: rng.integers(3, len(COLOURS) + 1)]
    for number, colour in enumerate(colours):
        word = pick(rng, words)
        name = unicodedata.normalize(pick(rng, ("NFC", "NFD")), stem.format(number))
        path = folder / word / (container if images else "") / f"{name}{FORMATS[format]}"
        write_photo(path, colour, format)
        photos.append(path)
        splits.append(SPLITS[word])
    return photos, splits, colours


def captions(folder, rng):
    """Write captions in files of their own, in one of the encodings."""
    way = pick(rng, WAYS)
    photos, splits, colours = lay(folder, rng)
    texts = [f"{number}: {pick(rng, TEXTS)}" for number in range(len(photos))]
    data = encoded(texts, rng)
    WAYS[way](folder, rng, photos, data)
    if not is_read(texts, data):
        return photos, Right(only="refused")
    right = same_items(zip(texts, splits, colours, strict=True))
    return photos, Right(right, only="read")


def table(folder, rng):
    """Write a table in the folder, as CSV or JSON lines, in one of the encodings."""
    photos, splits, colours = lay(folder, rng, images=False)
    texts = [f"{number}: {pick(rng, TEXTS)}" for number in range(len(photos))]
    names = [
        unicodedata.normalize(pick(rng, ("NFC", "NFD")), path.relative_to(folder).as_posix())
        for path in photos
    ]
    if rng.random() < 0.5:
        names = [name.replace("/", "\\") for name in names]
    if rng.random() < 0.5:
        rows = [f'{a},"{b}",{c}' for a, b, c in zip(names, texts, splits)]
        whole, path = "\n".join(["file_name,caption,split", *rows]), folder / "metadata.csv"
    else:
        rows = [{"file_name": a, "caption": b, "split": c} for a, b, c in zip(names, texts, splits)]
        whole = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        path = folder / "metadata.jsonl"
    whole = whole.replace("\n", pick(rng, ("\n", "\r\n")))
    data = encoded([whole], rng)
    path.write_bytes(data[0])
    if not is_read([whole], data):
        return photos, Right(only="refused")
    return photos, Right(same_items(zip(texts, splits, colours, strict=True)), only="read")


def classes(folder, rng):
    """Write photos in folders named by category, some as kohya names them."""
    photos, right = [], []
    for number, colour in enumerate(COLOURS[: rng.integers(2, len(COLOURS) + 1)]):
        word, kind = pick(rng, SPLITS), pick(rng, ("dress", "skirt", "юбка", "T-shirt"))
        name = f"{pick(rng, (1, 5, 10, 100))}_{kind}" if rng.random() < 0.4 else kind
        path = folder / word / pick(rng, ("", "images")) / name / f"IMG_{number}.png"
        write_photo(path, colour)
        photos.append(path)
        right.append((f"a photo of a {kind}", SPLITS[word], colour))
    return photos, Right(same_categories(right), only="read")


def same_categories(right):
    """Return the check that each photo, known by its colour, has its category and split."""

    def check(source):
        found = {}
        for item in source:
            centre = item.pixels[item.pixels.shape[0] // 2, item.pixels.shape[1] // 2]
            found[tuple(map(int, centre))] = (item.caption, item.split)
        wanted = {colour: (caption, split) for caption, split, colour in right}
        assert found == wanted, f"{found} for {wanted}"[:300]

    return check


def of_shape(make, extra):
    """Return the mutation that builds a folder, with some things among the photos."""

    def mutate(folder, rng):
        photos, right = make(folder, rng)
        if extra:
            extra(folder, rng, photos)
        return right

    mutate.__name__ = f"{make.__name__} and {extra.__name__ if extra else 'nothing'}"
    return mutate


SHAPES = [of_shape(make, extra) for make in (captions, table, classes) for extra in (None, *AMONG)]
