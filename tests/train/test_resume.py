"""A training resumes with the settings of its folder where the user gives none."""

import re
import shutil

import pytest

from tvhelpers.config import build_config, to_dict
from tvhelpers.errors import InputError
from tvhelpers.presets import PRESETS
from tvhelpers.records import check_claim, read_json, write_json
from tvhelpers.train.resume import MAY_DIFFER, run_config


@pytest.fixture
def begin(tmp_path):
    """Return a function that writes the folder of an unfinished training and returns it."""

    def begin(folder="run", without=(), **settings):
        run = tmp_path / folder
        (run / "checkpoints" / "step-000010").mkdir(parents=True)
        (run / "checkpoints" / "step-000010" / "state.pt").touch()
        record = to_dict(build_config(**settings)) | {"base_digest": "b", "data_fingerprint": "d"}
        write_json(
            run / "config.json", {key: record[key] for key in record if key not in {*without}}
        )
        return run

    return begin


def taken(run, config) -> list[str]:
    """Return the settings for which the folder is refused by `config()`, or for its config."""
    try:
        request = {**to_dict(config()), "base_digest": "b", "data_fingerprint": "d"}
        check_claim(run, request, "training", "config.json", MAY_DIFFER)
    except InputError as error:
        names = re.sub(r" \(.*?, not .*?\)", "", str(error).partition("with other")[2])
        return re.findall(r"'(\w+)'", names)
    return []


def test_a_changed_default_or_preset_row_leaves_a_begun_training_as_it_is(begin, monkeypatch):
    named, unnamed = begin("named", preset="t4"), begin("unnamed", rank=5, steps=500)
    monkeypatch.setitem(PRESETS, "t4", {**PRESETS["t4"], "batch_size": 2, "resolution": 256})
    monkeypatch.setitem(PRESETS, "default", {"steps": 9, "rank": 3})
    for preset in ("", "t4"):
        config = run_config(named, preset, method="lora")
        assert (config.batch_size, config.resolution, config.preset) == (4, 512, "t4")
        assert taken(named, lambda config=config: config) == []
    config = run_config(unnamed, method="lora")
    assert (config.steps, config.rank) == (500, 5) and taken(unnamed, lambda: config) == []
    new = run_config(unnamed.with_name("new"), "t4")
    assert (new.batch_size, new.resolution) == (2, 256)


def test_a_value_that_is_given_makes_it_another_training(begin):
    run = begin(rank=5, steps=7)
    assert taken(run, lambda: run_config(run, rank="6")) == ["rank"]
    assert taken(run, lambda: run_config(run, rank="5")) == []
    assert "method" in taken(run, lambda: run_config(run, method="full"))


@pytest.mark.parametrize(
    "wrong", [{"targets": "atention"}, {"batch_size": 0}, {"classes": "category"}]
)
def test_a_wrong_value_is_said_as_in_a_new_folder(begin, wrong):
    codes = []
    for run in (begin(), begin("other").with_name("new")):
        with pytest.raises(InputError) as caught:
            run_config(run, **wrong)
        codes.append((caught.value.code, str(caught.value)))
    assert codes[0] == codes[1] and codes[0][0] != "another-request"


def test_another_preset_is_another_training(begin):
    run = begin(preset="t4")
    assert taken(run, lambda: run_config(run, "a100")) == ["preset"]
    assert taken(run, lambda: run_config(run, "a100", rank=9)) == ["rank"]
    assert taken(run, lambda: run_config(run, "default", rank=9)) == ["rank"]


def test_a_folder_that_names_no_preset_resumes_with_the_one_that_fits(begin, monkeypatch):
    run = begin(preset="t4", without=["preset"])
    monkeypatch.setitem(PRESETS, "default", {"eval_steps": 50})
    assert taken(run, lambda: run_config(run, "t4")) == []
    assert taken(run, lambda: run_config(run, "a100")) == ["dtype"]
    # without a named preset, the folder's settings are used
    assert taken(run, lambda: run_config(run)) == []


def test_what_is_of_the_machine_is_of_the_call(begin):
    run = begin(device="cpu", memory_gb=3.0, checkpoint_steps=7)
    config = run_config(run, mirror="gone", checkpoint_steps=9)
    assert (config.device, config.memory_gb, config.mirror) == ("auto", 0, "gone")
    assert config.checkpoint_steps == 9 and run_config(run).checkpoint_steps == 7


def test_a_run_that_only_its_mirror_has_resumes_with_its_settings(begin, tmp_path):
    begin("drive/run", rank=5)
    assert run_config(tmp_path / "new" / "run", mirror=str(tmp_path / "drive")).rank == 5
    assert run_config(tmp_path / "new" / "run").rank == 8


def test_a_folder_with_a_former_name_resumes(begin):
    run = begin(method="baseline", start="unconditional")
    record = {**read_json(run / "config.json"), "start": "deaf"}  # stable name
    write_json(run / "config.json", record)
    for start in ({}, {"start": "deaf"}, {"start": "unconditional"}):  # stable name
        config = run_config(run, method="baseline", **start)
        assert config.start == "unconditional" and taken(run, lambda config=config: config) == []


def test_a_claim_that_came_to_nothing_gives_way(begin):
    run = begin(rank=5)
    shutil.rmtree(run / "checkpoints")
    assert run_config(run).rank == 8
