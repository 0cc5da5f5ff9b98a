"""Which colour does a garment have?  Its pixels in CIELAB, and the nearest basic colour name.

No network takes part, so that no model judges itself.  Where light, pattern or background make the
colour unclear, the measure abstains.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy import ndimage

from tvhelpers.image import resize
from tvhelpers.score.metrics import Result, mean_score

SIDE = 128  # pixels a side that images are resized to
# {name: examples (L, a, b)}
EXAMPLES = yaml.safe_load(Path(__file__).with_name("colours.yaml").read_text(encoding="utf-8"))
MIN_SHARE = 0.03  # of the image; a smaller region is no garment
MIN_LEAD = 0.17  # over the second name, of all garment pixels
MIN_TOP = 0.4  # of all garment pixels
MIXED_TOP, MIXED_PARTS, MIXED_NEAR = 0.55, 0.1, 15.0  # see _unmixed: shares, and CIELAB units
TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)  # from linear sRGB
LEVELS = 4  # colours are rounded to steps of this many levels of 255
UNKNOWN = -2  # not computed yet
RULES = [EXAMPLES, MIN_SHARE, MIN_LEAD, MIN_TOP, MIXED_TOP, MIXED_PARTS, MIXED_NEAR, LEVELS]


@dataclass(frozen=True)
class ColourName:
    """A garment's colour, None where it abstains, and each name's share (0..1) of the pixels."""

    name: str | None
    shares: dict[str, float]
    reason: str  # why it abstained, "" where it did not


def name_colour(pixels: np.ndarray, mask: np.ndarray | None = None) -> ColourName:
    """Return the colour of the garment in pixels uint8 (H, W, 3).

    `mask` bool (H, W) marks the garment; without it the garment is what differs from the image's
    border.  Raises ValueError for other pixels, such as floats.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; give uint8 (H, W, 3)")
    small = resize(pixels, SIDE)
    lab = to_lab(small)
    inside = _shrunk(mask) if mask is not None else find_garment(lab)
    if inside.mean() < MIN_SHARE:
        return ColourName(None, {}, "no garment stands out from the border")
    names, lab, weights = _names(small[inside]), lab[inside], _centred()[inside]
    members = [np.where(names == i, weights, 0) for i in range(len(EXAMPLES))]
    shares = np.array([member.sum() for member in members]) / weights.sum()
    means = np.array([member @ lab / max(member.sum(), 1e-9) for member in members])
    shares = _unmixed(shares, means)
    return _decide(dict(zip(EXAMPLES, shares.tolist(), strict=True)))


def colour_numbers(pixels: np.ndarray) -> np.ndarray:
    """Return the index in EXAMPLES of each image's colour (N, 1), -1 where the measure abstains, of
    pixels uint8 (N, H, W, 3)."""
    numbers = {None: -1} | {name: i for i, name in enumerate(EXAMPLES)}
    return np.array([[numbers[name_colour(one).name]] for one in pixels])


def colour_score(asked: Sequence[str | None], seen: np.ndarray, groups: Sequence) -> Result:
    """Return the share of images with the wanted colour, of those whose prompt names one.

    `asked` (N,): wanted colours or None; `seen` (N, 1): from `colour_numbers`.
    """
    kept = [i for i, word in enumerate(asked) if word]
    names, seen = list(EXAMPLES), seen[kept, 0]
    correct = seen == [names.index(asked[i]) for i in kept]
    result = mean_score("colour", correct, [groups[i] for i in kept], "CIELAB, 12 names")
    named = seen >= 0
    result.details["abstained"] = float(1 - named.mean())
    result.details["accuracy_where_named"] = float(correct[named].mean()) if named.any() else None
    return result


