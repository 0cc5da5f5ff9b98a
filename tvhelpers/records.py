"""How are the JSON files that outlive a process written, and read after the program has changed?

A record of an older version is upgraded as it is read: old names of keys and values become today's,
and a missing key gets the value that its absence meant then.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tvhelpers.config import FORMER_SETTINGS, FORMER_VALUES
from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path, make_dir
from tvhelpers.text import read_text


@dataclass(frozen=True)
class Kind:
    """The changes of one kind of record since its first version."""

    renamed: dict[str, str] = field(default_factory=dict)  # {old key: key}
    values: dict[str, dict] = field(default_factory=dict)  # {key: {old value: value}}
    missing: dict = field(default_factory=dict)  # {key: what its absence means}


SCORED_ATTRIBUTES = "category colour pattern sleeve neckline fabric length waist".split()
# {name that claim_dir and its callers give a kind of record: its changes}
KINDS: dict[str, Kind] = {
    "training": Kind(values=FORMER_VALUES),  # config.json of a run
    "log": Kind(),  # a line of log.jsonl or speed.jsonl
    "evaluation": Kind({"held_out_loss": "validation_loss"}),  # a line of eval.jsonl
    "result": Kind(),  # result.json of a run
    "adapter": Kind(),  # metadata of an adapter
    "pipeline": Kind({"strength": "lora_scale"}),  # base.json of a pipeline; stable name
    "latent cache": Kind(),  # about.json of cached latents
    "classes": Kind(),  # classes.json of a trained pipeline
    "request": Kind({"strength": "lora_scale"}),  # request.json of images; stable name
    "captions": Kind(),  # a line that a captioner wrote, and its request
    "item": Kind(),  # a line of items.jsonl, beside converted pixels
    "partial download": Kind(),  # beside a partly downloaded file
    "download": Kind(),  # .obtained.json of a downloaded or unpacked data set
    "image": Kind(),  # a line of records.jsonl, a studio's too
    "metrics": Kind(  # what `score` writes, and each object within it
        {
            "reader": "attribute_classifier",
            "known": "calibration",
            "held_out": "validation",
            "left_out": "skipped",  # stable name
            "n_known": "n_calibration",
            "right_where_named": "accuracy_where_named",
            "median_held_out": "median_validation",  # stable name
            "nearer_than_held_out": "nearer_than_validation",  # stable name
            "n_held_out": "n_validation",  # stable name
            "held_out_as_near": "validation_as_near",  # stable name
            "picture": "image",  # stable name
        },
        {
            "calibration": {"flats drawn anew": "fresh flats"},  # stable name
            "name": {
                f"atom:{name}{end}": f"attribute:{name}{end}"  # stable name
                for name in (*SCORED_ATTRIBUTES, "all")
                for end in ("", ", difference")
            },
        },
    ),
    "study": Kind(),  # study.json
    "study request": Kind(),  # key-request.json of a study
    "conversion": Kind(),  # request.json of converted data
    "CLIP tuning": Kind({**FORMER_SETTINGS, "held_out": "validation"}),  # tuning.json
    "study key": Kind(),  # key.json of a study
    "votes": Kind(),  # a file of votes from a page for raters
}


def upgraded(record: dict, kind: str) -> dict:
    """Return the record under today's names of keys and values."""
    changes = KINDS[kind]
    record = {changes.renamed.get(key, key): value for key, value in record.items()}
    for key, names in changes.values.items():
        if isinstance(record.get(key), str):
            record[key] = names.get(record[key], record[key])
    return {**changes.missing, **record}


def read_record(path: Path, kind: str) -> dict:
    """Return the upgraded record of a JSON file; raises InputError where it holds no object."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError("not-a-record", path=path)
    return upgraded(record, kind)


def read_records(path: Path, kind: str) -> list[dict]:
    """Return the upgraded records of a JSON-lines file, as `read_jsonl` finds them."""
    return [upgraded(record, kind) for record in read_jsonl(path)]


def write_json(path: Path, value) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as aside:
        aside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path):
    """Return the parsed JSON of `path`; raises InputError where it is missing or broken."""
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise InputError("file-missing.json", path=path) from None
    except ValueError as error:
        raise InputError("not-json.file", path=path, error=error) from None


def read_jsonl(path: Path) -> list[dict]:
    """Return the records of a JSON-lines file that grows, as a log does; [] if missing.

    An incomplete last line is ignored; raises InputError for a broken line before that.
    """
    if not Path(path).exists():
        return []
    lines = read_text(path).split("\n")[:-1]  # the last is empty, or incomplete
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise InputError("not-json.line", number=number, path=path, error=error) from None
    return rows


def read_rows(path: Path, whole: bool = False) -> list[dict]:
    """Return the objects of a finished JSON-lines file, or of a list that is the `whole` file.

    Raises InputError where the file is broken, also at its end, or one is no object, or none there.
    """
    try:
        text = read_text(path)
        lines = filter(str.strip, text.split("\n"))  # splitlines() cuts texts with U+0085 or U+2028
        rows = json.loads(text) if whole else list(map(json.loads, lines))
    except (ValueError, RecursionError) as error:
        raise InputError("not-json.file", path=path, error=error) from None
    if not rows or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("not-json.rows", path=path)
    return rows


class TakenError(InputError):
    """The folder holds other results, which are kept."""


def claim_dir(
    path: Path, request: dict, what: str, marker: str = "request.json", ignore: tuple[str, ...] = ()
) -> Path:
    """Make `path` the folder of `request`, or check that it is already.

    The request is written to the file `marker` in it; its keys in `ignore` may differ.  Hidden
    files are ignored, and a marker without results is replaced.  Raises TakenError where the folder
    holds anything else: nothing is ever overwritten.
    """
    path = make_dir(path)
    others = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    others = [entry for entry in others if entry.name != marker]
    if others and (path / marker).exists():
        check_claim(path, request, what, marker, ignore)
    elif others:
        raise TakenError("folder-taken", path=path)
    else:
        write_json(path / marker, request)
    return path


def check_claim(path: Path, request: dict, what: str, marker: str, ignore: tuple[str, ...]) -> None:
    """Raise TakenError where the folder `path` has the marker of another request."""
    seen = read_record(path / marker, what) if (path / marker).exists() else request
    keys = [key for key in {**request, **seen} if key not in ignore]  # what a user gives is first
    different = [key for key in keys if seen.get(key) != request.get(key)]
    if different:
        raise TakenError("another-request", path=path, different=different)
