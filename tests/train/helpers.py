"""Helpers of tests of training: stop one, or run it in a process that can be killed."""

import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import torch
from accelerate import PartialState

from tvhelpers import cli
from tvhelpers.train.evaluation import item_losses

ADAPTER = "adapter.safetensors"


def validation_loss(trainer) -> float:
    """Return the mean unweighted loss of the validation items, each with one noise."""
    return item_losses(trainer, trainer.data.validation_items).mean().item()


def same(one: Path, other: Path, name: str = ADAPTER) -> bool:
    """Return whether a file has the same bytes in two folders."""
    return (one / name).read_bytes() == (other / name).read_bytes()


def stop_at(step: int):
    """Return a preview that presses Ctrl-C at the evaluation after `step`."""

    def press(number, parts):
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)

    return press


def command(settings, out) -> list[str]:
    """Return the words of the command line that trains with these settings."""
    pairs = [f"{key}={value}" for key, value in settings.items() if key != "data"]
    words = ["train", "lora", "--data", settings["data"], "--out", str(out)]
    return words + [word for pair in pairs for word in ("--set", pair)]


def start(words: list[str], screen=os.devnull, **environment: str) -> int:
    """Run a command in another process whose messages go to the file `screen`; return its id.

    A fork has the libraries loaded; but no fork survives the threads of a CUDA build's autograd.
    """
    if torch.backends.cuda.is_built():
        program = [sys.executable, "-m", "tvhelpers", *words]
        out = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        error = (os.POSIX_SPAWN_OPEN, 2, os.fspath(screen), os.O_WRONLY | os.O_CREAT, 0o644)
        everything = {**os.environ, **environment}
        return os.posix_spawn(sys.executable, program, everything, file_actions=[out, error])
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.environ |= environment
        PartialState._reset_state()  # else a fork keeps that of a test before it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(screen, os.O_WRONLY | os.O_CREAT), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = cli.main(words)
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as place:
        place.bind(("localhost", 0))
        return place.getsockname()[1]


def in_two_processes(words: list[str], screens: list[Path]) -> None:
    """Run a command in two processes that train together; their messages go to `screens`."""
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    pids = [
        start(words, screen, RANK=str(rank), LOCAL_RANK=str(rank), **both)
        for rank, screen in enumerate(screens)
    ]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [0, 0], "\n".join(screen.read_text() for screen in screens)
