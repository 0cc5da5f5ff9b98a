"""What did trainings do?  One page from their folders alone, which opens without a network."""

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from PIL import Image

import tvhelpers
from tvhelpers.config import TrainConfig, to_dict
from tvhelpers.errors import InputError, cut
from tvhelpers.experiments import summary
from tvhelpers.experiments.figures import curves, forest
from tvhelpers.files import write_text
from tvhelpers.image import encoded, read_photo
from tvhelpers.output import escaped
from tvhelpers.paths import inside
from tvhelpers.records import read_record, read_records
from tvhelpers.sample.preview import step_of, strips_of
from tvhelpers.show.figures import columns_of
from tvhelpers.train.log import read_evaluations, read_events, read_steps
from tvhelpers.train.resume import begun_settings
from tvhelpers.words import counted

PAGE = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
MOST_RUNS, MOST_IMAGES, SIDE = 100, 12, 336  # of a page, of a gallery; pixels of an image
MOST_EVENTS, LETTERS = 20, 60
HIDDEN = ("preset", "data", "mirror", "checkpoint_steps", "checkpoint_minutes", "keep_checkpoints")


def write_report(dirs: Sequence[Path], out: Path, title: str = "Trainings") -> dict:
    """Write a page of run folders, galleries and results of experiments, or of folders with some
    in them; return {"out", "runs", "galleries", "experiments"}.

    Needs neither weights nor a GPU; an unfinished training is shown as far as it came.  Raises
    InputError for a folder that holds none, and for damaged logs.
    """
    kinds: dict[str, list[Path]] = {"runs": [], "galleries": [], "experiments": []}
    for folder in map(Path, dirs):
        found = _found(folder)
        if not any(found.values()):
            raise InputError("nothing-to-report", path=folder)
        for kind, paths in found.items():
            kinds[kind] += [path for path in paths if path not in kinds[kind]]
    if len(kinds["runs"]) > MOST_RUNS:
        raise InputError("too-many-runs", count=len(kinds["runs"]), most=MOST_RUNS)
    known = _labels(kinds["experiments"])
    runs, galleries = (_names(kinds[kind], known) for kind in ("runs", "galleries"))
    parts = [*map(_experiment, kinds["experiments"]), *_of_runs(runs),
             *map(_gallery, galleries, galleries.values())]  # fmt: skip
    page = PAGE.substitute(title=_text(title), parts="".join(parts),
                           version=tvhelpers.__version__)  # fmt: skip
    write_text(out, page)
    return {"out": str(out), **{kind: len(paths) for kind, paths in kinds.items()}}


def _found(folder: Path, deeper: int = 2) -> dict[str, list[Path]]:
    """Return {kind: paths} of what a folder is, or else of what its folders are."""
    if (folder / "config.json").is_file() and begun_settings(folder)[1]:
        return {"runs": [folder]}
    if (folder / "records.jsonl").is_file():
        return {"galleries": [folder]}
    found: dict[str, list[Path]] = {"runs": [], "galleries": [], "experiments": []}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix == ".json" and _is_experiment(path):
            found["experiments"].append(path)
        elif path.is_dir() and deeper and not path.name.startswith("."):
            for kind, paths in _found(path, deeper - 1).items():
                found[kind] += paths
    return found


def _is_experiment(path: Path) -> bool:
    try:
        return bool(read_record(path, "experiment"))
    except InputError:
        return False


def _of_runs(names: dict[str, Path]) -> list[str]:
    """Return the parts of the page about trainings: results, curves, settings, and each run."""
    if not names:
        return []
    settings = {name: begun_settings(run)[1] for name, run in names.items()}
    parts = [f"<h2>{_text(counted(len(names), 'training'))}</h2>", _table(_results(names))]
    return [
        *parts,
        _figures(_curves(names)),
        *_settings(settings),
        *map(_run, names, names.values()),
    ]


def _labels(experiments: Sequence[Path]) -> dict[Path, str]:
    """Return {folder: "arm, seed"} of the runs and images that experiments name."""
    found = {}
    for path in experiments:
        for row in read_record(path, "experiment").get("rows", ()):
            for place in row["folders"].values():
                found.setdefault((path.parent / place).resolve(), f"{row['arm']}, {row['seed']}")
    return found


def _names(paths: Sequence[Path], known: dict[Path, str]) -> dict[str, Path]:
    """Return {name: path}: the label that is known, or the folder's name, where two have the same
    with the parent's."""
    places = [path.resolve() for path in paths]
    last = [place.name for place in places]
    return {
        known.get(place)
        or (
            place.name if last.count(place.name) == 1 else f"{place.parent.name}/{place.name}"
        ): path
        for place, path in zip(places, paths, strict=True)
    }


def _results(runs: dict[str, Path]) -> list[list]:
    rows = [["training", "method", "data", "steps", "loss before", "loss after", "of step", ""]]
    for name, run in runs.items():
        config, path = begun_settings(run)[1], run / "result.json"
        evaluations = read_evaluations(run)
        losses = [row["validation_loss"] for row in (*evaluations[:1], *evaluations[-1:])]
        before, after = losses or (None, None)
        step, state = evaluations[-1]["step"] if evaluations else 0, "not finished"
        if path.exists():
            result = read_record(path, "result")
            after, state = result.get("held_out_loss"), ""  # stable name
            step = result.get("kept_step", result.get("steps"))
        about = [config.get("method"), Path(str(config.get("data"))).name, config.get("steps")]
        rows.append([name, *about, _number(before), _number(after), step, state])
    return rows


