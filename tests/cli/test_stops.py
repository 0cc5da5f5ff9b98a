"""Long commands that are stopped or lose their drive: one sentence, and nothing is lost."""

import builtins
import errno
import shutil

import pytest
from tqdm.auto import tqdm

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.sources import open_source

COMMANDS = {
    "generate": "generate dress coat --base BASE --out OUT --steps 1 --batch-size 1 --device cpu",
    "convert": "data convert PHOTOS --out OUT --to images",
    "latents": "data convert PHOTOS --to latents --base BASE --size 64",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_says_how_to_resume_and_loses_nothing(
    name, run, tiny_base, photo_folder, tmp_path, monkeypatch
):
    places = {"BASE": tiny_base, "PHOTOS": photo_folder, "OUT": tmp_path / "out"}
    words = COMMANDS[name]
    for place, path in places.items():
        words = words.replace(place, str(path))
    update, calls, last = tqdm.update, [], 1 if name == "latents" else 2

    def stop(bar, count=1):
        update(bar, count)
        calls.append(count)
        if len(calls) == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tqdm, "update", stop)
        code, _, err = run(*words.split())
    assert code == 130, err
    assert err.splitlines()[-2:] == ["stopped", f"to resume: python -m tvhelpers {words}"]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/0*.png")}
    code, _, err = run(*words.split())
    assert code == 0, err
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert kept or name == "latents"


def lose(monkeypatch, folder):
    """Make reading of the third file of a folder, and of all later ones, fail like a lost drive."""
    opened, read = builtins.open, set()

    def fail(file, *args, **how):
        if str(file).startswith(str(folder)) and str(file).endswith(".png"):
            read.add(str(file))
            if len(read) > 2:
                raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(file))
        return opened(file, *args, **how)

    monkeypatch.setattr(builtins, "open", fail)


def test_a_drive_that_is_lost_is_said_once_and_the_same_command_goes_on(
    run, photo_folder, tmp_path, monkeypatch
):
    words = ["data", "convert", photo_folder, "--out", tmp_path / "out"]
    with monkeypatch.context() as patch:
        lose(patch, photo_folder)
        code, _, err = run(*words)
    assert code == 2 and err.count("error:") == 1 and "Transport endp" in err, err
    assert "damaged" not in err and "replace" not in err
    assert run(*words)[0] == 0 and len(open_source(tmp_path / "out")) == 24
    source = open_source(photo_folder)
    lose(monkeypatch, photo_folder)
    source.pixels(0), source.pixels(1)
    with refused("folder-gone"):
        source.pixels(2)


def test_a_zip_and_a_second_command_are_refused_in_a_sentence(
    refuse, tiny_base, photo_folder, tmp_path
):
    from tvhelpers.files import writing

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.docx").write_text("x")
    archive = shutil.make_archive(tmp_path / "photos", "zip", tmp_path / "notes")
    start = ["train", "lora", "--out", tmp_path / "run", "--set", f"base={tiny_base}", "--data"]
    assert "unpack it" in refuse("another-format", *start, archive)
    assert "a.docx" in refuse("no-images", *start, tmp_path / "notes")
    with writing(tmp_path / "run"):
        refuse("at-work", *start, photo_folder)
    with writing(tmp_path / "out"):
        refuse("at-work", "data", "convert", photo_folder, "--out", tmp_path / "out")
        refuse("at-work", "generate", "a dress", "--base", tiny_base, "--out", tmp_path / "out")
    shipped = ["--base", tiny_base, "--adapter", cli.__file__.replace("__init__.py", "none")]
    refuse("file-missing", "generate", "a dress", *shipped, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
