"""Opening what others made starts nothing, connects to nothing and stays in its folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("audit.py")


def test_hostile_files_start_nothing_and_reach_nothing(tmp_path):
    own = {"TMPDIR": tmp_path / "run" / "temp", "MPLCONFIGDIR": tmp_path / "run" / "temp"}
    own |= {"HF_HOME": tmp_path / "run" / "temp" / "hub", "TV_ROOT": tmp_path / "run" / "out"}
    own |= {"TV_DATA_DIR": tmp_path / "run" / "out" / "data", "PYTHONDONTWRITEBYTECODE": 1}
    own |= {"PYTHONPATH": PROGRAM.parents[1], "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": 1}
    environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
    environment.pop("HF_HUB_OFFLINE", None)  # that nothing is asked of the hub is held here
    command = [sys.executable, str(PROGRAM), str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    rows = found["rows"]
    assert len(rows) > 100 and not found["marker"] and not found["left"]
    assert {row["code"] for row in rows if row.get("good")} == {0}
    wrong = [row for row in rows if row["code"] not in (0, 2) or row["events"]]
    assert not wrong, json.dumps(wrong, indent=1)
