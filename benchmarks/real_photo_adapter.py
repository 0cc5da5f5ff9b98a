"""Claim: an adapter trained on 2,000 photos in the benchmark's format, in at most 20 CPU minutes,
has a validation loss (fixed noise) at least 15 % below the base's.

python benchmarks/real_photo_adapter.py WORK_DIR      writes results/real_photo_adapter.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from common import make_g2, write_result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("work_dir", type=Path)
parser.add_argument("--set", action="append", default=[])
args = parser.parse_args()

if (args.work_dir / "run" / "result.json").exists():
    sys.exit(f"{args.work_dir} holds a finished run: its minutes would be nobody's; give another")
data = make_g2(args.work_dir / "g2", "--count", "2000")
settings = ["limit=2000", "steps=1000", *args.set]
command = [
    sys.executable,
    "-m",
    "tvhelpers",
    "train",
    "lora",
    "--data",
    str(data),
    "--preset",
    "cpu",
]
command += ["--out", str(args.work_dir / "run"), "--json"]
command += [word for pair in settings for word in ("--set", pair)]
began = time.monotonic()
environment = {**os.environ, "TV_ROOT": str(args.work_dir)}
done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
minutes = (time.monotonic() - began) / 60
used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of both cores, the data set's making too
cpu_minutes = (used.ru_utime + used.ru_stime) / 60
result = json.loads(done.stdout)
base, adapted = result["held_out_loss_base"], result["held_out_loss"]
write_result(
    "real_photo_adapter",
    {
        "photos": 2000,
        "settings": settings,
        "minutes": round(minutes, 2),
        "cpu_minutes": round(cpu_minutes, 2),
        **result,
        "reduction": 1 - adapted / base,
    },
)
