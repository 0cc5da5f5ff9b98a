"""What is printed: it never raises, forges no line, and is never taken for the work itself."""

import io
import json
import logging
import os
import subprocess
import sys
import warnings

import pytest

from tvhelpers import output, progress

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMAND = [sys.executable, "-m", "tvhelpers"]


def run(words, **how):
    env = {**os.environ, "PYTHONPATH": ROOT, **how.pop("env", {})}
    return subprocess.run([*COMMAND, *map(str, words)], env=env, stderr=subprocess.PIPE, **how)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a red dress", "a red dress"),
        ("été 裙子 👗 a\u00a0b نیم\u200cفاصله", "été 裙子 👗 a\u00a0b نیم\u200cفاصله"),
        ("one\ttwo", "one\ttwo"),
        ("one\ntwo\rthree", r"one\ntwo\rthree"),
        ("\x1b[2J\x1b[1Aerror: none", r"\u001b[2J\u001b[1Aerror: none"),
        ("\x08\x7f\x9b", r"\b\u007f\u009b"),
        ("a\u202egnp.exe\u2066\u200f", r"a\u202egnp.exe\u2066\u200f"),
        ("\udcff\u2028\u2029\u0085\ufeff", r"\udcff\u2028\u2029\u0085\ufeff"),
        ("\U000e0041", r"\udb40\udc41"),  # an invisible letter
    ],
)
def test_what_could_forge_a_line_is_escaped(text, seen, capsys):
    output.say(text, "next")
    output.note(text)
    assert capsys.readouterr() == (f"{seen}\nnext\n", f"{seen}\n")
    assert output.escaped_lines([text, "next"]) == f"{seen}\nnext"
    quoted = output.escaped(json.dumps(text, ensure_ascii=False))
    assert json.loads(quoted) == text  # lines of JSON stay JSON


def stream(encoding="utf-8", fails=None):
    class Stream(io.TextIOWrapper):
        def write(self, text):
            if fails:
                raise fails
            return super().write(text)

    return Stream(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "utf-16", "cp932"])
def test_what_the_encoding_lacks_is_escaped(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream(encoding))
    output.say("красное platье… \udcff 👗")
    sys.stdout.flush()
    seen = sys.stdout.buffer.getvalue().decode(encoding)
    assert json.loads(f'"{seen[:-1]}"') == "красное platье… \\udcff 👗".replace("\\udcff", "\udcff")


@pytest.mark.parametrize(
    "fails", [BrokenPipeError(32, "x"), OSError(28, "x"), ValueError("closed")]
)
def test_printing_never_raises_and_the_first_error_is_known(fails, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream(fails=fails))
    progress.show_log()
    with output.safe_streams():
        output.say("one")
        logging.getLogger("tvhelpers.train").info("two")
        warnings.warn("three", stacklevel=1)
        sys.stderr.write("four")
        with progress.progress_bar("work", 2) as bar:
            bar.update(2)
        assert output.stdout_error() is fails
    output.say("five")  # without a command, as in a notebook
    with progress.progress_bar("work", 2) as bar:
        bar.update(2)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_stream_is_none_in_python(name, monkeypatch):
    monkeypatch.setattr(sys, name, None)
    output.say("one")
    output.note("two")
    with output.safe_streams(), progress.progress_bar("work", 2) as bar:
        bar.update(2)
        output.say("three")


def test_names_in_warnings_logs_and_bars_are_one_line(capsys):
    progress.show_log()
    with output.safe_streams():
        warnings.warn("row 'a\nerror: forged\x1b[A'", stacklevel=1)
        logging.getLogger("tvhelpers.data").info("a\rb%s", "\n")
        with progress.progress_bar("x\x1b[2J\ny", 1):
            pass
        print("a library\x1b[2J\u202e")
    out, err = capsys.readouterr()
    assert out == "a\\rb\\n\na library\\u001b[2J\\u202e\n"
    assert r"warning: row 'a\nerror: forged\u001b[A'" in err.splitlines()
    assert r"x\u001b[2J\ny: " in err


def test_the_work_is_done_where_nobody_reads_the_log(tiny_base, tmp_path):
    """As in `train ... | head -2`: the adapter is there, and the status says so."""
    train = ["train", "lora", "--data", "flats", "--out", tmp_path / "run", "--preset", "smoke"]
    train += ["--set", f"base={tiny_base}", "--set", "steps=2"]
    read, write = os.pipe()
    os.close(read)
    done = run(train, stdout=write)
    os.close(write)
    assert (done.returncode, (tmp_path / "run" / "adapter.safetensors").exists()) == (0, True)
    assert b"Error" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full disk")
@pytest.mark.parametrize(
    ("words", "closed", "full"),
    [
        ("prompts paper-8 --json", 141, 2),
        ("prompts paper-8", 141, 2),
        ("train --help", 141, 141),
        ("prompts paper-8 --out {}/a.jsonl", 0, 0),
        ("prompts paper-8 --out {}/a.jsonl --json", 0, 2),
    ],
)
def test_a_result_that_nobody_could_read_is_no_success(words, closed, full, tmp_path):
    words = words.format(tmp_path).split()
    read, write = os.pipe()
    os.close(read)
    assert run(words, stdout=write).returncode == closed
    os.close(write)
    for file in tmp_path.iterdir():
        file.unlink()
    with open("/dev/full", "w", encoding="utf-8") as disk:
        done = run(words, stdout=disk)
    assert done.returncode == full and (b"error: disk full" in done.stderr) == (full == 2)
    assert b"Traceback" not in done.stderr
    assert bool(list(tmp_path.iterdir())) == ("--out" in words)
