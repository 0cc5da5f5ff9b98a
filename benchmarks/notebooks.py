"""Claims: notebooks 01 to 06 on mini take at most 6 minutes together on two cores, and 90 s the
second time; killed at three random moments and run again, all leave the same artefacts.

python benchmarks/notebooks.py WORK_DIR [--pages DIR]    writes results/notebooks.json
python benchmarks/notebooks.py WORK_DIR --preset cpu     one run only, as a user without a GPU has
                                                         it; writes results/notebooks_cpu.json

WORK_DIR must be new.  `--pages` keeps the executed notebooks of the first run.
"""

import argparse
import contextlib
import hashlib
import os
import random
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
SUFFIXES = (".npy", ".h5", ".safetensors", ".png", ".jsonl")  # what later stages read
OF_THE_CLOCK = ("speed.jsonl", "training.png")  # hold and show images a second
KILLS = 3


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
    """Return the seconds of the main line, notebooks 01 to 06, together."""
    return round(sum(time for name, time in times.items() if name < "07"), 1)


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
    """Return {path: digest} of everything that a later stage reads, but for the root's own name."""
    files = (path for path in root.rglob("*") if path.suffix in SUFFIXES)
    files = (path for path in files if path.name not in OF_THE_CLOCK)
    visible = (p for p in files if not any(part[0] == "." for part in p.relative_to(root).parts))
    return {
        str(path.relative_to(root)): hashlib.sha256(
            path.read_bytes().replace(str(root).encode(), b"ROOT")
        ).hexdigest()
        for path in sorted(visible)
    }


def kill_each(notebooks: list[Path], first: dict[str, float], root: Path, out: Path) -> dict:
    """Kill each notebook at random moments and then run it to its end; return when it was killed.

    What was done before a kill is not done again, so later kills come sooner.
    """
    chance, kills = random.Random(0), {}
    for path in notebooks:
        latest = [first[path.stem] * 0.95**2 / (number + 1) for number in range(KILLS)]
        moments = [round(chance.uniform(2, end), 1) for end in latest]
        killed = [kill_after(path, root, out, moment) for moment in moments]
        kills[path.stem] = {"after_seconds": moments, "killed": killed}
        seconds(path, root, out)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--preset", default="smoke")
    options = parser.parse_args()
    options.work_dir.mkdir(parents=True)
    options.work_dir = options.work_dir.resolve()
    pages = options.pages or options.work_dir / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    whole, broken = options.work_dir / "whole", options.work_dir / "broken"
    notebooks = sorted(FOLDER.glob("*.ipynb"))
    first = {
        path.stem: seconds(path, whole, pages / path.name, options.preset) for path in notebooks
    }
    if options.preset != "smoke":
        result = {"first_run_seconds": first, "first_run_total": total(first)}
        write_result(f"notebooks_{options.preset}", result)
        return
    wanted = artefacts(whole)
    scrap = options.work_dir / "scrap.ipynb"
    second = {path.stem: seconds(path, whole, scrap) for path in notebooks}
    result = {"first_run_seconds": first, "second_run_seconds": second}
    result |= {"first_run_total": total(first), "second_run_total": total(second)}
    result["second_run_changed"] = sorted(k for k, v in artefacts(whole).items() if wanted[k] != v)
    print(result, flush=True)
    kills = kill_each(notebooks, first, broken, scrap)
    found = artefacts(broken)
    different = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
    result |= {"kills": kills, "artefacts": len(wanted), "different_after_kills": different}
    write_result("notebooks", result)


if __name__ == "__main__":
    main()
