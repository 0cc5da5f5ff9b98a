"""What identifies a base, wherever its folder lies?"""

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tvhelpers import manifest
from tvhelpers.errors import InputError
from tvhelpers.models.base import BaseLocation, base_digest, digest_of
from tvhelpers.records import read_record, write_json
from tvhelpers.runtime import root_dir

FILES = "base_files"  # in a record: a digest of the base's files, if it is a folder or a file
FOLDER = " (folder)"  # after the name of a folder, so that it is not taken for a base's name
KINDS = (".json", ".txt", ".model", ".safetensors", ".bin")  # of files that say how a base draws
MOST = 1 << 24  # bytes of a file without weights that safetensors reads
# Keys of a config that say who saved it, from where.
SAVED_BY = re.compile("_(?!class_name$).*|transformers_version")


def identity(given: str, base: BaseLocation) -> dict[str, str]:
    """Return what a record says of a base that was given by a name: {"base", "base_revision"}, and
    FILES of a folder or a file, whose "base" has no path.

    `place_of` finds such a base again.
    """
    who = {"base": given, "base_revision": base.commit or base_digest(base)}
    if given in manifest.entries() or not Path(base.path).is_dir():  # else it is of the hub
        return who
    who |= {"base": shown(given), FILES: files_digest(base)}
    _remember(who[FILES], os.path.abspath(given))
    return who


def shown(given: str) -> str:
    """Return the name of a pipeline's folder (for that of a training, the training's name) or of a
    checkpoint's file, without the folders of this machine."""
    path = Path(os.path.abspath(given))
    if path.suffix == ".safetensors":
        return path.name
    return (path.parent if path.name == "pipeline" else path).name + FOLDER


def files_digest(base: BaseLocation) -> str:
    """Return 16 hex digits of a folder's pipeline: of its configs and vocabularies, and of the
    names, shapes and first numbers of its weights."""
    folder, digest = Path(base.path), hashlib.sha256()
    places = [folder, *(folder / part for part in sorted(base.architecture.parts))]
    for path in (file for place in places if place.is_dir() for file in sorted(place.iterdir())):
        if path.suffix in KINDS and path.is_file() and not path.name.startswith("."):
            digest.update(f"{path.relative_to(folder).as_posix()} {_file_digest(path)}\n".encode())
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> str:
    with contextlib.suppress(SafetensorError, TypeError), safe_open(path, "pt") as file:
        return digest_of((name, file.get_tensor(name)) for name in sorted(file.keys()))
    with open(path, "rb") as file:
        data = file.read(MOST)
    with contextlib.suppress(ValueError, RecursionError):
        if path.suffix == ".json" and isinstance(config := json.loads(data), dict):
            names = sorted(key for key in config if not SAVED_BY.fullmatch(key))
            data = json.dumps([[name, config[name]] for name in names]).encode()
    return hashlib.sha256(data).hexdigest()


def place_of(name: str, files: str | None) -> str:
    """Return the base of a record as `find_base` takes it: its name, or the folder or file where a
    base with these FILES was last; "" if it is there no longer."""
    place = _known().get(files, "") if files else name
    return place if not files or os.path.exists(place) else ""


def _memory() -> Path:
    return root_dir() / "artifacts" / "bases.json"


def _known() -> dict[str, str]:
    """Return {FILES: where that base was last}; a damaged file counts as empty."""
    with contextlib.suppress(InputError):
        return read_record(_memory(), "places") if _memory().is_file() else {}
    return {}


def _remember(files: str, place: str) -> None:
    """Note where a base is; where nothing can be written, it must be named again later."""
    if (known := _known()).get(files) != place:
        with contextlib.suppress(OSError, InputError):
            write_json(_memory(), {**known, files: place})
