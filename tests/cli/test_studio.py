"""The verb `studio`: what it refuses at once, and how it ends."""

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers import refused
from tvhelpers.cli import run_command

NO_GRADIO = importlib.util.find_spec("gradio") is None


def test_what_cannot_be_served_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused("no-gradio"):
        run_command(["studio"])
    with refused("out-of-range"):
        run_command(["studio", "--port", "80"])


@pytest.mark.slow
@pytest.mark.skipif(NO_GRADIO, reason="no gradio: make test-gradio")
def test_control_c_ends_it_with_what_was_drawn(tmp_path):
    command = [sys.executable, "-u", "-m", "tvhelpers", "studio", "--json", "--device", "cpu"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    environment = {**os.environ, "TV_ROOT": str(tmp_path)}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        seen = iter(process.stderr)
        assert any("the studio is at http://127.0.0.1:" in line for line in seen)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(out) == {"designs": 0, "folder": str(tmp_path / "runs" / "studio")}
