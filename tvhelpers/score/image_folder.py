"""Which images and prompts does a folder of generated images have?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvhelpers.data.photo_files import list_files, warn_of_skipped
from tvhelpers.data.photos import check_images, photo_sha256, read_unchanged, state_of
from tvhelpers.errors import InputError
from tvhelpers.files import check_idle, content_key
from tvhelpers.models.identity import FILES, place_of
from tvhelpers.paths import inside
from tvhelpers.records import read_records
from tvhelpers.score.suite import FILE as SUITE_FILE
from tvhelpers.score.suite import open_suite


@dataclass(frozen=True)
class ImageFolder:
    """Images to score; prompts (N,) are None where the folder has no records.jsonl."""

    path: Path
    files: list[Path]
    digests: list[str]  # SHA-256 of each file
    states: list[tuple[int, int]]  # `state_of` each file, taken before its digest
    prompts: list[str] | None
    seeds: list[int | None]
    rows: list[dict | None]  # of the prompt suite, for images that were generated from one
    bases: frozenset[str] = frozenset()  # that generated them, where records name it
    notes: tuple[str, ...] = ()  # problems that a reader of the results must know

    def pixels(self, number: int) -> np.ndarray:
        """Return pixels uint8 (H, W, 3) of one image; raises InputError with all bad ones."""
        try:
            return read_unchanged(self.files[number], self.states[number])
        except InputError:
            check_images(self.files)
            raise

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield pixels uint8 (H, W, 3) of one image after the other."""
        return map(self.pixels, range(len(self.files)))

    def digest(self) -> str:
        """Return 16 hex digits of all images' bytes and prompts."""
        return content_key([self.digests, self.prompts])

    def groups(self) -> list[str]:
        """Return what images are paired by (N,): prompts, or file names where there are none."""
        return self.prompts or [file.name for file in self.files]


def open_folder(path: Path) -> ImageFolder:
    """Return the images that records.jsonl of a folder lists, or all its images without that file.

    Records of a suite's prompts need the suite's rows beside them, in prompts.jsonl.  Raises
    InputError where there is no image, and where records and files do not match.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError("folder-missing.images", path=path)
    check_idle(path)
    if (path / "records.jsonl").exists():
        records, files = _records(path)
        return _sorted(path, files, records, _suite_rows(path, records))
    files = _images(path)
    if not files and (path / "pixels.h5").exists():
        raise InputError("no-images.converted", path=path)
    if not files:
        raise InputError("no-images.folder", path=path)
    return _sorted(path, files, [{} for _ in files], {})


def _images(path: Path) -> list[Path]:
    """Return the images of a folder; warn of skipped files, and of images in subfolders."""
    files = list_files(path)
    files.skip(
        "in a subfolder, which is not scored",
        (file for file in files.images if file.parent != path),
    )
    files.skip_formats()
    warn_of_skipped(path, files.skipped)
    return [file for file in files.images if file.parent == path]


def _records(path: Path) -> tuple[list[dict], list[Path]]:
    """Return the records of records.jsonl, and the path of each image.

    Raises InputError if a record has no image, or two records have the same one.
    """
    records = read_records(path / "records.jsonl", "image")
    files = [inside(path, record["file"]) for record in records]
    missing = [file.name for file in files if not file.is_file()]
    if not files:
        raise InputError("no-images.records", path=path)
    if missing:
        raise InputError("file-missing.record", path=path, name=missing[0])
    if len(set(files)) < len(files):
        raise InputError("records-broken.twice", path=path)
    return records, files


def _suite_rows(path: Path, records: list[dict]) -> dict[str, dict]:
    """Return {id: row} of the suite that records come from, {} for other images."""
    named = {record["prompt_id"] for record in records if record.get("prompt_id")}
    if not named:
        return {}
    rows = {row["id"]: row for row in open_suite(str(path / SUITE_FILE))}
    unknown = sorted(named - set(rows))
    if unknown:
        raise InputError("records-broken.suite", path=path, id=unknown[0], name=SUITE_FILE)
    return rows


def _sorted(path: Path, files: list[Path], records: list[dict], rows: dict) -> ImageFolder:
    """Return the images sorted by prompt and content: no figure depends on the records' order."""
    states = [state_of(file) for file in files]
    digests = [photo_sha256(file) for file in files]
    keys = [(r.get("prompt", ""), *key) for r, *key in zip(records, digests, files, strict=True)]
    order = sorted(range(len(files)), key=keys.__getitem__)
    records = [records[i] for i in order]
    lacking = len(rows) - len({record.get("prompt_id") for record in records})
    bases = {(record.get("base"), record.get(FILES)) for record in records}
    note = f"{lacking} of {len(rows)} prompts have no image: the results are of the other prompts"
    return ImageFolder(
        path,
        [files[i] for i in order],
        [digests[i] for i in order],
        [states[i] for i in order],
        [record["prompt"] for record in records] if records[0] else None,
        [record.get("seed") for record in records],
        [rows.get(record.get("prompt_id")) for record in records],
        frozenset(place_of(*one) or one[0] for one in bases if one[0]),
        (note,) * (lacking > 0),
    )
