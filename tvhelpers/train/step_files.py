"""Which files of a run are of a step, and of which?

Loads no torch: the command line reads it when a training was stopped.
"""

import re
from pathlib import Path

SNAPSHOTS = "snapshots"  # their folder in that of a run
CHECKPOINT = re.compile(r"step-(\d{7,})-[0-9a-f]{12}\.pt")
SNAPSHOT = re.compile(r"step-(\d{7,})\.safetensors")


def step_of(path: Path) -> int:
    """Return the step of a checkpoint's or a snapshot's file, -1 for any other file."""
    found = CHECKPOINT.fullmatch(path.name) or SNAPSHOT.fullmatch(path.name)
    return int(found[1]) if found else -1


def newest_first(folder: Path, kind: re.Pattern = CHECKPOINT) -> list[Path]:
    """Return the files of a `kind` in a folder, the newest step first; others are ignored."""
    found = [path for path in Path(folder).glob("step-*") if kind.fullmatch(path.name)]
    return sorted(found, key=lambda path: (step_of(path), path.name), reverse=True)
