"""Figures of any text: names, prompts and labels are drawn as they are."""

import warnings

import numpy as np
import pytest

from tvhelpers.show import figures
from tvhelpers.show.training import loss_curves

NAMES = ["$\\frac{$", "$x^2$ at 5 $", "a\udcffb", "\ud800", "a\x00\x1b[2J\u202eb", ""]
IMAGE = np.zeros((8, 8, 3), np.uint8)


def card(name):
    row = {"name": name, "ci": None, "value": 1.0, "details": {}, "n": 3, "warnings": [name]}
    return {name: {**row, "card": name, "method": name}}


@pytest.mark.parametrize("name", NAMES)
def test_a_label_is_no_formula_and_never_raises(name, tmp_path):
    warnings.simplefilter("ignore")  # letters that the font lacks
    figures.gallery([IMAGE], [name])
    figures.matrix([[1.0, 2.0], [2.0, 3.0]], [name, "b"], [name, "c"], name)
    figures.histogram([1, 2, 3], name, 2, name)
    figures.systems({name: [IMAGE]}, [name])
    rows = {"one": {name: (1, 0, 2), "y": (1, 0, 2)}}
    figures.points({**rows, name: rows["one"]}, name)
    items = [{name: "x", "b": name}, {name: "z", "b": "y"}]
    figures.coverage_figure(items, [name, "b"])
    figures.metric_card(card(name))
    figures.rarefaction_curve([{"n": 1, "corrected": 1, "plug_in": 1}], name)
    assert loss_curves({name: tmp_path}).width > 100


def test_a_formula_is_as_wide_as_its_letters():
    """A label that reads as a formula is drawn letter by letter, "$" too."""
    wide = figures.matrix([[1.0]], ["a"], ["b"], "$" + "x_{12345678901234567890}" * 3 + "$")
    same = figures.matrix([[1.0]], ["a"], ["b"], "S" + "x_{12345678901234567890}" * 3 + "S")
    assert abs(wide.width - same.width) < 8
