"""How is the result of a study shown, as figures and as one HTML page that needs nothing else?"""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from PIL import Image

from tvhelpers.files import atomic_path
from tvhelpers.show.figures import points
from tvhelpers.study.model import REAL, SCALES

STYLE = """body{max-width:860px;margin:40px auto;padding:0 24px;color:#1e1e1e;background:#fff;
font:16px/1.55 system-ui,sans-serif}h1{font:500 32px/1.2 Georgia,serif}
h2{font:500 22px Georgia,serif;margin-top:40px}
table{border-collapse:collapse;font-size:14px}td,th{padding:5px 14px 5px 0;
border-bottom:1px solid #e4e1dc;text-align:left}.note{background:#fff3d6;padding:12px 16px;
border-radius:6px}img{max-width:100%;height:auto}small{color:#6b7075}"""
METHOD = """Intervals are 95 % percentile intervals of a bootstrap that draws raters and prompts
anew, both at once (Owen 2007); p-values are of the same draws; those of contrasts that are not the
primary one are adjusted together (Holm). Strengths are of the Bradley-Terry model with ties
(Davidson 1970). A tie counts as half a vote for each. Of a pair that was shown twice, the first
answer counts. Sides were drawn by lot and balanced for each rater."""
CARDS = {
    "contrasts": ("Which of two", "Share of votes for the first of two systems, ties as half a "
                  "vote. An interval clear of 0.5 says that raters tell them apart."),
    "strengths": ("All together", "Log odds of being chosen, against the average system."),
    "ratings": ("Beside real pictures", "Mean grade, 1 to 5, of pictures shown beside real ones. "
                "Real pictures were graded too, and are the ceiling."),
    "real": ("Real or generated", "How often pictures were taken for real. Where nobody can tell, "
             "generated pictures get as many votes as real ones."),
}  # fmt: skip


def study_figures(result: dict) -> dict[str, Image.Image]:
    """Return the figures that the analysis of a study has, by name."""
    figures = {}
    if contrasts := result.get("contrasts"):
        rows = {_versus(row): {"": (row["share"], *row["ci"])} for row in contrasts}
        figures["contrasts"] = points(rows, "share of votes for the first", 0.5)
        ranks = result["strengths"]["systems"]
        rows = {row["system"]: {"": (row["log_strength"], *row["ci"])} for row in ranks}
        if len(rows) > 2:  # of two, it says what the contrast says
            figures["strengths"] = points(rows, "log strength", 0)
    if result["ratings"]:
        rows = {label: {} for label in SCALES.values()}
        for row in result["ratings"]:
            rows[SCALES[row["scale"]]][row["system"]] = (row["mean"], *row["ci"])
        figures["ratings"] = points(rows, "mean grade")
    if result["real"]:
        taken = result["real"]["taken_for_real"]
        rows = {name: {"": (row["value"], *row["ci"])} for name, row in taken.items()}
        figures["real"] = points(rows, "share taken for real", taken[REAL]["value"])
    return figures


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
    parts = [f"<h1>{html.escape(result['title'])}</h1>"]
    if result["simulated"]:
        parts.append("<p class=note>The raters of this study were simulated: it shows how a study "
                     "is read, and says nothing about the pictures.</p>")  # fmt: skip
    parts.append(_listed(summary(result)))
    for name, figure in study_figures(result).items():
        head, note = CARDS[name]
        parts.append(f"<h2>{head}</h2><p>{note}</p>{_embedded(figure, head)}")
    parts.append("<h2>How far to trust it</h2>" + _listed(quality(result)) + _raters(result))
    parts.append(f"<h2>Method</h2><p>{METHOD}</p><small>study {result['study']}</small>")
    head = f"<meta charset=utf-8><title>{html.escape(result['title'])}</title>"
    page = f"<!DOCTYPE html><html lang=en>{head}<style>{STYLE}</style>{''.join(parts)}</html>\n"
    with atomic_path(path) as aside:
        aside.write_text(page)
    return Path(path)


def _raters(result: dict) -> str:
    """Return the table of raters, with the rule that left one out."""
    rules = [f"{name.replace('_', ' ')} at least {v:g}" for name, v in result["rules"].items()]
    heads = ("rater", "votes", "checks right", "median seconds", "left out by")
    rows = [
        (row["rater"], row["votes"], _share(row["attention_right"]), f"{row['median_seconds']:.1f}",
         row["excluded"].replace("_", " "))
        for row in result["raters"]
    ]  # fmt: skip
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    head = "".join(f"<th>{text}</th>" for text in heads)
    fixed = f"<p>Fixed before the first vote: {', '.join(rules)}.</p>"
    return f"{fixed}<table><tr>{head}</tr>{cells}</table>"


def _share(value: float | None) -> str:
    return "none seen" if value is None else f"{100 * value:.0f} %"


def _listed(sentences: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in sentences) + "</ul>"


def _embedded(figure: Image.Image, name: str) -> str:
    data = io.BytesIO()
    figure.save(data, "PNG")
    text = base64.b64encode(data.getvalue()).decode()
    return f"<img alt='{html.escape(name)}' src='data:image/png;base64,{text}'>"


def _versus(row: dict) -> str:
    return f"{row['first']} over {row['second']}"


def _ends(ci) -> str:
    return f"(95 % {ci[0]:.2f} to {ci[1]:.2f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"
