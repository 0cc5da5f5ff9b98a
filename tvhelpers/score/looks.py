"""Do images look like drawings, and does a network that scores them know such images?

Each network says what it `knows`: "drawings", "photographs", "copies" (nearly equal images and
nothing else) or "anything".  A figure by a network that knows drawings alone is refused for other
images, because it may call mud perfect; one that knows photographs is marked for drawings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tvhelpers.image import resize
from tvhelpers.score.distances import distances
from tvhelpers.score.metrics import Result, mean_score
from tvhelpers.words import listed

SIDE = 128  # pixels a side that images are resized to
WHITE, GRAY = 240, 10  # least level of a white pixel, and most difference of its channels
BORDER, WHITE_BORDER = 3, 0.9  # width in pixels, and how much of it is white around a drawing
DARK, OUTLINED = 90, 0.5  # brightest outline, and how much of a drawn garment's edge has one
MIN_GARMENT = 0.03  # of the image
DRAWINGS = 0.75  # share of drawn-looking images in a folder that is taken for drawings
FEW = 7  # drawn-looking images that are enough, or else all; by chance cut-outs are so in 1 of 100
SMALL = 32  # pixels a side of the thumbnails that nearly equal images are found by
NEAR = 3.0  # most difference of nearly equal thumbnails: root mean square in levels of 255
VARIED = 3.0  # most times that one side may vary as much as the other
RULES = [SIDE, WHITE, GRAY, BORDER, WHITE_BORDER, DARK, OUTLINED, MIN_GARMENT, SMALL]
BESIDE_REAL = "kernel_distance, precision, recall, density and coverage"
ADVICE = "for photographs, give a vision model as --features, such as DINOv2 or CLIP"
# {input of metrics: (the figures that its network gives, which network to take for photographs)}
FIGURES = {
    "probs": ("inception_score", "for photographs, use Inception-v3 (`data get inception`)"),
    "words": ("attribute and stratum", "for photographs, use CLIP (--attribute-classifier clip)"),
    "image_embeds": (
        "clip_score and binding",
        "for photographs, give another --clip, such as FashionCLIP",
    ),
    "features": (f"vendi_score, {BESIDE_REAL}", ADVICE),
    "copies": ("copying", "use --copies pixels, or a vision model"),
}


def looks_drawn(pixels: np.ndarray) -> bool:
    """Return whether pixels uint8 (H, W, 3) look like a drawn garment: a white border, and a dark
    outline between the white and the garment.

    Nearly half of clothing photos cut out on white do so too, above all dark garments: judge a
    folder by `Look.is_drawn`, not by one image.
    """
    levels = resize(pixels, SIDE).astype(np.int32)
    least = levels.min(2)
    white = (least >= WHITE) & (levels.max(2) - least <= GRAY)
    border = np.ones_like(white)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    if white[border].mean() < WHITE_BORDER:
        return False
    parts, _ = ndimage.label(white)
    background = np.isin(parts, np.unique(parts[border & white]))
    edge = ~background & ndimage.binary_dilation(background)
    if 1 - background.mean() < MIN_GARMENT or not edge.any():
        return False
    darkest = ndimage.minimum_filter(levels @ np.array([0.299, 0.587, 0.114]), 5)
    return bool((darkest[edge] < DARK).mean() >= OUTLINED)


def sights(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 (N, 1 + 3 * 32 * 32) of pixels uint8 (N, H, W, 3): whether each image looks
    drawn, and its thumbnail."""
    return np.stack([[looks_drawn(one), *resize(one, SMALL).flat] for one in pixels]).astype("u1")


@dataclass(frozen=True)
class Look:
    """How many of a folder's images look like drawings."""

    folder: str
    drawn: int
    count: int

    @property
    def is_drawn(self) -> bool:
        """Whether the folder is taken for drawings; otherwise it is photographs, or unclear.

        Of few images all must look drawn: nearly half of cut-out photos on white do.
        """
        return self.drawn >= max(DRAWINGS * self.count, min(FEW, self.count))

    def __str__(self):
        return f"{self.drawn} of {self.count} images in {self.folder} look like drawings"


def misfit(network, name: str, looks: Sequence[Look]) -> tuple[bool, str]:
    """Return (whether `network` may not score such folders, a sentence that says what is wrong, ""
    if nothing is); `name` of FIGURES is the input of metrics that it would give."""
    knows, (figures, advice) = getattr(network, "knows", "anything"), FIGURES[name]
    if knows == "drawings" and (other := [look for look in looks if not look.is_drawn]):
        return True, f"no {figures}: {network.name} knows drawings only, and {other[0]}; {advice}"
    if knows == "photographs" and all(look.is_drawn for look in looks):
        text = f"do not rely on {figures}: {network.name} knows photographs, and {looks[0]}"
        return False, text
    return False, ""


def duplicates(thumbnails: np.ndarray, prompts: Sequence[str]) -> Result:
    """Return the share of images that nearly equal an image of another prompt, by thumbnails (N, D)
    in levels 0..255."""
    _, numbers = np.unique(np.asarray(prompts), return_inverse=True)
    thumbnails = np.asarray(thumbnails, np.float64)
    near = distances(thumbnails, thumbnails) <= NEAR * thumbnails.shape[1] ** 0.5
    found = (near & (numbers[:, None] != numbers)).any(1)
    method = f"thumbnails of {SMALL} pixels, at most {NEAR:g} levels apart"
    return mean_score("duplicates", found, prompts, method)


def variety(features: np.ndarray) -> float:
    """Return the mean squared distance of features (N, D) from their mean."""
    features = np.asarray(features, np.float64)
    return float(np.square(features - features.mean(0)).sum(1).mean())


def flattered(real: np.ndarray, drawn: np.ndarray) -> tuple[list[str], str]:
    """Return (figures that such features (N, D), (M, D) flatter, why): images that hardly vary can
    lie in the middle of all real ones, and images that vary wildly can surround them."""
    ratio = variety(drawn) / max(variety(real), 1e-12)
    if 1 / VARIED <= ratio <= VARIED:
        return [], ""
    names = ["precision", "density", "coverage"] if ratio < 1 else ["recall"]
    return names, f"no {listed(names)}: the images vary {ratio:.2g} times as much as the real ones"
