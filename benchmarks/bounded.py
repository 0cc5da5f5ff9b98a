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

SEED, SECONDS, MAX_MEMORY, MAX_CHARACTERS = 5, 10, 2 << 30, 1000
FINE = ("named error", "right result")
SAFETY = 2 << 30  # address space beyond MAX_MEMORY, so that no input can take the machine


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
        is_sentence = said.isprintable() and 0 < len(said) < MAX_CHARACTERS
        return "named error" if is_sentence else "no sentence", said
    except AssertionError as error:
        return "wrong result", str(error)
    return ("wrong result", "read") if right.only == "refused" else ("right result", "")


def memory(key):
    """Return a size in the status of this process, in bytes: VmSize now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def child(listed, work, said_file):
    """Run one after the other with bounded memory and file sizes; a line of the file says each."""
    most = memory("VmSize") + MAX_MEMORY + SAFETY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))
    sys.stderr = sys.stdout = open(os.devnull, "w", encoding="utf-8")
    warnings.simplefilter("ignore")
    with open(said_file, "w", encoding="utf-8") as file:
        for number, job in listed:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forgets the peak
            place, began = work / f"{number:04d}", time.monotonic()
            place.mkdir()
            try:
                outcome, said = run(number, job, place)
            except BaseException as error:
                outcome, said = "other exception", f"{type(error).__name__}: {error}"
            peak, seconds = memory("VmHWM"), time.monotonic() - began
            if peak > MAX_MEMORY and outcome in FINE:
                outcome, said = "over 2 GB", f"{peak >> 20} MB; {said}"
            said = re.sub(r"\S*/\d{4}/", "", said)[:300]
            file.write(json.dumps([outcome, said, peak >> 20, seconds]) + "\n")
            file.flush()
            remove(place)


def lines_of(path):
    """Return the whole lines of a file that is still written, read as JSON."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def run_some(listed, work):
    """Run in one child until one of them hangs or ends it; returns the outcomes with that one."""
    said_file = work / "said.jsonl"
    said_file.unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(
        target=child, args=(listed, work, said_file)
    )
    process.start()
    ended, changed = 0, time.monotonic()
    while process.is_alive() and time.monotonic() - changed < SECONDS:
        process.join(0.1)
        count = len(lines_of(said_file))
        if count > ended:
            ended, changed = count, time.monotonic()
    hung = process.is_alive()
    process.kill()
    process.join()
    outcomes = lines_of(said_file)
    if len(outcomes) < len(listed):
        why = ("hang", f"over {SECONDS} s") if hung else ("crash", f"exit {process.exitcode}")
        outcomes.append([*why, 0, time.monotonic() - changed])
        remove(work / f"{listed[len(outcomes) - 1][0]:04d}")
    return outcomes


def run_all(listed, work):
    """Return [(number, job, outcome, said, MB, seconds)] of [(number, job)]."""
    results = []
    while rest := listed[len(results) :]:
        results += [(*one, *found) for one, found in zip(rest, run_some(rest, work))]
    return results


def remove(folder):
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    shutil.rmtree(os.fsencode(folder), ignore_errors=True)  # names may not be UTF-8
