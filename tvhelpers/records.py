"""How are JSON files parsed and checked, written, and read after the program has changed?

A file may come from anybody.  Its size and its levels of nesting are limited, and it must match
the schema of its kind, so that callers get values of the right types.  A record of an older version
is upgraded: old names of keys and values are replaced by today's, and a missing key gets the value
that its absence meant then.
"""

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from numbers import Real
from pathlib import Path

from tvhelpers.errors import MESSAGE_CHARACTERS, InputError, in_words
from tvhelpers.files import make_dir, no_link, write_text, writing
from tvhelpers.record_kinds import KINDS
from tvhelpers.text import clean, decoded

MAX_BYTES = 1 << 26  # of a file that is parsed at once; Python's objects take up to 30 times more
MAX_BYTES_OF_LINES = 1 << 30  # of a file that is parsed line by line
MAX_LEVELS = 64  # of nested lists and objects; a blend of blends takes 3 for each
DIGESTS = re.compile("_(fingerprint|digest)$")  # keys of a request that stand for a setting
MISSING = object()
NUMBERS = {int: (int, float, Real), float: (float, Real)}  # {type: schemas that most numbers fit}


def parse(text: str, where: str):
    """Return the value of a JSON text; `where` names it in messages.

    Raises InputError for invalid JSON, for more than MAX_LEVELS levels of nesting, and for texts
    with null characters or half a surrogate pair.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise InputError("not-json", where=where, error=error) from None
    if "\\u" in text or text.count("[") + text.count("{") > MAX_LEVELS:
        _check_parts(value, where, MAX_LEVELS)
    return value


def _check_parts(value, where: str, levels: int) -> None:
    """Raise InputError for more than `levels` levels of nesting, and for texts as in `parse`."""
    if isinstance(value, str):
        clean(value, where)
    if isinstance(value, (dict, list)):
        if not levels:
            raise InputError("not-json.deep", where=where, most=MAX_LEVELS)
        for part in value if isinstance(value, list) else [*value, *value.values()]:
            _check_parts(part, where, levels - 1)


def as_record(value, kind: str, where: str) -> dict:
    """Return a parsed value as a record of a kind, under today's names of keys and values.

    Raises InputError where it is not an object, or does not match the schema in KINDS.
    """
    if not isinstance(value, dict):
        raise InputError("not-a-record", where=where)
    record = upgraded(value, kind)
    for place, schema, seen in _misfits(record, KINDS[kind].keys):
        key = ".".join(map(str, place))
        if seen is MISSING:
            raise InputError("missing-key.record", where=where, key=key)
        schemas = schema if isinstance(schema, tuple) else (schema,)
        if any(one in schemas for one in NUMBERS.get(type(seen), ())):
            raise InputError("wrong-type.number", where=where, key=key, seen=seen)
        wanted = [
            type(one) if isinstance(one, (list, dict, type(None))) else one for one in schemas
        ]
        raise InputError("wrong-type.record", where=where, key=key, wanted=wanted, seen=type(seen))
    return record


def _misfits(value, schema, place: tuple = ()) -> Iterator[tuple]:
    """Yield (place, schema, value or MISSING) of each part that does not match its schema."""
    if isinstance(schema, tuple):
        if all(any(_misfits(value, one)) for one in schema):
            yield place, schema, value
    elif not _is_of(value, type(schema) if isinstance(schema, (list, dict)) else schema):
        yield place, schema, value
    elif isinstance(schema, list):
        for number, part in enumerate(value):
            yield from _misfits(part, schema[0], (*place, number))
    elif isinstance(schema, dict):
        for key, own in schema.items():
            names = [*value] if key == "*" else [key.removesuffix("?")]
            for name in names:
                if name in value:
                    yield from _misfits(value[name], own, (*place, name))
                elif name == key:
                    yield (*place, name), own, MISSING


def _is_of(value, kind) -> bool:
    """Return whether a value is of a type, or None for None; integers must fit in 64 bits."""
    if kind in (float, Real):
        finite = type(value) in (int, float) and abs(value) <= sys.float_info.max
        return finite or (kind is Real and type(value) is float)
    return value is kind or (type(value) is kind and (kind is not int or abs(value) < 2**63))


def upgraded(record: dict, kind: str) -> dict:
    """Return the record under today's names of keys and values."""
    changes = KINDS[kind]
    record = {changes.renamed.get(key, key): value for key, value in record.items()}
    for key, names in changes.values.items():
        if isinstance(record.get(key), str):
            record[key] = names.get(record[key], record[key])
    return {**changes.missing, **record}


def read_record(path: Path, kind: str) -> dict:
    """Return the record of a JSON file; raises InputError as `read_json` and `as_record` do."""
    return as_record(read_json(path), kind, in_words(Path(path)))


def write_json(path: Path, value) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def add_line(path: Path, value: dict) -> None:
    """Append `value` as a line of JSON; half a line that a killed process left is removed."""
    with open(path, "ab+", opener=no_link) as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(value).encode() + b"\n")


def read_json(path: Path):
    """Return the value of a JSON file that is not a record, or must not be upgraded.

    Raises InputError where it is missing, too large or broken.
    """
    return parse(_text(path, MAX_BYTES), in_words(Path(path)))


