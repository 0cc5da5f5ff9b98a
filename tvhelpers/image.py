"""How are image files read and written, and pixels made square and resized?"""

import errno
import importlib
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path
from tvhelpers.icc import Conversion, conversion_of
from tvhelpers.paths import is_there

# {format: the modules of Pillow that read it}; Pillow's other readers are never used: some start
# programs (EPS: Ghostscript), and some guess
PLUGINS = {
    "JPEG": ("JpegImagePlugin", "MpoImagePlugin"),
    "PNG": ("PngImagePlugin",),
    "WEBP": ("WebPImagePlugin",),
    "BMP": ("BmpImagePlugin",),
    "TIFF": ("TiffImagePlugin",),
    "GIF": ("GifImagePlugin",),
    "AVIF": ("AvifImagePlugin",),
}
HEIC = "HEIC"  # photos of iPhones; read where the package pillow-heif is installed
FORMATS = tuple(name for name in PLUGINS if name != "AVIF" or find_spec("PIL._avif"))
FORMATS += (HEIC,) if find_spec("pillow_heif") else ()
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
OTHER_ENDINGS = (".jfif", ".jpe", ".mpo")  # rarer ones of the same formats
RAW_ENDINGS = (".dng", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".pef", ".3fr", ".iiq", ".erf")
HEAD = 512  # bytes at the start of a file that tell its format
PROFILE_HEAD = 1 << 12  # bytes before which the scan of most JPEG files begins
SCAN, PROFILE = 0xDA, 0xE2  # markers of JPEG
NO_LENGTH = {0, 1, *range(0xD0, 0xDA), 0xFF}  # markers without one
MAX_SIDE = 16_384  # pixels
MAX_PIXELS = 178_956_970  # of an image, 0.5 GB; Pillow's own limit
LESS_PIXELS = {
    "WEBP": 80_000_000,
    "AVIF": 80_000_000,
    "TIFF": 150_000_000,
}  # they copy
GONE = (errno.ENOTCONN, errno.EIO, errno.ENODEV, errno.ENXIO)  # of a drive, not of the file
STEPS = {"L;2": 85, "L;4": 17}  # {Pillow's mode of gray with 2 or 4 bits: 255 / its highest level}
DEEP, LOWER = "RGB;16B", "RGB;16L"  # colours of 16 bits in Pillow, and the lower 8 of each level
PIXELS_AT_ONCE = 1 << 24  # converted together, so that a large image is not copied as a whole

# {orientation of EXIF: how pixels are turned upright}
TURNS = {
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}

# {format: how its files begin}; those of PLUGINS are read, the others only named
MAGIC = {
    "camera raw": rb"II\*\0....CR|IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW|....ftypcrx |II.\0{4}HEAPCCDR",
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "AVIF": rb"....ftyp(avi[fs]|m[is]f1.{4,48}avif)",
    HEIC: rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)",
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
    "ICO": rb"\0\0[\1\2]\0[^\0]\0.{3}\0.{7}\0..\0\0",  # a .tga has no count of images there
    "ICNS": rb"icns\0",
    "QOI": rb"qoif",
    "PPM": rb"P[1-6]\s+[#\d]",
}


def is_image(path: Path) -> bool:
    """Return whether a path is a file, not hidden, that is an image of FORMATS or has their ending.

    A damaged or wrongly named .jpg counts too, so that it is refused by name and never skipped.
    """
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in (*IMAGE_ENDINGS, *OTHER_ENDINGS):
        return is_there(path)
    return image_format(path) in FORMATS


def image_format(path: Path) -> str:
    """Return the format of an image file by its first bytes: one of FORMATS, or one that is not
    read, such as "HEIC", "EPS" or "camera raw"; "" for other files and for unreadable ones."""
    try:
        found = _format_of(_head(path)) if is_there(path) else ""
    except OSError:
        return ""
    return "camera raw" if found == "TIFF" and path.suffix.lower() in RAW_ENDINGS else found


def remedy(found: str) -> str:
    """Return what to do with an image of a format that is not read."""
    if found == HEIC:
        return "run: pip install pillow-heif, or save it as .jpg"
    return "save it as .jpg or .png"


