"""How did a training go?  Its losses, speed and memory as curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tvhelpers.files import remove_temporary, write_bytes
from tvhelpers.image import encoded
from tvhelpers.records import read_record, read_records
from tvhelpers.sample.preview import sheet, strips_of
from tvhelpers.show.figures import ACCENT, COLOURS, SOFT, columns_of, render, without_frame, wrapped
from tvhelpers.train.log import read_evaluations, read_events, read_steps


def loss_curves(runs: dict[str, Path]) -> Image.Image:
    """Return the training loss (running mean) and the validation loss of {name: run folder}."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = (without_frame(ax) for ax in figure.subplots(1, 2))
    for colour, (name, folder) in zip(COLOURS, runs.items()):
        steps, losses = columns_of(read_steps(folder), "step", "loss")
        left.plot(steps, _smoothed(losses), color=colour, label=name)
        points = columns_of(read_evaluations(folder), "step", "validation_loss")
        right.plot(*points, "o-", color=colour, label=name, ms=4)
    _set_title(left, "training loss (running mean)", legend=True)
    _set_title(right, "validation loss (the same noise every time)", legend=True)
    for ax in (left, right):
        ax.set_xlabel("step")
    return render(figure)


QUARTERS = ("least noise", "less noise", "more noise", "most noise")


def training_curves(run_dir: Path, previews: Path | None = None) -> Image.Image:
    """Return a run's logs as curves over its steps: training and validation loss, validation loss
    by noise level, gradient norms, speed, memory; below them the last of its `previews` (by default
    run_dir/previews), if it has any.

    Dotted lines mark events, a ring the step whose adapter is the result.  The figure is also
    written to run_dir/figures/training.png.
    """
    run_dir = Path(run_dir)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = [without_frame(ax) for ax in figure.subplots(2, 3).ravel()]
    steps, speeds = read_steps(run_dir), read_records(run_dir / "speed.jsonl", "speed")
    evaluations = read_evaluations(run_dir)
    _plot_smoothed(axes[0], steps, {"loss": COLOURS[1]}, "training loss")
    _plot_losses(axes[1], evaluations, _kept_step(run_dir))
    _plot_by_timestep(axes[2], evaluations)
    norms = {"grad_norm": SOFT, "grad_norm_clipped": COLOURS[1]}
    _plot_smoothed(axes[3], steps, norms, "gradient norm before and after clipping")
    titles = {"images_per_second": "images per second", "memory_gb": "peak memory so far (GB)"}
    for ax, (name, title) in zip(axes[4:], titles.items(), strict=True):
        ax.plot(*columns_of(speeds, "step", name), color=COLOURS[1])
        ax.set_ylim(0, 1.1 * ax.get_ylim()[1])
        _set_title(ax, title)
    _mark_events(figure, axes, read_events(run_dir))
    curves, strips = render(figure), strips_of(previews or run_dir / "previews")[-1:]
    if strips:
        curves = _below(curves, sheet(strips))
    folder = run_dir / "figures"
    remove_temporary(folder)
    write_bytes(folder / "training.png", encoded(curves))
    return curves


def _below(image: Image.Image, other: Image.Image) -> Image.Image:
    """Return an image with another one below it."""
    width = max(image.width, other.width)
    page = Image.new("RGB", (width, image.height + other.height), "white")
    page.paste(image, (0, 0))
    page.paste(other, (0, image.height))
    return page


def _set_title(ax, title: str, legend: bool = False) -> None:
    ax.set_title(title, fontsize=10)
    if legend:
        ax.legend(fontsize=8, frameon=False)


def _plot_smoothed(ax, rows: Sequence[dict], names: dict[str, str], title: str) -> None:
    """Draw each step's value faintly, and its running mean."""
    for name, colour in names.items():
        steps, values = columns_of(rows, "step", name)
        ax.plot(steps, values, color=colour, lw=0.6, alpha=0.35)
        ax.plot(steps, _smoothed(values), color=colour, lw=1.6)
    _set_title(ax, title)


def _kept_step(run_dir: Path) -> int | None:
    """Return the step whose weights are the result, None for a run that has not ended."""
    path = run_dir / "result.json"
    return read_record(path, "result").get("kept_step") if path.exists() else None


def _plot_losses(ax, rows: Sequence[dict], kept: int | None) -> None:
    steps, validation, training = columns_of(rows, "step", "validation_loss", "training_slice_loss")
    ax.fill_between(steps, training, validation, color=SOFT, alpha=0.35, lw=0)
    ax.plot(steps, validation, "o-", ms=3, color=COLOURS[0], label="validation items")
    ax.plot(steps, training, "o-", ms=3, color=COLOURS[1], label="training subset")
    for step, loss in zip(steps, validation):
        if step == kept:
            ax.plot([step], [loss], "o", ms=9, mfc="none", color=ACCENT, label=f"kept: step {step}")
    gaps = [f"{a - b:+.4f}" for a, b in zip(validation, training)]
    gap = f"; gap {gaps[0]} to {gaps[-1]}" if gaps else ""
    _set_title(ax, f"loss on the same noise{gap}", legend=True)


def _plot_by_timestep(ax, rows: Sequence[dict]) -> None:
    """Draw the validation loss of each quarter of the noise levels, relative to before training."""
    steps, parts = columns_of(rows, "step", "by_timestep")
    for part, colour, label in zip(zip(*parts), COLOURS, QUARTERS):
        if part[0] and None not in part:
            ax.plot(steps, [v / part[0] for v in part], "o-", ms=3, color=colour, label=label)
    ax.set_ylim(0, 1.1 * ax.get_ylim()[1])
    _set_title(ax, "validation loss by noise (at start = 1)", legend=True)


def _mark_events(figure: Figure, axes: Sequence, events: Sequence[dict]) -> None:
    """Mark events in all axes, and name the last three below."""
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
        for event in events:
            ax.axvline(event["step"], color=ACCENT, lw=1, ls=":")
    texts = [wrapped(f"step {event['step']}: {event['event']}", 150) for event in events[-3:]]
    figure.supxlabel("\n".join(texts) or "step", fontsize=8 if texts else 9)


def _smoothed(values: Sequence[float], window: int = 25) -> np.ndarray:
    total = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (total[ends] - total[starts]) / (ends - starts)
