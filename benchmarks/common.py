"""What benchmarks share: where shared data is, how a result is written."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
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


def commit(checkout: Path = REPO) -> str:
    """Return the last commit that changed the package."""
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%h", "--", "tvhelpers"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def write_result(name: str, result: dict, show: bool = True) -> None:
    """Write results/<name>.json with commit, machine, versions and date, and show the result."""
    import torch

    from tvhelpers.runtime import versions

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    machine = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    about = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine}
    about["versions"] = versions()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps({**result, **about}, indent=1) + "\n", encoding="utf-8"
    )
    if show:
        print(json.dumps(result, indent=1))
