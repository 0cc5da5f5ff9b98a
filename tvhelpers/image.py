"""How are image files read and written, and pixels made square and resized?"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_SIDE = 16_384  # pixels; a square of it takes 0.8 GB


def is_photo(path: Path) -> bool:
    """Return whether a path is an image file of a supported format, and not hidden."""
    return path.suffix.lower() in IMAGE_ENDINGS and path.is_file() and not path.name.startswith(".")


def read_photo(path: Path | BinaryIO, name: str = "") -> np.ndarray:
    """Return an image file as pixels uint8 (H, W, 3) RGB.

    It is turned upright by its EXIF, put on white where transparent, and reduced to 8 bits a
    channel.  Raises InputError, with `name` for the file, where it cannot be read.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a channel, which convert() would clip
                image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("not-an-image", name=name or path, error=error) from None


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
