"""How good are folders of images?  Figures of each, and comparisons in pairs, in metrics.json."""

from __future__ import annotations

import json
from pathlib import Path

from tvhelpers.errors import InputError
from tvhelpers.files import write_once, writing_beside
from tvhelpers.output import escaped_lines
from tvhelpers.records import TakenError, read_record, upgraded
from tvhelpers.runtime import versions
from tvhelpers.score.image_folder import ImageFolder, open_folder
from tvhelpers.score.metrics import Result, compare
from tvhelpers.score.needs import Needs, Networks
from tvhelpers.score.registry import all_results, card_of
from tvhelpers.score.request import ScoreRequest

SENTENCES = {"card", "chosen", "method", "notes", "warnings"}  # keys of a result


def score_folders(request: ScoreRequest) -> dict:
    """Write and return the metrics of each folder, and of each compared with the first in pairs.

    Every metric of METRICS whose inputs are there is computed; images of one prompt count as one
    block.  Raises InputError for a folder that cannot be scored, and TakenError where `out_path`
    has other results.
    """
    with writing_beside(Path(request.out_path)):
        result = _scored(request)
        _write_once(Path(request.out_path), result)
    return result


def _scored(request: ScoreRequest) -> dict:
    folders = [open_folder(folder) for folder in request.dirs]
    real = open_folder(request.real) if request.real else None
    networks = Networks(request, folders)
    of_real = Needs(real, networks) if real else None
    needs = [Needs(folder, networks, of_real) for folder in folders]
    results = [all_results(one) for one in needs]
    scored = []
    for folder, rows, one in zip(folders, results, needs, strict=True):
        notes = [*folder.notes, *one.notes, *networks.notes]
        found = {"metrics": [with_card(row) for row in rows], "notes": notes}
        scored.append({**_about(folder), **networks.card, **found})
    pairs = [
        {"dir": str(folder.path), "against": str(folders[0].path), **_compared(rows, results[0])}
        for folder, rows in zip(folders[1:], results[1:], strict=True)
    ]
    result = {"folders": scored, "pairs": pairs, "versions": versions()}
    result |= {"real": _about(real)} if real else {}
    return json.loads(json.dumps(result))


def format_table(result: dict) -> str:
    """Return the metrics of each folder and of each pair, with notes, and then their cards."""
    lines, cards = [], {}
    for folder in result["folders"]:
        lines.append(f"{folder['dir']}: {folder['n']} images, classifier: {folder['classifier']}")
        lines += [f"    note: {note}" for note in folder["notes"]]
        for row in folder["metrics"]:
            lines += [_line(row), *(f"    note: {warning}" for warning in row["warnings"])]
            cards[row["name"].split(":")[0]] = row["card"]
    for pair in result["pairs"]:
        lines.append(f"{pair['dir']} compared with {pair['against']}, prompt by prompt")
        lines += [_line(row) for row in pair["metrics"]]
        lines += [f"    note: {note}" for note in pair["notes"]]
    return escaped_lines([*lines, *(f"{name}: {card}" for name, card in cards.items())])


def _line(row: dict) -> str:
    low_high = "95 % interval {:.4g} to {:.4g}"
    interval = "no interval" if row["ci"] is None else low_high.format(*row["ci"])
    cap = f", upper bound {row['details']['cap']}" if "cap" in row["details"] else ""
    chance = f", p {row['details']['p']:.2g}" if "p" in row["details"] else ""
    ceiling = ""
    if "ceiling" in row["details"]:
        ceiling = ", ceiling {ceiling:.4g}, corrected {corrected:.4g}".format(**row["details"])
    return f"  {row['name']} {row['value']:.4g} ({interval}), n {row['n']}{cap}{chance}{ceiling}"


def _about(folder: ImageFolder) -> dict:
    names = [file.name for file in folder.files]
    about = {"dir": str(folder.path), "n": len(names)}
    return {**about, "digest": folder.digest(), "files": names}


def with_card(result: Result) -> dict:
    """Return a result as plain values, with its card."""
    return {**result.to_dict(), "card": card_of(result.name)}


def _compared(ours: list[Result], theirs: list[Result]) -> dict:
    """Return the paired comparisons of two folders' metrics, and why others are impossible."""
    others = {result.name: result for result in theirs}
    rows, notes = [], {}
    for result in ours:
        other = others.get(result.name)
        if other is None or result.leave_one_out is None:
            continue
        try:
            rows.append(compare(result, other).to_dict())
        except ValueError as error:
            notes[str(error)] = None
    return {"metrics": rows, "notes": list(notes)}


def read_metrics(path: Path) -> dict:
    """Return what `score` has written to `path`, under today's names."""
    record = json.dumps(read_record(path, "metrics"))
    return json.loads(record, object_hook=lambda row: upgraded(row, "metrics"))


def _without_sentences(result: dict) -> dict:
    """Return a result without its sentences, which a later version may word otherwise."""
    text = json.dumps(result)
    return json.loads(text, object_hook=lambda row: {k: row[k] for k in row.keys() - SENTENCES})


def _write_once(path: Path, result: dict) -> None:
    try:
        write_once(path, (json.dumps(result, indent=1) + "\n").encode())
    except InputError as error:
        if error.code != "file-exists":
            raise
        try:
            stored = read_metrics(path)
        except InputError:  # no results, but a file of the user's
            raise error from None
        if _without_sentences(stored) != _without_sentences(result):
            raise TakenError("another-result", path=path) from None
