import json

import numpy as np
import pytest
from PIL import Image

from tvhelpers.config import InputError
from tvhelpers.score.features import InceptionClassifier, choose_classifier, inception_at_hand
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
    score = scored["metrics"]["inception_score"]
    assert score["n"] == 12 and score["details"]["plug_in"] == pytest.approx(4)
    assert score["details"]["num_groups"] == 4  # prompts, not pictures
    assert scored["classifier"] == "brightness" and scored["digest"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert format_table(result).count("12 images") == 2


def test_pictures_without_records_are_taken(folder, tmp_path):
    (folder / "records.jsonl").unlink()
    result = score_folders([folder], tmp_path / "m.json", BrightnessClassifier())
    assert result["folders"][0]["metrics"]["inception_score"]["n"] == 13


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


def test_inception_is_taken_only_with_the_right_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    assert inception_at_hand() is None
    with pytest.raises(InputError, match=r"weights-inception-2015-12-05.*torch-fidelity"):
        InceptionClassifier()
    (tmp_path / "inception").mkdir()
    wrong = tmp_path / "inception" / "weights-inception-2015-12-05-6726825d.pth"
    wrong.write_bytes(b"another file")
    assert inception_at_hand() == wrong
    with pytest.raises(InputError, match="not the file it claims to be"):
        InceptionClassifier()
    with pytest.raises(InputError, match="unknown classifier 'vgg'"):
        choose_classifier("vgg")
