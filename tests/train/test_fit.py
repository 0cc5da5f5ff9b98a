"""A training chooses the numbers that fit its data, and resumes with those that it chose."""

import pytest

from tests.helpers import refused
from tests.train.helpers import same, stop_at
from tvhelpers.config import build_config, to_dict
from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.presets import FITS, PRESETS
from tvhelpers.progress import Interrupted
from tvhelpers.records import read_json, write_json
from tvhelpers.train.fit import fitted
from tvhelpers.train.resume import run_config
from tvhelpers.train.trainer import train

LORA = [name for name in PRESETS if "lora" in PRESETS[name]]


def source(count: int) -> Source:
    """Return a source of so many items, each of a product of its own, without pixels."""
    ids = [f"{i}" for i in range(count)]
    return Source("some", "f", [""] * count, ids, ids, [{}] * count, [""] * count)


@pytest.mark.parametrize("preset", LORA)
def test_steps_and_flips_and_validation_items_fit_the_data(preset):
    for count, held, flip in ((30, 8, False), (12, 4, False), (199, 20, False), (5000, 500, True)):
        config = fitted(build_config(preset), source(count))
        passes = config.steps * config.samples_per_step / (count - held)
        assert 200 <= config.steps <= 2000 and config.flip is flip
        assert config.steps in (200, 2000) or passes == pytest.approx(100, rel=0.01)
        assert round(config.held_out * count) == held
        assert (
            5 <= config.steps / config.eval_steps <= 10 and config.warmup_steps < config.steps / 8
        )
        assert fitted(config, source(count)) == config
    own = dict(steps=7, held_out=0.3, flip=True, eval_steps=3, warmup_steps=2, keep="last")
    given = build_config(preset, **own)
    assert fitted(given, source(30)) == given  # what a user gives wins


def test_only_lora_has_numbers_that_fit():
    for preset in PRESETS:
        for method in ("full", "baseline"):
            config = to_dict(build_config(preset, method=method))
            assert not [key for key in FITS if config[key] == FITS[key] and not config["epochs"]]
    for settings in ({"steps": 0}, {"held_out": 0}):
        with refused("out-of-range"):
            build_config(method="full", **settings)
    with refused("not-for-method"):
        build_config(method="full", keep="best")
    assert build_config(flip="auto").flip is None and build_config(flip="false").flip is False


@pytest.fixture
def few(settings):
    """Settings of a quick training that leaves the rest to the data."""
    rest = {key: value for key, value in settings.items() if key not in FITS}
    return rest | {"epochs": 2, "batch_size": 3}


def test_the_settings_of_a_run_are_numbers_and_it_resumes_with_them(few, tmp_path, caplog):
    config = build_config(**few)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", preview=stop_at(4))
    assert "11 steps of 3 images, 2.1 passes over 16 training items" in caplog.text
    record = read_json(tmp_path / "cut" / "config.json")
    assert (record["held_out"], record["flip"]) == (round(1 / 3, 6), False)
    assert (record["eval_steps"], record["warmup_steps"]) == (2, 0)
    train(config, tmp_path / "cut")
    assert train(config, tmp_path / "cut")["num_items"] == 16
    train(config, tmp_path / "whole")
    for name in ("adapter.safetensors", "adapter_last.safetensors", "eval.jsonl", "result.json"):
        assert same(tmp_path / "cut", tmp_path / "whole", name)
    with refused("another-request"):
        train(build_config(**few, flip=True), tmp_path / "cut")


@pytest.mark.parametrize("old", [True, False], ids=["of before", "of today"])
def test_a_value_that_fits_gives_way_to_what_the_folder_has(settings, tmp_path, old):
    numbers = {key: settings[key] for key in ("steps", "held_out", "eval_steps")} | {"flip": True}
    with pytest.raises(Interrupted):
        own = {**settings, **numbers, "warmup_steps": 1, "keep": "last" if old else "best"}
        train(build_config(**own), tmp_path / "run", preview=stop_at(6))
    path = tmp_path / "run" / "config.json"
    if old:
        new = ("keep", "keep_snapshots", "patience")
        write_json(path, {key: value for key, value in read_json(path).items() if key not in new})
    rest = {key: value for key, value in settings.items() if key not in FITS}
    for given in ({}, {"steps": "0", "flip": "auto", "held_out": "0"}):
        config = run_config(tmp_path / "run", "", **rest, **given)
        assert (config.steps, config.flip, config.keep) == (12, True, own["keep"])
    result = train(build_config(**rest), tmp_path / "run")  # from Python: the preset's values
    assert result["steps"] == 12 and read_json(path)["steps"] == 12
    assert (tmp_path / "run" / "adapter_last.safetensors").exists() is not old


def test_an_unchosen_folder_of_other_data_chooses_again(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_json(run / "config.json", {**to_dict(build_config(steps=999)), "steps": 999})
    write_json(run / "held_out.json", ["1"])
    assert run_config(run).steps == 0


def test_few_large_products_leave_two_thirds_to_train_on():
    own = source(12)
    for sizes in ((1, 4, 7), (2, 3, 7), (4, 4, 4), (2, 2, 8)):
        own.product_ids = [f"{i}" for i, size in enumerate(sizes) for _ in range(size)]
        for seed in range(8):
            config = fitted(build_config(split_seed=seed), own)
            train_items, held = split_items(own, config)
            assert 0 < len(held) <= 4 and len(train_items) + len(held) == 12
    own.product_ids = ["one"] * 6 + ["other"] * 6  # neither is smaller
    assert len(split_items(own, fitted(build_config(), own))[1]) == 6


def test_few_products_are_split_all_the_same(photo_folder):
    config = fitted(build_config(limit=4), open_source(photo_folder))
    assert 0 < config.held_out <= 0.5
    with refused("too-few-items"):
        fitted(build_config(limit=1), open_source(photo_folder))
