"""What a notebook does first, on a machine of its own and on a Colab that is made up here."""

import json
import os
import types
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ipywidgets")

from tests.helpers import refused
from tvhelpers import manifest
from tvhelpers.config import TrainConfig
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.records import claim_dir
from tvhelpers.show import notebook
from tvhelpers.show.intake import find_photos
from tvhelpers.show.settings import NotebookSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("TV_BASE", "TV_PRESET", "TV_DATA", "TV_ROOT", "TV_DATA_DIR", "HF_TOKEN"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(notebook, "_OURS", {})


def test_on_a_machine_of_ones_own(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    found = notebook.settings(use_drive=True)  # there is no Drive here: nothing to mount
    assert found.root == tmp_path / "work" and os.environ["TV_ROOT"] == str(found.root)
    assert (found.base, found.preset) == ("mini", "cpu") and "results in" in capsys.readouterr().out


def test_a_warning_is_one_line_without_code(monkeypatch, capsys):
    monkeypatch.setattr(notebook, "show_log", lambda: None)
    with warnings.catch_warnings(action="always"):
        notebook.start()
        warnings.warn("mini was not trained on 'belt'", stacklevel=1)
    assert capsys.readouterr().err.splitlines()[-1] == "warning: mini was not trained on 'belt'"


def test_the_environment_overrides_the_form(monkeypatch, tmp_path, colab):
    for name, value in {"BASE": "mini", "PRESET": "smoke", "DATA": "flats"}.items():
        monkeypatch.setenv(f"TV_{name}", value)
    monkeypatch.setenv("TV_ROOT", str(tmp_path / "mine"))
    found = notebook.settings("sd15", "t4", "fashion-synthesis", use_drive=True)
    assert (found.base, found.preset, found.data) == ("mini", "smoke", "flats")
    assert found.root == tmp_path / "mine" and found.quick and not colab.calls
    assert notebook.settings("mini").root == tmp_path / "mine"  # the cell is run again


def test_colab_keeps_results_on_its_disk_or_on_drive_as_the_form_says(colab):
    assert notebook.settings("mini").root == colab.work
    again = notebook.settings("mini", use_drive=True)  # the cell is run again, ticked
    assert again.root == colab.drive_dir / "textile-vision"
    assert colab.calls == [("mount", str(colab.mountpoint))]
    name = "runs/lora-mini-cpu"  # trained here, with a mirror where results are looked for
    assert again.train_dir("lora") == colab.work / name
    config = replace(again, data="flats").train_config()
    assert Path(config.mirror) / "lora-mini-cpu" == again.root / name
    assert again.local == colab.work  # of what is large: never read from a Drive


def test_a_gated_file_on_the_drive_is_copied_once_and_read_here(
    colab, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TV_DATA_DIR", "")
    colab.mount(colab.mountpoint)
    place = Path("fashion-synthesis", "Img", "G2.h5")
    there = colab.drive_dir / "textile-vision" / "data" / place
    assert notebook.settings("mini", data="auto", use_drive=True).data == "flats-new-season"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"HDF")
    capsys.readouterr()
    for copies in (1, 0):  # the cell is run twice
        found = notebook.settings("mini", data="auto", use_drive=True)
        assert found.data == "fashion-synthesis"
        assert capsys.readouterr().out.count("G2.h5 is on this machine") == copies
    here = manifest.local_path("fashion-synthesis") / "Img" / "G2.h5"
    assert here == colab.work / "data" / place and here.read_bytes() == b"HDF"
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "mine"))  # somebody's own place is kept
    assert notebook.settings("mini", data="auto", use_drive=True).data == "flats-new-season"


