"""Figures of any text: names, prompts and labels are drawn as they are."""

import warnings

import numpy as np
from matplotlib.figure import Figure

from tvhelpers.show import figures
from tvhelpers.show.training import loss_curves

NAMES = ["$\\frac{$", "$x^2$ at 5 $", "a\udcffb", "\ud800", "a\x00\x1b[2J\u202eb", ""]
IMAGE = np.zeros((8, 8, 3), np.uint8)


def card(name):
    row = {"name": name, "ci": None, "value": 1.0, "details": {}, "n": 3, "warnings": [name]}
    return {**row, "card": name, "method": name}


def test_a_label_is_no_formula_and_never_raises(tmp_path):
    warnings.simplefilter("ignore")  # letters that the font lacks
    first = NAMES[0]
    figures.gallery([IMAGE] * len(NAMES), NAMES)
    figures.matrix(np.eye(len(NAMES)), NAMES, NAMES, first)
    figures.histogram([1, 2, 3], first, 2, NAMES[2])
    figures.systems({name: [IMAGE] * len(NAMES) for name in NAMES[:3]}, NAMES)
    rows = dict.fromkeys(NAMES, (1, 0, 2))
    figures.points(dict.fromkeys(NAMES, rows), first)
    items = [{first: name, "b": name} for name in NAMES] + [{first: "z", "b": "y"}]
    figures.coverage_figure(items, [first, "b"])
    figures.metric_card({name: card(name) for name in NAMES})
    figures.rarefaction_curve([{"n": 1, "corrected": 1, "plug_in": 1}], first)
    assert loss_curves(dict.fromkeys(NAMES, tmp_path)).width > 100


def test_coverage_pairs_two_labels_not_one_with_itself_and_shades_equal_counts():
    items = [{"a": name, "b": "y"} for name in "uvw"]
    both, one = (figures.coverage_figure(items, names) for names in (["a", "b"], ["a"]))
    assert both.height - one.height > 100
    dark = np.all(np.asarray(both.convert("RGB")) == (8, 29, 88), -1)
    assert dark.mean() > 0.1  # the white numbers are readable


def test_a_gallery_ends_at_one_sheet(monkeypatch):
    monkeypatch.setattr("tvhelpers.sample.grid.MAX_SHEET_PIXELS", 400_000)
    said = []
    monkeypatch.setattr(Figure, "supxlabel", lambda figure, text, **how: said.append(text))
    few = figures.gallery([IMAGE] * 4)
    many = figures.gallery([IMAGE] * 4000)
    assert few.width == many.width and many.width * many.height < 450_000
    figures.systems({str(number): [IMAGE] * 9 for number in range(100)}, ["a red dress"] * 9)
    assert said == ["only the first 4 of 4,000 images", "only the first 2 of 100 systems"]


def test_no_figure_is_larger_than_a_sheet(monkeypatch):
    monkeypatch.setattr("tvhelpers.sample.grid.MAX_SHEET_SIDE", 1500)
    assert max(figures.matrix(np.eye(60), ["a" * 5000] * 60, ["b"] * 60).size) < 1900
    assert max(figures.gallery([np.zeros((16384, 1, 3), np.uint8)]).size) < 1900


def test_a_formula_is_as_wide_as_its_letters():
    """A label that reads as a formula is drawn letter by letter, "$" too."""
    wide = figures.matrix([[1.0]], ["a"], ["b"], "$" + "x_{12345678901234567890}" * 3 + "$")
    same = figures.matrix([[1.0]], ["a"], ["b"], "S" + "x_{12345678901234567890}" * 3 + "S")
    assert abs(wide.width - same.width) < 8
