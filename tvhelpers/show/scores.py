"""Which figures does `score` write beside its JSON?"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.files import make_dir
from tvhelpers.image import read_photo, resize, save_png
from tvhelpers.score.attributes import corrected_rate
from tvhelpers.score.colour import name_colour
from tvhelpers.show.figures import gallery, metric_card


def write_figures(result: dict, folder: Path, train: Source | None = None) -> list[Path]:
    """Write a PNG for each figure of `score_folders`' result, and one of the nearest training
    pictures; `train` is their source where the result names none that can be opened."""
    pictures = {name: metric_card(rows) for name, rows in by_figure(result).items()}
    for number, scored in enumerate(result["folders"], 1):
        for row in (row for row in scored["metrics"] if "top" in row["details"]):
            source = train or open_source(scored["train"])
            pictures[f"copies-{number}"] = nearest_pairs(scored, row, source)
    paths = {make_dir(Path(folder)) / f"{name}.png": picture for name, picture in pictures.items()}
    for path, picture in paths.items():
        save_png(picture, path)
    return [*paths]


def by_figure(result: dict) -> dict[str, dict[str, dict]]:
    """Return {figure: {label: row}} of a result: a row a folder, or a folder and part of it (atoms,
    strata)."""
    dirs = [folder["dir"] for folder in result["folders"]]
    common = os.path.commonpath(dirs) if len(dirs) > 1 else os.path.dirname(dirs[0])
    found: dict[str, dict[str, dict]] = {}
    parts = dict.fromkeys(row["name"] for f in result["folders"] for row in f["metrics"])
    for name in parts:
        figure, _, part = name.partition(":")
        for folder in result["folders"]:
            label = os.path.relpath(folder["dir"], common or ".")
            label = " · ".join(filter(None, [part, label if len(dirs) > 1 or not part else ""]))
            rows = [row for row in folder["metrics"] if row["name"] == name]
            if rows:
                found.setdefault(figure, {})[label] = rows[0]
    return found


def copying_figures(result: dict, train: str) -> list[Image.Image]:
    """Return the card of `copying` and the last folder's nearest pairs; [] where copies from the
    source `train` were not looked for."""
    if not train:
        return []
    scored = result["folders"][-1]
    row = next(row for row in scored["metrics"] if row["name"] == "copying")
    card = metric_card(by_figure(result)["copying"])
    return [card, nearest_pairs(scored, row, open_source(train))]


def corrected_colours(real: Source, known: Source, pixels: dict[str, np.ndarray]) -> list[str]:
    """Return a line for each {name: pixels uint8 (N, H, W, 3)}: the share in the colour that item i
    of `real` states, less the reader's errors on `known` pictures; or why that cannot be said."""
    asked, truth = ([row["colour"] for row in source.attributes] for source in (real, known))
    readings = _colours(known.pixels(i) for i in range(len(known)))
    lines = []
    for name, shown in pixels.items():
        try:
            rate = corrected_rate("colour", asked, _colours(shown), truth, readings, real.captions)
        except ValueError as error:
            return [f"not corrected: {error}"]
        plain, ceiling = rate.details["plain_rate"], rate.details["ceiling"]
        about = f"plain {plain:.2f}, ceiling {ceiling:.2f}"
        lines.append(f"{name:8} {rate.value:.2f}  {rate.interval}  {about}")
    return lines


def _colours(pictures: Iterable[np.ndarray]) -> list[str]:
    return [name_colour(picture).name or "none" for picture in pictures]


def nearest_pairs(scored: dict, row: dict, source: Source, count: int = 4) -> Image.Image:
    """Return drawn pictures above the training pictures that they are nearest to."""
    top = row["details"]["top"][:count]
    drawn = [read_photo(Path(scored["dir"]) / scored["files"][pair["picture"]]) for pair in top]
    near = [source.pixels(pair["train_number"]) for pair in top]
    side = max(image.shape[0] for image in drawn)
    titles = [f"drawn, {pair['distance']:.3g} away" for pair in top]
    shares = [
        f"training; {100 * pair['held_out_as_near']:.1f} % of real are as near" for pair in top
    ]
    return gallery([resize(image, side) for image in drawn + near], titles + shares, len(top))