def test_ones_own_photos_come_from_the_drive_by_a_name_or_a_path(colab, tmp_path, monkeypatch):
    colab.mount(colab.mountpoint)
    monkeypatch.setenv("TV_DATA_DIR", "")
    there = colab.drive_dir / "textile-vision" / "data" / "mine"
    there.parent.mkdir(parents=True)
    wanted = open_source(_photos(there, 3)).captions
    for data in ("mine", str(there)):
        found = Path(notebook.settings("mini", data=data, use_drive=True).data)
        assert found.is_relative_to(colab.work) and found.name == "mine"
        assert open_source(found).captions == wanted
    both = notebook.settings("mini", data="mine + flats", use_drive=True).data  # joined
    assert both == f"{found} + flats"
    (there.parent / "G2.h5").write_bytes(b"HDF")
    found = notebook.settings("mini", data="G2.h5", use_drive=True).data
    assert Path(found).name == "G2.h5" and Path(found).read_bytes() == b"HDF"
    (tmp_path / "photos").mkdir()  # on this machine already
    here = str(tmp_path / "photos")
    assert notebook.settings("mini", data=here, use_drive=True).data == here


def test_what_is_not_there_is_said_by_the_cell_of_the_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = (({"data": "no-such"}, "source-missing"), ({"base": "/nope"}, "unknown-model"))
    for form, code in cases:
        with refused(code):
            notebook.settings(**{"base": "mini", **form})
    tv = notebook.settings("mini", data="flats")
    with refused("no-adapter"):
        tv.adapter("nope")
    with refused("bad-name"):
        tv.train_dir("my run/../x")


def test_a_notebook_shows_an_error_without_a_traceback(capsys):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    shell.run_cell("from tvhelpers.config import build_config\nbuild_config('no-such')")
    shown = capsys.readouterr().out
    assert shown.startswith("InputError: ") and "'no-such'" in shown and shown.count("\n") == 1