def _names(pixels: np.ndarray) -> np.ndarray:
    """Return the index of the nearest name (N,) for pixels (N, 3); each colour is computed once."""
    steps = -(-256 // LEVELS)
    codes = np.ravel_multi_index(tuple((pixels // LEVELS).T), (steps,) * 3)
    new = np.unique(codes[_found(steps)[codes] == UNKNOWN])
    if len(new):
        colours = np.stack(np.unravel_index(new, (steps,) * 3), -1) * LEVELS + LEVELS // 2
        _found(steps)[new] = nearest_names(to_lab(colours))
    return _found(steps)[codes]


@functools.cache
def _found(steps: int) -> np.ndarray:
    """Return the table of colours computed so far: the index of each one's name."""
    return np.full(steps**3, UNKNOWN)


def _unmixed(shares: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return shares (K,), with the first name's share split between two others where it is their
    mixture, such as the gray of a black and white check.  `means` (K, 3): CIELAB of each name."""
    top = int(shares.argmax())
    others = [i for i in np.flatnonzero(shares >= MIXED_PARTS) if i != top]
    pairs = [(i, j) for n, i in enumerate(others) for j in others[n + 1 :]]
    if shares[top] > MIXED_TOP or not pairs:
        return shares
    off, pair = min((_off_the_middle(means[top], means[i], means[j]), (i, j)) for i, j in pairs)
    if off > MIXED_NEAR:
        return shares
    shares = shares.copy()
    shares[list(pair)] += shares[top] / 2
    shares[top] = 0
    return shares


def _off_the_middle(mixed: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Return a colour's distance from the middle half of the line between two others."""
    line = other - one
    place = (mixed - one) @ line / (line @ line)
    return float(np.linalg.norm(mixed - one - place * line)) if 0.25 < place < 0.75 else np.inf


def to_lab(pixels: np.ndarray) -> np.ndarray:
    """Return CIELAB (D65, 2 degrees) of sRGB uint8 (..., 3): L 0..100, a and b about -128..127."""
    srgb = np.asarray(pixels, np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    ratio = linear @ np.array(TO_XYZ).T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def colour_difference(lab1: np.ndarray, lab2: np.ndarray) -> np.ndarray:
    """Return CIEDE2000 of two arrays of CIELAB (..., 3) that broadcast (Sharma et al. 2005)."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(lab1, -1, 0), np.moveaxis(lab2, -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25.0**7))
    a1, a2 = a1 * g, a2 * g
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where(turn == -180, 180, turn)  # either way round is as far
    middle = np.where(grey, h1 + h2, (h1 + turn / 2) % 360)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    l50, c = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    t = 1 - 0.17 * _cos(middle - 30) + 0.24 * _cos(2 * middle)
    t += 0.32 * _cos(3 * middle + 6) - 0.2 * _cos(4 * middle - 63)
    dl = (l2 - l1) / (1 + 0.015 * l50**2 / np.sqrt(20 + l50**2))
    dc, dh = (c2 - c1) / (1 + 0.045 * c), dh / (1 + 0.015 * c * t)
    twist = np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2)))
    rotation = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(twist)
    return np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh)


def nearest_names(lab: np.ndarray, near: float = 16.0) -> np.ndarray:
    """Return the index of the nearest name (N,) in EXAMPLES, -1 where none is within `near`."""
    examples = np.array([e for group in EXAMPLES.values() for e in group], float)
    owner = np.repeat(np.arange(len(EXAMPLES)), [len(group) for group in EXAMPLES.values()])
    distances = colour_difference(lab[:, None], examples)
    best = distances.argmin(1)
    return np.where(distances.min(1) <= near, owner[best], -1)


def find_garment(lab: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) of the connected pixels that differ from the image's border.

    Where hardly any do, as with white on white, smaller differences count too.
    """
    found = _standing_out(lab, reach=1.0)
    return found if found.mean() >= MIN_SHARE else _standing_out(lab, reach=0.5)


def _standing_out(lab: np.ndarray, reach: float) -> np.ndarray:
    flat = _unlike_border(lab, reach)
    labels, count = ndimage.label(ndimage.binary_opening(flat, iterations=1))
    if not count:
        return flat
    sizes = ndimage.sum_labels(_centred(), labels, np.arange(1, count + 1))
    kept = np.flatnonzero(sizes >= 0.2 * sizes.max()) + 1
    return ndimage.binary_erosion(ndimage.binary_fill_holes(np.isin(labels, kept)))


def _unlike_border(lab: np.ndarray, reach: float) -> np.ndarray:
    """Return a mask of the pixels that are not connected to the border by border colours, within
    `reach` times the spread of those colours."""
    ring = np.zeros(lab.shape[:2], bool)
    edge = max(2, len(lab) // 20)
    ring[:edge] = ring[-edge:] = ring[:, :edge] = ring[:, -edge:] = True
    centres, spread = _clusters(lab[ring])
    distance = _distances(lab, centres) / spread
    like = distance.min(-1) < reach
    labels, _ = ndimage.label(like)
    touched = np.unique(labels[ring & like])
    return ~np.isin(labels, touched[touched > 0])


def _clusters(lab: np.ndarray, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return (centres (count, 3), reach (count,)) of border colours, by k-means from quantiles."""
    order = lab[np.argsort(lab[:, 0], kind="stable")]
    centres = order[np.linspace(0, len(order) - 1, 2 * count + 1).astype(int)[1::2]]
    for _ in range(10):
        nearest, before = _distances(lab, centres).argmin(1), centres
        members = [lab[nearest == i] for i in range(count)]
        centres = np.array([m.mean(0) if len(m) else c for m, c in zip(members, before)])
        if np.array_equal(centres, before):
            break
    distance = _distances(lab, centres)
    own = [distance[nearest == i, i] for i in range(count)]
    spread = np.array([np.quantile(d, 0.9) if len(d) else 0 for d in own])
    return centres, np.clip(1.3 * spread, 4, 22)


def _distances(lab: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the distances (..., K) of colours (..., 3) to centres (K, 3)."""
    return np.sqrt(sum((lab[..., None, i] - centres[:, i]) ** 2 for i in range(3)))


def _decide(shares: dict[str, float]) -> ColourName:
    first, second = sorted(shares, key=shares.get, reverse=True)[:2]
    if shares[first] < MIN_TOP:
        return ColourName(None, shares, "no colour covers enough of it")
    if shares[first] - shares[second] < MIN_LEAD:
        return ColourName(None, shares, f"nearly as much {second} as {first}")
    return ColourName(first, shares, "")


def _shrunk(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) at SIDE without its edge, where garment and background mix."""
    mixed = resize(np.repeat(mask[:, :, None].astype(np.uint8) * 255, 3, 2), SIDE)[:, :, 0]
    return ndimage.binary_erosion(mixed > 200)


def _centred() -> np.ndarray:
    """Return weights (SIDE, SIDE) that decrease from the middle, where garments are."""
    place = np.linspace(-1, 1, SIDE)
    return np.exp(-(place[:, None] ** 2 + place**2))


def _cos(degrees: np.ndarray) -> np.ndarray:
    return np.cos(np.radians(degrees))
