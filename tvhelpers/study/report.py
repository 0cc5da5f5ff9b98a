"""How is the result of a study shown, as figures and as one HTML page that needs nothing else?"""

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from string import Template

from PIL import Image

from tvhelpers.files import atomic_path, read_tables
from tvhelpers.show.figures import points
from tvhelpers.study.model import REAL, SCALES

PAGE = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
TEXTS = read_tables(__file__, "report.yaml")


def study_figures(result: dict) -> dict[str, Image.Image]:
    """Return the figures that the analysis of a study has, by name."""
    shown, marks = {}, {"contrasts": 0.5, "strengths": 0}
    if contrasts := result.get("contrasts"):
        shown["contrasts"] = {_versus(row): {"": _point(row, "share")} for row in contrasts}
        ranks = result["strengths"]["systems"]
        if len(ranks) > 2:  # of two, it says what the contrast says
            shown["strengths"] = {row["system"]: {"": _point(row, "log_strength")} for row in ranks}
    for row in result["ratings"]:
        scales = shown.setdefault("ratings", {label: {} for label in SCALES.values()})
        scales[SCALES[row["scale"]]][row["system"]] = _point(row, "mean")
    if result["real"]:
        taken = result["real"]["taken_for_real"]
        shown["real"] = {name: {"": _point(row, "value")} for name, row in taken.items()}
        marks["real"] = taken[REAL]["value"]
    return {n: points(rows, TEXTS["cards"][n]["axis"], marks.get(n)) for n, rows in shown.items()}


def _point(row: dict, name: str) -> tuple[float, float, float]:
    return (row[name], *row["ci"])


def summary(result: dict) -> list[str]:
    """Return what was found, a sentence each."""
    left_out = sum(bool(row["excluded"]) for row in result["raters"])
    said = [f"{result['raters_kept']} raters; {left_out} left out by the rules of the study"]
    for row in result.get("contrasts", ()):
        p = row.get("p_holm", row["p"])
        kind = "primary contrast" if row["primary"] else "also"
        said.append(f"{kind}: {_versus(row)}: {row['share']:.2f} of votes {_ends(row['ci'])}, "
                    f"p {_p(p)}, n = {row['n']}")  # fmt: skip
    for row in result["ratings"]:
        if "less_real" in row:
            said.append(f"{SCALES[row['scale']].lower()}, {row['system']} less real: "
                        f"{row['less_real']:+.2f} {_ends(row['less_real_ci'])}")  # fmt: skip
    if result["real"]:
        row = result["real"]["error_rate"]
        said.append(f"real and generated mistaken: {row['value']:.2f} {_ends(row['ci'])}; "
                    "0.5 would be no telling them apart")  # fmt: skip
    return said + [f"doubt: {text}" for text in result["warnings"]]


def quality(result: dict) -> list[str]:
    """Return how far the answers can be trusted, a sentence each."""
    said = []
    if sides := result.get("sides"):
        row = sides["all"]
        least = min(own["p_holm"] for own in sides["raters"].values())
        said.append(f"left chosen {row['left']} of {row['decided']} times, p {_p(row['p'])}; the "
                    f"rater most one-sided, adjusted: p {_p(least)}")  # fmt: skip
    if row := result["repeats"]:
        said.append(f"the same answer when a pair came again: {row['value']:.2f} "
                    f"{_ends(row['ci'])}, n = {row['n']}")  # fmt: skip
    for what, row in result["agreement"].items():
        if row["alpha"] is not None:
            name = SCALES.get(what, {"pair": "pairs", "real": "real or generated"}.get(what))
            said.append(f"agreement on {name.lower()}: alpha {row['alpha']:.2f} ({row['level']})")
    return said


def write_report(result: dict, path: Path) -> Path:
    """Write the page, and return its path."""
    rules = [f"{name.replace('_', ' ')} at least {v:g}" for name, v in result["rules"].items()]
    page = PAGE.substitute(
        title=html.escape(result["title"]),
        simulated=TEXTS["simulated"] if result["simulated"] else "",
        summary=f"<ul>{_each('li', summary(result))}</ul>",
        figures="".join(
            _section(TEXTS["cards"][name], f) for name, f in study_figures(result).items()
        ),
        quality=f"<ul>{_each('li', quality(result))}</ul>",
        rules=", ".join(rules),
        raters=_raters(result["raters"]),
        study=result["study"],
    )
    with atomic_path(path) as aside:
        aside.write_text(page)
    return Path(path)


def _raters(raters: list[dict]) -> str:
    """Return the rows of the table of raters, with the rule that left one out."""
    heads = ("rater", "votes", "checks right", "median seconds", "left out by")
    lines = [_each("th", heads)]
    for row in raters:
        right, seconds = row["attention_right"], row["median_seconds"]
        share = "none seen" if right is None else f"{100 * right:.0f} %"
        out = row["excluded"].replace("_", " ")
        lines.append(_each("td", (row["rater"], row["votes"], share, f"{seconds:.1f}", out)))
    return "".join(f"<tr>{line}</tr>" for line in lines)


def _each(tag: str, texts: Iterable) -> str:
    return "".join(f"<{tag}>{html.escape(str(text))}</{tag}>" for text in texts)


def _section(card: dict[str, str], figure: Image.Image) -> str:
    data = io.BytesIO()
    figure.save(data, "PNG")
    source = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    image = f"<img alt='{html.escape(card['head'])}' src='{source}'>"
    return f"<h2>{card['head']}</h2><p>{card['note']}</p>{image}"


def _versus(row: dict) -> str:
    return f"{row['first']} over {row['second']}"


def _ends(ci) -> str:
    return f"(95 % {ci[0]:.2f} to {ci[1]:.2f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"
