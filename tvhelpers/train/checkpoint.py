"""Checkpoints: one checksummed file each, visible only when whole, the newest readable one wins."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path

import torch

from tvhelpers.files import file_sha256, make_dir


def save_checkpoint(folder: Path, step: int, state: dict, keep: int = 2) -> Path:
    """Write `state` (tensors, numbers, texts in dicts and lists) as the checkpoint of `step`.

    The file's name carries the first 12 digits of its SHA-256.  The `keep` newest stay, one of each
    step.  Raises OSError where the disk refuses; the checkpoints before stay as they are.
    """
    folder = make_dir(folder)
    for left in folder.glob(".writing-*"):  # by a process that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as aside:
        whole = Path(aside) / "checkpoint.pt"
        _write(whole, state)
        path = folder / f"step-{step:07d}-{file_sha256(whole)[:12]}.pt"
        os.replace(whole, path)
    others = [old for old in newest_first(folder) if old != path]
    for old in others:
        if step_of(old) == step:
            old.unlink()
    for old in newest_first(folder)[keep:]:
        old.unlink()
    return path


def _write(path: Path, state: dict) -> None:
    try:
        with open(path, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # what torch makes of the disk's refusal
        raise OSError(f"a checkpoint could not be written ({error})") from None


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint whose checksum is right; None if there is none."""
    for path in newest_first(folder):
        if file_sha256(path)[:12] == path.stem.rpartition("-")[2]:
            return path
        warnings.warn(f"checkpoint {path} is damaged; an older one is used", stacklevel=2)
        path.unlink()  # or it would count among the newest for ever
    return None


def load_checkpoint(folder: Path) -> dict | None:
    """Return the newest checkpoint's state whose checksum is right, on the CPU; None if there is
    none."""
    path = find_checkpoint(folder)
    return path and read_checkpoint(path)


def read_checkpoint(path: Path) -> dict:
    """Return the state in a checkpoint file, on the CPU."""
    return torch.load(path, map_location="cpu", weights_only=True)


def step_of(path: Path) -> int:
    """Return the step of a checkpoint file."""
    return int(path.name.split("-")[1])


def newest_first(folder: Path) -> list[Path]:
    """Return the checkpoint files of a folder."""
    return sorted(Path(folder).glob("step-*.pt"), reverse=True)
