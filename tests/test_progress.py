"""How long work is shown, logged, and stopped."""

import io
import logging
import os
import signal
import subprocess
import sys

import pytest

from tvhelpers import progress

WORK = """
import signal, sys, time

from tvhelpers import cli
from tvhelpers.progress import progress_bar, show_log

def work(words):
    show_log()
    with progress_bar("drawing", 100, unit="images") as bar:
        bar.update(3)
        bar.refresh()
        time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
cli.run_command = work
sys.exit(cli.main(["generate", "a dress"]))
"""


def test_the_log_is_printed_on_what_standard_output_is_then(capsys):
    for _ in range(2):  # the second handler would say it twice
        progress.show_log()
    logging.getLogger("tvhelpers.train.loop").info("step 3")
    assert capsys.readouterr().out == "step 3\n"


def test_a_bar_is_lines_where_the_output_is_a_file(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with progress.progress_bar("drawing", 4, done=1, unit="images") as bar:
        bar.update(3)
    assert "\r" not in file.getvalue() and "\n\n" not in file.getvalue()
    first, *_, last = file.getvalue().splitlines()
    assert first.startswith("drawing:") and "1/4" in first and "4/4" in last


def test_a_bar_below_another_is_lines_too(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.progress_bar("outer", 2), progress.progress_bar("inner", 2) as bar:
        bar.update(2)
    assert all(line.startswith(("outer", "inner")) for line in sys.stderr.getvalue().splitlines())


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
    assert lines[-2:] == ["stopped", "to resume: python -m tvhelpers generate 'a dress'"]
    assert "Traceback" not in said.decode()


def test_a_stop_is_asked_for_once_and_a_second_one_ends_at_once(caplog):
    caplog.set_level("INFO", "tvhelpers")
    before = signal.getsignal(signal.SIGTERM)
    with progress.stop_requests() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        assert stop
        signal.raise_signal(signal.SIGINT)  # a launcher passes on at once what all have got
        assert caplog.messages == [progress.STOPPING]
        stop.asked -= 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
