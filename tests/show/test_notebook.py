"""What a notebook does first, on a machine of its own and on a Colab that is made up here."""

import os
import sys
import types
from pathlib import Path

import pytest

pytest.importorskip("ipywidgets")

from tvhelpers.config import InputError
from tvhelpers.runtime import claim_dir
from tvhelpers.show import notebook


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("TV_BASE", "TV_PRESET", "TV_DATA", "TV_ROOT", "HF_TOKEN"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(notebook, "_OURS", {})


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A google.colab with a Drive and secrets; its calls are noted in .calls."""
    fake = types.SimpleNamespace(calls=[], secrets={"HF_TOKEN": "hf_x"}, drive_error=None)

    def mount(folder):
        fake.calls.append(("mount", folder))
        if fake.drive_error:
            raise fake.drive_error

    def get(name):
        fake.calls.append(("secret", name))
        return fake.secrets[name]

    package = types.ModuleType("google.colab")
    package.drive = types.SimpleNamespace(mount=mount)
    package.userdata = types.SimpleNamespace(get=get)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", package)
    sys.modules["google"].colab = package
    monkeypatch.setattr(notebook, "COLAB_ROOT", tmp_path / "content")
    monkeypatch.setattr(notebook, "DRIVE", tmp_path / "drive")
    return fake


def test_on_a_machine_of_ones_own(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    found = notebook.settings(use_drive=True)  # there is no Drive here: nothing to mount
    assert found.root == tmp_path / "work" and os.environ["TV_ROOT"] == str(found.root)
    assert (found.base, found.preset) == ("mini", "cpu") and "results in" in capsys.readouterr().out


def test_the_environment_overrides_the_form(monkeypatch, tmp_path, colab):
    for name, value in {"BASE": "mini", "PRESET": "smoke", "DATA": "flats"}.items():
        monkeypatch.setenv(f"TV_{name}", value)
    monkeypatch.setenv("TV_ROOT", str(tmp_path / "mine"))
    found = notebook.settings("sd15", "t4", "fashion-synthesis", use_drive=True)
    assert (found.base, found.preset, found.data) == ("mini", "smoke", "flats")
    assert found.root == tmp_path / "mine" and found.quick and not colab.calls


def test_colab_keeps_results_on_its_disk_or_on_drive_as_the_form_says(colab, tmp_path):
    assert notebook.settings("mini").root == tmp_path / "content"
    again = notebook.settings("mini", use_drive=True)  # the cell is run again, ticked
    assert again.root == tmp_path / "drive" / "MyDrive" / "textile-vision"
    assert colab.calls == [("mount", str(tmp_path / "drive"))]
    name = "runs/lora-mini-cpu"  # trained here, with a mirror where results are looked for
    assert again.train_dir("lora") == tmp_path / "content" / name
    assert Path(again.train_config().mirror) / "lora-mini-cpu" == again.root / name


def test_a_drive_that_is_refused_is_said(colab):
    colab.drive_error = ValueError("mount failed")
    with pytest.raises(InputError, match="untick USE_DRIVE"):
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
    tv = notebook.Settings("mini", "cpu", "flats", tmp_path)

    def claim(number):
        return tv.apart("gallery", lambda folder: _claimed(folder, {"number": number}))

    first, second = claim(1), claim(2)
    assert first == tv.run_dir("gallery") and second == tv.run_dir("gallery-2")
    assert (claim(2), claim(1), claim(3)) == (second, first, tv.run_dir("gallery-3"))
    assert (first / "done").read_text() == "1"


def _claimed(folder, request):
    claim_dir(folder, request, "work")
    (folder / "done").write_text(str(request["number"]))
    return folder


def test_an_adapter_is_named_by_its_run_or_its_path(tmp_path):
    tv = notebook.Settings("mini", "cpu", "flats", tmp_path)
    assert tv.adapter() is None
    assert (tv.adapter("none"), tv.adapter("/x/y.safetensors")) == ("none", "/x/y.safetensors")
    files = {name: tv.run_dir(name) / "adapter.safetensors" for name in ("lora", "mine")}
    for file in files.values():
        file.parent.mkdir(parents=True)
        file.touch()
    assert (tv.adapter(), tv.adapter("mine")) == (str(files["lora"]), str(files["mine"]))
