"""How is the result of a study shown?  As figures, as sentences, and as one HTML page."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from PIL import Image

from tvhelpers.files import read_tables, write_text
from tvhelpers.image import encoded
from tvhelpers.show.figures import points
from tvhelpers.study.analysis import answers_of, why_excluded
from tvhelpers.study.model import IMAGES, REAL, SCALES, Study
from tvhelpers.study.votes import Vote
from tvhelpers.words import counted

PAGE = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
TEXTS = read_tables(__file__, "report.yaml")
EXAMPLES = 3  # prompts whose images are shown


def study_figures(result: dict) -> dict[str, Image.Image]:
    """Return the figures of a study's analysis, by name."""
    shown, marks = {}, {"contrasts": 0.5, "preference_scores": 0}
    if contrasts := result.get("contrasts"):
        shown["contrasts"] = {_versus(row): {"": _point(row, "share")} for row in contrasts}
        ranks = result["preference_scores"]["systems"]
        if len(ranks) > 2:  # of two systems, the scores repeat the contrast
            scores = {row["system"]: {"": _point(row, "log_odds")} for row in ranks}
            shown["preference_scores"] = scores
    for row in result["ratings"]:
        scales = shown.setdefault("ratings", {label: {} for label in SCALES.values()})
        scales[SCALES[row["scale"]]][_label(row["system"])] = _point(row, "mean")
    if result["real"]:
        taken = result["real"]["taken_for_real"]
        shown["real"] = {_label(name): {"": _point(row, "value")} for name, row in taken.items()}
        marks["real"] = taken[REAL]["value"]
    return {n: points(rows, TEXTS["cards"][n]["axis"], marks.get(n)) for n, rows in shown.items()}


def _point(row: dict, name: str) -> tuple[float, float, float]:
    return (row[name], *row["ci"])


def _label(system: str) -> str:
    return "real images" if system == REAL else system


def summary(result: dict) -> list[str]:
    """Return the findings, a sentence each."""
    excluded = sum(bool(row["excluded"]) for row in result["raters"])
    lines = [f"Raters counted: {result['raters_kept']}; excluded by the study's rules: {excluded}."]
    for row in result.get("contrasts", ()):
        kind = "Primary comparison" if row["primary"] else "Also compared"
        lines.append(f"{kind}: {_versus(row)} in {100 * row['share']:.0f} % of {row['n']} votes "
                     f"({_percent(row['ci'])}, p {_p(row.get('p_holm', row['p']))}).")  # fmt: skip
    for row in result["ratings"]:
        if "difference_from_real" in row:
            gap, (low, high) = row["difference_from_real"], row["difference_from_real_ci"]
            side = "below" if gap < 0 else "above"
            lines.append(
                f"{SCALES[row['scale']]}: '{row['system']}' graded {abs(gap):.2f} {side} real "
                f"images (95 % interval of the difference {low:+.2f} to {high:+.2f})."
            )
    if result["real"]:
        row = result["real"]["error_rate"]
        share = f"{100 * row['value']:.0f} % of {row['n']} answers ({_percent(row['ci'])})"
        lines.append(f"Real and generated images were confused in {share}; guessing gives 50 %.")
    return lines + [f"Caution: {text}" for text in result["warnings"]]


def quality(result: dict) -> list[str]:
    """Return how far the answers can be trusted, a sentence each."""
    lines = []
    if sides := result.get("sides"):
        row = sides["all"]
        least = min(own["p_holm"] for own in sides["raters"].values())
        lines.append(f"The left image was chosen {row['left']} of {row['decided']} times (p "
                     f"{_p(row['p'])}); the most one-sided rater has p {_p(least)}, adjusted for "
                     "the number of raters.")  # fmt: skip
    if row := result["repeats"]:
        lines.append(f"Pairs shown twice got the same answer {row['same']} of {row['n']} times "
                     f"({_percent(row['ci'])}).")  # fmt: skip
    for task, row in result["agreement"].items():
        if row["alpha"] is not None:
            name = SCALES.get(task, {"pair": "pairs", "real": "real or generated"}.get(task))
            lines.append(f"Raters' agreement on {name.lower()}: Krippendorff's alpha "
                         f"{row['alpha']:.2f} (1 is full agreement, 0 is chance).")  # fmt: skip
    return lines


