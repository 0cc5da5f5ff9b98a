"""How are scores shown?  The figures that `score` writes beside its JSON."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tvhelpers.data.items import Source
from tvhelpers.files import make_dir, remove_temporary
from tvhelpers.image import read_photo, resize, save_png
from tvhelpers.paths import inside
from tvhelpers.score.attributes import corrected_rate
from tvhelpers.score.colour import name_colour
from tvhelpers.score.copying import open_trained
from tvhelpers.show.figures import gallery, metric_card

UNNAMED = (
    "no attribute and stratum: no network here names what photographs show; the command `score` "
    "does with --attribute-classifier clip, if a CLIP is there"
)


def write_figures(result: dict, folder: Path, train: Source | None = None) -> list[Path]:
    """Write a PNG for each metric of `score_folders`' result, and one with the nearest training
    images, from `train` or else from the source that the result names."""
    images = {name: metric_card(rows) for name, rows in by_metric(result).items()}
    for number, scored in enumerate(result["folders"], 1):
        for row in (row for row in scored["metrics"] if "top" in row["details"]):
            source = train or open_trained(scored.get("train_path", scored["train"]))[0]
            images[f"copies-{number}"] = nearest_pairs(scored, row, source)
    remove_temporary(make_dir(Path(folder)))
    paths = {Path(folder) / f"{name}.png": image for name, image in images.items()}
    for path, image in paths.items():
        save_png(image, path)
    return [*paths]


def by_metric(result: dict, labels: Sequence[str] = ()) -> dict[str, dict[str, dict]]:
    """Return {metric: {label: row}} of a result: a row for each folder, or for each attribute or
    stratum of a folder.  `labels` name the folders; without them, what their names differ in."""
    folders = result["folders"]
    labels = labels or _labels([folder["dir"] for folder in folders])
    found: dict[str, dict[str, dict]] = {}
    for name in dict.fromkeys(row["name"] for folder in folders for row in folder["metrics"]):
        metric, _, part = name.partition(":")
        for label, folder in zip(labels, folders, strict=True):
            label = " · ".join(filter(None, [part, label if len(folders) > 1 or not part else ""]))
            rows = [row for row in folder["metrics"] if row["name"] == name]
            if rows:
                found.setdefault(metric, {})[label] = rows[0]
    return found


def _labels(dirs: list[str]) -> list[str]:
    """Return the folders' names, without the words that all of them begin and end with."""
    dirs = [os.path.abspath(path) for path in dirs]
    common = os.path.commonpath(dirs) if len(dirs) > 1 else os.path.dirname(dirs[0])
    words = [os.path.relpath(path, common).split("-") for path in dirs]
    for end in (0, -1) if len(dirs) > 1 else ():
        while min(map(len, words)) > 1 and len({row[end] for row in words}) == 1:
            words = [row[1:] if end == 0 else row[:-1] for row in words]
    return ["-".join(row) for row in words]


def notes_of(result: dict, labels: Sequence[str]) -> list[str]:
    """Return what is not measured, and why, each once; `labels` name the folders."""
    found: dict[str, str] = {}
    for label, folder in zip(labels, result["folders"], strict=True):
        for note in folder["notes"]:
            found.setdefault(note.replace(folder["dir"], ""), note.replace(folder["dir"], label))
    measured = by_metric(result, labels)
    if "attribute" not in measured and not any("attribute" in note for note in found):
        found[""] = UNNAMED
    return [f"note: {note}" for note in found.values()]


def copying_figures(result: dict, train: str, labels: Sequence[str] = ()) -> list[Image.Image]:
    """Return the card of the metric `copying` and the last folder's nearest pairs; [] if copies of
    the source `train` were not looked for.  `labels` as in `by_metric`."""
    scored = result["folders"][-1]
    row = next((row for row in scored["metrics"] if row["name"] == "copying"), None)
    if not train or row is None:
        return []
    card = metric_card(by_metric(result, labels)["copying"])
    return [card, nearest_pairs(scored, row, open_trained(train)[0])]


def corrected_colours(
    real: Source, calibration: Source, pixels: dict[str, np.ndarray]
) -> list[str]:
    """Return a line for each {name: pixels uint8 (N, H, W, 3)}: the share of images in the colour
    that `real` states, corrected for errors of the measurement on `calibration`; or why not."""
    asked, truth = ([row["colour"] for row in source.attributes] for source in (real, calibration))
    readings = _colours(calibration.pixels(i) for i in range(len(calibration)))
    lines = []
    for name, shown in pixels.items():
        try:
            rate = corrected_rate("colour", asked, _colours(shown), truth, readings, real.captions)
        except ValueError as error:
            return [f"not corrected: {error}"]
        plain, ceiling = rate.details["plain_rate"], rate.details["ceiling"]
        about = f"uncorrected {plain:.2f}, highest possible {ceiling:.2f}"
        lines.append(f"{name:8} {rate.value:.2f}  {rate.interval}  {about}")
    return lines


def _colours(images: Iterable[np.ndarray]) -> list[str]:
    return [name_colour(image).name or "none" for image in images]


def nearest_pairs(scored: dict, row: dict, source: Source, count: int = 4) -> Image.Image:
    """Return generated images above the training images that they are nearest to."""
    top = row["details"]["top"][:count]
    folder, files = Path(scored["dir"]), scored["files"]
    generated = [read_photo(inside(folder, files[pair["image"]])) for pair in top]
    near = [source.pixels(pair["train_number"]) for pair in top]
    side = max(image.shape[0] for image in generated)
    titles = [f"generated; distance {pair['distance']:.3g}" for pair in top]
    shares = [100 * pair["validation_as_near"] for pair in top]
    shares = [f"training; {share:.1f} % of validation images are as near" for share in shares]
    return gallery([resize(image, side) for image in generated + near], titles + shares, len(top))
