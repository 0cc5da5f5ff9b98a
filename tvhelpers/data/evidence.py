"""What stored images are: their encoding and the order of their axes, told from evidence."""

from __future__ import annotations

import numpy as np

# Axes after N -> the order that turns them to (N, H, W, C)
AXES = {"CWH": (0, 3, 2, 1), "CHW": (0, 2, 3, 1), "HWC": (0, 1, 2, 3), "WHC": (0, 2, 1, 3)}
DOCUMENTED = {"ih": "CWH", "pixels": "HWC"}  # the benchmark's key and our own


def judge_rows(rows: np.ndarray, mean: np.ndarray | None, key: str, faults: list[str]) -> dict:
    """Return what `inspect_images` says of rows (n, ., ., .); add to `faults`."""
    encoding, confidence, evidence = _find_encoding(rows, mean)
    needs = "ih_mean" if encoding == "mean_subtracted" and mean is None else None
    if needs:
        faults.append(
            "the images are stored minus a mean image, and ih_mean, the mean image, is missing; "
            "add the dataset ih_mean to the file"
        )
    if encoding == "mean_subtracted" and mean is not None:
        clipped = int(outside_range(rows.astype(np.float32) + mean, 1 / 255).sum())
        if clipped:
            faults.append(
                f"{clipped} values of {rows.size} sampled are clipped by more than 1 level"
            )
    axes, axes_evidence = _find_axes(rows, key, faults)
    return {
        "encoding": encoding,
        "axes": axes,
        "channels": "RGB" if key in DOCUMENTED else "unknown",
        "confidence": round(float(confidence), 3),
        "needs": needs,
        "rows_sampled": len(rows),
        "range": [float(rows.min()), float(rows.max())],
        "evidence": [*evidence, *axes_evidence],
    }


def outside_range(values: np.ndarray, margin: float, top: float = 1) -> np.ndarray:
    """Return where values (any shape) are outside 0..top by more than `margin`."""
    return (values < -margin) | (values > top + margin)


def _find_encoding(rows: np.ndarray, mean: np.ndarray | None) -> tuple[str, float, list[str]]:
    """Return (encoding, confidence 0..1, evidence) of rows (n, ., ., .), in whatever axes."""
    low, high = float(rows.min()), float(rows.max())
    if rows.dtype == np.uint8:
        return "uint8", 1.0, ["the type is uint8"]
    if low >= 0 and high > 2:
        whole = bool((rows == np.rint(rows)).all())
        if high <= 255 and (whole or high > 128):
            evidence = "whole numbers within 0..255" if whole else "values within 0..255"
            return "uint8", 0.95 if whole else 0.8, [evidence]
        return "unknown", 0.0, [f"values from {low:.3g} to {high:.3g}"]
    if low >= 0 and high <= 1 + 1e-3:
        return "unit", 0.95 if high > 0.5 else 0.6, ["values within 0..1, none negative"]
    if low < -1.001 or high > 1.001:
        return "unknown", 0.0, [f"values from {low:.3g} to {high:.3g}"]
    return _tell_signed(rows.astype(np.float32), mean)


def _tell_signed(rows: np.ndarray, mean: np.ndarray | None) -> tuple[str, float, list[str]]:
    """Tell images minus their mean from images scaled to -1..1.

    At one place of the image the former reach over 1 at most, from row to row, the latter over 2;
    the mean of the former's rows is as near 0 as chance lets it be; the latter lie on 256 levels.
    """
    chance = float(rows.std(0).mean()) / np.sqrt(len(rows)) + 1e-4
    ghost = float(np.abs(rows.mean(0)).mean()) / chance
    reach = float(np.quantile(np.ptp(rows, 0), 0.999))
    levels = (rows + 1) * 127.5
    on_levels = float((np.abs(levels - np.rint(levels)) < 0.01).mean())
    evidence = [
        f"at one place values reach over {reach:.3g} (minus a mean: 1, scaled to -1..1: 2)",
        f"the mean of the rows is {ghost:.2g} times what chance gives",
        f"{on_levels:.1%} of the values are on the 256 levels of -1..1",
    ]
    if on_levels > 0.99 or reach > 1.2:
        return "affine", 0.98, evidence
    if mean is not None:
        fits = 1 - float(outside_range(rows + mean, 1 / 255).mean())
        evidence.append(f"with ih_mean added, {fits:.2%} of the values are within 0..1")
        if fits > 0.99:
            return "mean_subtracted", 0.99 if ghost < 3 else 0.8, evidence
    if len(rows) >= 8 and ghost < 3:
        return "mean_subtracted", 0.9, evidence
    return "unknown", 0.0, evidence


def _find_axes(rows: np.ndarray, key: str, faults: list[str]) -> tuple[str, list[str]]:
    """Return (axes, evidence): clothes are more alike left to right than top to bottom."""
    first = rows.shape[1] == 3
    names = ("CWH", "CHW") if first else ("WHC", "HWC")
    grey = rows.mean(1 if first else 3, dtype=np.float32)
    a, b = (np.abs(grey - np.flip(grey, axis)).mean((1, 2)) for axis in (1, 2))
    votes = (a < b)[a != b]  # for the first axis to be W; flat images have no vote
    share = float(votes.mean()) if len(votes) else 0.5
    sure = abs(share - 0.5) * 2 * np.sqrt(len(votes)) > 4  # standard deviations from a coin's
    seen = names[0] if share > 0.5 else names[1]
    evidence = [
        f"{max(share, 1 - share):.0%} of the rows are more alike left to right where the axes "
        f"are {seen}"
    ]
    documented = DOCUMENTED.get(key)
    if documented not in names:
        return (seen if sure else "unknown"), evidence
    if sure and seen != documented:
        faults.append(
            f"{key} should be {documented}, but the images look as if they were {seen}; look at "
            "a few"
        )
    return documented, evidence


def format_report(report: dict) -> str:
    """Return an inspection as text to read."""
    images = report["images"]
    lines = [report["path"]]
    lines += [
        f"  {key:10} {about['dtype']:8} {tuple(about['shape'])}"
        for key, about in report["keys"].items()
    ]
    lines.append(
        f"  images in {images['key']}: {images['encoding']}, axes {images['axes']}, channels "
        f"{images['channels']}, confidence {images['confidence']:.0%}"
    )
    lines += [f"  because {sentence}" for sentence in images["evidence"]]
    lines += [f"  FAULT: {sentence}" for sentence in report["faults"]]
    return "\n".join(lines)
