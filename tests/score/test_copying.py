"""Copying: planted copies are found, none are found where there are none."""

import json

import numpy as np
import pytest

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.config import TrainConfig
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.score import copying as module
from tvhelpers.score.copying import CopyCheck, copying, nearest
from tvhelpers.score.features import PixelExtractor


def test_the_nearest_is_that_of_all_pairs(monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", 7)
    rng = np.random.default_rng(0)
    train, a, b = rng.normal(size=(40, 5)), rng.normal(size=(9, 5)), rng.normal(size=(4, 5))
    found = nearest([a, b], 40, lambda numbers: train[list(numbers)])
    for side, (distance, which) in zip((a, b), found, strict=True):
        every = np.sqrt(np.square(side[:, None] - train).mean(2))
        assert (
            distance == pytest.approx(every.min(1)) and which.tolist() == every.argmin(1).tolist()
        )
    with pytest.raises(ValueError, match="NaN"):
        nearest([a * np.nan], 40, lambda numbers: train[list(numbers)])


def test_who_copies_nothing_has_one_percent_and_the_interval_says_so():
    covered, found = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        result = copying(rng.normal(10, 1, 138), rng.normal(10, 1, 400))
        covered.append(result.ci[0] <= 0.01 <= result.ci[1])
        found.append(result.ci[0] > 0.01)
    assert np.mean(covered) >= 0.95 and np.mean(found) <= 0.025


def test_planted_copies_are_counted():
    rng = np.random.default_rng(0)
    distances = rng.normal(10, 1, 200)
    distances[:40] = 0.5
    result = copying(distances, rng.normal(10, 1, 400))
    assert 0.2 <= result.value <= 0.22 and result.ci[0] > 0.1 and result.details["expected"] == 0.01
    assert result.details["nearer_than_validation"] > 0.55
    groups = np.repeat(np.arange(50), 4)
    wide = copying(distances, rng.normal(10, 1, 400), groups).ci
    assert wide[1] - wide[0] > result.ci[1] - result.ci[0]
    with pytest.raises(ValueError, match="too few to detect"):
        copying(distances, distances[:19])
    with pytest.raises(ValueError, match="NaN"):
        copying(distances * np.nan, distances)
    assert "the limit is the nearest" in copying(distances, distances[:30]).warnings[0]


def test_pairs_name_the_training_image(tmp_path, monkeypatch):
    train, extractor = FlatsSource(3, 60, name="train"), PixelExtractor()
    check = CopyCheck(extractor, train, FlatsSource(4, 30, name="validation"), tmp_path)
    drawn = [flats.render(flats.random_spec(9, i), 9, i) for i in range(12)]
    drawn[5] = train.pixels(17)
    features = extractor.features(np.stack(drawn))
    (result,) = check.results([(features, list(map(str, range(12))))])
    with monkeypatch.context() as patch:  # a second time nothing is drawn
        patch.setattr(FlatsSource, "pixels", None)
        assert check.results([(features, list(map(str, range(12))))]) == [result]
    first = result.details["top"][0]
    assert (first["image"], first["train_number"]) == (5, 17) and first["distance"] < 1e-3
    assert first["train_item"] == train.item_ids[17] and first["validation_as_near"] == 0
    assert result.value == pytest.approx(1 / 12)
    with refused("same-source"):  # no distance would be a copy's
        CopyCheck(extractor, train, FlatsSource(3, 60, name="again"))
    own = CopyCheck(extractor, train)  # the split of a training
    assert not {*own.items} & {*own.validation_items}
    assert len(own.items) + len(own.validation_items) == 60


def test_of_a_training_the_images_are_those_that_it_was_trained_on(photo_folder, tmp_path, caplog):
    source = open_source(str(photo_folder))
    record = {"steps": 1, "data": str(photo_folder), "held_out": 0.4, "split_seed": 3, "limit": 20}
    (tmp_path / "result.json").write_text("{}")
    for more in ({}, {"data_fingerprint": "another"}):
        (tmp_path / "config.json").write_text(json.dumps(record | more))
        check = CopyCheck(PixelExtractor(), str(tmp_path))
        assert ("has changed" in caplog.text) is bool(more)
    wanted = split_items(source, TrainConfig(held_out=0.4, split_seed=3, limit=20))
    assert [check.items, check.validation_items] == [side.tolist() for side in wanted]
    assert len(check.validation_items) == 8