def examples(study: Study, votes: list[Vote], result: dict) -> list[str]:
    """Return, as HTML, the two images of the primary comparison for the prompts with the clearest
    votes of the raters that `result` counts; [] where nothing was compared."""
    kept = {row["rater"] for row in result["raters"] if not row["excluded"]}
    primary, votes_of = study.key["primary"], {}
    for answer in answers_of(study, votes):
        counts = answer.expected is None and not answer.repeat and answer.vote.rater in kept
        if counts and answer.trial.kind == "pair" and {*answer.systems} == {*primary}:
            votes_of.setdefault(answer.vote.item, []).append(answer.picked(answer.systems))
    gains = {item: abs(_lead(picked, primary)) for item, picked in votes_of.items()}
    clearest = sorted(gains, key=gains.__getitem__, reverse=True)[:EXAMPLES]
    return [_example(study, item, votes_of[item]) for item in clearest]


def _lead(picked: list[str], two: Sequence[str]) -> int:
    """Return how many votes more the first of two systems got."""
    return picked.count(two[0]) - picked.count(two[1])


def _example(study: Study, item: str, picked: list[str]) -> str:
    """Return two images side by side, with their prompt and votes."""
    names = dict(zip(study.key["items"][item], study.items[item][IMAGES], strict=True))
    images = [_image(f"'{name}'", Image.open(io.BytesIO(study.image(names[name]))), "JPEG")
             for name in study.key["primary"]]  # fmt: skip
    sides = zip(study.key["primary"], ("left", "right"), strict=True)
    votes = " and ".join(f"'{name}' ({side}) {picked.count(name)}" for name, side in sides)
    text = f"{study.items[item]['prompt']}: {votes} of {counted(len(picked), 'vote')}"
    return f"<figure>{''.join(images)}<figcaption>{html.escape(text)}</figcaption></figure>"


def write_report(result: dict, path: Path, shown: Sequence[str] = ()) -> Path:
    """Write the page, with `shown` of `examples`, and return its path."""
    write_text(path, report_page(result, shown))
    return Path(path)


def report_page(result: dict, shown: Sequence[str] = ()) -> str:
    """Return the page as HTML, with `shown` of `examples`."""
    rules = [TEXTS["rules"][name].format(least) for name, least in result["rules"].items()]
    return PAGE.substitute(
        title=html.escape(result["title"]),
        simulated=TEXTS["simulated"] if result["simulated"] else "",
        summary=f"<ul>{_each('li', summary(result))}</ul>",
        figures="".join(
            _section(TEXTS["cards"][name], f) for name, f in study_figures(result).items()
        ),
        examples=TEXTS["examples"] + "".join(shown) if shown else "",
        quality=f"<ul>{_each('li', quality(result))}</ul>",
        rules=html.escape("; ".join(rules)),
        raters=_raters(result["raters"]),
        study=html.escape(result["study"]),
    )


def _raters(raters: list[dict]) -> str:
    heads = ("rater", "votes", "checks correct", "median seconds", "excluded because")
    lines = [_each("th", heads)]
    for row in raters:
        correct, seconds = row["attention_right"], row["median_seconds"]
        share = "none seen" if correct is None else f"{100 * correct:.0f} %"
        cells = row["rater"], row["votes"], share, f"{seconds:.1f}", why_excluded(row)
        lines.append(_each("td", cells))
    return "".join(f"<tr>{line}</tr>" for line in lines)


def _each(tag: str, texts: Iterable) -> str:
    return "".join(f"<{tag}>{html.escape(str(text))}</{tag}>" for text in texts)


def _section(card: dict[str, str], figure: Image.Image) -> str:
    return f"<h2>{card['head']}</h2><p>{card['note']}</p>{_image(card['head'], figure)}"


def _image(text: str, image: Image.Image, kind: str = "PNG") -> str:
    """Return an image as HTML that needs no other file."""
    content = base64.b64encode(encoded(image.convert("RGB"), kind)).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/{kind.lower()};base64,{content}">'


def _versus(row: dict) -> str:
    return f"'{row['first']}' preferred to '{row['second']}'"


def _percent(ci) -> str:
    low, high = (100 * end for end in ci)
    same = "every answer was the same, so no interval can be given"
    return f"95 % interval {low:.0f} to {high:.0f} %" if low < high else same


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"
