"""How are the colours of an image converted from its ICC profile to sRGB?"""

import functools
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

MAX_BYTES = 4 << 20  # of a profile; profiles for printing have up to 3 MB
SAME = 1  # levels of 255; a profile that differs less from sRGB leaves pixels unchanged
KNOWN = 0xFF000000  # marks the entries of a table that are computed
MANY = 1 << 20  # colours
BLACK_TO_BLACK = 0x2000  # littleCMS's flag for black point compensation
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # {colour space of a profile: Pillow's mode}


@dataclass(eq=False)
class Conversion:
    """The conversion of an image's pixels by its embedded profile.

    Without `transform`, pixels stay unchanged: there is no profile, it is sRGB, or it cannot be
    used for the reason `broken`.
    """

    name: str = ""  # the profile's description of itself
    transform: ImageCms.ImageCmsTransform | None = None
    broken: str = ""

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the pixels of an image as uint8 (H, W, 3) sRGB."""
        mode = self.transform.input_mode
        if mode == "L":  # a gray profile in an RGB image with equal channels
            ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
            levels = np.asarray(self.transform.apply(ramp))[0]
            return np.asarray(image.convert("RGB").point(levels.T.ravel().tolist()))
        if mode == "CMYK":
            return np.asarray(self.transform.apply(image))
        table, colours = _table(self), _numbers(image)
        found = np.take(table, colours, mode="clip")  # no index is outside; "clip" is faster
        new = np.flatnonzero(found == 0)
        if len(new):
            added = _distinct(colours[new])
            row = Image.frombytes("RGB", (len(added), 1), added.tobytes(), "raw", "RGBX")
            table[added] = _numbers(self.transform.apply(row)) | KNOWN
            found[new] = table[colours[new]]
        return np.asarray(Image.frombytes("RGB", image.size, found.tobytes(), "raw", "RGBX"))


@functools.lru_cache(maxsize=2)
def _table(conversion: Conversion) -> np.ndarray:
    """Return a table from each colour to its sRGB colour: uint32 (2**24,), 64 MB, entries r + 256 g
    + 65,536 b + KNOWN, 0 if no image had the colour yet.  Photos share most colours, and littleCMS
    is slow."""
    return np.zeros(1 << 24, "<u4")


def _numbers(image: Image.Image) -> np.ndarray:
    """Return the pixels of an RGB image as uint32 (n,) of r + 256 g + 65,536 b."""
    return np.frombuffer(image.tobytes("raw", "RGBX"), "<u4") & 0xFFFFFF


def _distinct(colours: np.ndarray) -> np.ndarray:
    """Return each of many colours once; of few, which cost less than a look at all colours, all."""
    if len(colours) < MANY:
        return colours
    there = np.zeros(1 << 24, bool)
    there[colours] = True
    return np.flatnonzero(there).astype("<u4")


def conversion_of(image: Image.Image) -> Conversion:
    """Return the conversion of an opened or decoded image by its embedded profile."""
    profile = image.info.get("icc_profile")
    if not profile or not isinstance(profile, bytes):
        return Conversion()
    grey = image.mode[0] in "1LI" and image.mode != "LAB"
    return _conversion(profile, "GRAY" if grey else "CMYK" if image.mode == "CMYK" else "RGB")


@functools.lru_cache(maxsize=32)
def _conversion(profile: bytes, space: str) -> Conversion:
    """Return the conversion of images in a colour space: GRAY, RGB or CMYK."""
    if len(profile) > MAX_BYTES:
        return Conversion(broken=f"it has {len(profile):,} bytes")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(opened).strip()
        own = opened.profile.xcolor_space.strip()
        if own != space and not (own == "RGB" and space == "GRAY"):
            return Conversion(name, broken=f"it is of {own} images, but this one is {space}")
        intent, srgb = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(
            opened, srgb, SPACES[own], "RGB", intent, BLACK_TO_BLACK
        )
    except Exception as error:  # littleCMS raises many kinds for damaged profiles
        return Conversion(broken=str(error))
    return Conversion(name, None if _is_identity(transform) else transform)


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform of RGB or gray changes no colour by more than SAME levels."""
    if transform.input_mode == "CMYK":
        return False
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, -1)
    is_rgb = transform.input_mode == "RGB"
    tried = np.concatenate([greys, colours], 1) if is_rgb else greys
    found = transform.apply(Image.fromarray(tried if is_rgb else tried[..., 0]))
    return np.abs(np.asarray(found).astype(int) - tried).max() <= SAME
