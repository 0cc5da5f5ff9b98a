"""How are images and results drawn as figures?  Each function returns a PIL image."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from tvhelpers.data.coverage import coverage, is_gap, pair_table
from tvhelpers.errors import cut
from tvhelpers.image import read_photo
from tvhelpers.output import escaped
from tvhelpers.sample import grid
from tvhelpers.score.metrics import Result

INK, SOFT, ACCENT = "#222222", "#9aa0a6", "#b3261e"
COLOURS = ("#b3261e", "#1f6f8b", "#c98a1b", "#4a7c59", "#6b4c9a")
DPI = 110  # pixels of an inch; fewer where the figure would have too many
MAX_HEIGHT = 8  # of an image's cell, in widths
NAME_LETTERS, SHORT_LETTERS = 60, 19  # of the name of a row, column or bar; beside another chart
CELL = 1.35  # inches of an image's side in a grid of systems


def gallery(images: Sequence, titles: Sequence[str] = (), columns: int = 0) -> Image.Image:
    """Return images (arrays uint8 (H, W, 3), PIL images or paths) in a grid, with titles.

    What is too much for one sheet is not shown, and a line below says so.
    """
    titles = [wrapped(title, 24) for title in titles]
    columns = columns or _columns_of(len(images))
    high, wide = np.asarray(_open(images[0])).shape[:2]
    width = min(2.3 * max(1.0, wide / high), 9.2 / columns if wide > high else 2.3)
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    height = width * min(high / wide, MAX_HEIGHT) + 0.18 * lines
    columns, rows = _sheet_shape(len(images), width, height, columns)
    kept = images[: columns * rows]
    rows = -(-len(kept) // columns)
    figure = Figure(figsize=(width * columns, height * rows))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.axis("off")
        ax.set(xticks=[], yticks=[])  # laying out ticks takes half of the time, even unseen
    for i, image in enumerate(kept):
        axes[i].imshow(_open(image))
        axes[i].set_title(titles[i] if titles else "", fontsize=9, color=INK)
    _say_cut(figure, images=(len(kept), len(images)))
    return render(figure)


def _columns_of(count: int) -> int:
    """Return 3 or 4 columns, so that an image is large enough to be judged and rows are full."""
    return count if count < 4 else min((4, 3), key=lambda columns: -count % columns)


def compared(rows: dict[str, Sequence], prompts: Sequence[str], columns: int = 0) -> Image.Image:
    """Return a gallery of the same prompts in several `rows` {name: images}: below each image is
    the one of the same prompt in the next row; above the first one stands the prompt."""
    columns = columns or _columns_of(len(prompts))
    first, images, titles = next(iter(rows)), [], []
    for start in range(0, len(prompts), columns):
        part = prompts[start : start + columns]
        gap = [np.full((8, 8, 3), 255, np.uint8)] * (columns - len(part))
        for name, row in rows.items():
            images += [*row[start : start + columns], *gap]
            own = [f"{name}: {prompt}" if name == first else name for prompt in part]
            titles += own + [""] * len(gap)
    return gallery(images, titles, columns)


def _sheet_shape(count: int, width: float, height: float, columns: int) -> tuple[int, int]:
    """Return the most (columns, rows) of a figure, of cells of width x height inches."""
    pixels = (max(1, round(DPI * side)) for side in (width, height))
    return grid.sheet_shape(count, *pixels, columns)


def _say_cut(figure: Figure, **counts: tuple[int, int]) -> None:
    """Say below a figure how many of how many it shows, {things: (shown, all)}, if not all."""
    cut = [f"{n:,} of {every:,} {things}" for things, (n, every) in counts.items() if n < every]
    if cut:
        figure.supxlabel(f"only the first {' and '.join(cut)}", fontsize=9)


def matrix(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str = "", form=".2f"
) -> Image.Image:
    """Return a table of numbers (N, M) as a heat map; up to 400 numbers are written into it."""
    values = np.asarray(values)
    cell = 0.62 if values.size <= 400 else 0.3
    figure = Figure(figsize=(cell * len(columns) + 2.6, cell * len(rows) + 1.6))
    ax = figure.add_subplot()
    # a table of counts reads better with its zeros blank
    texts = {at: format(x, form) for at, x in np.ndenumerate(values) if x or form != "d"}
    middle = (values.min() + values.max()) / 2
    _heat_map(ax, values, rows, columns, texts if values.size <= 400 else {}, middle, "YlOrRd", 8)
    ax.set_title(title, fontsize=10)
    return render(figure)


def _heat_map(ax, shades, rows, columns, texts, middle: float, colours: str, size: int) -> None:
    """Draw shades (N, M) with {(row, column): text}, white where the shade is above `middle`."""
    ax.imshow(shades, cmap=colours, aspect="auto")
    ax.set_xticks(range(len(columns)), _names(columns), rotation=45, ha="right", fontsize=8)
    ax.set_yticks(range(len(rows)), _names(rows), fontsize=8)
    for (i, j), text in texts.items():
        colour = "white" if shades[i, j] > middle else INK
        ax.text(j, i, text, ha="center", va="center", fontsize=size, color=colour)


def histogram(values: Sequence[float], label: str, mark: float | None = None, note: str = ""):
    """Return a histogram, with a vertical line named `note` at `mark`."""
    figure, ax = _chart(6, 2.8)
    ax.hist(values, bins="auto", color=COLOURS[1])
    if mark is not None:
        ax.axvline(mark, color=ACCENT, lw=1.5)
        place = ax.get_xaxis_transform()  # x in data units, y as a share of the axes
        ax.text(mark, 0.95, f"{note} ", transform=place, color=ACCENT, fontsize=9, ha="right")
    ax.set(xlabel=label, ylabel="count")
    return render(figure)


def intervals(table: dict[str, dict[str, Result]], columns: int = 3) -> Image.Image:
    """Return a panel for each metric of {row: {metric: Result}}: values with 95 % intervals, and a
    dotted line at the first row's value, which is red; a sentence where there is no metric."""
    names, metrics = list(table), list(dict.fromkeys(m for row in table.values() for m in row))
    if not metrics:
        figure = Figure(figsize=(6, 0.6))
        figure.text(0.5, 0.4, "no figure: no network that is here knows these images", ha="center")
        return render(figure)
    columns = min(columns, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = Figure(figsize=(2.6 * columns + 2, lines * (0.24 * len(names) + 0.8)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for ax, name in zip(axes, metrics, strict=False):
        rows = [(i, table[row][name]) for i, row in enumerate(names) if name in table[row]]
        without_frame(ax).axvline(rows[0][1].value, color=SOFT, lw=0.8, ls=":")
        for i, result in rows:
            ax.plot(result.ci or (), [i] * 2 if result.ci else (), color=INK, lw=1.4)
            ax.plot(result.value, i, "o", ms=5, color=COLOURS[1] if i else ACCENT)
        if all(0 <= result.value <= 1 for _, result in rows):
            ax.set_xlim(-0.03, 1.03)
        ax.set_title(name, fontsize=9)
        ax.set_yticks(range(len(names)), _names(names), fontsize=8)
    axes[0].set_ylim(len(names) - 0.5, -0.5)  # the first row on top
    figure.supxlabel(f"red, and the dotted line: {names[0]}", fontsize=8)
    for ax in axes[len(metrics) :]:
        ax.set_visible(False)
    return render(figure)


def systems(images: dict[str, Sequence], prompts: Sequence[str]) -> Image.Image:
    """Return a grid, cut as a `gallery`: a row for each system, a column for each prompt."""
    columns, rows = _sheet_shape(0, CELL, CELL, len(prompts))
    counts = {"prompts": (columns, len(prompts)), "systems": (rows, len(images))}
    prompts, images = prompts[:columns], dict([*images.items()][:rows])
    figure = Figure(figsize=(CELL * len(prompts) + 1.1, CELL * len(images) + 0.6))
    figure.set_layout_engine("constrained", h_pad=0.02, w_pad=0.02)
    axes = figure.subplots(len(images), len(prompts), squeeze=False)
    for row, (name, drawn) in zip(axes, images.items(), strict=True):
        row[0].set_ylabel(wrapped(name, 13), fontsize=9, rotation=0, ha="right", va="center")
        for ax, image in zip(row, drawn, strict=False):
            ax.imshow(_open(image))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    for ax, prompt in zip(axes[0], prompts, strict=True):
        ax.set_title(wrapped(prompt, 17, 6), fontsize=7.5, color=INK)
    _say_cut(figure, **counts)
    return render(figure)


def points(groups: dict[str, dict], label: str, mark: float | None = None) -> Image.Image:
    """Return points with intervals of {row: {series: (value, low, high)}}, one colour per series,
    and a dashed line at `mark`."""
    series = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    figure, ax = _chart(6.8, 1.1 + (0.16 + 0.27 * len(series)) * len(groups))
    for number, name in enumerate(series):
        colour = COLOURS[(number + 1) % len(COLOURS)]
        shift = 0.7 * ((number + 0.5) / len(series) - 0.5)
        for i, rows in enumerate(groups.values()):
            if name in rows:
                value, low, high = rows[name]
                ax.plot([low, high], [i + shift] * 2, color=colour, lw=2, solid_capstyle="round")
                ax.plot(value, i + shift, "o", color=colour, ms=6, label=name if not i else None)
                ax.annotate(f"{value:.2f}", (value, i + shift), (0, 5), fontsize=8, ha="center",
                            textcoords="offset points", color=colour,
                            bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    if mark is not None:
        ax.axvline(mark, color=SOFT, lw=1, ls="--", zorder=0)
    _name_rows(ax, list(groups))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label, fontsize=9)
    if len(series) > 1:
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return render(figure)


def metric_card(rows: dict[str, dict]) -> Image.Image:
    """Return bars of {label: row of a metrics file} with intervals, and below them what the metric
    measures, its method and its warnings.

    Of rates that an attribute classifier measured: a ring marks the rate corrected for its errors,
    a red line the highest rate that it could report.
    """
    first = next(iter(rows.values()))
    figure, ax = _chart(6.4, 0.42 * len(rows) + 0.5)
    folders = [*dict.fromkeys(label.split(" · ")[-1] for label in rows)]
    for i, (label, row) in enumerate(rows.items()):
        place = folders.index(label.split(" · ")[-1]) if len(folders) < len(COLOURS) else 0
        _metric_bar(ax, i, row, COLOURS[1:][place])
    _name_rows(ax, list(rows))
    ends = [end for row in rows.values() for end in (*(row["ci"] or ()), row["value"], 0)]
    ends += [row["details"].get("ceiling", 0) for row in rows.values()]
    ax.set_xlim(min(ends) * 1.05, max(ends) * 1.18 or 1)
    ax.set_title(first["name"].partition(":")[0].replace("_", " "), fontsize=11, loc="left")
    numbers = sorted({row["n"] for row in rows.values()})
    notes = dict.fromkeys(f"{label}: {w}" for label, row in rows.items() for w in row["warnings"])
    text = [first["card"], f"n = {', '.join(map(str, numbers))}; {first['method']}", *notes]
    if any("ceiling" in row["details"] for row in rows.values()):
        text.insert(1, "red line: the highest it can report; ring: corrected for its errors")
    lines = "\n".join(wrapped(part, 96, 6) for part in text)
    below = {"xytext": (-80, -26), "textcoords": "offset points", "va": "top"}
    ax.annotate(lines, (0, 0), xycoords="axes fraction", fontsize=8, color=INK, **below)
    return render(figure)


def _metric_bar(ax, place: int, row: dict, colour: str) -> None:
    details, value = row["details"], row["value"]
    ax.barh(place, value, color=colour, height=0.55)
    ends = row["ci"] or []
    ax.plot(ends, [place] * len(ends), color=INK, lw=1.4, marker="|")
    if "ceiling" in details:
        ax.plot([details["ceiling"]] * 2, [place - 0.4, place + 0.4], color=ACCENT, lw=1.5)
        ax.plot(details["corrected"], place, "o", mfc="white", mec=INK, ms=5)
    end = max(value, *ends, details.get("ceiling", value))
    beside = {"xytext": (6, 0), "textcoords": "offset points"}
    ax.annotate(f"{value:.3g}", (end, place), va="center", fontsize=9, **beside)


def rarefaction_curve(rows: Sequence[dict], label: str) -> Image.Image:
    """Return the Inception Score for growing numbers of images (`score.metrics.rarefaction`)."""
    figure, ax = _chart(6.4, 3)
    ax.plot(*columns_of(rows, "n", "corrected"), "o-", markersize=3, label="bias-corrected")
    ax.plot(*columns_of(rows, "n", "plug_in"), "o--", markersize=3, label="uncorrected")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(f"number of images ({label})", fontsize=9)
    ax.set_ylabel("Inception Score", fontsize=9)
    ax.set_ylim(0, 1.1 * ax.get_ylim()[1])
    ax.legend(frameon=False, fontsize=8)
    return render(figure)


def coverage_figure(attributes: Sequence[dict[str, str]], names: Sequence[str]) -> Image.Image:
    """Return how often values of up to four attributes occur, and below it how often values of the
    first two occur together; a ring marks a pair that is far rarer than chance."""
    counts = coverage(attributes, names)["counts"]
    names = list(names)[:4]
    width = max(10, 3.4 * len(names))
    if len(names) > 1:
        table, rows, columns = pair_table(attributes, *names[:2])
        table, rows, columns = table[:14, :20], rows[:14], columns[:20]
        heights = 3.2, 1 + 0.32 * len(rows)
        figure = Figure(figsize=(width, sum(heights)))
        top, bottom = figure.subfigures(2, 1, height_ratios=heights)
        _pair_counts(bottom.subplots(), table, rows, columns)
        bottom.subplots_adjust(left=0.12, right=0.98, bottom=0.22, top=0.92)
    else:
        figure = top = Figure(figsize=(width, 3.2))
    for ax, name in zip(np.atleast_1d(top.subplots(1, len(names))), names, strict=True):
        words, bars = list(counts[name])[:14], list(counts[name].values())[:14]
        without_frame(ax).barh(range(len(words)), bars, color=COLOURS[1])
        ax.set_yticks(range(len(words)), [_short(word) for word in words])
        ax.set_ylim(max(len(words), 8) - 0.5, -0.5)
        ax.locator_params(axis="x", nbins=4)
        ax.set_title(f"items by {_short(name)} ({len(counts[name])} values)", fontsize=10)
    top.subplots_adjust(left=0.12, right=0.98, wspace=0.55, bottom=0.1, top=0.9)
    return render(figure)


def _short(label: str) -> str:
    """Return a label that ends before the chart to its left."""
    return cut(escaped(label), SHORT_LETTERS)


def _pair_counts(ax, table: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw counts of pairs as a heat map on a log scale, and a ring around each gap."""
    shades, texts = np.log1p(table), {at: f"{n:,}" for at, n in np.ndenumerate(table)}
    _heat_map(ax, shades, rows, columns, texts, shades.max() * 0.6, "YlGnBu", 7)
    ax.images[0].set_clim(0)  # or equal counts would be white letters on the lightest shade
    for i, j in np.argwhere(is_gap(table)):
        ax.plot(j, i, "o", ms=17, mfc="none", mec=ACCENT, mew=1.5)
    note = " (ring: far fewer than their frequencies predict)" if is_gap(table).any() else ""
    ax.set_title(f"items that have both values{note}", fontsize=10)


def _open(image):
    return read_photo(Path(image)) if isinstance(image, str | Path) else image


def _chart(width: float, height: float):
    figure = Figure(figsize=(width, height))
    return figure, without_frame(figure.add_subplot())


def _names(names: Sequence[str]) -> list[str]:
    return [cut(escaped(name), NAME_LETTERS) for name in names]


def _name_rows(ax, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), _names(names), fontsize=9)
    ax.set_ylim(len(names) - 0.4, -0.6)


def without_frame(ax):
    """Return axes without a frame at the top and the right, with small ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    return ax


def columns_of(rows: Sequence[dict], *names: str) -> list[list]:
    """Return the values of `names` as columns, of the rows where none of them is None."""
    whole = [row for row in rows if all(row.get(name) is not None for name in names)]
    return [[row[name] for row in whole] for name in names]


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Return a text wrapped at `width` letters and cut after `lines` lines."""
    return "\n".join(textwrap.wrap(str(text), width)[:lines])


def render(figure: Figure) -> Image.Image:
    """Return a figure as an image of bounded size; "$" in its texts stays "$", not mathematics."""
    data = io.BytesIO()
    width, height = figure.get_size_inches()
    most_pixels = grid.MAX_SHEET_PIXELS / (width * height)
    dpi = min(DPI, grid.MAX_SHEET_SIDE / max(width, height), most_pixels**0.5)
    plain = {"parse_math": False, "usetex": False}
    for text in figure.findobj(Text):
        text.update({"text": "\n".join(map(escaped, text.get_text().split("\n"))), **plain})
    look = {"dpi": dpi, "facecolor": "white", "bbox_inches": "tight"}
    fast = {"compress_level": 1}  # the notebook compresses it again
    with rc_context({f"text.{name}": value for name, value in plain.items()}):  # labels of ticks
        figure.savefig(data, format="png", pil_kwargs=fast, **look)
    return Image.open(data, formats=("PNG",))
