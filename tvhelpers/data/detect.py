"""How are stored images encoded, and in which order are their axes and channels?"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvhelpers.data import arrays
from tvhelpers.errors import InputError
from tvhelpers.output import escaped_lines
from tvhelpers.words import counted

# Axes after N -> the order that turns them to (N, H, W, C)
AXES = {"CWH": (0, 3, 2, 1), "CHW": (0, 2, 3, 1), "HWC": (0, 1, 2, 3), "WHC": (0, 2, 1, 3)}
SAMPLE_ROWS = 256
AIM = 1 << 24  # numbers sampled, at least, where there are as many; of large images more
MAX_KEYS = 50  # arrays that a report lists
CHANCE = 3  # standard errors of a mean
SURE = 4  # standard deviations of a fair coin
ROUGH = 45  # levels between neighbours; photos have about 2, pure noise 64
DOUBTFUL = 0.5  # the confidence where the images disagree with what the name says
DECODE_NAMES = {"mean_subtracted": "mean"}  # {encoding: its name for --decode, if another}
MANY_LEVELS = 24  # distinct values that an image needs before their spacing means anything


@dataclass(frozen=True)
class Verdict:
    """What something is, the confidence in that (0..1), and the evidence in sentences."""

    name: str
    confidence: float
    evidence: tuple[str, ...] = ()


UNKNOWN = "unknown"


def detect_format(path: Path, key: str = "") -> tuple[dict, np.ndarray]:
    """Return (the report of `inspect_images` without single images, numbers of the rows sampled).

    `key`: the array of the images; "" finds it.  Raises InputError where the file cannot be read,
    or has no images.
    """
    path = arrays.find_array_file(path)
    found = arrays.open_arrays(path)
    with arrays.read_errors(path):
        key = arrays.image_key(path, found, key)
        listed = sorted(found, key=lambda name: name not in (key, "ih_mean", "b_"))[:MAX_KEYS]
        keys = {name: about_array(found[name]) for name in found if name in {*listed}}
    mean, issues = arrays.own_mean(path, found, found[key].shape[1:])
    numbers, rows, bad = _sample(path, key, found[key])
    images = {"key": key, **detect_row_format(rows, mean, key)}
    issues += _shared_issues(images, rows, mean)
    if len(found) > MAX_KEYS:
        counts = {"count": len(found), "most": MAX_KEYS}
        issues.append(arrays.ISSUES["many_keys"].format(**counts))
    if bad:
        issues.append(arrays.ISSUES["not_finite"].format(rows=", ".join(map(str, bad))))
    return {"path": str(path), "keys": keys, "images": images, "faults": issues}, numbers


def about_array(data) -> dict:
    """Return the shape, dtype and chunks of an array, JSON-able."""
    chunks = getattr(data, "chunks", None)
    return {
        "shape": list(data.shape or ()),
        "dtype": str(data.dtype),
        "chunks": list(chunks) if chunks else None,
    }


def _sample(path: Path, key: str, data) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return (numbers and values of finite rows spread over the data, numbers of other rows)."""
    size = int(np.prod(data.shape[1:]))
    fewest = max(1, min(8, arrays.MAX_ROW // size))
    count = min(SAMPLE_ROWS, max(fewest, AIM // size))
    numbers = np.unique(np.linspace(0, len(data) - 1, count).astype(int))
    rows = np.stack([arrays.rows_of(path, key, data, i, i + 1)[0] for i in numbers])
    finite = np.isfinite(rows).all((1, 2, 3))
    if not finite.any():
        raise InputError("file-damaged.not-finite-sample", path=path)
    return numbers[finite], rows[finite], numbers[~finite].tolist()


def _shared_issues(images: dict, rows: np.ndarray, mean: np.ndarray | None) -> list[str]:
    if images["needs"]:
        return [arrays.ISSUES["no_mean"]]
    if images["encoding"] in ("wrapped", "minmax"):
        return [arrays.ISSUES[images["encoding"]]]
    issues, clipped = [], 0
    if images["encoding"] == "mean_subtracted":
        clipped = int(outside_range(rows.astype(np.float32) + mean, 1 / 255).sum())
    if clipped:
        issues.append(arrays.ISSUES["clipped"].format(clipped=clipped, size=rows.size))
    if images["doubtful"]:
        issues.append(arrays.ISSUES["sideways"].format(**images))
    return issues


def detect_row_format(rows: np.ndarray, mean: np.ndarray | None, key: str) -> dict:
    """Return the part "images" of `inspect_images` for rows (n, ., ., .).

    `mean`: the mean image 0..1 in the rows' own axes, or None.
    """
    encoding = detect_encoding(rows, mean)
    levels = to_levels(rows, encoding.name, mean)
    axes = detect_axes(levels, key)
    channels = detect_channels(levels, key, encoding.name, mean is not None)
    verdicts = [one for one in (encoding, axes, channels) if one.name != UNKNOWN]
    return {
        "encoding": encoding.name,
        "axes": axes.name,
        "channels": channels.name,
        "confidence": round(min((one.confidence for one in verdicts), default=0.0), 3),
        "doubtful": ["axes"] if axes.confidence == DOUBTFUL else [],
        "needs": "ih_mean" if encoding.name == "mean_subtracted" and mean is None else None,
        "rows_sampled": len(rows),
        "range": [float(rows.min()), float(rows.max())],
        "evidence": [*encoding.evidence, *_corners(levels), *axes.evidence, *channels.evidence],
    }


def to_levels(rows: np.ndarray, encoding: str, mean: np.ndarray | None) -> np.ndarray:
    """Return rows as float32 levels 0..255, as near as their encoding allows."""
    rows = rows.astype(np.float32)
    if encoding == "mean_subtracted":
        return (rows + (0.5 if mean is None else mean)) * 255
    if encoding == "affine":
        return (rows + 1) * 127.5
    return rows if rows.max() > 2 else rows * 255


def detect_encoding(rows: np.ndarray, mean: np.ndarray | None) -> Verdict:
    """Detect how rows (n, ., ., .) are encoded, in any order of axes."""
    low, high = float(rows.min()), float(rows.max())
    seen = f"values from {low:.3g} to {high:.3g}"
    if rows.dtype == np.uint8:
        return _detect_levels(rows, Verdict("uint8", 1.0, ("the numbers are of the type uint8",)))
    if low >= 0 and high > 2:
        whole = bool((rows == np.rint(rows)).all())
        if high <= 255 and (whole or high > 128):
            why = "whole numbers within 0..255" if whole else "values within 0..255"
            return _detect_levels(rows, Verdict("uint8", 0.95 if whole else 0.8, (why,)))
        return Verdict(UNKNOWN, 0.0, (seen,))
    if low >= 0 and high <= 1 + 1e-3:
        why = ("values within 0..1, none negative",)
        return _detect_levels(rows, Verdict("unit", 0.95 if high > 0.5 else 0.6, why))
    if low < -1.001 or high > 1.001:
        return Verdict(UNKNOWN, 0.0, (seen,))
    return _detect_signed(rows.astype(np.float32), mean)


def _detect_levels(rows: np.ndarray, plain: Verdict) -> Verdict:
    """Detect images that were wrapped modulo 256, or stretched one by one."""
    levels = to_levels(rows, plain.name, None)
    seams, roughness = seams_and_roughness(levels)
    why = (*plain.evidence, f"at {seams:.2%} of neighbouring pixels one channel jumps by 240 "
           "levels or more and another hardly changes (modulo 256: over 0.3 %)")  # fmt: skip
    if seams > 0.003 and roughness < ROUGH:
        return Verdict("wrapped", 0.95, why)
    if seams > 0.0005:
        return Verdict(UNKNOWN, 0.0, why)
    full, stretched, odd = _stretched_shares(levels)
    why = (*why, f"{full:.0%} of the images use the whole range from darkest to brightest; "
           f"{stretched:.0%} have gaps between levels, as after a contrast stretch")  # fmt: skip
    if full > 0.98 and stretched > 0.02:
        return Verdict("minmax", 0.9 if stretched > 0.2 and odd < 0.05 else 0.7, why)
    return Verdict(plain.name, plain.confidence if full < 0.98 or odd < 0.05 else 0.6, why)


def seams_and_roughness(levels: np.ndarray) -> tuple[float, float]:
    """Return the share of neighbours with a seam (0..1), and their median difference modulo 256.

    At a seam one channel jumps by 240 or more and another by 60 at most.  Wrapping leaves such
    seams in smooth places; real edges change all channels, and noise is not smooth modulo 256.
    """
    channel = 1 if levels.shape[1] == 3 else 3
    seams, differences = [], []
    for axis in {1, 2, 3} - {channel}:
        jump = np.abs(np.diff(levels, axis=axis))
        most = jump.max(channel)  # of 255: pure colours side by side, as in graphics
        seams.append(((most >= 240) & (most < 254.5) & (jump.min(channel) <= 60)).mean())
        differences.append(np.median(np.minimum(jump, np.abs(256 - jump))))
    return float(np.mean(seams)), float(np.mean(differences))


def _stretched_shares(levels: np.ndarray) -> tuple[float, float, float]:
    """Return the shares (0..1) of images that span 0..255, that were stretched to it, and of which
    neither can be said."""
    kinds = Counter(_stretch(image) for image in levels if np.ptp(image) > 0)
    count = max(1, kinds.total())
    full = kinds.total() - kinds["inside"]
    return full / count, kinds["stretched"] / count, kinds["odd"] / count


def _stretch(image: np.ndarray) -> str:
    """Return "inside", "stretched", "whole" (all 256 levels) or "odd" of one image's levels."""
    values, counts = np.unique(image, return_counts=True)
    if values[0] > 1e-4 or values[-1] < 255 - 1e-3:
        return "inside"
    if len(values) > 256:  # not from 8 bits; a stretch leaves each extreme about once
        return "stretched" if min(counts[0], counts[-1]) <= 3 else "odd"
    if len(values) >= MANY_LEVELS and _on_coarser_grid(values):
        return "stretched"
    return "whole" if np.abs(values - np.rint(values)).max() < 0.01 else "odd"


def _on_coarser_grid(values: np.ndarray) -> bool:
    """Return whether values 0..255 are those of 0..r, r < 250, stretched, rounded or not."""
    spans = np.arange(len(values) - 1, 250)[:, None]
    steps = values * spans / 255  # whole, where values were k * 255 / r
    exact = np.abs(steps - np.rint(steps)).max(1, initial=0) < 0.01
    back = np.rint(steps) * 255 / spans
    rounded = (np.rint(back) == values).all(1) | (np.floor(back + 1e-6) == values).all(1)
    return bool((exact | rounded).any())


def _detect_signed(rows: np.ndarray, mean: np.ndarray | None) -> Verdict:
    """Tell apart images minus their mean and images scaled to -1..1.

    Minus a mean: at one place of the image values span 1 at most, and the mean over rows is 0
    within chance.  Scaled: values span up to 2, and lie on 256 levels.
    """
    chance = float(rows.std(0).mean()) / np.sqrt(len(rows)) + 1e-4
    ghost = float(np.abs(rows.mean(0)).mean()) / chance
    reach = float(np.quantile(np.ptp(rows, 0), 0.999))
    levels = (rows + 1) * 127.5
    on_levels = float((np.abs(levels - np.rint(levels)) < 0.01).mean())
    few = "only " if on_levels < 0.5 else ""
    why = (
        f"the range of one pixel over all images is {reach:.3g}; images of 0..1 minus a mean allow "
        "at most 1, images scaled to -1..1 allow 2",
        f"the mean over all images is {ghost:.2g} standard errors from 0 (under {CHANCE}: 0 within "
        "sampling error, as if a mean image was subtracted)",
        f"{few}{on_levels:.1%} of the values are one of the 256 levels that an 8-bit image scaled "
        "to -1..1 has",
    )
    if on_levels > 0.99 or reach > 1.2:
        return Verdict("affine", 0.98, why)
    if mean is not None:
        fits = 1 - float(outside_range(rows + mean, 1 / 255).mean())
        why = (*why, f"with the mean image ih_mean added, {fits:.2%} of the values are within 0..1")
        if fits > 0.99:
            return Verdict("mean_subtracted", 0.99 if ghost < CHANCE else 0.8, why)
    if len(rows) >= 8 and ghost < CHANCE:
        return Verdict("mean_subtracted", 0.9, why)
    return Verdict(UNKNOWN, 0.0, why)


def outside_range(values: np.ndarray, margin: float, top: float = 1) -> np.ndarray:
    """Return where values (any shape) are outside 0..top by more than `margin`."""
    return (values < -margin) | (values > top + margin)


def detect_axes(levels: np.ndarray, key: str) -> Verdict:
    """Detect the order of the axes: clothes are more symmetric left to right than top to bottom."""
    first = levels.shape[1] == 3
    names = ("CWH", "CHW") if first else ("WHC", "HWC")
    grey = levels.mean(1 if first else 3)
    a, b = (np.abs(grey - np.flip(grey, axis)).mean((1, 2)) for axis in (1, 2))
    share, deviations = _vote((b - a)[a != b])  # for the first axis to be W; flat images: no vote
    seen = names[0] if share > 0.5 else names[1]
    why = f"{max(share, 1 - share):.0%} of the images are more symmetric left to right as {seen}"
    documented = arrays.DOCUMENTED.get(key)
    if documented in names:
        agrees = deviations <= SURE or seen == documented
        named = f"an array named {key} has axes {documented} by convention"
        return Verdict(documented, 0.99 if agrees else DOUBTFUL, (why, named))
    return Verdict(seen, 0.95, (why,)) if deviations > SURE else Verdict(UNKNOWN, 0.0, (why,))


def detect_channels(levels: np.ndarray, key: str, encoding: str, has_mean: bool) -> Verdict:
    """Detect RGB or BGR: walls, floors and tables around a garment have more red than blue.

    White backgrounds have no vote, nor do images that cannot be decoded.
    """
    if key in arrays.DOCUMENTED:
        return Verdict("RGB", 0.99, (f"an array named {key} is RGB by convention",))
    if encoding in (UNKNOWN, "wrapped") or (encoding == "mean_subtracted" and not has_mean):
        return Verdict(UNKNOWN, 0.0)
    if levels.shape[1] == 3:
        levels = levels.transpose(0, 2, 3, 1)
    sides = (levels[:, 0], levels[:, -1], levels[:, :, 0], levels[:, :, -1])
    border = np.concatenate(sides, 1)
    redder = border[..., 0] - border[..., 2]
    votes = (redder > 10).mean(1) - (redder < -10).mean(1)
    share, deviations = _vote(votes[np.abs(votes) > 0.1])
    why = f"{max(share, 1 - share):.0%} of the coloured borders are warm, as rooms are, if read as "
    name = "RGB" if share > 0.5 else "BGR"
    if deviations > SURE and max(share, 1 - share) > 0.75:
        return Verdict(name, 0.9, (why + name,))
    return Verdict(UNKNOWN, 0.0)


def _vote(votes: np.ndarray) -> tuple[float, float]:
    """Return the share of positive votes (0..1), and its distance from 0.5 in standard deviations
    of a fair coin."""
    share = float((votes > 0).mean()) if len(votes) else 0.5
    return share, abs(share - 0.5) * 2 * float(np.sqrt(len(votes)))


def _corners(levels: np.ndarray) -> tuple[str, ...]:
    if levels.shape[1] == 3:
        levels = levels.transpose(0, 2, 3, 1)
    corners = levels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    return (
        f"decoded this way, the corners of the images have a brightness of "
        f"{np.median(corners):.0f} of 255 (a white background: over 240)",
    )


def format_report(report: dict) -> str:
    """Return an inspection as text to read."""
    images = report["images"]
    decode = DECODE_NAMES.get(images["encoding"], images["encoding"])
    sampled = counted(images["rows_sampled"], "image")
    lines = [report["path"]]
    lines += [
        f"  {key:10} {about['dtype']:8} {tuple(about['shape'])}"
        + (f" in chunks of {tuple(about['chunks'])}" if about["chunks"] else "")
        for key, about in report["keys"].items()
    ]
    lines.append(
        f"  images in {images['key']}: encoding {decode}, axes {images['axes']}, channels "
        f"{images['channels']}, confidence {images['confidence']:.0%}; values from "
        f"{images['range'][0]:.3g} to {images['range'][1]:.3g} in {sampled}"
    )
    lines += [f"  because {sentence}" for sentence in images["evidence"]]
    lines += [f"  ISSUE: {sentence}" for sentence in report["faults"]]
    return escaped_lines(lines)
