"""How do the colours of an image become sRGB, where its ICC profile says that they are others?"""

import functools
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

MAX_BYTES = 4 << 20  # of a profile; those of printing presses have up to 3 MB
SAME = 1  # level of 255 by which a profile may differ from sRGB, so that pixels stay as they are
KNOWN = 0xFF000000  # marks the colours of a table that are filled in
BLACK_TO_BLACK = 0x2000  # littleCMS's flag for black point compensation
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # {colour space of a profile: Pillow's mode}


@dataclass(eq=False)
class Conversion:
    """What an embedded profile means for the pixels of an image.

    Without `transform` they stay as they are: the profile is sRGB or, if `broken`, says why it
    cannot be used.
    """

    name: str = ""  # by which the profile calls itself
    transform: ImageCms.ImageCmsTransform | None = None
    broken: str = ""

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return an image as pixels uint8 (H, W, 3) sRGB."""
        mode = self.transform.input_mode
        if mode == "L":  # of an RGB image, whose channels are alike
            ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
            levels = np.asarray(self.transform.apply(ramp))[0]
            return np.asarray(image.convert("RGB").point(levels.T.ravel().tolist()))
        if mode == "CMYK":
            return np.asarray(self.transform.apply(image))
        table, colours = _table(self), _numbers(image)
        found = np.take(table, colours, mode="clip")  # none is outside; but this is faster
        new = np.flatnonzero(found == 0)
        if len(new):
            row = Image.frombytes("RGB", (len(new), 1), colours[new].tobytes(), "raw", "RGBX")
            found[new] = table[colours[new]] = _numbers(self.transform.apply(row)) | KNOWN
        return np.asarray(Image.frombytes("RGB", image.size, found.tobytes(), "raw", "RGBX"))


@functools.lru_cache(maxsize=2)
def _table(conversion: Conversion) -> np.ndarray:
    """Return each colour's colour in sRGB, as uint32 (2**24,) of r + 256 g + 65,536 b + KNOWN, or
    0 where no image had it yet: photos share most colours, and littleCMS is slow.  Up to 64 MB."""
    return np.zeros(1 << 24, "<u4")


def _numbers(image: Image.Image) -> np.ndarray:
    """Return the pixels of an RGB image as uint32 (n,) of r + 256 g + 65,536 b."""
    return np.frombuffer(image.tobytes("raw", "RGBX"), "<u4") & 0xFFFFFF


def conversion_of(image: Image.Image) -> Conversion:
    """Return the conversion to sRGB of an image, opened or decoded, by its embedded profile."""
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
    except Exception as error:  # littleCMS has its own kinds for what is damaged
        return Conversion(broken=str(error))
    return Conversion(name, None if _is_identity(transform) else transform)


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform of RGB or gray changes no colour by more than SAME levels."""
    if transform.input_mode == "CMYK":
        return False
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, -1)
    for tried in (greys, colours) if transform.input_mode == "RGB" else (greys,):
        seen = tried if transform.input_mode == "RGB" else tried[..., 0]
        found = np.asarray(transform.apply(Image.fromarray(seen))).astype(int)
        if np.abs(found - tried).max() > SAME:
            return False
    return True