def test_paths_of_the_readme_are_those_of_the_folder_above_the_notebooks(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("TV_ROOT", "")
    photos = _photos(tmp_path / "photos", 20)
    run = Path(finished(tmp_path / "out" / "mine", data="photos")).parent
    tv = notebook.settings("mini", "cpu", data="photos")
    assert tv.data == str(photos) and tv.root == tmp_path / "notebooks" / "work"
    assert find_photos(tv, "photos") == photos
    assert tv.adapter("out/mine") == str(run) and tv.trained_data("out/mine") == str(photos)


def test_a_drive_that_is_refused_is_said(colab):
    colab.mount_error = ValueError("mount failed")
    with refused("drive-not-mounted"):
        notebook.settings("mini", use_drive=True)


def test_the_secret_is_taken_for_a_base_from_the_hub_alone(colab, monkeypatch, capsys):
    notebook.settings("mini")
    assert not colab.calls
    notebook.settings("sd15")
    assert os.environ["HF_TOKEN"] == "hf_x"
    monkeypatch.setenv("HF_TOKEN", "")
    colab.secrets = {}
    notebook.settings("sd15")
    assert "open models need none" in capsys.readouterr().out


def test_other_settings_get_a_folder_of_their_own(tmp_path):
    tv = NotebookSettings("mini", "cpu", "flats", tmp_path)

    def claim(number):
        return tv.in_own_folder("gallery", lambda folder: _claimed(folder, {"number": number}))

    first, second = claim(1), claim(2)
    assert first == tv.run_dir("gallery") and second == tv.run_dir("gallery-2")
    assert (claim(2), claim(1), claim(3)) == (second, first, tv.run_dir("gallery-3"))
    assert (first / "done").read_text() == "1"


def _claimed(folder, request):
    claim_dir(folder, request, "request")
    (folder / "done").write_text(str(request["number"]))
    return folder


def finished(folder, moment=0, **config):
    """Make what a finished run leaves, `moment` seconds after 1970."""
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").touch()
    (folder / "config.json").write_text(
        json.dumps({"steps": 20, "data": "flats", "base": "mini", **config})
    )
    (folder / "result.json").write_text("{}")
    os.utime(folder / "result.json", (moment, moment))
    return str(folder / "adapter.safetensors")


def test_an_adapter_is_the_newest_of_its_run_whatever_the_preset_and_said(tmp_path, capsys):
    tv = NotebookSettings("mini", "cpu", "flats", tmp_path)
    assert tv.adapter() == "shipped" == tv.first_adapter()
    assert "the one that mini comes with" in capsys.readouterr().out
    elsewhere = finished(tmp_path / "elsewhere")
    assert (tv.adapter("none"), tv.adapter(elsewhere)) == ("none", elsewhere)
    finished(tv.run_dir("lora", "t4"), 1)
    new, mine = finished(tv.run_dir("lora", "smoke"), 2), finished(tv.run_dir("mine", "a100"))
    (tv.run_dir("lora", "a100")).mkdir()
    (tv.run_dir("lora", "a100") / "config.json").write_text("{}")  # begun, and not finished
    assert (tv.adapter(), tv.adapter("mine"), tv.adapter("lora")) == (new, mine, new)
    assert f"adapter {new}: 20 steps on flats" in capsys.readouterr().out
    assert tv.first_adapter() == "shipped"  # also after notebook 04
    finished(tmp_path / "runs" / "lora-sd15-t4", 9, base="sd15")  # another base
    shop = finished(tv.run_dir("shop"), 3)
    assert tv.adapter() == shop and "the newest that was finished" in capsys.readouterr().out
    typed = finished(tmp_path / "runs" / "typed", 4)  # by the command `train`
    assert tv.adapter() == typed == tv.adapter("typed")


def test_a_base_without_an_adapter_asks_for_one(tmp_path):
    tv = NotebookSettings("sd15", "t4", "flats", tmp_path)
    assert tv.first_adapter() == "none"
    with refused("no-adapter"):
        tv.adapter()
    assert tv.adapter(or_none=True) == "none"
    own = finished(tv.run_dir("lora", "a100"), base="sd15")
    assert tv.adapter() == own == tv.first_adapter()


def test_copies_are_looked_for_in_what_the_adapter_was_trained_on(tmp_path, capsys):
    tv = NotebookSettings("mini", "cpu", "flats", tmp_path)
    assert tv.trained_on("shipped") == "flats-new-season"
    own = finished(tv.run_dir("lora"), data="flats-base")
    run = str(tv.run_dir("lora"))
    assert tv.trained_on(own) == run == tv.trained_on(run)
    assert "trained on flats-base\n" in capsys.readouterr().out
    assert not tv.trained_on(finished(tv.run_dir("gone"), data="no/such/folder"))
    assert "no/such/folder, were not found" in capsys.readouterr().out
    photos = _photos(tmp_path / "photos", 400)
    moved = finished(tv.run_dir("moved"), data="photos")  # relative to a folder that holds the run
    assert tv.trained_on(moved) and tv.trained_data("moved") == str(photos)


def test_the_data_are_those_of_the_adapter_where_the_form_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_ROOT", str(tmp_path / "work"))
    auto = partial(notebook.settings, "mini", "cpu", data="auto")
    tv = auto(adapter="")
    assert tv.data == "flats-new-season"  # of the adapter that mini comes with
    photos = _photos(tmp_path / "photos", 20)
    finished(tv.run_dir("shop"), 1, data="photos")
    assert auto(adapter="").data == str(photos) == auto(adapter="shop").data
    assert auto(adapter="shipped").data == "flats-new-season" == auto().data
    assert notebook.settings("mini", "cpu", data="flats", adapter="shop").data == "flats"
    finished(tv.run_dir("gone"), 2, data="no/such/folder")
    with refused("source-missing"):
        auto(adapter="gone")


def test_a_training_resumes_with_the_preset_that_it_was_started_with(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tv = notebook.settings("mini", run="lora")
    assert tv.preset == "cpu"
    finished(tv.run_dir("lora", "smoke"))  # a trial is no training
    assert notebook.settings("mini", run="lora").preset == "cpu"
    finished(tv.run_dir("lora", "a100"))
    capsys.readouterr()
    assert notebook.settings("mini", run="lora").preset == "a100"
    assert "lora-mini-a100 resumes with its preset" in capsys.readouterr().out
    assert notebook.settings("mini", "cpu", run="lora").preset == "cpu"  # the form's
    assert notebook.settings("mini", run="mine").preset == "cpu" == notebook.settings("mini").preset


@pytest.mark.parametrize(
    "capability, memory, preset",
    [((7, 5), 15, "t4"), ((7, 0), 32, "t4"), ((8, 9), 22, "l4"), ((8, 0), 40, "a100"),
     ((8, 0), 80, "a100"), ((9, 0), 80, "h100")],
)  # fmt: skip
def test_the_preset_is_the_cards(monkeypatch, tmp_path, capability, memory, preset):
    monkeypatch.chdir(tmp_path)
    card = types.SimpleNamespace(total_memory=memory * 2**30)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: card)
    (tmp_path / "work" / "data" / "mine").mkdir(parents=True)
    (tmp_path / "work" / "data" / "mine" / "metadata.csv").touch()
    found = notebook.settings()
    assert (found.base, found.preset) == ("sd15", preset)
    assert notebook.settings("mini").preset == "cpu"
    small = notebook.settings(gpu_gb=24)  # all of Stable Diffusion is trained
    assert (small.base, small.preset) == (("mini", "cpu") if memory < 20 else ("sd15", preset))


def test_examples_of_ones_own_data_are_validation_items_that_state_what_is_asked(tmp_path, capsys):
    tv = NotebookSettings("mini", "cpu", str(_photos(tmp_path, 400)), tmp_path)
    source = open_source(tv.data)
    found = tv.examples(1, 30, stating="colour")
    validation = {source.item_ids[i] for i in split_items(source, TrainConfig(eval_items=400))[1]}
    assert len(found) == 30 and {*found.item_ids} <= validation
    assert {row["colour"] for row in found.attributes} == {"red"}  # its caption says so
    assert np.array_equal(found.pixels(3), source.pixels(source.item_ids.index(found.item_ids[3])))
    prompts, classes, asked = tv.requests(1, 30)
    assert {*classes} <= {"category=dress", "category=coat"} and asked == [{}] * len(prompts)
    assert [*tv.correct(found, np.stack([found.pixels(i) for i in range(30)]))] == [
        "colour, measured"
    ]
    colours = iter(["Red", "khaki", "", "RED"] * 100)  # as the tables of shops have them
    table = tmp_path / "metadata.csv"
    first, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{first},colour", *(f"{row},{next(colours)}" for row in rows)]))
    found = tv.examples(1, 30, stating="colour")
    assert {row["colour"] for row in found.attributes} == {"red"} and "red" in found.captions[0]
    shown = np.stack([found.pixels(i) for i in range(len(found))])
    assert len(found) >= 20 and tv.correct(found, shown)["colour, measured"].all()
    few = NotebookSettings("mini", "cpu", str(_photos(tmp_path / "few", 12)), tmp_path)
    assert 6 <= len(few.examples(1, 30)) <= 12
    assert "training images are added" in capsys.readouterr().out


def test_of_large_data_as_many_are_encoded_as_are_drawn(tmp_path, capsys):
    tv = NotebookSettings("mini", "cpu", str(_photos(tmp_path, 40)), tmp_path)
    whole, part = tv.train_config(steps=5, batch_size=8), tv.train_config(steps=3, batch_size=8)
    assert (whole.sample, whole.flip, part.sample, part.flip) == (0, False, 24, False)
    assert "a random sample of so many of 40 is used" in capsys.readouterr().out
    assert tv.train_config(steps=3, batch_size=8, limit=30).limit == 30
    assert (tv.train_config().steps, tv.train_config().held_out) == (
        200,
        0.2,
    )  # chosen for 40 items


def test_data_without_a_category_are_refused(tmp_path):
    tv = NotebookSettings("mini", "cpu", str(_photos(tmp_path, 40, labelled=False)), tmp_path)
    with refused("not-stated"):
        tv.requests(1, 30)
    with refused("not-stated"):
        tv.examples(1, 30, stating="sleeve")


def _photos(folder, count, labelled=True):
    """Write photos of a red square with a caption, and half of them with a category."""
    folder.mkdir(exist_ok=True)
    pixels = np.full((32, 24, 3), 255, np.uint8)
    pixels[8:24, 6:18] = (200, 20, 20)
    rows = ["file_name,caption,product" + ",category" * labelled]
    for i in range(count):
        pixels[0, 0] = divmod(i, 256)[0], i % 256, 0
        Image.fromarray(pixels).save(folder / f"{i}.png")
        category = ("", "dress", "dress", "coat")[i % 4]
        rows.append(f"{i}.png,a red {('dress', 'coat')[i % 2]},{i}" + f",{category}" * labelled)
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder
