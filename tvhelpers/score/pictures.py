"""Folders of pictures to score: which files, with which prompts, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data.photos import IMAGE_ENDINGS, read_photo
from tvhelpers.runtime import content_key, file_sha256, read_jsonl

TOGETHER = 32  # pictures of one size that are read at a time


@dataclass(frozen=True)
class PictureFolder:
    """Pictures to score; prompts (N,) are None where nobody wrote them down."""

    path: Path
    files: list[Path]
    prompts: list[str] | None
    digests: list[str]  # SHA-256 of each file
    bases: frozenset[str] = frozenset()  # that drew them, where records say so

    def digest(self) -> str:
        """Return 16 hex digits of all pictures' bytes and prompts."""
        return content_key([self.digests, self.prompts])

    def groups(self) -> list[str]:
        """Return what pictures are paired by (N,): their prompts, or their names without any."""
        return self.prompts or [file.name for file in self.files]


def open_folder(path: Path) -> PictureFolder:
    """Return the pictures of a folder: those of records.jsonl, or all where there is none."""
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give one that `generate` wrote, or of pictures")
    if (path / "records.jsonl").exists():
        return _recorded_pictures(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise InputError(f"{path} holds no pictures; give a folder that `generate` wrote")
    return _sorted(path, files, None)


def _recorded_pictures(path: Path) -> PictureFolder:
    """Return the pictures that records.jsonl names, and no other: grid.png is none of them."""
    try:
        records = read_jsonl(path / "records.jsonl")
        files = [path / record["file"] for record in records]
        prompts = [str(record["prompt"]) for record in records]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}/records.jsonl is broken ({type(error).__name__}: {error}); draw it anew"
        ) from None
    if not files:
        raise InputError(f"{path}/records.jsonl names no picture; run `generate` to its end")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{path}: {missing[0]} is in records.jsonl but not there; draw it anew")
    if len(set(files)) < len(files):
        raise InputError(f"{path}/records.jsonl names a picture twice; draw it anew")
    bases = frozenset(str(record["base"]) for record in records if record.get("base"))
    return replace(_sorted(path, files, prompts), bases=bases)


def _sorted(path: Path, files: list[Path], prompts: list[str] | None) -> PictureFolder:
    """Return the pictures by prompt and content: no figure depends on the order of records."""
    rows = zip(prompts or [""] * len(files), map(file_sha256, files), files, strict=True)
    words, digests, files = map(list, zip(*sorted(rows), strict=True))
    return PictureFolder(path, files, words if prompts else None, digests)


def batches(files: list[Path]) -> Iterator[np.ndarray]:
    """Yield pixels uint8 (n, H, W, 3) of up to TOGETHER pictures in a row that have one size."""
    batch: list[np.ndarray] = []
    for file in files:
        pixels = read_photo(file)
        if batch and (len(batch) == TOGETHER or pixels.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(pixels)
    yield np.stack(batch)
