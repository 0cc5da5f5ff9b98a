"""Which image files show an image that is known, whole, cut or with damaged parts?

A mutation writes one file, and returns the pixels that it must be read as.
"""

import io

import numpy as np
from bounded import Right
from PIL import Image, ImageCms
from sound_inputs import zip_of

from tvhelpers.image import FORMATS

WIDTH, HEIGHT = 48, 32
LOSSY = ("JPEG", "AVIF")
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
ENDINGS |= {"GIF": ".gif", "AVIF": ".avif"}
UPRIGHT = {  # {EXIF orientation: the transposition by which the file lies}
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip
MODES = {  # {mode: formats that hold it as it is}
    "RGB": ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF"),
    "RGBA": ("PNG", "WEBP", "TIFF", "AVIF"),
    "L": ("JPEG", "PNG", "BMP", "TIFF", "GIF"),
    "LA": ("PNG", "TIFF"),
    "P": ("PNG", "BMP", "GIF", "TIFF"),
    "1": ("PNG", "BMP", "TIFF"),
    "I;16": ("PNG", "TIFF"),
}


def smooth(rng):
    """Return smooth pixels (H, W, 3) whose corners differ."""
    corners = Image.fromarray(rng.integers(30, 225, (2, 3, 3)).astype(np.uint8))
    return np.asarray(corners.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def in_mode(pixels, mode):
    """Return (image, pixels uint8 as which it must be read)."""
    rgb, gray = Image.fromarray(pixels), Image.fromarray(pixels[..., 1])
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 1].astype(np.uint16) * 257)
        return image, np.asarray(gray.convert("RGB"))
    if mode in ("RGBA", "LA"):
        image = (rgb if mode == "RGBA" else gray).convert(mode)
        clear = np.zeros((HEIGHT, WIDTH), np.uint8)
        clear[:, WIDTH // 2 :] = 255
        image.putalpha(Image.fromarray(clear))
        right = np.array(image.convert("RGB"))
        right[:, : WIDTH // 2] = 255
        return image, right
    image = rgb.convert(mode, dither=0) if mode in ("P", "1") else rgb.convert(mode)
    return image, np.asarray(image.convert("RGB"))


def saved(image, format, **options):
    out = io.BytesIO()
    if format == "WEBP":
        options["lossless"] = options["exact"] = True
    if format in LOSSY:
        options |= {"quality": 95, "subsampling": "4:4:4"}
    image.save(out, format, **options)
    return out.getvalue()


def shows(right, most=0):
    """Return the check that pixels are the right ones, in nearly all places."""

    def check(found):
        assert found.dtype == np.uint8 and found.shape == right.shape, f"{found.shape}"
        apart = np.abs(found.astype(int) - right)
        assert np.percentile(apart, 98) <= most, f"pixels differ by {np.percentile(apart, 98)}"

    return check


def is_image(found):
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3, "no image"


def one(rng, mode, format, **options):
    """Return (file, check) of a random image."""
    image, right = in_mode(smooth(rng), mode)
    turn = int(rng.integers(1, 9)) if mode == "RGB" and format not in ("BMP", "GIF") else 1
    if UPRIGHT[turn] is not None:
        image = image.transpose(UPRIGHT[turn])
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn
    most = 12 if format in LOSSY else 1
    return saved(image, format, **options), shows(right, most)


def put(folder, data, format, rng):
    """Write a file, at times with the ending of another format."""
    ending = ENDINGS[format if rng.random() < 0.7 else sorted(ENDINGS)[rng.integers(len(ENDINGS))]]
    (folder / f"image{ending}").write_bytes(data)


def whole(mode, format, rng):
    data, check = one(rng, mode, format)
    return data, Right(check, only="read")


def cut_off(mode, format, rng):
    data, check = one(rng, mode, format)
    return data[: rng.integers(len(data))], Right(check)


def followed(mode, format, rng):
    data, check = one(rng, mode, format)
    return data + rng.bytes(int(rng.integers(1, 9999))), Right(check, only="read")


def as_zip(mode, format, rng):
    return zip_of([("a.png", one(rng, mode, format)[0])]), Right(only="refused")


def flipped(mode, format, rng):
    data = bytearray(one(rng, mode, format)[0])
    for place in rng.integers(len(data), size=4):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data), Right(is_image)


def noise_profile(mode, format, rng):
    if format in ("BMP", "GIF"):
        return whole(mode, format, rng)
    data, check = one(rng, mode, format, icc_profile=rng.bytes(int(rng.integers(1, 3000))))
    return data, Right(check, only="read")


def damaged_profile(mode, format, rng):
    if format in ("BMP", "GIF"):
        return whole(mode, format, rng)
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for place in rng.integers(len(profile), size=6):
        profile[place] = rng.integers(256)
    data, _ = one(rng, mode, format, icc_profile=bytes(profile))
    return data, Right(is_image, only="read")


def same_profile(mode, format, rng):
    if format in ("BMP", "GIF") or mode not in ("RGB", "RGBA"):
        return whole(mode, format, rng)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data, check = one(rng, mode, format, icc_profile=profile)
    return data, Right(check, only="read")


def of_image_file(make, mode, format):
    def mutate(folder, rng):
        data, right = make(mode, format, rng)
        put(folder, data, format, rng)
        return right

    mutate.__name__ = f"{format} {mode} {make.__name__}"
    return mutate


CHANGES = (
    whole, cut_off, followed, as_zip, flipped, noise_profile, damaged_profile, same_profile
)  # fmt: skip
IMAGE_FILES = [
    of_image_file(make, mode, format)
    for mode, formats in MODES.items()
    for format in formats
    if format in FORMATS
    for make in CHANGES
]
