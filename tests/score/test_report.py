import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.errors import InputError
from tvhelpers.score import registry
from tvhelpers.score.attributes import JudgeAttributeClassifier
from tvhelpers.score.colour import name_colour
from tvhelpers.score.features import JudgeClassifier, PixelExtractor
from tvhelpers.score.metrics import mean_score
from tvhelpers.score.registry import Metric
from tvhelpers.score.report import format_table, read_metrics, score_folders
from tvhelpers.score.request import ScoreRequest
from tvhelpers.score.suite import FILE, covered, open_suite, write
from tvhelpers.show.scores import by_metric, write_figures


class BrightnessClassifier:
    """Four classes by brightness: a stand-in whose answers are known."""

    name, digest = "brightness", "0"

    def probs(self, pixels):
        return np.eye(4)[(pixels.mean((1, 2, 3)) // 64).astype(int)]


def scored(*request, **more):
    return score_folders(ScoreRequest(*request, **more))


@pytest.fixture
def folder(tmp_path):
    """Twelve images of four brightnesses, three seeds a prompt."""
    path = tmp_path / "images"
    path.mkdir()
    with open(path / "records.jsonl", "w") as file:
        for i in range(12):
            Image.new("RGB", (16 + i // 6, 16), (64 * (i // 3) + 9,) * 3).save(path / f"{i}.png")
            file.write(
                json.dumps({"file": f"{i}.png", "prompt": f"p{i // 3}", "seed": i % 3}) + "\n"
            )
    Image.new("RGB", (9, 9)).save(path / "grid.png")  # not in the records: not scored
    return path


def test_figure_card_and_groups(folder, tmp_path):
    result = scored([folder, folder], tmp_path / "metrics.json", BrightnessClassifier())
    one = result["folders"][0]
    (score,) = one["metrics"]
    assert score["name"] == "inception_score" and one["n"] == score["n"] == 12
    assert sorted(one["files"])[-1] == "9.png" and one["chosen"] == "handed in"
    assert score["details"]["plug_in"] == pytest.approx(4)
    assert score["details"]["num_groups"] == 4  # prompts, not images
    assert one["classifier"] == "brightness" and one["digest"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert "n 12, upper bound 4" in format_table(result)
    (pair,) = result["pairs"]  # a folder against itself
    assert pair["metrics"][0]["value"] == 1 and pair["metrics"][0]["details"]["p"] == 1


def brightness(pixels, groups):
    """Return the mean level of the images, 0..255."""
    return mean_score("brightness", [one.mean() for one in pixels], groups, "mean level")


BRIGHTNESS = Metric("brightness", brightness, ("pixels", "groups"), "how bright the images are")


def test_a_metric_of_ones_own_is_one_entry(tmp_path, monkeypatch):
    monkeypatch.setattr("tvhelpers.score.registry.METRICS", [*registry.METRICS, BRIGHTNESS])
    asked = [prompt.split()[1] for prompt in PROMPTS]
    there = drawn(tmp_path / "there", asked, PROMPTS)
    dark = drawn(tmp_path / "dark", ["black"] * 12, PROMPTS)
    result = scored([there, dark], tmp_path / "m.json", BrightnessClassifier())
    rows = by_metric(result)["brightness"]
    images = [np.asarray(Image.open(path)) for path in dark.glob("*.png")]
    assert rows["dark"]["value"] == pytest.approx(np.mean([one.mean() for one in images]))
    assert rows["there"]["card"] == BRIGHTNESS.card and rows["there"]["ci"]
    assert f"brightness: {BRIGHTNESS.card}" in format_table(result)
    paired = [row for row in result["pairs"][0]["metrics"] if row["name"].startswith("brightness")]
    assert paired[0]["value"] == pytest.approx(rows["dark"]["value"] - rows["there"]["value"])
    assert "brightness.png" in {path.name for path in write_figures(result, tmp_path / "figures")}


def test_charts_name_folders_however_their_paths_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dirs = ["base-cpu", str(tmp_path / "lora-cpu")]
    result = {"folders": [{"dir": path, "metrics": [{"name": "colour"}]} for path in dirs]}
    assert [*by_metric(result)["colour"]] == ["base", "lora"]


def test_a_metric_whose_needs_are_not_met_is_skipped(folder, tmp_path, monkeypatch):
    unmet = Metric("unmet", brightness, ("features", "no such need"), "")
    monkeypatch.setattr("tvhelpers.score.registry.METRICS", [*registry.METRICS, unmet])
    rows = scored([folder], tmp_path / "m.json", BrightnessClassifier())["folders"][0]["metrics"]
    assert [row["name"] for row in rows] == ["inception_score"]


def test_images_without_records_are_taken(folder, tmp_path):
    (folder / "records.jsonl").unlink()
    result = scored([folder], tmp_path / "m.json", BrightnessClassifier())
    assert result["folders"][0]["n"] == 13


def test_nothing_is_overwritten(folder, tmp_path):
    out = tmp_path / "metrics.json"
    scored([folder], out, BrightnessClassifier())
    scored([folder], out, BrightnessClassifier())  # equal: fine
    Image.new("RGB", (16, 16), "white").save(folder / "0.png")
    with refused("another-result"):
        scored([folder], out, BrightnessClassifier())


def test_folders_that_cannot_be_scored(folder, tmp_path):
    def check(path, code):
        with refused(code):
            scored([path], tmp_path / "m.json", BrightnessClassifier())
        assert not (tmp_path / "m.json").exists()

    check(tmp_path / "nothing", "folder-missing")
    (tmp_path / "empty").mkdir()
    check(tmp_path / "empty", "no-images")
    (tmp_path / "empty" / "pixels.h5").touch()  # what `data convert` writes
    check(tmp_path / "empty", "no-images")
    (folder / "3.png").write_bytes(b"no image")
    check(folder, "not-an-image")
    (folder / "3.png").unlink()
    check(folder, "file-missing")


def test_records_that_cannot_be_trusted(folder, tmp_path):
    whole = (folder / "records.jsonl").read_text()

    def check(text, code):
        (folder / "records.jsonl").write_text(text)
        with refused(code):
            scored([folder], tmp_path / "m.json", BrightnessClassifier())
        assert not (tmp_path / "m.json").exists()

    check("", "no-images")  # and grid.png is not scored in their place
    check("{\n", "records-broken")
    check("[1]\n", "records-broken")
    check('{"file": "0.png"}\n', "records-broken")
    check(whole + whole, "records-broken")


def test_an_out_file_that_is_no_metrics_file_stays(folder, tmp_path):
    out = tmp_path / "notes.json"
    out.write_text("my notes")
    with refused("not-json"):
        scored([folder], out, BrightnessClassifier())
    assert out.read_text() == "my notes"
    with refused("not-a-file"):
        scored([folder], tmp_path, BrightnessClassifier())


def test_a_folder_of_equal_images_scores_one_and_says_why(tmp_path):
    for i in range(12):
        Image.new("RGB", (8, 8), "navy").save(tmp_path / f"{i}.jpg")
    result = scored([tmp_path], tmp_path / "out" / "m.json", BrightnessClassifier())
    (score,) = result["folders"][0]["metrics"]
    assert score["value"] == pytest.approx(1) and "no width" in format_table(result)


def test_a_single_image_has_no_interval(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    result = scored([tmp_path], tmp_path / "out" / "m.json", BrightnessClassifier())
    assert result["folders"][0]["metrics"][0]["ci"] is None
    assert "no interval" in format_table(result)


class CountingClassifier(BrightnessClassifier):
    """Keeps how many images it was shown."""

    name, shown = "counting", 0

    def probs(self, pixels):
        self.shown += len(pixels)
        return super().probs(pixels)


def drawn(path, colours, prompts, order=None):
    """A folder of images with a square of a colour in the middle of white, and their records."""
    path.mkdir()
    records = []
    for i, (colour, prompt) in enumerate(zip(colours, prompts, strict=True)):
        image = Image.new("RGB", (64, 64), "white")
        image.paste(colour, (12, 12 + i % 3, 52, 52))
        image.save(path / f"{i}.png")
        records.append({"file": f"{i}.png", "prompt": prompt, "seed": i})
    lines = [json.dumps(records[i]) + "\n" for i in order or range(len(records))]
    (path / "records.jsonl").write_text("".join(lines))
    return path


PROMPTS = [f"a {colour} {noun}" for noun in ("dress", "coat", "skirt") for colour in
           ("red", "blue", "green", "black")]  # fmt: skip


def test_the_measured_colour_is_that_of_the_prompt(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    correct = drawn(tmp_path / "right", asked, PROMPTS)
    wrong = drawn(tmp_path / "wrong", ["purple"] * 4 + asked[4:], PROMPTS)
    result = scored([correct, wrong], tmp_path / "m.json", BrightnessClassifier())
    first, second = (folder["metrics"][1] for folder in result["folders"])
    assert first["name"] == "colour" and first["value"] == 1 and second["value"] == 8 / 12
    row = next(row for row in result["pairs"][0]["metrics"] if row["name"].startswith("colour"))
    assert row["value"] == pytest.approx(-4 / 12) and row["details"]["p"] < 0.05
    assert "prompt by prompt" in format_table(result)


def test_order_and_cache_change_no_digit_and_nothing_is_computed_twice(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    there = drawn(tmp_path / "a", asked, PROMPTS)
    back = drawn(tmp_path / "b", asked, PROMPTS, order=[*range(11, -1, -1)])
    classifier, metrics = CountingClassifier(), []
    for i, folder in enumerate((there, back)):
        for cache in (None, tmp_path / "cache"):
            classifier.shown = 0
            out = tmp_path / f"{i}{bool(cache)}.json"
            result = scored([folder], out, classifier, features="judge", cache=cache)
            metrics.append(json.dumps(result["folders"][0]["metrics"]))
    assert len(set(metrics)) == 1
    assert classifier.shown == 0  # the last one found everything in the cache
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    with refused("file-damaged"):
        scored([there], tmp_path / "x.json", classifier, cache=tmp_path / "cache")


def test_distances_from_real_images(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    real = drawn(tmp_path / "real", asked, PROMPTS)
    near = drawn(tmp_path / "near", asked, PROMPTS)
    far = drawn(tmp_path / "far", ["yellow"] * 12, PROMPTS)
    result = scored([near, far], tmp_path / "m.json", BrightnessClassifier(), real=real)
    rows = [{row["name"]: row for row in folder["metrics"]} for folder in result["folders"]]
    assert rows[0]["kernel_distance"]["value"] < 0 < rows[1]["kernel_distance"]["value"]
    assert rows[1]["kernel_distance"]["details"]["p"] < 0.05
    assert rows[0]["precision"]["value"] == 1 and rows[1]["coverage"]["value"] < 1
    assert all(row["card"] for row in rows[0].values()) and result["real"]["n"] == 12
    few = drawn(tmp_path / "few", asked[:5], PROMPTS[:5])
    with refused("cannot-be-scored"):
        scored([few], tmp_path / "few.json", BrightnessClassifier(), real=real)


def test_other_prompts_are_not_compared(tmp_path):
    one = drawn(tmp_path / "one", ["red"] * 12, PROMPTS)
    other = drawn(tmp_path / "other", ["red"] * 12, [f"{prompt} on a hanger" for prompt in PROMPTS])
    result = scored([one, other], tmp_path / "m.json", BrightnessClassifier())
    assert not result["pairs"][0]["metrics"]
    assert "only images of the same prompts" in format_table(result)


def test_clip_score_by_another_clip_than_the_drawing_one(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    correct = drawn(tmp_path / "right", asked, PROMPTS)
    wrong = drawn(tmp_path / "wrong", asked[::-1], PROMPTS)
    result = scored([correct, wrong], tmp_path / "m.json", BrightnessClassifier(), clip="mini")
    rows = [{row["name"]: row for row in folder["metrics"]} for folder in result["folders"]]
    assert rows[0]["clip_score"]["value"] > rows[1]["clip_score"]["value"]
    records = (correct / "records.jsonl").read_text()
    (correct / "records.jsonl").write_text(records.replace('"seed"', '"base": "mini", "seed"'))
    with refused("own-clip"):
        scored([correct], tmp_path / "o.json", BrightnessClassifier(), clip="mini")


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


def test_copies_are_looked_for_in_the_training_set(tmp_path, photo_folder):
    folder = tmp_path / "copies"
    folder.mkdir()
    for i, path in enumerate(sorted(photo_folder.glob("*.png"))[:12]):
        shutil.copy(path, folder / f"{i}.png")
    sides = {"train": str(photo_folder), "validation": FlatsSource(8, 30, size=64)}
    result = scored([folder], tmp_path / "m.json", BrightnessClassifier(), **sides)
    copying = result["folders"][0]["metrics"][-1]
    assert copying["name"] == "copying" and copying["value"] == 1 == copying["ci"][1]
    assert "the limit is the nearest" in copying["warnings"][0]  # of 30 validation images
    assert copying["details"]["top"][0]["distance"] < 1e-3
    assert result["folders"][0]["copies"].startswith("pixels")
    with refused("cannot-be-scored"):
        scored([folder], tmp_path / "n.json", BrightnessClassifier(), train=str(photo_folder))


def test_mixed_sizes_few_images_and_nan_features_give_a_note_or_an_error(tmp_path):
    for i, side in enumerate((40, 64, 64, 90, 33)):
        flat = flats.render(flats.random_spec(2, i), 2, i, side)
        Image.fromarray(flat).save(tmp_path / f"{i}.png")
    result = scored([tmp_path], tmp_path / "out" / "m.json", "judge")
    assert "fewer than ten splits" in format_table(result)

    class Broken(BrightnessClassifier):
        def probs(self, pixels):
            return super().probs(pixels) * np.nan

    with refused("cannot-be-scored"):
        scored([tmp_path], tmp_path / "out" / "n.json", Broken())


def test_floats_are_refused_whatever_their_range():
    image = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3))
    for images in (image, (image + 1) / 2, image.astype(np.float32)):
        for network in (
            JudgeClassifier().probs,
            PixelExtractor().features,
            JudgeAttributeClassifier().words,
        ):
            with pytest.raises(ValueError, match="give uint8"):
                network(images)
        with pytest.raises(ValueError, match="uint8"):
            name_colour(images[0])
