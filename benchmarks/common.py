"""What benchmarks share: where shared data is, how a program is run, how a result is written."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
SCRIPT = "train_text_to_image_lora.py"  # of diffusers
sys.path.append(str(REPO))  # recipes are of a checkout, not of the installed package


def shared_folder() -> Path:
    """Return $TV_SHARED (default ../shared); ends the program with a reason without it."""
    folder = Path(os.environ.get("TV_SHARED", REPO / ".." / "shared")).resolve()
    if not (folder / "data").is_dir():
        sys.exit(f"skipped: no shared real data, set TV_SHARED to its folder (looked in {folder})")
    return folder


def make_g2(out: Path, *options: str) -> Path:
    """Return a folder in the benchmark's file layout, built from the shared real photos."""
    tool = shared_folder() / "tools" / "make_g2_fixture.py"
    if not (out / "Eval" / "ind.mat").exists():
        subprocess.run([sys.executable, str(tool), str(out), *options], check=True)
    return out


def find_script(peer: Path) -> Path:
    """Return diffusers' script: `peer` itself, or that of a checkout; end the program without."""
    script = peer if peer.is_file() else peer / "examples/text_to_image" / SCRIPT
    if not script.is_file():
        sys.exit(f"{peer} is neither {SCRIPT} nor a checkout of diffusers, which has it")
    return script


def commit(checkout: Path = REPO) -> str:
    """Return the last commit that changed the package, "" outside a checkout of git."""
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%h", "--", "tvhelpers"]
    with contextlib.suppress(OSError):  # no git
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return ""


def start(
    command: list, work: Path, log: Path, python: str = sys.executable, **environment: str
) -> subprocess.Popen:
    """Start a program offline, with artifacts in `work` and its output in the file `log`.

    It finds this checkout first, then what PYTHONPATH brings here.
    """
    paths = [str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "TV_ROOT": str(work), "HF_HUB_OFFLINE": "1"}
    passive = {"OMP_WAIT_POLICY": "PASSIVE"}  # a thread that waits takes no CPU seconds
    settings = {**os.environ, **own, **passive, **environment}
    with open(log, "wb") as file:
        words = [python, *map(str, command)]
        return subprocess.Popen(words, env=settings, stdout=file, stderr=file)


def run(
    command: list, work: Path, log: Path | None = None, seconds: float | None = None, **how: str
) -> None:
    """Run a program as `start` does; if it fails, end this one with the last lines of its log.

    It is ended, with all that it has started, after so many `seconds`, or if this one is stopped.
    """
    log = log or work / "last.log"
    process = start(command, work, log, **how)
    try:
        code = process.wait(seconds)
        why = f"it ended with status {code}"
    except BaseException as error:
        end(process.pid)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        code, why = 1, f"it was ended after {seconds:.0f} s"
    if code:
        shown = log.read_bytes()[-4000:].decode(errors="replace")
        sys.exit(f"{' '.join(map(str, command))}\n{shown}\n{why}")


def end(pid: int, itself: bool = True) -> None:
    """Kill what a process has started, and the process `itself`."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), *([process] if itself else [])]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def circumstances() -> dict:
    """Return the date, commit, machine and versions of a measurement."""
    import torch

    from tvhelpers.runtime import versions

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    machine = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    about = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine}
    return {**about, "versions": versions()}


def write_result(name: str, result: dict, show: bool = True, folder: Path = RESULTS) -> None:
    """Write <name>.json with the circumstances into the folder of results or another one, and show
    the result."""
    from tvhelpers.files import write_text

    text = json.dumps({**result, **circumstances()}, indent=1)
    write_text(folder / f"{name}.json", text + "\n")
    if show:
        print(json.dumps(result, indent=1))