def _curves(runs: dict[str, Path]) -> list[Image.Image]:
    """Return the validation loss and the training loss of all runs, a figure each."""
    rows = {name: (read_evaluations(run), read_steps(run)) for name, run in runs.items()}
    marked = {name: columns_of(x, "step", "validation_loss") for name, (x, _) in rows.items()}
    plain = {name: _smooth(*columns_of(x, "step", "loss")) for name, (_, x) in rows.items()}
    return [
        curves(marked, "validation loss, on the same noise", "o"),
        curves(plain, "training loss, running mean"),
    ]


def _smooth(steps: Sequence[int], losses: Sequence[float], window: int = 25) -> tuple:
    means = [sum(part) / len(part) for i in range(len(losses))
             if (part := losses[max(0, i + 1 - window) : i + 1])]  # fmt: skip
    return steps, means


def _settings(settings: dict[str, dict]) -> list[str]:
    """Return a table of the settings in which trainings differ, and one of those that they share
    and that are not the default."""
    keys = [key for key in to_dict(TrainConfig()) if key not in HIDDEN]
    default = to_dict(TrainConfig())
    of = {key: [row.get(key, default[key]) for row in settings.values()] for key in keys}
    differ = [key for key in keys if any(value != of[key][0] for value in of[key])]
    shared = [[key, of[key][0]] for key in keys if key not in differ and of[key][0] != default[key]]
    parts = []
    if differ:
        rows = [["setting", *settings], *([key, *of[key]] for key in differ)]
        parts.append(f"<h2>Settings that differ</h2>{_table(rows)}")
    rows = [["setting", "value"], *shared]
    about = "Settings of all that are not the default"
    return [*parts, f"<details><summary>{about}</summary>{_table(rows)}</details>"]


def _run(name: str, run: Path) -> str:
    """Return the part of one training: its last preview, and its events."""
    strips = strips_of(run / "previews")[-1:]
    images = "".join(f"<p>{_image(strip, 2 * 512, 'strip')}<br>preview of step {step_of(strip)}</p>"
                     for strip in strips)  # fmt: skip
    events = [f"<li>step {row['step']}: {_text(str(row['event']))}" for row in read_events(run)]
    more = [f"<li>and {len(events) - MOST_EVENTS} more"] * (len(events) > MOST_EVENTS)
    listed = f"<ul>{''.join(events[:MOST_EVENTS] + more)}</ul>" if events else ""
    return f"<h2>{_text(name)}</h2>{images}{listed}" if images or listed else ""


def _gallery(name: str, folder: Path) -> str:
    """Return the first images of a gallery with their prompts."""
    rows = read_records(folder / "records.jsonl", "image")
    figures = "".join(
        f"<figure>{_image(inside(folder, row['file']), SIDE)}<figcaption>{_text(row['prompt'])}"
        "</figcaption></figure>"
        for row in rows[:MOST_IMAGES]
    )
    about = f"{min(MOST_IMAGES, len(rows))} of {counted(len(rows), 'image')}"
    return f"<h2>{_text(name)}</h2><p>{about}</p><div class=figures>{figures}</div>"


def _experiment(path: Path) -> str:
    """Return the part of an experiment: claim, table, figure, sentences."""
    result = read_record(path, "experiment")
    arms = result["arms"]
    names = [name for name in result["figures"] if any(name in arm for arm in arms.values())]
    shown = [forest(arms, name, result["against"]) for name in names]
    lines = "".join(f"<p>{_text(line)}</p>" for line in summary.sentences(result))
    head = f"<h2>{_text(result['title'])}</h2><p>The paper: {_text(result['claim'])}</p>"
    return head + _table(summary.table(result)) + _figures(shown) + lines + _trials(result)


def _trials(result: dict) -> str:
    """Return the figures of a search, "" for another experiment."""
    if "trials" not in result:
        return ""
    from tvhelpers.experiments import trials  # loads torch

    wide = _embedded(trials.parallel_figure(result))  # as large as it is, to be scrolled
    return f"{_figures([trials.importance_figure(result)])}<div class=wide>{wide}</div>"


def _figures(images: Iterable[Image.Image]) -> str:
    return f"<div class=figures>{''.join(map(_embedded, images))}</div>"


def _image(path: Path, side: int, kind: str = "") -> str:
    """Return an image file as HTML, read and written again, no side longer than `side`."""
    try:
        image = Image.fromarray(read_photo(path))
    except (InputError, OSError):
        return "<small>this image cannot be read</small>"
    image.thumbnail((side, side))
    return _embedded(image, kind)


def _embedded(image: Image.Image, kind: str = "") -> str:
    data = base64.b64encode(encoded(image)).decode()
    return f'<img class="{kind}" alt="" src="data:image/png;base64,{data}">'


def _table(rows: Sequence[Sequence]) -> str:
    head, *body = rows
    lines = ["".join(f"<th>{_text(_value(x))}" for x in head)]
    lines += ["".join(f"<td>{_text(_value(x))}" for x in row) for row in body]
    return f"<div class=wide><table>{''.join(f'<tr>{line}' for line in lines)}</table></div>"


def _value(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool) or value is None:
        return "auto" if value is None else str(value).lower()
    return cut(str(value), LETTERS)


def _number(value) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) and math.isfinite(value) else "?"


def _text(text: str) -> str:
    """Return a text of a folder as HTML that shows it and does nothing."""
    return html.escape(escaped(text), quote=True)
