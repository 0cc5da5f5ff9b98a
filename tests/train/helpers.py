"""What tests of training call: a training is stopped, or runs in a process that can be killed."""

import os
import signal
import sys
import traceback
from pathlib import Path

ADAPTER = "adapter.safetensors"


def same(one: Path, other: Path, name: str = ADAPTER) -> bool:
    """Return whether a file has the same bytes in two folders."""
    return (one / name).read_bytes() == (other / name).read_bytes()


def stop_at(step: int):
    """Return a preview that presses Ctrl-C at the evaluation after `step`."""

    def press(number, parts):
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)

    return press


def fork(action, stderr=os.devnull) -> int:
    """Let `action` run in a fork, which has the libraries loaded; return its process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = action() or 0
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(code)
