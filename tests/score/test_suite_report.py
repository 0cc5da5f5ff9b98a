"""Images of a prompt suite: their attributes, and what is reported of them."""

import json

import pytest
from PIL import Image

from tests.helpers import refused
from tests.score.report_helpers import BrightnessClassifier, scored
from tvhelpers import flats
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.errors import InputError
from tvhelpers.score.attributes import JudgeAttributeClassifier
from tvhelpers.score.report import format_table, read_metrics
from tvhelpers.score.suite import FILE, covered, open_suite, write


def from_suite(path, wrong=(), base="mini", skipped=0):
    """A folder of flats that are what the rows of FB-138 within mini's words ask for, but for the
    colour of the `wrong` ones."""
    rows = covered(open_suite("fb138"), "mini")
    path.mkdir()
    records = []
    for i, row in enumerate(rows[skipped:]):
        asked = dict(row["spec"]["garments"][0])
        rest = {n: asked.get(n, (flats.options(asked["category"], n) or (None,))[0])
                for n in flats.OPTIONAL}  # fmt: skip
        colour = ("purple" if asked["colour"] != "purple" else "red") if i in wrong else asked["colour"]  # noqa: E501  # fmt: skip
        spec = flats.Spec(asked["category"], colour, asked.get("pattern", "plain"), **rest)
        Image.fromarray(flats.render(spec, 9, i)).save(path / f"{i}.png")
        record = {"file": f"{i}.png", "prompt": row["prompt"], "seed": row["seeds"][0]}
        records.append({**record, "base": base, "prompt_id": row["id"]})
    (path / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    write(rows, path / FILE)
    return path


@pytest.fixture
def few_calibration(monkeypatch):
    """Fewer images to learn the judge's errors from: this is faster."""
    monkeypatch.setattr(
        JudgeAttributeClassifier, "calibration_set", lambda judge: FlatsSource(204, 150)
    )


def test_attributes_and_strata_of_a_suite(tmp_path, few_calibration):
    correct = from_suite(tmp_path / "right")
    wrong = from_suite(tmp_path / "wrong", wrong=range(0, 48, 2))
    result = scored([correct, wrong], tmp_path / "m.json", BrightnessClassifier())
    first, second = ({r["name"]: r for r in f["metrics"]} for f in result["folders"])
    assert first["attribute:all"]["value"] >= 0.95 and first["attribute:colour"]["value"] >= 0.97
    colour = second["attribute:colour"]
    assert colour["value"] == pytest.approx(0.5, abs=0.05)
    assert colour["details"]["ceiling"] >= 0.97
    assert colour["details"]["corrected"] == pytest.approx(colour["value"], abs=0.03)
    assert second["attribute:pattern"]["value"] >= 0.95  # only what is wrong is wrong
    assert second["stratum:core"]["n"] == 24 and second["stratum:rare"]["n"] == 12
    paired = {row["name"]: row for row in result["pairs"][0]["metrics"]}
    assert paired["attribute:colour, difference"]["details"]["p"] < 1e-6
    assert result["folders"][0]["attribute_classifier"] == "mini judge"
    assert not result["folders"][0]["notes"]
    assert "ceiling" in format_table(result)


def test_an_older_metrics_file_is_the_same_result(tmp_path, few_calibration, photo_folder):
    images, out = from_suite(tmp_path / "images"), tmp_path / "m.json"
    more = {"train": str(photo_folder), "validation": FlatsSource(8, 30, size=64)}
    result = scored([images, images], out, BrightnessClassifier(), **more)
    (folder, _), text = result["folders"], out.read_text()
    assert folder["validation"] == "flats" and folder["calibration"] == "flats"
    old = text.replace('"attribute_classifier"', '"reader"').replace('"calibration"', '"known"')
    for name, today in OLDER.items():
        assert f'"{today}' in old
        old = old.replace(f'"{today}', f'"{name}')
    out.write_text(old.replace("Higher", "More"))
    written = out.read_bytes()
    assert scored([images, images], out, BrightnessClassifier(), **more) == result
    assert out.read_bytes() == written and read_metrics(out)["folders"][0]["validation"] == "flats"
    out.write_text(old.replace('"n": 48', '"n": 47'))
    with refused("another-result"):
        scored([images, images], out, BrightnessClassifier(), **more)


OLDER = {  # {name in earlier files: name}
    "held_out": "validation",  # stable name
    "atom:": "attribute:",  # stable name
    "left_out": "skipped",  # stable name
    "picture": "image",  # stable name
    "n_known": "n_calibration",
    "n_held_out": "n_validation",  # stable name
    "right_where_named": "accuracy_where_named",
}


def test_incomplete_images_of_a_suite(tmp_path, few_calibration):
    few = from_suite(tmp_path / "few", skipped=3)
    result = scored([few], tmp_path / "m.json", BrightnessClassifier())
    assert "3 of 48 prompts have no image" in result["folders"][0]["notes"][0]
    assert "3 of 48 prompts have no image" in format_table(result)
    (few / FILE).write_text("".join((few / FILE).read_text().splitlines(True)[:-1]))
    with refused("records-broken"):
        scored([few], tmp_path / "n.json", BrightnessClassifier())
    (few / FILE).unlink()
    with pytest.raises(InputError, match=r"prompts\.jsonl"):
        scored([few], tmp_path / "n.json", BrightnessClassifier())


def test_photos_are_not_judged_by_a_judge_of_flats(tmp_path):
    photos = from_suite(tmp_path / "photos", base="sd15")
    result = scored([photos], tmp_path / "m.json", BrightnessClassifier())
    names = {row["name"] for row in result["folders"][0]["metrics"]}
    assert "attribute:all" not in names and "colour" in names
    with refused("not-enough-given"):
        scored([photos], tmp_path / "n.json", BrightnessClassifier(), attribute_classifier="clip")


def test_a_clip_predicts_the_attributes_of_the_calibration_set(tmp_path, monkeypatch):
    drawn = from_suite(tmp_path / "drawn", wrong=range(0, 48, 2), base="another")
    source = FlatsSource(71, 160, season="base")
    monkeypatch.setattr("tvhelpers.score.needs.open_source", lambda name: source)
    score = scored(
        [drawn], tmp_path / "m.json", BrightnessClassifier(), clip="mini", calibration="flats"
    )
    rows = {row["name"]: row for row in score["folders"][0]["metrics"]}
    assert score["folders"][0]["attribute_classifier"] == "zero-shot by mini"
    assert rows["attribute:category"]["value"] > 0.6 > rows["attribute:colour"]["value"] > 0.3
    assert 0.5 < rows["attribute:colour"]["details"]["ceiling"] <= 1
