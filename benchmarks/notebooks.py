"""Claims: all notebooks on mini take at most 8 minutes together on two cores, and 120 s the second
time; killed at three random moments each and run again, they leave the same artefacts.

python benchmarks/notebooks.py WORK_DIR [--pages DIR]    writes results/notebooks.json
python benchmarks/notebooks.py WORK_DIR --preset cpu     one run only, as a user without a GPU has
                                                         it; writes results/notebooks_cpu.json
With --only 00 05 either is a trial of these notebooks, and prints what it would write.

WORK_DIR must be new.  `--pages` keeps the executed notebooks of the first run.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
from common import REPO, write_result

FOLDER = REPO / "notebooks"
RUN = """
import sys, time, nbformat
from nbclient import NotebookClient
source, out, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}})
began = time.monotonic()
client.execute()
print(time.monotonic() - began)
nbformat.write(notebook, out)
"""
KILLS, STARTING = 3, 4.0  # of each notebook; seconds in which it only starts and imports
MOST_SECONDS = {"first_run_total": 480, "second_run_total": 120}
# What is measured by the clock or of the memory, or shows it: the content without it is compared.
PICTURED = re.compile(r"/figures/training\.png$")
EVENTS = re.compile(r"/tensorboard/events\.out\.tfevents\..*$")
TIMED = "speed.jsonl"  # of its rows, the steps are not of the clock
HEADER = 116  # bytes of a .mat file that say when it was made
MEASURED = "measured"  # a key of JSON objects
MOMENT = "datetime_"  # beginning of a column's name in SQLite
NOT_COMPARED = [
    "figures/training.png and files of TensorBoard, but for their number",
    "of speed.jsonl all but its last step",
    "the time in the header of a .mat file",
    f"JSON under the key {MEASURED!r}: memory of the process",
    f"columns {MOMENT}* of SQLite",
    "hidden files",
]


def start(path: Path, root: Path, out: Path, preset: str = "smoke") -> subprocess.Popen:
    environment = {
        **os.environ, "TV_ROOT": str(root), "TV_BASE": "mini", "TV_PRESET": preset,
        "TV_DATA_DIR": str(root / "no-data"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", RUN, str(path), str(out), str(FOLDER)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def seconds(path: Path, root: Path, out: Path, preset: str = "smoke") -> float:
    """Run a notebook to its end and return how long that took, from the kernel's start."""
    process = start(path, root, out, preset)
    took, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{path.name} failed")
    return round(float(took), 1)


def total(times: dict[str, float]) -> float:
    """Return the seconds of all notebooks together."""
    return round(sum(times.values()), 1)


def kill_after(path: Path, root: Path, out: Path, delay: float) -> bool:
    """SIGKILL a run and its kernel after `delay` seconds; False if it had ended before."""
    process = start(path, root, out)
    try:
        process.wait(delay)
        return False
    except subprocess.TimeoutExpired:
        family = [process_.pid for process_ in psutil.Process(process.pid).children(recursive=True)]
        for pid in (process.pid, *family):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        process.wait()
        return True


def artefacts(root: Path) -> dict[str, str]:
    """Return {path: digest} of all files, without times of day and the root's own name.

    Files of TensorBoard, which are new at each start, count as one that is there.
    """
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = str(path.relative_to(root))
        if not any(part[0] == "." for part in Path(name).parts):  # locks, and unfinished files
            found[EVENTS.sub("/tensorboard/", name)] = digest(path, name, str(root))
    return found


def digest(path: Path, name: str, root: str) -> str:
    """Return the SHA-256 of what a file holds, but for NOT_COMPARED and the root's name."""
    if PICTURED.search(name) or EVENTS.search(name):
        return "there"
    if path.suffix in (".db", ".sqlite"):
        content = repr(rows_of(path)).encode()
    else:
        content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(unmeasured(json.loads(content))).encode()
    if path.name == TIMED:
        steps = {json.loads(line)["step"] for line in content.splitlines()}
        content = str(max(steps, default=0)).encode()  # it is written by the clock, too
    if path.suffix == ".mat":
        content = content[HEADER:]
    return hashlib.sha256(content.replace(root.encode(), b"ROOT")).hexdigest()


def unmeasured(value):
    """Return JSON without what is under the key MEASURED, at any depth."""
    if isinstance(value, dict):
        return {key: unmeasured(one) for key, one in value.items() if key != MEASURED}
    return [unmeasured(one) for one in value] if isinstance(value, list) else value


def rows_of(path: Path) -> dict[str, list]:
    """Return {table: its rows} of a file of SQLite, without times of day."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        found = {}
        for (table,) in sorted(tables):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(name for name in columns if not name.startswith(MOMENT))
            found[table] = sorted(map(repr, db.execute(f"SELECT {kept} FROM {table}")))
        return found


def kill_each(notebooks: list[Path], first: dict[str, float], root: Path, out: Path) -> dict:
    """Kill each notebook at random moments and then run it to its end; return when it was killed.

    What was done before a kill is not done again, so later kills come sooner.
    """
    chance, kills = random.Random(0), {}
    for path in notebooks:
        latest = [first[path.stem] * 0.95**2 / (number + 1) for number in range(KILLS)]
        moments = [round(chance.uniform(min(STARTING, end / 2), end), 1) for end in latest]
        killed = [kill_after(path, root, out, moment) for moment in moments]
        kills[path.stem] = {"after_seconds": moments, "killed": killed}
        seconds(path, root, out)
    return kills


def store(name: str, result: dict, trial: bool) -> None:
    """Write a result, or print it where only some notebooks were run."""
    print(json.dumps(result, indent=1)) if trial else write_result(name, result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NUMBER")
    options = parser.parse_args()
    options.work_dir.mkdir(parents=True)
    options.work_dir = options.work_dir.resolve()
    pages = options.pages or options.work_dir / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    # Names of one length: a report cuts long paths.
    whole, broken = options.work_dir / "whole", options.work_dir / "kills"
    notebooks = [
        path for path in sorted(FOLDER.glob("*.ipynb")) if path.name.startswith((*options.only,))
    ]
    first = {
        path.stem: seconds(path, whole, pages / path.name, options.preset) for path in notebooks
    }
    trial = options.only != [""]
    if options.preset != "smoke":
        result = {"first_run_seconds": first, "first_run_total": total(first)}
        return store(f"notebooks_{options.preset}", result, trial)
    wanted = artefacts(whole)
    scrap = options.work_dir / "scrap.ipynb"
    second = {path.stem: seconds(path, whole, scrap) for path in notebooks}
    names = f"{notebooks[0].name[:2]} to {notebooks[-1].name[:2]}"
    result = {"notebooks": names, "first_run_seconds": first, "second_run_seconds": second}
    result |= {"first_run_total": total(first), "second_run_total": total(second)}
    result["second_run_changed"] = sorted(
        k for k, v in artefacts(whole).items() if wanted.get(k) != v
    )
    print(result, flush=True)
    kills = kill_each(notebooks, first, broken, scrap)
    found = artefacts(broken)
    different = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
    result |= {"kills": kills, "artefacts": len(wanted), "different_after_kills": different}
    result["not_compared"] = NOT_COMPARED
    result["within"] = {key: result[key] <= most for key, most in MOST_SECONDS.items()}
    store("notebooks", result, trial)


if __name__ == "__main__":
    main()
