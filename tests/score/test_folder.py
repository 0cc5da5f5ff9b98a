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
    assert scored["files"][-1] == "11.png" and scored["chosen"] == "handed in"
    assert score["details"]["plug_in"] == pytest.approx(4)
    assert score["details"]["num_groups"] == 4  # prompts, not pictures
    assert scored["classifier"] == "brightness" and scored["digest"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert format_table(result).count("12 images") == 2


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
