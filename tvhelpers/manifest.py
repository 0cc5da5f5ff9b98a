"""data_manifest.yaml: every byte from outside, by name."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from tvhelpers.config import InputError

TOP_DIR = Path(__file__).resolve().parent.parent  # rows' `path` is relative to it
FILE_NAME = "data_manifest.yaml"
KINDS = ("images", "flats", "base", "weights")
REQUIRED = ("kind", "licence", "obtain")


def manifest_path() -> Path:
    """Return $TV_MANIFEST, or the file beside the package, or the copy inside an installed package.

    Raises InputError where there is none.
    """
    given = os.environ.get("TV_MANIFEST")
    places = [Path(given)] if given else [TOP_DIR / FILE_NAME, Path(__file__).parent / FILE_NAME]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"there is no manifest at {places[0]}; set TV_MANIFEST to a {FILE_NAME}")


def entries() -> dict[str, dict]:
    """Return {name: row} of the manifest; raises InputError where a row is not complete."""
    return _read(manifest_path())


@cache
def _read(path: Path) -> dict[str, dict]:
    import yaml  # here, because `import tvhelpers.manifest` is on the way to every command

    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())}); mend it") from None
    if not isinstance(rows, dict):
        raise InputError(f"{path} holds no rows by name; compare it with the one of the package")
    for name, row in rows.items():
        _check(path, name, row)
    return rows


def _check(path: Path, name: str, row) -> None:
    missing = [key for key in REQUIRED if not isinstance(row, dict) or not row.get(key)]
    if missing:
        raise InputError(f"{path}: row {name!r} lacks {', '.join(missing)}; add it")
    if row["kind"] not in KINDS:
        raise InputError(
            f"{path}: row {name!r} is of kind {row['kind']!r}; choose {', '.join(KINDS)}"
        )


def entry(name: str) -> dict:
    """Return the row of `name`; raises InputError that lists the names."""
    rows = entries()
    if name not in rows:
        raise InputError(f"unknown name {name!r}; data_manifest.yaml has {', '.join(rows)}")
    return rows[name]


def local_path(name: str) -> Path:
    """Return where the bytes of `name` are: $TV_DATA_DIR/NAME, or in the package.

    Raises InputError that says how to obtain them where they are not there.
    """
    row = entry(name)
    if row.get("path"):
        place = TOP_DIR / row["path"]
    else:
        place = Path(os.environ.get("TV_DATA_DIR") or "data") / name
    if not place.exists():
        obtain = " ".join(row["obtain"].split())
        raise InputError(f"{name} is not at {place} ({row['licence']}); to obtain it: {obtain}")
    return place