def _format_of(head: bytes) -> str:
    """Return the format of a file that begins with `head`, "" if it is not an image."""
    found = (name for name, start in MAGIC.items() if re.match(start, head, re.DOTALL))
    return next(found, "")


def read_photo(file: Path | BinaryIO, name: str = "") -> np.ndarray:
    """Return an image file as pixels uint8 (H, W, 3) sRGB.

    EXIF turns it upright, its ICC profile gives the colours, transparent parts become white, and
    channels get 8 bits; of several frames the first is read.  Raises InputError, which calls the
    file `name`, if it cannot be read or is too large.
    """
    name = name or file
    try:
        with open_image(file, name) as image:
            if _is_deep_with_transparency(image):
                _add_alpha(image, file)
            return _pixels(image)
    except InputError:
        raise
    except OSError as error:
        if error.errno in GONE:
            raise InputError("folder-gone.photo", name=name, error=error) from None
        raise InputError("not-an-image", name=name, error=error) from None
    except Exception as error:  # Pillow's readers raise many kinds for damaged files
        raise InputError("not-an-image", name=name, error=error) from None


def open_image(file: Path | BinaryIO, name: str = "") -> Image.Image:
    """Return an image file as Pillow opens it, its pixels not yet decoded; use it in a `with`.

    Only the readers of FORMATS are used.  Raises InputError for another format and for too many
    pixels, and what Pillow raises for a damaged file.
    """
    name = name or file
    if isinstance(file, str | Path) and not is_there(Path(file)):  # a pipe would block
        raise InputError("not-an-image", name=name, error=OSError("it is not a file"))
    found = _format_of(_head(file))
    if found not in FORMATS:
        if found:
            raise InputError("not-an-image.format", name=name, found=found, remedy=remedy(found))
        raise UnidentifiedImageError("it does not begin like an image")
    for module in PLUGINS.get(found, ()):
        importlib.import_module(f"PIL.{module}")
    if found == HEIC:
        importlib.import_module("pillow_heif").register_heif_opener()
    image = Image.open(file, formats=("HEIF" if found == HEIC else found,))
    if isinstance(image.info.get("transparency"), int):  # a level as stored, not as decoded
        image.info["transparency"] *= _step(image)
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > LESS_PIXELS.get(found, MAX_PIXELS):
        image.close()
        raise InputError("out-of-range.pixels", name=name, width=width, height=height)
    return image


def conversion_of_file(file: Path | BinaryIO) -> tuple[Conversion, bool]:
    """Return how the colours of an image file become sRGB, and whether older versions read other
    pixels: they ignored ICC profiles, and transparent colours of 2, 4 and 16 bits.

    For a file that cannot be read, both are empty.
    """
    try:
        if _has_no_profile(_head(file, PROFILE_HEAD)):
            return Conversion(), False
        with open_image(file) as image:
            conversion, clear = conversion_of(image), image.info.get("transparency")
            few = _step(image) > 1 and clear  # older versions read level 0 as transparent too
            deep = isinstance(clear, int) and (image.mode.startswith("I") or few)
            deep = deep or _is_deep_with_transparency(image)
            return conversion, bool(deep or conversion.transform)
    except Exception:  # reading the pixels will report what is wrong
        return Conversion(), False


def _stored(image: Image.Image) -> str:
    """Return how the pixels of an opened image are stored, in Pillow's words."""
    return image.tile[0][3] if image.tile else ""


def _step(image: Image.Image) -> int:
    """Return the factor by which decoding multiplies the stored levels of an opened image."""
    return STEPS.get(_stored(image), 1)


def _is_deep_with_transparency(image: Image.Image) -> bool:
    return _stored(image) == DEEP and "transparency" in image.info


def _add_alpha(image: Image.Image, file: Path | BinaryIO) -> None:
    """Add the transparent colour of an opened DEEP image as alpha; Pillow decodes the upper 8 bits
    of each level only, so a second opening decodes the lower ones."""
    clear = np.array(image.info.pop("transparency"))
    same = np.asarray(image) == clear >> 8
    with open_image(file) as lower:
        lower.tile = [(*lower.tile[0][:3], LOWER)]
        same &= np.asarray(lower) == clear & 255
    image.putalpha(Image.fromarray(np.where(same.all(-1), 0, 255).astype(np.uint8)))


