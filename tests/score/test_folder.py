import json

import numpy as np
import pytest
from PIL import Image

from tvhelpers.config import InputError
from tvhelpers.score.folder import format_table, score_folders


class BrightnessClassifier:
    """Four classes by brightness: a stand-in whose answers are known."""

    name, digest = "brightness", "0"

    def probs(self, pixels):
        return np.eye(4)[(pixels.mean((1, 2, 3)) // 64).astype(int)]


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of four brightnesses, three seeds a prompt."""
    path = tmp_path / "pictures"
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
    result = score_folders([folder, folder], tmp_path / "metrics.json", BrightnessClassifier())
    scored = result["folders"][0]
    (score,) = scored["metrics"]
    assert score["name"] == "inception_score" and scored["n"] == score["n"] == 12
    assert sorted(scored["files"])[-1] == "9.png" and scored["chosen"] == "handed in"
    assert score["details"]["plug_in"] == pytest.approx(4)
    assert score["details"]["num_groups"] == 4  # prompts, not pictures
    assert scored["classifier"] == "brightness" and scored["digest"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert "n 12, cap 4" in format_table(result)
    (pair,) = result["pairs"]  # a folder against itself
    assert pair["metrics"][0]["value"] == 1 and pair["metrics"][0]["details"]["p"] == 1


def test_pictures_without_records_are_taken(folder, tmp_path):
    (folder / "records.jsonl").unlink()
    result = score_folders([folder], tmp_path / "m.json", BrightnessClassifier())
    assert result["folders"][0]["n"] == 13


def test_nothing_is_overwritten(folder, tmp_path):
    out = tmp_path / "metrics.json"
    score_folders([folder], out, BrightnessClassifier())
    score_folders([folder], out, BrightnessClassifier())  # equal: fine
    Image.new("RGB", (16, 16), "white").save(folder / "0.png")
    with pytest.raises(InputError, match="other results"):
        score_folders([folder], out, BrightnessClassifier())


def test_folders_that_cannot_be_scored(folder, tmp_path):
    def refused(path, sentence):
        with pytest.raises(InputError, match=sentence):
            score_folders([path], tmp_path / "m.json", BrightnessClassifier())
        assert not (tmp_path / "m.json").exists()

    refused(tmp_path / "nothing", "not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no pictures")
    (folder / "3.png").write_bytes(b"no picture")
    refused(folder, "3.png cannot be read")
    (folder / "3.png").unlink()
    refused(folder, "3.png is in records.jsonl but not there")


def test_records_that_cannot_be_trusted(folder, tmp_path):
    whole = (folder / "records.jsonl").read_text()

    def refused(text, sentence):
        (folder / "records.jsonl").write_text(text)
        with pytest.raises(InputError, match=sentence):
            score_folders([folder], tmp_path / "m.json", BrightnessClassifier())
        assert not (tmp_path / "m.json").exists()

    refused("", "names no picture")  # and grid.png is not scored in their place
    refused("{\n", "line 1 of .* is not JSON")
    refused("[1]\n", "is broken")
    refused('{"file": "0.png"}\n', "is broken .*prompt")
    refused(whole + whole, "names a picture twice")


def test_an_out_file_that_is_no_metrics_file_stays(folder, tmp_path):
    out = tmp_path / "notes.json"
    out.write_text("my notes")
    with pytest.raises(InputError, match="is not JSON"):
        score_folders([folder], out, BrightnessClassifier())
    assert out.read_text() == "my notes"
    with pytest.raises(InputError, match="is no regular file"):
        score_folders([folder], tmp_path, BrightnessClassifier())


def test_a_folder_of_equal_pictures_scores_one_and_says_why(tmp_path):
    for i in range(12):
        Image.new("RGB", (8, 8), "navy").save(tmp_path / f"{i}.jpg")
    result = score_folders([tmp_path], tmp_path / "out" / "m.json", BrightnessClassifier())
    (score,) = result["folders"][0]["metrics"]
    assert score["value"] == pytest.approx(1) and "no width" in format_table(result)


def test_a_single_picture_has_no_interval(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    result = score_folders([tmp_path], tmp_path / "out" / "m.json", BrightnessClassifier())
    assert result["folders"][0]["metrics"][0]["ci"] is None
    assert "no interval" in format_table(result)


class CountingClassifier(BrightnessClassifier):
    """Keeps how many pictures it was shown."""

    name, shown = "counting", 0

    def probs(self, pixels):
        self.shown += len(pixels)
        return super().probs(pixels)


def drawn(path, colours, prompts, order=None):
    """A folder of pictures with a square of a colour in the middle of white, and their records."""
    path.mkdir()
    records = []
    for i, (colour, prompt) in enumerate(zip(colours, prompts, strict=True)):
        picture = Image.new("RGB", (64, 64), "white")
        picture.paste(colour, (12, 12 + i % 3, 52, 52))
        picture.save(path / f"{i}.png")
        records.append({"file": f"{i}.png", "prompt": prompt, "seed": i})
    lines = [json.dumps(records[i]) + "\n" for i in order or range(len(records))]
    (path / "records.jsonl").write_text("".join(lines))
    return path


PROMPTS = [f"a {colour} {noun}" for noun in ("dress", "coat", "skirt") for colour in
           ("red", "blue", "green", "black")]  # fmt: skip


def test_the_measured_colour_is_that_of_the_prompt(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    right = drawn(tmp_path / "right", asked, PROMPTS)
    wrong = drawn(tmp_path / "wrong", ["purple"] * 4 + asked[4:], PROMPTS)
    result = score_folders([right, wrong], tmp_path / "m.json", BrightnessClassifier())
    first, second = (folder["metrics"][1] for folder in result["folders"])
    assert first["name"] == "colour" and first["value"] == 1 and second["value"] == 8 / 12
    row = next(row for row in result["pairs"][0]["metrics"] if row["name"].startswith("colour"))
    assert row["value"] == pytest.approx(-4 / 12) and row["details"]["p"] < 0.05
    assert "pair by pair" in format_table(result)


def test_order_and_cache_change_no_digit_and_nothing_is_computed_twice(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    there = drawn(tmp_path / "a", asked, PROMPTS)
    back = drawn(tmp_path / "b", asked, PROMPTS, order=[*range(11, -1, -1)])
    classifier, metrics = CountingClassifier(), []
    for i, folder in enumerate((there, back)):
        for cache in (None, tmp_path / "cache"):
            classifier.shown = 0
            out = tmp_path / f"{i}{bool(cache)}.json"
            result = score_folders([folder], out, classifier, features="judge", cache=cache)
            metrics.append(json.dumps(result["folders"][0]["metrics"]))
    assert len(set(metrics)) == 1
    assert classifier.shown == 0  # the last one found everything in the cache
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="damaged"):
        score_folders([there], tmp_path / "x.json", classifier, cache=tmp_path / "cache")


def test_distances_from_real_pictures(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    real = drawn(tmp_path / "real", asked, PROMPTS)
    near = drawn(tmp_path / "near", asked, PROMPTS)
    far = drawn(tmp_path / "far", ["yellow"] * 12, PROMPTS)
    result = score_folders([near, far], tmp_path / "m.json", BrightnessClassifier(), real=real)
    rows = [{row["name"]: row for row in folder["metrics"]} for folder in result["folders"]]
    assert rows[0]["kernel_distance"]["value"] < 0 < rows[1]["kernel_distance"]["value"]
    assert rows[1]["kernel_distance"]["details"]["p"] < 0.05
    assert rows[0]["precision"]["value"] == 1 and rows[1]["coverage"]["value"] < 1
    assert all(row["card"] for row in rows[0].values()) and result["real"]["n"] == 12
    few = drawn(tmp_path / "few", asked[:5], PROMPTS[:5])
    with pytest.raises(InputError, match="cannot be scored"):
        score_folders([few], tmp_path / "few.json", BrightnessClassifier(), real=real)


def test_other_prompts_are_not_compared(tmp_path):
    one = drawn(tmp_path / "one", ["red"] * 12, PROMPTS)
    other = drawn(tmp_path / "other", ["red"] * 12, [f"{prompt} on a hanger" for prompt in PROMPTS])
    result = score_folders([one, other], tmp_path / "m.json", BrightnessClassifier())
    assert not result["pairs"][0]["metrics"]
    assert "only pictures of the same prompts" in format_table(result)


def test_clip_score_by_another_clip_than_the_drawing_one(tmp_path):
    asked = [prompt.split()[1] for prompt in PROMPTS]
    right = drawn(tmp_path / "right", asked, PROMPTS)
    wrong = drawn(tmp_path / "wrong", asked[::-1], PROMPTS)
    result = score_folders([right, wrong], tmp_path / "m.json", BrightnessClassifier(), clip="mini")
    rows = [{row["name"]: row for row in folder["metrics"]} for folder in result["folders"]]
    assert rows[0]["clip_score"]["value"] > rows[1]["clip_score"]["value"]
    records = (right / "records.jsonl").read_text()
    (right / "records.jsonl").write_text(records.replace('"seed"', '"base": "mini", "seed"'))
    with pytest.raises(InputError, match="would flatter"):
        score_folders([right], tmp_path / "o.json", BrightnessClassifier(), clip="mini")
