"""Which networks judge a notebook's images: by the kind of the data, fetched on Colab alone."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.sources import open_source
from tvhelpers.score import features
from tvhelpers.score.attributes import JudgeAttributeClassifier
from tvhelpers.show import networks
from tvhelpers.show.scores import notes_of
from tvhelpers.show.settings import NotebookSettings


def settings(tmp_path, data="flats"):
    return NotebookSettings("mini", "cpu", str(data), tmp_path)


@pytest.fixture
def photos(tmp_path):
    """Eighty noisy photos of two labelled categories, on a floor."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    rows = ["file_name,caption,category,colour"]
    for i in range(80):
        pixels = np.clip(rng.normal(120, 20, (40, 40, 3)), 0, 255).astype(np.uint8)
        pixels[8:32, 10:30] = (200, 30, 30) if i % 2 else (30, 30, 200)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        kind, colour = (("dress", "red"), ("coat", "blue"))[1 - i % 2]
        rows.append(f"{i}.png,a {colour} {kind},{kind},{colour}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_photos_are_named_by_a_clip_with_the_words_of_their_labels(
    tmp_path, photos, tiny_clip, capsys
):
    tv = settings(tmp_path, photos)
    real = tv.examples(1, 10, stating="colour")
    clip = tiny_clip(tmp_path / "clip", "clip")
    classifier = networks.attribute_classifier(tv, real, str(clip))
    assert classifier.heads == {"category": ("coat", "dress"), "colour": ("blue", "red")}
    shown = np.stack([real.pixels(i) for i in range(len(real))])
    correct = tv.correct(real, shown, classifier)
    assert {"category", "colour", "all", "colour, measured"} == {*correct}
    assert correct["colour, measured"].all()
    assert networks.attribute_classifier(tv, real, "none") is None
    assert networks.attribute_classifier(tv, real) is None  # FashionCLIP is not here: one line
    assert "only the colour is measured" in capsys.readouterr().out
    everything = open_source(photos)
    assert networks.attribute_classifier(tv, everything, str(clip)) is None
    assert "too few" in capsys.readouterr().out
    flats = networks.attribute_classifier(settings(tmp_path), FlatsSource(1, 4), "none")
    assert isinstance(flats, JudgeAttributeClassifier)


def test_no_inception_score_of_photos_by_the_judge(monkeypatch):
    monkeypatch.setattr(features, "find_inception", lambda: None)
    flats, rng = FlatsSource(3, 12), np.random.default_rng(0)
    drawn = np.stack([flats.pixels(i) for i in range(12)])
    probs, scores, why = networks.inception_scores({"base": drawn}, flats.captions)
    assert scores["base"].value > 1 and len(probs["base"]) == 12 and "mini judge" in why
    photos = rng.integers(0, 256, (12, 32, 32, 3), np.uint8)
    probs, scores, why = networks.inception_scores({"base": drawn, "real": photos}, flats.captions)
    assert not probs and not scores and "0 of 12 images in real" in why


def test_inception_is_fetched_on_colab_for_photos_and_leaves_torch_alone(
    tmp_path, photos, colab, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr(networks, "missing_for_inception", lambda: ["weights", "torch_fidelity"])
    monkeypatch.setattr(networks, "obtain", lambda name: asked.append(name))
    monkeypatch.setattr(networks.subprocess, "run", lambda command, **_: asked.append(command))
    networks.get_inception(settings(tmp_path))  # drawings
    assert not asked
    networks.get_inception(settings(tmp_path, photos))
    assert "--no-deps" in asked[0] and asked[0][-1] == "torch-fidelity" and asked[1] == "inception"

    def offline(*args, **options):
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(networks.subprocess, "run", offline)
    networks.get_inception(settings(tmp_path, photos))
    (line,) = capsys.readouterr().out.splitlines()
    assert "no Inception Score, all else is there" in line


def test_photos_and_drawings_are_not_put_into_one_study(tmp_path, photos, capsys):
    flats, paths = FlatsSource(4, 12), []
    for i in range(12):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(flats.pixels(i)).save(paths[-1])
    assert networks.alike(flats, {"base": paths}) is flats
    assert networks.alike(open_source(photos), {"base": paths}) is None
    assert "raters see no real images" in capsys.readouterr().out


def test_a_note_is_given_once_and_missing_attributes_are_one_line():
    note = "no inception_score: the judge knows drawings only, and 0 of 9 in {} look like drawings"
    rows = {"metrics": [], "notes": []}
    folders = [rows | {"dir": place, "notes": [note.format(place)]} for place in ("/a/b", "/a/c")]
    first, second = notes_of({"folders": folders}, ["base", "adapted"])
    assert first == "note: " + note.format("base") and "no attribute and stratum" in second
    named = {"metrics": [{"name": "attribute:category"}], "notes": []}
    assert notes_of({"folders": [named | {"dir": "/a/b"}]}, ["base"]) == []
