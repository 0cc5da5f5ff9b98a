import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tests.score.report_helpers import BrightnessClassifier, scored
from tvhelpers import flats
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.score import registry
from tvhelpers.score.attributes import JudgeAttributeClassifier
from tvhelpers.score.colour import name_colour
from tvhelpers.score.features import JudgeClassifier, PixelExtractor
from tvhelpers.score.image_folder import open_folder
from tvhelpers.score.metrics import mean_score
from tvhelpers.score.registry import Metric
from tvhelpers.score.report import format_table
from tvhelpers.show.scores import by_metric, write_figures


@pytest.fixture
def folder(tmp_path):
    """Twelve images of four brightnesses, three seeds a prompt."""
    path = tmp_path / "images"
    path.mkdir()
    with open(path / "records.jsonl", "w", encoding="utf-8") as file:
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
    score, alike = one["metrics"]
    assert (alike["name"], alike["value"]) == ("duplicates", 0)  # within a prompt they may be equal
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
    assert [row["name"] for row in rows] == ["inception_score", "duplicates"]


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
    check("{\n", "not-json")
    check("[1]\n", "not-a-record")
    check('{"file": "0.png"}\n', "missing-key")
    check(whole + whole, "records-broken")


def test_an_out_file_that_is_no_metrics_file_stays(folder, tmp_path):
    out = tmp_path / "notes.json"
    out.write_text("my notes")
    with refused("file-exists"):
        scored([folder], out, BrightnessClassifier())
    assert out.read_text() == "my notes"
    with refused("not-a-file"):
        scored([folder], tmp_path, BrightnessClassifier())


def test_a_folder_of_equal_images_scores_one_and_says_why(tmp_path):
    for i in range(12):
        Image.new("RGB", (8, 8), "navy").save(tmp_path / f"{i}.jpg")
    result = scored([tmp_path], tmp_path / "out" / "m.json", BrightnessClassifier())
    (score,) = result["folders"][0]["metrics"]
    assert score["value"] == pytest.approx(1) and "no interval can be given" in format_table(result)


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
    """A folder of drawings, outlined squares of a colour on white, and their records."""
    path.mkdir()
    records = []
    for i, (colour, prompt) in enumerate(zip(colours, prompts, strict=True)):
        image = Image.new("RGB", (64, 64), "white")
        image.paste("black", (12, 12 + i % 3, 52, 52))
        image.paste(colour, (14, 14 + i % 3, 50, 50))
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
    assert rows[0]["precision"]["value"] == 1 and not {"precision", "coverage"} & {*rows[1]}
    assert "vary" in result["folders"][1]["notes"][0]  # all of one colour: precision flatters them
    assert all(row["card"] for row in rows[0].values()) and result["real"]["n"] == 12
    few = drawn(tmp_path / "few", asked[:5], PROMPTS[:5])
    (rest,) = scored([few], tmp_path / "few.json", BrightnessClassifier(), real=real)["folders"]
    assert "5 images are too few" in rest["notes"][0]  # and no other figure is lost
    assert [row["name"] for row in rest["metrics"]] == ["inception_score", "colour", "duplicates"]


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
    out = tmp_path / "n.json"
    (rest,) = scored([folder], out, BrightnessClassifier(), train=str(photo_folder))["folders"]
    assert "validation" in rest["notes"][0] and rest["metrics"][0]["name"] == "inception_score"


def test_mixed_sizes_few_images_and_nan_features_give_a_note_or_an_error(tmp_path):
    for i, side in enumerate((64, 64, 90, 128, 72)):
        flat = flats.render(flats.random_spec(2, i), 2, i, side)
        Image.fromarray(flat[:, 8 * (i % 2) :]).save(tmp_path / f"{i}.png")  # some are tall
    result = scored([tmp_path], tmp_path / "out" / "m.json", "judge")
    measured = result["folders"][0]["metrics"][0]
    assert any("ten splits" in note for note in measured["warnings"])
    assert measured["warnings"][0] in format_table(result)

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


def test_hidden_and_unread_images_are_not_scored(tmp_path, recwarn):
    for name in ("a.png", "sub/b.png", "._a.png", ".thumbnails/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    (tmp_path / "c.heic").write_bytes(b"\0\0\0\x18ftypheic")
    os.mkfifo(tmp_path / "d.png")
    assert [file.name for file in open_folder(tmp_path).files] == ["a.png"]
    assert sorted(len(warning.message.names) for warning in recwarn) == [1, 1, 1, 2]
