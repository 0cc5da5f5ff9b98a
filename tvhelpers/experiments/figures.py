"""How are the results of experiments drawn?  Figures that are legible on a phone too."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image

from tvhelpers.errors import cut
from tvhelpers.experiments.summary import label as name_of
from tvhelpers.show.figures import ACCENT, COLOURS, INK, SOFT, histogram, render, without_frame

WIDTH = 4.8  # inches: on a phone its letters are as large as the text
LINES = ("-", "--", ":")  # styles, where there are more curves than colours


def forest(arms: dict[str, dict], name: str, against: str = "") -> Image.Image:
    """Return one figure of each arm of a result, with its interval over seeds and the seeds' own
    values; a dotted line is at the arm `against`."""
    rows = {arm: figures[name] for arm, figures in arms.items() if name in figures}
    figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(rows)), layout="constrained")
    ax = without_frame(figure.subplots())
    for i, (arm, row) in enumerate(rows.items()):
        colour = ACCENT if arm == against else COLOURS[1]
        ax.plot(row["values"], [i] * len(row["values"]), "|", color=SOFT, ms=9)
        ax.plot(row["ci"] or (), [i] * 2 if row["ci"] else (), color=INK, lw=1.6)
        ax.plot(row["mean"], i, "o", color=colour, ms=6)
    if against in rows:
        ax.axvline(rows[against]["mean"], color=SOFT, lw=0.9, ls=":", zorder=0)
    ax.set_yticks(range(len(rows)), [cut(arm, 26) for arm in rows], fontsize=10)
    ax.invert_yaxis()
    means = [row["mean"] for row in rows.values()]
    if 0 < 20 * min(means) < max(means):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:,.12g}")
        ax.xaxis.set_minor_formatter("")
    else:
        ax.locator_params(axis="x", nbins=4)
        ax.ticklabel_format(axis="x", style="plain", useOffset=False)
    ax.tick_params(axis="x", labelsize=10)
    ax.set_title(name_of(name), fontsize=11)
    return render(figure)


def curves(
    points: dict[str, tuple[Sequence, Sequence]], title: str, marker: str = "", label="step"
):
    """Return the curves {name: (x, y)}, with a legend where the colours suffice."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    ax = without_frame(figure.subplots())
    for number, (name, (x, y)) in enumerate(points.items()):
        style = LINES[number // len(COLOURS) % len(LINES)]
        colour = COLOURS[number % len(COLOURS)]
        ax.plot(x, y, style + marker, color=colour, ms=3, lw=1.4, label=cut(name, 24))
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(label, fontsize=10)
    ax.tick_params(labelsize=10)
    if len(points) <= len(COLOURS):
        ax.legend(fontsize=9, frameon=False)
    return render(figure)


def epoch_figures(result: dict) -> list[Image.Image]:
    """Return the last batch's loss of each epoch, as the paper drew it, and the validation losses
    on the same noise, of each arm's first seed; and all batch losses of the last arm's second
    half, whose spread no change of the model explains."""
    rows = {row["arm"]: row["curves"] for row in reversed(result["rows"]) if row["curves"]}
    last = {arm: (*zip(*enumerate(rows[arm]["epoch_losses"], 1)),) for arm in reversed(rows)}
    fixed = {arm: (*zip(*rows[arm]["validation"]),) for arm in reversed(rows)}
    losses = rows[[*last][-1]]["losses"]
    return [
        curves(last, "loss of each epoch's last batch", "o", "epoch"),
        curves(fixed, "validation loss, on the same noise", "o", "epoch"),
        histogram(losses[len(losses) // 2 :], f"losses of single batches, {[*last][-1]}"),
    ]
