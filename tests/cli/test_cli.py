"""The command line as a whole: exit status, one message for an error, clean JSON, quick help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tvhelpers
from tvhelpers import cli
from tvhelpers.errors import InputError


def test_from_the_benchmarks_files_to_images_and_a_score(run, g2, tiny_base, tmp_path):
    code, out, _ = run("data", "inspect", g2 / "Img" / "G2.h5", "--json")
    assert code == 0 and json.loads(out)["images"]["encoding"] == "mean_subtracted"
    assert run("data", "convert", g2, "--out", tmp_path / "data", "--size", "64")[0] == 0
    train = ["train", "lora", "--data", tmp_path / "data", "--out", tmp_path / "run", "--preset"]
    train += ["smoke", "--set", f"base={tiny_base}", "--set", "steps=2", "--json"]
    code, out, _ = run(*train)
    assert code == 0 and json.loads(out)["steps"] == 2
    adapter = tmp_path / "run" / "adapter.safetensors"
    generate = ["generate", "a blue tee", "--base", tiny_base, "--adapter", adapter, "--count", 3]
    code, out, _ = run(*generate, "--steps", 2, "--out", tmp_path / "images", "--json")
    assert code == 0 and len(json.loads(out)) == 3
    code, _, _ = run("score", tmp_path / "images", "--out", tmp_path / "metrics.json")
    assert code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())


def test_help_names_every_verb(capsys):
    for verb, text in cli.VERBS.items():
        assert f"\n    {verb}" in cli.build_parser().format_help() and text
        with pytest.raises(SystemExit) as ended:
            cli.main([verb, "--help"])
        assert ended.value.code == 0
        assert f"usage: python -m tvhelpers {verb} " in capsys.readouterr().out


# None in the parser: 8 with --fast, and with --like the image's base
CHOSEN_LATER = {"generate --steps": 20, "generate --base": "mini", "generate --size": 0}
WIDER = {"generate --size": "int"}  # which takes 832x1216 too


def test_flags_stay_as_they_were_at_first():
    """Each verb's options and arguments, as commit 4881c0d had them: more may come, none may go.

    What --help calls an option's value is for people, and may change.
    """
    first = json.loads((Path(__file__).parent / "flags.json").read_text())
    for verb, options in first.items():
        parser = cli.build_parser()
        for word in verb.split():
            parser = next(a for a in parser._actions if a.choices).choices[word]
            parser.load()
        flags = {flag: action for action in parser._actions for flag in action.option_strings}
        flags |= {action.dest: action for action in parser._actions if not action.option_strings}
        for flag, (_, nargs, kind, required, default) in options.items():
            now = flags[flag]
            type_now = WIDER.get(f"{verb} {flag}", now.type and now.type.__name__)
            seen = [now.nargs, type_now, now.required]
            assert seen == [nargs, kind, required], f"{verb} {flag}"
            chosen = CHOSEN_LATER.get(f"{verb} {flag}", now.default)
            assert chosen == default, f"{verb} {flag}"


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tvhelpers {tvhelpers.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "train --help",
        "data --help",
        "generates",
        "generate a --steps ten --out o",
        "generate a --steps -5 --out o",
        "train lara --data d --out o",
    ],
)
def test_help_and_a_refused_argument_load_no_library(words):
    code = (
        "import sys\nfrom tvhelpers.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'yaml', 'PIL', 'h5py'}\n"
        "print(sorted(heavy & {*sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *words.split()]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.stderr.splitlines()[-1] == "[]", said.stderr


def test_words_that_are_no_command_are_refused(refuse):
    refuse("usage", "generates")
    refuse("usage")
    refuse("usage", "data")
    refuse("usage", "generate", "a", "--out", "o", "--colour", "red")


def test_a_stopped_command_says_how_to_resume(run, monkeypatch):
    def stop(words):
        raise KeyboardInterrupt("3 images are drawn")

    monkeypatch.setattr(cli, "run_command", stop)
    code, out, err = run("generate", "a red dress", "--out", "out")
    assert (code, out) == (130, "")
    assert err.splitlines() == [
        "3 images are drawn",
        "to resume: python -m tvhelpers generate 'a red dress' --out out",
    ]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("out-of-range", "steps is -5"), 2, "error: steps is -5\n"),
        (BrokenPipeError(), 141, ""),
        (OSError(28, "No space", "a.png"), 2, "error: disk full: 'a.png'"),
        (OSError(36, "File name too long", "/a" * 999), 2, "error: File name too long: '/a/a"),
        (OSError(9, "Bad file descriptor", 3), 2, "error: Bad file descriptor: 3"),
        (OSError("lost " * 99), 2, "error: lost lost"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), 2, "error: the GPU is out of"),
        (MemoryError(), 2, "error: the memory of this machine is full"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_error_of_the_machine_is_one_message(run, monkeypatch, error, code, said):
    def fail(words):
        raise error

    monkeypatch.setattr(cli, "run_command", fail)
    status, _, err = run("generate")
    assert status == code and err.startswith(said) and err.count("\n") == bool(said)
    assert len(err) <= len("error: \n") + 200


def test_an_error_of_the_program_is_one_message_that_names_its_traceback(
    run, monkeypatch, tmp_path
):
    def fail(words):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(cli, "run_command", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = run("generate")
    [file] = tmp_path.iterdir()
    assert code == 70 and not out and err.count("\n") == 1 and len(err) < 300 and str(file) in err
    assert "RuntimeError: shapes" in err and "in fail" in file.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    code, _, err = run("generate")
    assert code == 70 and "in fail" in err  # better on the screen than lost


def test_ctrl_c_at_any_moment_and_again_leaves_no_traceback(tmp_path):
    """The second while the first is answered, the third while Python ends."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, signal\n"
        "from tvhelpers import cli, output\n"
        "def stop(*words):\n    signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "cli.run_command = output.note = stop\natexit.register(stop)\n"
    )
    path = f"{tmp_path}{os.pathsep}{Path(tvhelpers.__file__).parents[1]}"
    command = [sys.executable, "-m", "tvhelpers", "generate"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_missing_permission_is_refused(refuse, tiny_base, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    out = tmp_path / "locked" / "out"
    refuse("no-permission", "generate", "a", "--base", tiny_base, "--out", out)


def test_a_file_in_the_place_of_the_folder_is_refused(refuse, tiny_base, tmp_path):
    (tmp_path / "out").write_text("mine")
    refuse("not-a-folder", "generate", "a", "--base", tiny_base, "--out", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_full_disk_is_one_message(run, tiny_base, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "image.png")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    words = ["generate", "a", "--base", tiny_base, "--steps", 1, "--out", tmp_path / "out"]
    code, _, err = run(*words)
    assert code == 2 and "disk full: 'image.png'" in err and "Traceback" not in err
    monkeypatch.undo()
    assert run(*words)[0] == 0
