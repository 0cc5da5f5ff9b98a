"""Folders of pictures to score: which files, with which prompts, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.files import content_key, file_sha256
from tvhelpers.image import IMAGE_ENDINGS, read_photo
from tvhelpers.records import read_jsonl
from tvhelpers.score.suite import FILE as SUITE_FILE
from tvhelpers.score.suite import open_suite

TOGETHER = 32  # pictures of one size that are read at a time


@dataclass(frozen=True)
class PictureFolder:
    """Pictures to score; prompts (N,) are None where nobody wrote them down."""

    path: Path
    files: list[Path]
    prompts: list[str] | None
    digests: list[str]  # SHA-256 of each file
    seeds: list[int | None]
    rows: list[dict | None]  # of the suite that each was drawn from
    bases: frozenset[str] = frozenset()  # that drew them, where records say so
    notes: tuple[str, ...] = ()  # what is amiss

    def digest(self) -> str:
        """Return 16 hex digits of all pictures' bytes and prompts."""
        return content_key([self.digests, self.prompts])

    def groups(self) -> list[str]:
        """Return what pictures are paired by (N,): their prompts, or their names without any."""
        return self.prompts or [file.name for file in self.files]


def open_folder(path: Path) -> PictureFolder:
    """Return the pictures of a folder: those of records.jsonl, or all where there is none.

    Records that name a suite's prompts need its rows beside them, in prompts.jsonl.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give one that `generate` wrote, or of pictures")
    if (path / "records.jsonl").exists():
        return _recorded_pictures(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise InputError(f"{path} holds no pictures; give a folder that `generate` wrote")
    return _sorted(path, files, [{} for _ in files], {})


def _recorded_pictures(path: Path) -> PictureFolder:
    """Return the pictures that records.jsonl names, and no other: grid.png is none of them."""
    try:
        records = read_jsonl(path / "records.jsonl")
        files = [path / record["file"] for record in records]
        records = [{**record, "prompt": str(record["prompt"])} for record in records]
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
    return _sorted(path, files, records, _suite_rows(path, records))


def _suite_rows(path: Path, records: list[dict]) -> dict[str, dict]:
    """Return {id: row} of the suite that records were drawn from, {} for other pictures."""
    named = {record["prompt_id"] for record in records if record.get("prompt_id")}
    if not named:
        return {}
    rows = {row["id"]: row for row in open_suite(str(path / SUITE_FILE))}
    unknown = sorted(named - set(rows))
    if unknown:
        raise InputError(f"{path}: prompt {unknown[0]} is not in {SUITE_FILE}; draw it anew")
    return rows


def _sorted(path: Path, files: list[Path], records: list[dict], rows: dict) -> PictureFolder:
    """Return the pictures by prompt and content: no figure depends on the order of records."""
    keys = [(record.get("prompt", ""), file_sha256(file)) for record, file in zip(records, files)]
    order = sorted(range(len(files)), key=lambda i: (*keys[i], files[i]))
    records, files = [records[i] for i in order], [files[i] for i in order]
    prompts = [record["prompt"] for record in records] if records[0] else None
    lacking = len(rows) - len({record.get("prompt_id") for record in records})
    note = f"{lacking} of {len(rows)} prompts have no picture: figures are of the others"
    return PictureFolder(
        path,
        files,
        prompts,
        [keys[i][1] for i in order],
        [record.get("seed") for record in records],
        [rows.get(record.get("prompt_id")) for record in records],
        frozenset(str(record["base"]) for record in records if record.get("base")),
        (note,) * (lacking > 0),
    )


def read_all(files: Iterable[Path]) -> Iterator[np.ndarray]:
    """Yield the pictures of files, in batches."""
    return batches(map(read_photo, files))


def batches(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield pixels uint8 (n, H, W, 3) of up to TOGETHER pictures in a row that have one size."""
    batch: list[np.ndarray] = []
    for pixels in pictures:
        if batch and (len(batch) == TOGETHER or pixels.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(pixels)
    yield np.stack(batch)
