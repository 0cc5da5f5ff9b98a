"""Does a path that a table names exist, inside the table's folder?"""

from pathlib import Path

from tvhelpers.errors import InputError


def inside(folder: Path, name: str, row: int) -> Path:
    """Return the file `name` of a folder, which `row` of a table in it names.

    Raises InputError where there is no such file, or where it lies outside the folder.
    """
    path, leads_out = folder / name, Path(name).is_absolute() or ".." in Path(name).parts
    if not leads_out and not is_there(path):
        raise InputError("file-missing.of-row", folder=folder, row=row, name=name)
    if leads_out or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError("outside-folder.of-row", folder=folder, row=row, name=name)
    return path


def is_there(path: Path) -> bool:
    """Return whether a path is a file; False too for an impossible name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False
