"""How are image files read and written, and pixels made square and resized?"""

import importlib
import io
import re
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path

# {format: the modules of Pillow that read it}; Pillow's other readers are never asked: some start
# programs (EPS: Ghostscript) or guess
PLUGINS = {
    "JPEG": ("JpegImagePlugin", "MpoImagePlugin"),
    "PNG": ("PngImagePlugin",),
    "WEBP": ("WebPImagePlugin",),
    "BMP": ("BmpImagePlugin",),
    "TIFF": ("TiffImagePlugin",),
    "GIF": ("GifImagePlugin",),
    "AVIF": ("AvifImagePlugin",),
}
FORMATS = tuple(name for name in PLUGINS if name != "AVIF" or find_spec("PIL._avif"))
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
OTHER_ENDINGS = (".jfif", ".jpe", ".mpo")  # rarer ones of the same formats
RAW_ENDINGS = (".dng", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".pef", ".3fr", ".iiq", ".erf")
HEAD = 512  # bytes at the start of a file that tell its format
MAX_SIDE = 16_384  # pixels; a square of it takes 0.8 GB

# {format: how its files begin}; those of PLUGINS are read, the others are named
MAGIC = {
    "camera raw": rb"II\*\0....CR|IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW|....ftypcrx |II.\0{4}HEAPCCDR",
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "AVIF": rb"....ftyp(avi[fs]|m[is]f1.{4,48}avif)",
    "HEIC": rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ",
    "JPEG XR": rb"II\xbc",
    "PSD": rb"8BPS",
    "EPS": rb"%!PS|\xc5\xd0\xd3\xc6",
    "PDF": rb"%PDF-",
    "SVG": rb".{0,400}<svg[\s>]",
    "XCF": rb"gimp xcf",
    "DDS": rb"DDS \x7c",
    "OpenEXR": rb"v/1\x01",
    "HDR": rb"#\?R(ADIANCE|GBE)",
    "ICO": rb"\0\0[\1\2]\0.\0?",
    "ICNS": rb"icns\0",
    "QOI": rb"qoif",
    "PPM": rb"P[1-6]\s+[#\d]",
}


def is_image(path: Path) -> bool:
    """Return whether a path is a file, not hidden, that is an image of FORMATS or is named so.

    A damaged or wrongly named .jpg is one too, so it is refused by name, never skipped.
    """
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in (*IMAGE_ENDINGS, *OTHER_ENDINGS):
        return _is_file(path)
    return image_format(path) in FORMATS


def image_format(path: Path) -> str:
    """Return the format of an image file by its first bytes: one of FORMATS, or such as "HEIC",
    "EPS" or "camera raw", which are not read; "" for what is no image, or no readable file."""
    if not _is_file(path):
        return ""
    try:
        with open(path, "rb") as file:
            found = _format_of(file.read(HEAD))
    except OSError:
        return ""
    return "camera raw" if found == "TIFF" and path.suffix.lower() in RAW_ENDINGS else found


def _is_file(path: Path) -> bool:
    """Return whether a path is a regular file, or a link to one: a pipe would block its reader."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # not there, no permission, a name with a zero byte
        return False


def _format_of(head: bytes) -> str:
    """Return the format of a file that begins with `head`, "" for no image."""
    found = (name for name, start in MAGIC.items() if re.match(start, head, re.DOTALL))
    return next(found, "")


def read_photo(path: Path | BinaryIO, name: str = "") -> np.ndarray:
    """Return an image file as pixels uint8 (H, W, 3) RGB.

    It is turned upright by its EXIF, put on white where transparent, and reduced to 8 bits a
    channel.  Raises InputError, with `name` for the file, where it cannot be read.
    """
    try:
        with open_image(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a channel, which convert() would clip
                image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("not-an-image", name=name or path, error=error) from None


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Return an image file as Pillow opens it, its pixels not yet decoded; use it in a `with`.

    Only readers of FORMATS are asked.  Raises what Pillow raises, for other formats too.
    """
    if isinstance(file, str | Path) and not _is_file(Path(file)):
        raise FileNotFoundError(f"{file} is not a file")
    head = _head(file)
    name = _format_of(head)
    if name not in FORMATS:
        raise UnidentifiedImageError(f"it is {name or 'no image'}")
    for module in PLUGINS[name]:
        importlib.import_module(f"PIL.{module}")
    return Image.open(file, formats=(name,))


def _head(file: Path | BinaryIO) -> bytes:
    if isinstance(file, io.IOBase):
        file.seek(0)
        return file.read(HEAD)
    with open(file, "rb") as opened:
        return opened.read(HEAD)


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) as uint8 (size, size, 3), rescaled by Lanczos.

    `pad_square` makes them square first, so that nothing is cut or distorted.  Raises InputError
    for a side over MAX_SIDE.
    """
    pixels = pad_square(pixels)
    if pixels.shape[0] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.LANCZOS))


def pad_square(pixels: np.ndarray) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) as uint8 (S, S, 3), with margins in the border's median colour.

    Raises InputError for a side over MAX_SIDE.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise InputError("out-of-range.strip", width=width, height=height)
    if height == width:
        return pixels
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = np.median(border, 0).astype(np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = pixels
    return square


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PIL image as PNG, atomically."""
    with atomic_path(path) as aside:
        image.save(aside, "PNG")
