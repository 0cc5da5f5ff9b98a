"""Every figure that users read is in a result, or is a setting of the code, or says what it is.

A figure is a number with a unit of measurement, or with a decimal point.  In a sentence that says
what was measured it must be in a result that its section names; in any other sentence it must be
there or in the code, or the paragraph must say whose it is: the paper's, an estimate, an example.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
RESULTS = REPO / "benchmarks" / "results"
TEXTS = [
    REPO / "README.md",
    *sorted(path for path in (REPO / "docs").glob("*.md") if path.name != "measured.md"),
    *sorted((REPO / "notebooks" / "source").glob("*.md")),
]
UNIT = r" ?(?:%|seconds?\b|s\b|minutes?\b|min\b|hours?\b|MB\b|GB\b)"
NAMES = re.compile(r"\b(?:Python|Diffusion|diffusers|transformers|torch) \d[\d.]*")  # of versions
FIGURE = re.compile(rf"(?<![\w.,/-])(?:\d[\d,]*(?:\.\d+)?(?={UNIT})|\d[\d,]*\.\d+(?!\w|\.\d))")
REPORTED = re.compile(r"\b(took|measured|was found|were found|often looks)\b")
CALLED = re.compile(r"\b(paper|estimates?|example|predicted|versions?|licen[cs]e)\b", re.I)
SHOWN = re.compile(r"```.*?```|<!--.*?-->|`[^`]*`|\]\([^)]*\)", re.S)
FACTORS = (1, 100, 1 / 60, 1e-3, 1e-6, 1e-9, 2**-20, 2**-30)  # percent, minutes, KB to GB


def numbers(value) -> Iterator[float]:
    """Yield all numbers of JSON, those within texts too."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, str):
        yield from (float(x.replace(",", "")) for x in re.findall(r"\d[\d,]*(?:\.\d+)?", value))
    elif type(value) in (int, float):
        yield float(value)


def is_in(figure: str, values: list[float], factors=FACTORS) -> bool:
    """Return whether a figure is one of the values in some unit, rounded as it is written."""
    number, places = float(figure.replace(",", "")), len(figure.partition(".")[2])
    near = 0.5001 * 10**-places
    return any(abs(value * factor - number) <= near for value in values for factor in factors)


@cache
def settings() -> list[float]:
    """Return the numbers of the code and of the manifest, shares also as their complement."""
    found = [*numbers((REPO / "data_manifest.yaml").read_text())]
    for path in (REPO / "tvhelpers").rglob("*.py"):
        nodes = [x.value for x in ast.walk(ast.parse(path.read_text())) if type(x) is ast.Constant]
        found += [x for x in nodes if type(x) in (int, float)]
    return [*found, *(1 - x for x in found if 0 < x < 1)]


@cache
def named(section: str) -> list[float]:
    """Return the numbers of the results that a section names, and of the log if it links to it."""
    paths = [RESULTS / f"{name}.json" for name in re.findall(r"(\w+)\.(?:json|py)\b", section)]
    values = [json.loads(path.read_text()) for path in {*paths} if path.exists()]
    return [*numbers(values + [(REPO / "LOG.md").read_text()] * ("LOG.md" in section))]


def unfounded(text: str) -> list[str]:
    """Return the figures of a text that nothing supports, with their sentences."""
    found = []
    for section in re.split(r"^(?=#+ )", text, flags=re.M):
        for paragraph in re.split(r"\n\s*\n", NAMES.sub("", SHOWN.sub("", section))):
            for sentence in re.split(r"(?<=[.:;|])\s", paragraph):
                for figure in FIGURE.findall(sentence):
                    is_free = not REPORTED.search(sentence)
                    known = is_free and (
                        CALLED.search(paragraph) or is_in(figure, settings(), (1, 100))
                    )
                    if not known and not is_in(figure, named(section)):
                        found.append(f"{figure}: {' '.join(sentence.split())[:150]}")
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_figures_are_founded(path):
    assert unfounded(path.read_text()) == []


def test_a_figure_without_a_result_is_found():
    assert unfounded("It took 31.7 s.") and unfounded("## A\n\nThe gain is 0.3141.")
    result = json.loads((RESULTS / "flats_speed.json").read_text())
    seen = f"{next(x for x in numbers(result) if x > 100):.1f}"
    assert not unfounded(f"It took {seen} s (`flats_speed.py`).")
    assert unfounded(f"It took {seen} s.")
    assert not unfounded("Training takes 31.7 minutes (an estimate).")
