"""Long commands that are stopped or lose their drive: one sentence, and nothing is lost."""

import builtins
import errno
import http.server
import json
import pkgutil
import re
import shutil
import threading
from functools import partial

import pytest

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.sources import open_source
from tvhelpers.files import LEFT

COMMANDS = {
    "generate": "generate dress coat --base BASE --out OUT --steps 1 --batch-size 1 --device cpu",
    "convert": "data convert PHOTOS --out OUT --to images",
    "latents": "data convert PHOTOS --to latents --base BASE --size 64",
}
BAR = "tqdm.std.tqdm.update"


def stop_at(patch, target: str, last: int) -> list:
    """Make the call number `last` of a function end as by Ctrl-C; return the list of its calls."""
    function, calls = pkgutil.resolve_name(target), []

    def stop(*args, **how):
        found = function(*args, **how)
        calls.append(args)
        if len(calls) == last:
            raise KeyboardInterrupt
        return found

    patch.setattr(target, stop)
    return calls


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_says_how_to_resume_and_loses_nothing(
    name, run, tiny_base, photo_folder, tmp_path, monkeypatch
):
    places = {"BASE": tiny_base, "PHOTOS": photo_folder, "OUT": tmp_path / "out"}
    words = COMMANDS[name]
    for place, path in places.items():
        words = words.replace(place, str(path))
    with monkeypatch.context() as patch:
        stop_at(patch, BAR, {"latents": 1, "generate": 2, "convert": 24 + 2}[name])  # after sizes
        code, _, err = run(*words.split())
    assert code == 130, err
    assert err.splitlines()[-2:] == ["stopped", f"to resume: python -m tvhelpers {words}"]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/0*.png")}
    code, _, err = run(*words.split())
    assert code == 0, err
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert kept or name == "latents"


@pytest.fixture
def places(photo_folder, tmp_path, monkeypatch):
    """What stands for words of OTHERS: two galleries, a manifest's row `mine`, and a folder."""
    for name, step in (("a", 1), ("b", -1)):
        gallery, files = shutil.copytree(photo_folder, tmp_path / name), range(24)[::step]
        rows = [{"file": f"{n:03d}.png", "prompt": f"red dress {i}"} for i, n in enumerate(files)]
        (gallery / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=photo_folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    files = [{"url": f"http://127.0.0.1:{server.server_port}/{i:03d}.png"} for i in range(3)]
    row = {"kind": "images", "licence": "CC0", "obtain": "get it", "files": files}
    (tmp_path / "manifest.yaml").write_text(json.dumps({"mine": row}))
    monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "manifest.yaml"))
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "data"))
    yield {"PHOTOS": photo_folder} | {name.upper(): tmp_path / name for name in ("out", "a", "b")}
    server.shutdown()


FEW = "--set steps=3 --set batch_size=8 --set micro_batch=8 --set rank=2 --set eval_steps=1"
# Command, what is called often while it works, and its result.
OTHERS = {
    "score": ("score A --out OUT --classifier judge --cache OUT-kept", BAR, "out"),
    "study": ("study make x=A y=B --out OUT", "tvhelpers.study.make.save_png", "out/study.json"),
    "tune": (f"clip tune --data PHOTOS --out OUT --device cpu {FEW}", BAR, "out/clip"),
    "get": ("data get mine", BAR, "data/mine"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_ctrl_c_leaves_no_half_of_a_result(name, run, places, tmp_path, monkeypatch):
    words, called, result = OTHERS[name]
    for place, path in places.items():
        words = re.sub(rf"\b{place}\b", str(path), words)
    for last in (1, 2):
        with monkeypatch.context() as patch:
            calls = stop_at(patch, called, last)
            code, _, err = run(*words.split())
        assert code == 130 and len(calls) == last, err
        assert err.splitlines()[-2:] == ["stopped", f"to resume: python -m tvhelpers {words}"]
        assert "Traceback" not in err and not (tmp_path / result).exists()
        assert not [path for path in tmp_path.rglob(".*") if LEFT.fullmatch(path.name)]
    code, _, err = run(*words.split())
    assert code == 0 and (tmp_path / result).exists(), err


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
