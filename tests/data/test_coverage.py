"""Coverage counts attributes and finds gaps; weights balance them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.data.coverage import (
    coverage,
    demand_weights,
    effective_sample_size,
    format_coverage,
    inverse_frequency_weights,
    item_weights,
    pair_table,
)

ROWS = (
    [{"gender": "female", "category": "dress"}] * 300
    + [{"gender": "female", "category": "tee"}] * 100
    + [{"gender": "male", "category": "tee"}] * 98
    + [{"category": "tee"}] * 2
)


def test_counts_and_gaps():
    report = coverage(ROWS, ("gender", "category"))
    assert report["counts"]["gender"] == {"female": 400, "male": 98, "not stated": 2}
    assert report["gaps"] == [{"words": ["male", "dress"], "count": 0, "expected": 59.0}]
    assert report["effective_words"]["category"] == pytest.approx(1.96, abs=0.01)
    assert "male + dress" in format_coverage(report)
    table, rows, columns = pair_table(ROWS, "gender", "category")
    assert (rows, columns) == (["female", "male"], ["dress", "tee"])
    assert table.tolist() == [[300, 100], [0, 98]]
    with refused("not-stated") as caught:
        coverage(ROWS, ("colour",))
    assert "'category' or 'gender'" in str(caught.value)


def test_balanced_weights_draw_every_kind_alike():
    weights = inverse_frequency_weights(ROWS, ("gender", "category"), cap=1000)
    kinds = np.array([(row.get("gender", ""), row["category"]) for row in ROWS])
    sums = [weights[(kinds == kind).all(1)].sum() for kind in np.unique(kinds, axis=0)]
    assert np.ptp(sums) < 1e-9 and weights.mean() == pytest.approx(1)
    assert effective_sample_size(weights) < 40  # two items are a quarter of what is drawn
    capped = inverse_frequency_weights(ROWS, ("gender", "category"))
    assert effective_sample_size(capped) > 100
    assert np.ptp(inverse_frequency_weights(ROWS, ("category",), power=0)) == 0
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)


def test_demand():
    weights = demand_weights([0, 10, 30])
    assert weights.mean() == pytest.approx(1) and 0 < weights[0] < weights[1] < weights[2]
    assert weights[2] / weights[1] == pytest.approx(3)
    rows = [{"weight": "3"}, {"weight": "1"}, {}]
    assert np.argsort(item_weights(rows, "weight")).tolist() == [2, 1, 0]
    for bad in ("-1", "nan", "inf", "many"):
        with refused("out-of-range"):
            item_weights([{"weight": bad}, {"weight": "1"}], "weight")
    with refused("not-stated"):
        item_weights([{}], "weight")
    with refused("out-of-range"):
        demand_weights([0, 0])


def test_colours_of_captions_are_counted_where_no_label_says_one(photo_folder, tmp_path, capsys):
    from tvhelpers import cli

    photo_folder = shutil.copytree(photo_folder, tmp_path / "photos")
    table = photo_folder / "metadata.csv"
    names = [line.partition(",")[0] for line in table.read_text().splitlines()[1:]]
    rows = [f"{name},{'burgundy' if i else 'green'} coat,jacket" for i, name in enumerate(names)]
    table.write_text("\n".join(["file_name,caption,category", *rows]) + "\n")
    assert cli.main(["data", "coverage", str(photo_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["colour"] == {"red": len(names) - 1, "green": 1}
    assert report["counts"]["category"] == {"jacket": len(names)}
    assert report["from_captions"] == {"colour": len(names)}
    assert cli.main(["data", "coverage", str(photo_folder), "--by", "colour"]) == 0
    assert f"(of {len(names)} items from the caption)" in capsys.readouterr().out


def test_split_and_coverage_from_the_command_line(tmp_path, capsys):
    from tvhelpers import cli

    out = tmp_path / "split.json"
    command = ["data", "split", "flats-new-season", "--out", str(out), "--json"]
    assert cli.main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["by product"]["products"]["shared"] == 0
    held = json.loads(out.read_text())
    assert len(held["validation_items"]) == report["by product"]["validation"] == 150
    command = ["data", "coverage", "flats-new-season", "--by", "category,pattern"]
    assert cli.main([*command, "--image", str(tmp_path / "counts.png")]) == 0
    assert "overalls" in capsys.readouterr().out
    with Image.open(tmp_path / "counts.png") as image:
        assert image.width > 800
    assert cli.main(["data", "coverage", "flats-new-season", "--by", "fabric"]) == 2
