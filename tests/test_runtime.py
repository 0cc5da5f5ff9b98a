"""What a machine gives, and how long work is shown, logged and stopped."""

import io
import logging
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers import refused
from tvhelpers import runtime

WORK = """
import sys, time

from tvhelpers import cli
from tvhelpers.runtime import progress_bar, show_log

def work(words):
    show_log()
    with progress_bar("drawing", 100, unit="images") as bar:
        bar.update(3)
        bar.refresh()
        time.sleep(60)

cli.run_command = work
sys.exit(cli.main(["generate", "a dress"]))
"""


def test_the_log_is_printed_on_what_standard_output_is_then(capsys):
    for _ in range(2):  # the second handler would say it twice
        runtime.show_log()
    logging.getLogger("tvhelpers.train.loop").info("step 3")
    assert capsys.readouterr().out == "step 3\n"


def test_a_bar_is_lines_where_the_output_is_a_file(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with runtime.progress_bar("drawing", 4, done=1, unit="images") as bar:
        bar.update(3)
    assert "\r" not in file.getvalue() and "\n\n" not in file.getvalue()
    first, *_, last = file.getvalue().splitlines()
    assert first.startswith("drawing:") and "1/4" in first and "4/4" in last


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_leaves_a_clean_line_under_a_bar():
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    said = b""
    while b"3/100" not in said:
        said += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            part = os.read(ours, 1000)
        except OSError:  # Linux's end of a terminal
            break
        if not part:
            break
        said += part
    assert process.wait(10) == 130
    lines = said.decode().replace("\r\n", "\n").splitlines()
    assert lines[-2:] == ["stopped", "to go on: python -m tvhelpers generate 'a dress'"]
    assert "Traceback" not in said.decode()


def test_a_stop_is_asked_for_once_and_a_second_one_ends_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with runtime.stop_requests() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        assert stop
        signal.raise_signal(signal.SIGINT)  # a launcher passes on at once what all have got
        stop.asked -= 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_seeds_depend_on_every_part_and_its_type():
    seeds = {runtime.seed_for(*parts) for parts in [(1, 2), (2, 1), (12,), ("1", 2), (1, 2, 0)]}
    assert len(seeds) == 5 and all(0 <= seed < 2**63 for seed in seeds)
    assert runtime.seed_for(1, "unet") == runtime.seed_for(1, "unet")


def test_device_and_dtype_are_chosen_with_a_reason(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.choose_device("auto") == runtime.choose_device("cpu") == "cpu"
    with refused("no-gpu"):
        runtime.choose_device("cuda")
    with refused("unknown-choice"):
        runtime.choose_device("tpu")
    dtype, reason = runtime.choose_dtype("auto", "cpu")
    assert dtype is torch.float32 and reason
    assert runtime.choose_dtype("bfloat16", "cpu")[0] is torch.bfloat16
    with refused("unfit-dtype"):
        runtime.choose_dtype("float16", "cpu")


def test_the_peak_of_memory_is_looked_for_anew():
    runtime.reset_peak_memory("cpu")
    before = runtime.peak_memory("cpu")
    if before is None:
        pytest.skip("nothing tells here")
    taken = b"x" * 80_000_000
    assert runtime.peak_memory("cpu") - before > 40_000_000 and taken
