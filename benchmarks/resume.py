"""Claim: 300 steps, and 100 steps + SIGKILL + the same command again, give the same adapter bytes.

python benchmarks/resume.py WORK_DIR      writes results/resume.json
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import write_result

from tvhelpers.runtime import file_sha256

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("work_dir", type=Path)
work_dir = parser.parse_args().work_dir
environment = {**os.environ, "TV_ROOT": str(work_dir)}


def command(run: str) -> list[str]:
    pairs = ["limit=400", "steps=300", "checkpoint_steps=50", "eval_items=32", "device=cpu"]
    words = [word for pair in pairs for word in ("--set", pair)]
    start = [sys.executable, "-m", "tvhelpers", "train", "lora", "--data", "flats-new-season"]
    return [*start, "--out", str(work_dir / run), *words]


def logged_steps(run: str) -> int:
    path = work_dir / run / "log.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


subprocess.run(command("whole"), check=True, env=environment)
process = subprocess.Popen(command("broken"), env=environment)
while logged_steps("broken") < 100:
    assert process.poll() is None, "ended before it could be killed"
    time.sleep(0.02)
process.send_signal(signal.SIGKILL)
process.wait()
killed_at = logged_steps("broken")
subprocess.run(command("broken"), check=True, env=environment)
digests = {run: file_sha256(work_dir / run / "adapter.safetensors") for run in ("whole", "broken")}
losses = [
    [json.loads(line)["loss"] for line in (work_dir / run / "log.jsonl").open()] for run in digests
]
write_result(
    "resume",
    {"steps": 300, "killed_after_logged_step": killed_at, "adapter_sha256": digests,
     "same_bytes": len(set(digests.values())) == 1, "same_losses": losses[0] == losses[1]},
)  # fmt: skip
