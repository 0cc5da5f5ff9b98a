"""Claims: photos with an ICC profile become the sRGB that littleCMS computes in floating point,
within 2 levels of 255.  Measured too: what this costs a conversion, beside an older tree without.

The photos are the shared real ones, saved with profiles made here; further, an image of all
16.7 million colours.  "table" is a second reading, from the reader's table of colours seen before.

python benchmarks/icc.py WORK [--old OLD_CHECKOUT] [--runs 5]     writes results/icc.json
"""

import argparse
import ctypes
import shutil
import statistics
import struct
import sys
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import PIL
from beside_old import cpu_seconds
from common import REPO, shared_folder, write_result
from PIL import Image

from tvhelpers import icc
from tvhelpers.image import conversion_of_file, read_photo

PHOTOS, CONVERTED, LARGE = 60, 400, 12
LARGE_SIZE = 3024, 4032  # as a phone's
D50, D65 = (0.9642, 1.0, 0.8249), (0.3127, 0.3290)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
DOUBLES = {"RGB": 1 << 22 | 4 << 16 | 3 << 3, "L": 1 << 22 | 3 << 16 | 1 << 3}  # of littleCMS
RELATIVE, NO_CACHE, NO_SHORTCUTS = 1, 0x40, 0x100


# ---------------------------------------------------------------------------------------- profiles


def fixed(*values: float) -> bytes:
    """Return numbers as ICC's 16.16 bit ones."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(value * 256), 0)


def srgb_curve(version: int) -> bytes:
    """Return sRGB's curve: as a table (version 2), or as the formula (version 4)."""
    if version == 4:
        return b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    x = np.linspace(0, 1, 1024)
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + (y * 65535).round().astype(">u2").tobytes()


def primaries(white: tuple[float, float], *xy: tuple[float, float]) -> np.ndarray:
    """Return the XYZ (3, 3), a column a primary, of x and y, moved to D50 as Bradford did."""
    to_xyz = lambda x, y: np.array([x / y, 1, (1 - x - y) / y])  # noqa: E731
    columns, own = np.stack([to_xyz(*one) for one in xy], 1), to_xyz(*white)
    scale = np.diag(BRADFORD @ D50 / (BRADFORD @ own))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ columns * np.linalg.solve(columns, own)


def words(text: str, version: int) -> bytes:
    if version == 4:
        wide = text.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(wide), 28) + wide
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text.encode() + bytes(79)


