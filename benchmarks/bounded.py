"""How is a damaged input read in a process of its own, with bounded time and memory?"""

import contextlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sound_inputs import ROWS

from tvhelpers.errors import InputError
from tvhelpers.runtime import seed_for

SEED, SECONDS, MOST_MEMORY, MOST_LETTERS = 5, 10, 2 << 30, 1000
SAFETY = 2 << 30  # address space beyond MOST_MEMORY, so that a fault cannot take the machine


def unchanged(folder, rng):
    pass


class Right:
    """What a reader must return for an input: `check` raises AssertionError where it did not.

    With `only`, "read" or "refused", the other is wrong.
    """

    def __init__(self, check=lambda found: None, only=""):
        self.check, self.only = check, only


def run(number, job, work):
    """Mutate, read and check; returns (outcome, what was said)."""
    kind, reader, mutation = job
    folder, out = work / "in", work / "out"
    shutil.copytree(work.parent / "base" / kind.replace("/", "+"), folder, symlinks=True)
    right = mutation(folder, np.random.default_rng(seed_for(SEED, number))) or Right()
    if mutation is unchanged:
        right.only = "read"
    most = 3_000 if kind == "zip" else 2 * ROWS  # a block of a table may be there twice
    out.mkdir()
    try:
        found = reader(folder, out, ROWS if kind in ("G2.h5", "mat", "h5 columns") else most)
        right.check(found)
    except InputError as error:
        said = str(error).replace(str(work), "")
        if right.only == "read":
            return "sound input refused", said
        is_sentence = said.isprintable() and 0 < len(said) < MOST_LETTERS
        return "named error" if is_sentence else "no sentence", said
    except AssertionError as error:
        return "wrong result", str(error)
    return ("wrong result", "read") if right.only == "refused" else ("right result", "")


def memory(key):
    """Return a size in the status of this process, in bytes: VmSize now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def child(number, job, work):
    """Run with bounded memory and file sizes, and leave the outcome in a file."""
    most = memory("VmSize") + MOST_MEMORY + SAFETY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))
    sys.stderr = sys.stdout = open(os.devnull, "w", encoding="utf-8")
    warnings.simplefilter("ignore")
    os.chdir(work)
    try:
        outcome, said = run(number, job, work)
    except BaseException as error:
        outcome, said = "other exception", f"{type(error).__name__}: {error}"
    peak = memory("VmHWM")
    if peak > MOST_MEMORY and outcome in ("named error", "right result"):
        outcome, said = "over 2 GB", f"{peak >> 20} MB; {said}"
    text = json.dumps([outcome, said, peak >> 20])
    (work / "outcome.json").write_text(text, encoding="utf-8")


def outcome_of(process, work, began):
    """Return (outcome, said, MB) of a process that ended, or is over its time; None before."""
    if process.is_alive() and time.monotonic() - began < SECONDS:
        return None
    hung = process.is_alive()
    process.kill()
    process.join()
    path = work / "outcome.json"
    if hung:
        return "hang", f"over {SECONDS} s", 0
    if not path.exists():
        return "crash", f"exit {process.exitcode}", 0
    return json.loads(path.read_text(encoding="utf-8"))


def run_all(listed, work, at_once=2):
    """Return [(number, job, outcome, said, MB, seconds)] of [(number, job)], some at a time."""
    fork, waiting, running, results = multiprocessing.get_context("fork"), [*listed], [], []
    while waiting or running:
        while waiting and len(running) < at_once:
            number, job = waiting.pop(0)
            place = work / f"{number:04d}-{len(waiting)}"
            place.mkdir()
            process = fork.Process(target=child, args=(number, job, place))
            process.start()
            running.append((number, job, process, place, time.monotonic()))
        time.sleep(0.005)
        for one in [*running]:
            number, job, process, place, began = one
            if outcome := outcome_of(process, place, began):
                running.remove(one)
                seconds = time.monotonic() - began
                said = re.sub(r"\S*/\d{4}-\d+/", "", outcome[1])[:300]
                results.append((number, job, outcome[0], said, outcome[2], seconds))
                remove(place)
    return results


def remove(folder):
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    shutil.rmtree(os.fsencode(folder), ignore_errors=True)  # names may not be UTF-8