def read_records(path: Path, kind: str) -> list[dict]:
    """Return the records of a JSON-lines file that grows, as a log does; [] if missing.

    An incomplete last line is ignored; raises InputError for a broken line before that.
    """
    if not Path(path).exists():
        return []
    return _records_of(_text(path, MAX_BYTES_OF_LINES).rpartition("\n")[0], path, kind)


def read_rows(path: Path, kind: str = "row", whole: bool = False) -> list[dict]:
    """Return the records of a finished JSON-lines file, or of a list that is the `whole` file.

    Raises InputError where the file is broken, also at its end, or has no record.
    """
    if not whole:
        rows = _records_of(_text(path, MAX_BYTES_OF_LINES), path, kind)
    elif isinstance(rows := read_json(path), list):
        rows = [as_record(row, kind, f"row {i} of {in_words(path)}") for i, row in enumerate(rows)]
    if not rows or not isinstance(rows, list):
        raise InputError("not-json.rows", path=path)
    return rows


def _records_of(text: str, path: Path, kind: str) -> list[dict]:
    """Return the records of JSON lines; U+0085 and U+2028 within a text do not end a line."""
    lines = enumerate(text.split("\n"), 1)
    of_path = f"of {in_words(Path(path))}"
    wheres = ((line, f"line {number} {of_path}") for number, line in lines if line.strip())
    return [as_record(parse(line, where), kind, where) for line, where in wheres]


def _text(path: Path, most: int) -> str:
    """Return a file's text; raises InputError where it is missing, or has over `most` bytes."""
    path = Path(path)
    if not path.is_file():
        raise InputError("file-missing.json", path=path)
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError("too-large.json", path=path, most=most)
    return decoded(data, path)


class TakenError(InputError):
    """The folder holds other results, which are kept."""


@contextlib.contextmanager
def claimed(path: Path, *claim, **how) -> Iterator[Path]:
    """Make `path` the folder of a request, with the arguments of `claim_dir`, and hold its lock
    within the block.

    Raises InputError at once while another process writes into it.  A folder with other content is
    refused before a lock file is written.
    """
    check_claim(path, *claim, **how)
    with writing(path):
        yield claim_dir(path, *claim, **how)


def claim_dir(
    path: Path, request: dict, what: str, marker: str = "request.json",
    ignore: Collection[str] = (), scratch: tuple[str, ...] = (), chosen: Collection[str] = (),
) -> Path:  # fmt: skip
    """Make `path` the folder of `request`, or check that it is already.

    The request is written to the file `marker` in it; its keys in `ignore` may differ, and those
    that were `chosen` for the user are named only if no other one differs.  Without
    results, the marker is replaced, and the files and folders in `scratch` (unfinished work) are
    removed; hidden files and empty folders do not count as results.  Raises TakenError where the
    folder holds anything else: nothing is ever overwritten.
    """
    path = Path(path)
    if check_claim(path, request, what, marker, ignore, scratch, chosen):
        return path
    make_dir(path)
    for name in scratch:
        left = path / name
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
    write_json(path / marker, request)
    return path


def check_claim(
    path: Path, request: dict, what: str, marker: str = "request.json",
    ignore: Collection[str] = (), scratch: tuple[str, ...] = (), chosen: Collection[str] = (),
) -> bool:  # fmt: skip
    """Return whether the folder `path` has results; raises TakenError for another request's."""
    path = Path(path)
    entries = [x for x in path.iterdir() if not x.name.startswith(".")] if path.is_dir() else []
    if entries and not (path / marker).exists():
        raise TakenError("folder-taken", path=path)
    if not any(_is_result(entry) for entry in entries if entry.name not in (marker, *scratch)):
        return False
    seen = read_record(path / marker, what)
    keys = [key for key in {**request, **seen} if key not in ignore]  # what a user gives is first
    different = [key for key in keys if seen.get(key) != request.get(key)]
    different = [key for key in different if key not in chosen] or different
    if different:
        raise _taken(path, seen, request, different)
    return True


def _taken(path: Path, seen: dict, request: dict, different: list[str]) -> TakenError:
    """Return the error for a folder of another request, with the values of what is different, where
    there is room for them."""
    names = {DIGESTS.sub("", key): key for key in different}  # "data", not "data_fingerprint"
    values = [
        f"{in_words(name)}{_change(seen.get(key), request.get(key)) * (name == key)}"
        for name, key in names.items()
    ]
    error = TakenError("another-request.values", path=path, different=", ".join(values))
    if len(str(error)) > MESSAGE_CHARACTERS:
        return TakenError("another-request", path=path, different=[*names])
    return error


def _change(there, now) -> str:
    """Return " (100, not 200)" of two short values, "" of others."""
    if not all(isinstance(one, int | float | str) and str(one) for one in (there, now)):
        return ""
    return f" ({in_words(there)}, not {in_words(now)})"


def _is_result(path: Path) -> bool:
    """Return whether a path is a file that is not hidden, or a folder with such a file."""
    if path.name.startswith("."):
        return False
    if path.is_dir() and not path.is_symlink():
        return any(map(_is_result, path.iterdir()))
    return True
