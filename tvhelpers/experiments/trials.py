"""How do a search's trials become a study of Optuna, for its dashboard and its figures?"""

import contextlib
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tvhelpers.errors import InputError, is_disk_full
from tvhelpers.experiments.search import NAME, SPACE, Search
from tvhelpers.files import content_key, locked
from tvhelpers.records import read_record
from tvhelpers.show.figures import ACCENT, SOFT, render, without_frame

BOX = {"fc": "white", "ec": "none", "pad": 0.6}
LEAST = 5  # finished trials, for importances


def open_study(search: Search):
    """Return the study in the folder of a search, made if it is missing.

    In SQLite, or in a journal file where the drive has no locks.  Raises InputError for a damaged
    study, and for one of another search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path, key = search.folder / "study.db", content_key(search.request)
    was_there = path.exists()
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
        study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True)
        if was_there and key != study.user_attrs.get("search", key):
            raise InputError("another-study.search", path=path)
        study.set_user_attr("search", key)
    except InputError:
        raise
    except Exception as error:  # of SQLite, wrapped by SQLAlchemy and Optuna
        if is_disk_full(error):
            raise
        if was_there and not (path.with_suffix(".log")).exists():
            raise InputError("file-damaged.study", path=path) from error
        path.unlink(missing_ok=True)
        journal = optuna.storages.journal.JournalFileBackend(str(path.with_suffix(".log")))
        storage = optuna.storages.JournalStorage(journal)
        study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True)
    return study


def add_trial(search: Search, number: int) -> None:
    """Add a trial that has ended to the study, once."""
    import optuna

    row = read_record(search.path(number), "trial")
    pruned = row["state"] == "pruned"
    state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
    with locked(search.folder / ".study.lock", wait=600):
        study = open_study(search)
        if number not in {trial.user_attrs["number"] for trial in study.trials}:
            study.add_trial(
                optuna.trial.create_trial(
                    state=state, value=row["loss"], params=row["params"],
                    distributions=_distributions(), user_attrs={"number": number},
                )
            )  # fmt: skip


def _distributions() -> dict:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: FloatDistribution(*values, log=True)
        if isinstance(values, tuple)
        else CategoricalDistribution(values)
        for name, values in SPACE.items()
    }


def importances(search: Search) -> dict[str, float]:
    """Return {setting: share of the loss's spread that it explains} (PED-ANOVA, Watanabe et al.
    2023), {} for fewer than LEAST finished trials.

    The trials are taken by number, whatever their order in the study.
    """
    import optuna

    for number in range(search.trials):
        add_trial(search, number)
    study = optuna.create_study()
    trials = sorted(open_study(search).trials, key=lambda trial: trial.user_attrs["number"])
    study.add_trials([trial for trial in trials if trial.value is not None])
    if len(study.trials) < LEAST:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    names = [name for name in SPACE if len({trial.params[name] for trial in study.trials}) > 1]
    with contextlib.suppress(RuntimeError, ValueError):  # of losses that are all alike
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
        return {name: float(value) for name, value in found.items()}
    return {}


def importance_figure(result: dict) -> Image.Image:
    """Return bars of how much each setting explains of a search's losses."""
    rows = sorted(result["importances"].items(), key=lambda pair: pair[1])
    figure = Figure(figsize=(4.8, 0.6 + 0.28 * max(1, len(rows))), layout="constrained")
    ax = without_frame(figure.subplots())
    ax.barh(
        [name.replace("_", " ") for name, _ in rows], [value for _, value in rows], color=ACCENT
    )
    ax.set_title("share of the losses' spread that each setting explains", fontsize=10)
    if not rows:
        ax.axis("off")
        ax.text(0.5, 0.5, "too few trials", ha="center", transform=ax.transAxes)
    return render(figure)


def parallel_figure(result: dict) -> Image.Image:
    """Return a line for each finished trial of a search through its settings and its loss; the
    best quarter is coloured."""
    rows = [row for row in result["trials"] if row["loss"] is not None]
    rows.sort(key=lambda row: row["loss"], reverse=True)
    names, figure = [*SPACE, "loss"], Figure(figsize=(9, 3.6), layout="constrained")
    ax = without_frame(figure.subplots())
    places = {name: _places([_value(row, name) for row in rows]) for name in names}
    for i in range(len(rows)):
        best = i >= 0.75 * (len(rows) - 1)
        heights = [places[name][0][i] for name in names]
        ax.plot(range(len(names)), heights, color=ACCENT if best else SOFT, lw=1.4 if best else 0.7)
    for x, name in enumerate(names):
        for text, height in places[name][1].items():
            ax.text(x + 0.04, height, text, fontsize=7, va="center", bbox=BOX)
    ax.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=8)
    ax.set_yticks([])
    ax.set_title("a line for each trial; the quarter with the lowest loss is red", fontsize=10)
    return render(figure)


def _value(row: dict, name: str):
    return row["loss"] if name == "loss" else row["params"][name]


def _places(values: list) -> tuple[list[float], dict[str, float]]:
    """Return (height 0..1 of each value, {label: its height}): by rank of different values, the
    first and the last labelled where there are many."""
    different = sorted({*values}, key=lambda x: (isinstance(x, str) and len(x), x))
    last = max(1, len(different) - 1)
    heights = {value: i / last for i, value in enumerate(different)}
    shown = different if len(different) <= 9 else [different[0], different[-1]]
    labels = {f"{x:.3g}" if isinstance(x, float) else str(x): heights[x] for x in shown}
    return [heights[value] for value in values], labels


def write_figures(result: dict, folder: Path) -> list[Path]:
    """Write both figures of a search as PNG, and return their paths."""
    from tvhelpers.image import save_png

    figures = {"importances": importance_figure(result), "parallel": parallel_figure(result)}
    for name, image in figures.items():
        save_png(image, Path(folder) / f"{name}.png")
    return [Path(folder) / f"{name}.png" for name in figures]