def _has_no_profile(head: bytes) -> bool:
    """Return whether a file is certainly a JPEG without ICC profile, as most photos are: Pillow
    takes ten times longer to tell."""
    place = 2 if head.startswith(b"\xff\xd8\xff") else len(head)
    while place + 4 <= len(head) and head[place] == 0xFF and head[place + 1] not in NO_LENGTH:
        if head[place + 1] in (SCAN, PROFILE):
            return head[place + 1] == SCAN
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return False


def _head(file: Path | BinaryIO, size: int = HEAD) -> bytes:
    if isinstance(file, io.IOBase):
        file.seek(0)
        return file.read(size)
    with open(file, "rb", buffering=0) as opened:
        return opened.read(size)


def _pixels(image: Image.Image) -> np.ndarray:
    """Return an opened image as pixels uint8 (H, W, 3) sRGB, upright."""
    if image.mode == "F" or (image.format == "TIFF" and image.mode.startswith("I") and
                             not image.mode.startswith("I;16")):  # fmt: skip
        raise ValueError("it has 32 bits a channel; save it with 8 or 16")
    conversion = conversion_of(image)
    image.load()
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    rows = max(1, PIXELS_AT_ONCE // image.width)
    if rows >= image.height:
        pixels = _on_white(image, conversion)
        return np.ascontiguousarray(turn(pixels)) if turn else pixels
    lying = turn and turn(np.empty((image.height, image.width, 0))).shape[0] != image.height
    shape = image.size if lying else image.size[::-1]
    upright = np.empty((*shape, 3), np.uint8)
    stored = turn(turn(turn(upright))) if turn else upright  # four turns are the identity
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        stored[top : top + rows] = _on_white(band, conversion)
    return upright


def _on_white(image: Image.Image, conversion: Conversion) -> np.ndarray:
    """Return decoded rows as pixels uint8 (H, W, 3) sRGB; transparent parts become white."""
    image = _eight_bits(image)
    clear = image.has_transparency_data
    if clear or image.mode != "CMYK":
        image = image.convert("RGBA" if clear else "RGB")
    if conversion.transform:
        pixels = conversion(image.convert("RGB") if clear else image)
        if not clear:
            return pixels
        converted = Image.fromarray(pixels)
        converted.putalpha(image.getchannel("A"))
        image = converted
    if clear:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit gray, which convert() would clip, as 8 bits, its transparent level as alpha;
    other images unchanged."""
    if not image.mode.startswith("I"):
        return image
    levels, clear = np.asarray(image), image.info.get("transparency")
    grey = Image.fromarray((levels / 257).round().astype(np.uint8))
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return grey


def resize(
    pixels: np.ndarray, size: int, how: Image.Resampling = Image.Resampling.LANCZOS
) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) as uint8 (size, size, 3), rescaled by Lanczos, or as `how`.

    Margins in the border's median colour make them square first, so that nothing is cut or
    distorted.  Raises InputError for a side over MAX_SIDE.
    """
    height, width = pixels.shape[:2]
    side = max(height, width)
    if side > MAX_SIDE:
        raise InputError("out-of-range.strip", width=width, height=height)
    if height == width:
        return pixels if side == size else _rescaled(pixels, (size, size), how)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = np.median(border, 0).astype(np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    if side * side <= PIXELS_AT_ONCE:
        square = np.empty((side, side, 3), np.uint8)
        square[:] = colour
        square[top : top + height, left : left + width] = pixels
        return _rescaled(square, (size, size), how)
    # As Pillow does, first the width and then the height, and without ever making the whole square
    square = np.full((side, size, 3), colour, np.uint8)
    rows = max(1, PIXELS_AT_ONCE // side)
    for start in range(0, height, rows):
        part = pixels[start : start + rows]
        if width < side:
            wide = np.full((len(part), side, 3), colour, np.uint8)
            wide[:, left : left + width] = part
            part = wide
        place = top + start
        square[place : place + len(part)] = _rescaled(part, (size, len(part)), how)
    return _rescaled(square, (size, size), how)


def _rescaled(pixels: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) rescaled to `size`, (width, height)."""
    if size == pixels.shape[1::-1]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """Return a PIL image as the bytes of a file; `options` as those of Pillow's `save`."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PIL image as PNG, atomically."""
    with atomic_path(path) as aside:
        image.save(aside, "PNG")
