"""What do the figures of several seeds say together?  Means, intervals, differences, sentences."""

import math
from collections.abc import Sequence

import numpy as np

from tvhelpers.words import counted, listed

METHOD = "mean over seeds, 95 % interval by Student's t; items and prompts are the same for all"
LABELS = {  # of figures whose name does not say what they are, or in which unit
    "attribute:all": "attribute accuracy",
    "stratum:frequent": "accuracy, frequent colours",
    "stratum:rare": "accuracy, rare colours",
    "inception_score": "Inception Score",
    "ten_split_mean": "Inception Score, ten splits",
    "kernel_distance": "kernel distance (KID)",
    "clip_score": "CLIPScore",
    "copying": "copying (share)",
    "coverage": "coverage (share)",
    "state_mb": "state (MiB)",
    "noise_scale": "noise scale (images)",
}
LOWER = {  # figures of which a lower value is better
    "test_loss", "validation_loss", "kernel_distance", "copying", "batch_loss_sd", "duplicates",
    "trained_weights", "state_mb",
}  # fmt: skip
NEITHER = {"gap", "noise_scale"}  # these say how a training is, not how good it is


def label(name: str) -> str:
    """Return what a figure is called in tables, charts and sentences."""
    return LABELS.get(name, name.replace("_", " "))


def over_seeds(values: Sequence[float], ends: tuple[float, float] | None = None) -> dict:
    """Return {"mean", "ci", "values"} of one value per seed; `ci` is None for fewer than three.

    `ends`: the least and the greatest possible value, at which the interval is cut.
    """
    from scipy.stats import t  # takes a second or two to import

    count, mean = len(values), math.fsum(values) / len(values)
    if count < 3:
        return {"mean": mean, "ci": None, "values": [*values]}
    half = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    low, high = ends or (-math.inf, math.inf)
    return {"mean": mean, "ci": [max(low, mean - half), min(high, mean + half)],
            "values": [*values]}  # fmt: skip


def summarised(rows: Sequence[dict], against: str) -> dict:
    """Return {"arms": {arm: {figure: over seeds}}, "differences": {arm: {figure: arm - against}}}.

    `rows`: {"arm", "seed", "figures": {name: value}}; only seeds that both have are paired.
    """
    of_arm: dict[str, dict[int, dict]] = {}
    for row in rows:
        of_arm.setdefault(row["arm"], {})[row["seed"]] = row["figures"]
    arms = {arm: _summary([*seeds.values()]) for arm, seeds in of_arm.items()}
    differences = {}
    for arm, seeds in of_arm.items():
        both = sorted({*seeds} & {*of_arm.get(against, {})})
        if arm != against and both:
            pairs = [(seeds[seed], of_arm[against][seed]) for seed in both]
            gains = [
                {key: a[key] - b[key] for key in a if key in b and None not in (a[key], b[key])}
                for a, b in pairs
            ]
            differences[arm] = _summary(gains, shares=False)
    return {"arms": arms, "differences": differences}


def _summary(figures: Sequence[dict], shares: bool = True) -> dict:
    """Return {figure: over seeds} of the figures that every seed has."""
    found = {}
    for name in figures[0]:
        values = [row.get(name) for row in figures]
        if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            is_share = shares and name.startswith(("attribute:", "stratum:", "copying", "coverage"))
            found[name] = over_seeds(values, (0.0, 1.0) if is_share else None)
    return found


def sentences(result: dict) -> list[str]:
    """Return what was run, which differences are clear of 0, and which are not, a sentence each."""
    names, seeds = result["figures"], len(result["seeds"])
    arms, about = len(result["arms"]), f"on {result['base']} and {result['data']}"
    ran = f"{counted(arms, 'arm')} with {counted(seeds, 'seed')} each ran {about}"
    lines = [f"{ran}, at the scale {result['scale']}; other bases and data were not run."]
    if seeds < 3:
        return [
            *lines,
            "Fewer than three seeds give no interval: these runs do not show a difference.",
        ]
    clear, fixed, open_ = {}, {}, 0
    for arm, figures in result["differences"].items():
        for name in (name for name in names if name in figures):
            text = f"{label(name)} {figures[name]['mean']:+.3g}"
            low, high = figures[name]["ci"] or (0, 0)
            if low <= 0 <= high:
                open_ += 1
            elif low == high:
                fixed.setdefault(arm, []).append(text)
            else:
                side = _side(name, figures[name]["mean"])
                clear.setdefault(arm, []).append(f"{text} ({low:+.3g} to {high:+.3g}) {side}")
    than = f"Compared with {result['against']}, seed by seed"
    lines.append(f"{than}: {_by_arm(clear)}." if clear else f"{than}, nothing is clear of 0.")
    others = counted(open_, "difference") + (" is" if open_ == 1 else " are")
    say = f"{others} not clear of 0: these runs do not show which is better."
    lines.append(say if open_ else "No other difference was measured.")
    if clear:
        chance = 0.05 * (open_ + sum(map(len, clear.values())))
        lines[-1] += f" By chance alone, {chance:.1f} differences would be clear of 0."
    if fixed:
        lines.append(f"The same with each seed, so without an interval: {_by_arm(fixed)}.")
    return lines


def _by_arm(texts: dict[str, list[str]]) -> str:
    return "; ".join(f"{arm}: {', '.join(found)}" for arm, found in texts.items())


def _side(name: str, gain: float) -> str:
    """Return which side of 0 the difference in a figure is on."""
    if name in NEITHER:
        return "lower" if gain < 0 else "higher"
    return "better" if (gain < 0) == (name in LOWER) else "worse"


def table(result: dict) -> list[list[str]]:
    """Return the figures as rows of text, the first with the names of the figures."""
    names = [name for name in result["figures"] if any(name in x for x in result["arms"].values())]
    rows = [["", *map(label, names)]]
    for arm, figures in result["arms"].items():
        rows.append([arm, *(_cell(figures.get(name)) for name in names)])
    return rows


def _cell(row: dict | None) -> str:
    if row is None:
        return "no figure"
    low, high = row["ci"] or (0, 0)
    ends = f" ({_number(low)} to {_number(high)})" if low != high else ""
    return f"{_number(row['mean'])}{ends}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def in_lines(result: dict) -> list[str]:
    """Return a result as text to read."""
    lines = [result["title"], f"The paper: {result['claim']}"]
    rows = table(result)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    missing = [name for name in result["figures"] if not any(
        name in arm for arm in result["arms"].values())]  # fmt: skip
    if missing:
        lines.append(f"not measured here: {listed([label(name) for name in missing])}")
    return [*lines, *sentences(result), METHOD]
