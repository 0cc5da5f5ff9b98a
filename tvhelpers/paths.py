"""Is a path that a file names there, and inside its folder?"""

from pathlib import Path

from tvhelpers.errors import InputError


def inside(folder: Path, name: str, place: str) -> Path:
    """Return the file `name` of a folder; `place` says in messages where the name was read.

    Raises InputError where there is no such file, or where it lies outside the folder.
    """
    path, leads_out = folder / name, Path(name).is_absolute() or ".." in Path(name).parts
    seen = f"{place} names {name[:200]}"
    if not leads_out and not is_there(path):
        raise InputError("file-missing.named", seen=seen)
    if leads_out or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError("outside-folder", seen=seen)
    return path


def is_there(path: Path) -> bool:
    """Return whether a path is a file; False too for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False