def profile(name: str, curve: bytes, xyz: np.ndarray | None = None, version: int = 2) -> bytes:
    """Return an ICC profile of a display; of gray without `xyz`, the primaries (3, 3)."""
    tags = {"desc": words(name, version), "wtpt": b"XYZ \0\0\0\0" + fixed(*D50)}
    tags["cprt"] = words("CC0", 4) if version == 4 else b"text\0\0\0\0CC0\0"
    for colour, column in zip("rgb", () if xyz is None else xyz.T):
        tags[f"{colour}XYZ"] = b"XYZ \0\0\0\0" + fixed(*column)
        tags[f"{colour}TRC"] = curve
    tags |= {"kTRC": curve} if xyz is None else {}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag.encode(), start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size, number = start + len(body), 0x04200000 if version == 4 else 0x02100000
    space = b"GRAY" if xyz is None else b"RGB "
    head = struct.pack(">I4xI4s4s4s", size, number, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s28x", 2026, 1, 1, 0, 0, 0, b"acsp") + fixed(*D50)
    return head.ljust(128, b"\0") + table + body


def profiles() -> dict[str, bytes]:
    rec709 = primaries(D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
    p3 = primaries(D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
    adobe = primaries(D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
    wide = (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)
    prophoto = primaries((0.3457, 0.3585), *wide)
    return {
        "Display P3": profile("Display P3", srgb_curve(4), p3, 4),
        "Adobe RGB": profile("Adobe RGB (1998)", gamma(2.19921875), adobe),
        "ProPhoto RGB": profile("ProPhoto RGB", gamma(1.8), prophoto),
        "sRGB v2": profile("sRGB v2", srgb_curve(2), rec709),
        "sRGB v4": profile("sRGB v4", srgb_curve(4), rec709, 4),
        "gray, gamma 2.2": profile("Gray 2.2", gamma(2.2)),
    }


# ------------------------------------------------------------------------------------------- truth


def little_cms() -> ctypes.CDLL:
    """Return the littleCMS that Pillow brings, or the system's; ends the program without one."""
    found = sorted(Path(PIL.__file__).parents[1].glob("pillow.libs/liblcms2*"))
    name = str(found[0]) if found else find_library("lcms2")
    if not name:
        sys.exit("skipped: no littleCMS library, which tells what is right")
    library, pointer, number = ctypes.CDLL(name), ctypes.c_void_p, ctypes.c_uint32
    for function, returns, takes in (
        ("cmsOpenProfileFromMem", pointer, [ctypes.c_char_p, number]),
        ("cmsCreate_sRGBProfile", pointer, []),
        ("cmsCreateTransform", pointer, [pointer, number, pointer, number, number, number]),
        ("cmsDoTransform", None, [pointer, pointer, pointer, number]),
    ):
        getattr(library, function).restype = returns
        getattr(library, function).argtypes = takes
    return library


def truth(library: ctypes.CDLL, data: bytes, mode: str, pixels: np.ndarray) -> np.ndarray:
    """Return sRGB float64 (n, 3) 0..255 of pixels uint8 (n, channels), with a profile's bytes."""
    opened, srgb = library.cmsOpenProfileFromMem(data, len(data)), library.cmsCreate_sRGBProfile()
    transform = library.cmsCreateTransform(
        opened, DOUBLES[mode], srgb, DOUBLES["RGB"], RELATIVE, NO_CACHE | NO_SHORTCUTS
    )
    values, found = np.ascontiguousarray(pixels / 255.0), np.empty((len(pixels), 3))
    library.cmsDoTransform(transform, values.ctypes.data, found.ctypes.data, len(values))
    return np.clip(found, 0, 1) * 255


# ---------------------------------------------------------------------------------------- accuracy


class Differences:
    """How far levels are from the truth, counted in 256ths of a level."""

    def __init__(self):
        self.counts, self.most = np.zeros(1 << 16, np.int64), 0.0

    def add(self, found: np.ndarray, wanted: np.ndarray) -> None:
        differences = np.abs(found - wanted)
        self.most = max(self.most, float(differences.max()))
        steps = (differences * 256).astype(np.int64).ravel()
        self.counts += np.bincount(steps, minlength=1 << 16)

    def result(self) -> dict:
        share = np.cumsum(self.counts) / self.counts.sum()
        return {
            "max_levels": round(self.most, 2),
            "levels_of_99.9_percent": round((int(np.searchsorted(share, 0.999)) + 1) / 256, 2),
        }


def compare(library: ctypes.CDLL, file: Path, data: bytes, seen: np.ndarray, into: Differences):
    """Add the differences of an image file of pixels `seen`, (H, W) or (H, W, 3)."""
    found, mode = read_photo(file), "L" if seen.ndim == 2 else "RGB"
    seen, found = seen.reshape(-1, 1 if mode == "L" else 3), found.reshape(-1, 3)
    for start in range(0, len(seen), 1 << 20):
        part = slice(start, start + (1 << 20))
        into.add(found[part], truth(library, data, mode, seen[part]))


def all_colours(mode: str) -> np.ndarray:
    """Return every colour once, uint8 (4096, 4096, 3), or every gray, (16, 16)."""
    if mode == "L":
        return np.arange(256, dtype=np.uint8).reshape(16, 16)
    numbers = np.arange(1 << 24, dtype="<u4").view(np.uint8).reshape(4096, 4096, 4)
    return np.ascontiguousarray(numbers[..., :3])


def accuracy(photos: list[Path], work: Path) -> dict:
    library, result, file = little_cms(), {}, work / "one.png"
    for name, data in profiles().items():
        mode = "L" if "gray" in name else "RGB"
        icc._conversion.cache_clear()  # so that no table is there
        result[name], seen = {}, all_colours(mode)
        Image.fromarray(seen).save(file, icc_profile=data, compress_level=1)
        for what in ("all colours", "all colours, table")[: 1 if mode == "L" else 2]:
            differences = Differences()
            compare(library, file, data, seen, differences)
            result[name][what] = differences.result()
        icc._conversion.cache_clear()
        differences = Differences()
        for photo in photos:
            with Image.open(photo) as image:
                seen = np.asarray(image.convert(mode))
            Image.fromarray(seen).save(file, icc_profile=data, compress_level=1)
            compare(library, file, data, seen, differences)
        result[name]["photos"] = differences.result()
        result[name]["converted"] = conversion_of_file(file)[1]
        print(name, result[name], flush=True)
    return result


# ------------------------------------------------------------------------------------------- speed


def make_folders(photos: list[Path], work: Path) -> dict[str, Path]:
    """Return {what: folder of photos}: as they are and with a profile, small and a phone's."""
    p3, folders = profiles()["Display P3"], {}
    for what, count, size in (("small", CONVERTED, None), ("phone's", LARGE, LARGE_SIZE)):
        for kind, extra in (("plain", {}), ("Display P3", {"icc_profile": p3})):
            folder = folders[f"{what}, {kind}"] = work / f"{what}-{kind}".replace(" ", "-")
            (folder / "dress").mkdir(parents=True)
            for number, photo in enumerate(photos[:count]):
                with Image.open(photo) as image:
                    image = image.convert("RGB")
                image = image.resize(size, Image.Resampling.BICUBIC) if size else image
                image.save(folder / "dress" / f"{number:03d}.jpg", quality=92, **extra)
    return folders


def speed(old: Path, folders: dict[str, Path], work: Path, runs: int) -> dict:
    """Convert each folder in both trees in turn; a ratio is the old CPU seconds over the new."""
    trees, result = {"old": old.resolve(), "new": REPO}, {}
    for what, folder in folders.items():
        seconds = {side: [] for side in trees}
        for run in range(runs + 1):  # the first warms up
            for side in [*trees][:: 1 if run % 2 else -1]:
                out = work / "out"
                command = ["-m", "tvhelpers", "data", "convert", str(folder), "--out", str(out)]
                command += ["--size", "256"]
                took = cpu_seconds(trees[side], command, work)
                shutil.rmtree(out)
                seconds[side] += [took] if run else []
        ratios = [one / two for one, two in zip(*seconds.values())]
        medians = {side: round(statistics.median(row), 3) for side, row in seconds.items()}
        result[what] = {"cpu_seconds": medians, "old_over_new": round(statistics.median(ratios), 3)}
        print(what, result[what], flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--old", type=Path, help="a checkout from before profiles were read")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    work = options.work.resolve()
    photos = sorted((shared_folder() / "data" / "clothing" / "images").glob("*/*.jpg"))
    photos = photos[:: max(1, len(photos) // CONVERTED)][:CONVERTED]
    work.mkdir(parents=True, exist_ok=True)
    result = {"photos": PHOTOS, "profiles": accuracy(photos[:: len(photos) // PHOTOS], work)}
    if options.old:
        folders = make_folders(photos, work)
        result["conversion"] = speed(options.old, folders, work, options.runs)
    write_result("icc", result)


if __name__ == "__main__":
    main()
