"""What does data_manifest.yaml hold for a name: source, licence, and place on this machine?"""

import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tvhelpers.config import check_choice
from tvhelpers.errors import TYPES, Choice, InputError, in_words
from tvhelpers.files import read_tables, read_yaml
from tvhelpers.text import read_text

MAX_BYTES, MAX_NODES = 1 << 18, 1 << 17  # of a user's file
TOP_DIR = Path(__file__).resolve().parent.parent  # rows' `path` is relative to it
FILE_NAME = "data_manifest.yaml"
REQUIRED = ("kind", "licence", "obtain")
ROW_NAME = re.compile(r"\w[\w.+-]*")
# ASCII, without a user name and password; other characters as %xx
URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!-~]*[!-.0-~]")
YAML_TYPES = {kind.__name__: kind for kind in TYPES} | {"null": type(None)}


def manifest_path() -> Path:
    """Return the package's data_manifest.yaml, beside the package or inside an installed one.

    Raises InputError where there is none.
    """
    for place in (TOP_DIR / FILE_NAME, Path(__file__).parent / FILE_NAME):
        if place.is_file():
            return place
    raise InputError("no-manifest.own", path=place)


def entries() -> dict[str, dict]:
    """Return {name: row} of the package's manifest, and of the one that $TV_MANIFEST names.

    The latter's rows are added, or replace rows of the same name.  Raises InputError for a wrong
    file or row.
    """
    given = os.environ.get("TV_MANIFEST")
    if given and not Path(given).is_file():
        raise InputError("no-manifest.given", path=given)
    paths = [manifest_path(), *([Path(given)] if given else [])]
    rows = [_read(path, path.stat().st_mtime_ns) for path in paths]
    return {name: row for part in rows for name, row in part.items()}


def former_tag(digest: str) -> str:
    """Return the git tag of the code with a base whose UNet has this digest, "" if unknown."""
    tags = [row["former"].get(digest) for row in entries().values() if "former" in row]
    return next(filter(None, tags), "")


@cache
def _read(path: Path, changed: int) -> dict[str, dict]:
    import yaml  # here, because `import tvhelpers.manifest` is on the way to every command

    try:
        rows = read_yaml(path) if path == manifest_path() else _read_own(path)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError("not-yaml", path=path, error=error) from None
    if not isinstance(rows, dict):
        raise InputError("wrong-type.manifest-rows", path=path)
    allowed = read_tables(__file__, "manifest_keys.yaml")
    for name, row in rows.items():
        _check_row(f"row {in_words(name)} of {in_words(path)}", name, row, allowed)
    return rows


def _read_own(path: Path):
    """Return the content of a user's YAML file, unless its aliases make it too large.

    The fast reader of PyYAML is not used: it crashes on deeply nested brackets.
    """
    import yaml

    if path.stat().st_size > MAX_BYTES:
        raise InputError("too-large.yaml", path=path, most=MAX_BYTES)
    loader, sizes = yaml.SafeLoader(read_text(path)), {}  # {node: its size, aliases included}
    top = loader.get_single_node()

    def size(node) -> int:
        if node not in sizes:
            sizes[node] = MAX_NODES  # while it is measured, as it may contain itself
            pairs = node.value if isinstance(node.value, list) else []
            parts = [one for pair in pairs for one in (pair if type(pair) is tuple else [pair])]
            sizes[node] = 1 + sum(map(size, parts))
        return sizes[node]

    if top and size(top) >= MAX_NODES:
        raise InputError("too-large.aliases", path=path)
    return top and loader.construct_document(top)


def _check_row(where: str, name, row, allowed: dict[str, dict]) -> None:
    """Raise InputError for a wrong row; `allowed` is the content of manifest_keys.yaml."""
    if not isinstance(name, str):
        raise InputError("wrong-type.row-name", where=where)
    if not ROW_NAME.fullmatch(name):  # it becomes the name of a folder
        raise InputError("bad-name.row", where=where)
    missing = [key for key in REQUIRED if not isinstance(row, dict) or not row.get(key)]
    if missing:
        raise InputError("missing-key.row", where=where, missing=missing)
    for key, words in allowed["choices"].items():
        if key in row:
            check_choice(f"{where}: {key}", row[key], words)
    _check_keys(where, row, allowed["any kind"] | allowed[row["kind"]])
    if row["kind"] == "base" and not (row.get("path") or row.get("hub")):
        raise InputError("missing-key.row", where=where, missing=["hub"])
    files = row.get("files", ())
    for number, file in enumerate(files, 1):
        _check_file(f"file {number} of {where}", file, allowed["file of a row"])
    if len({file_name(file["url"]).lower() for file in files}) < len(files):
        raise InputError("given-twice.file", where=where)
    for key in ("sha256", "columns", "clip", "table", "former"):
        texts = row[key] if isinstance(row.get(key), dict) else {}
        if not all(isinstance(text, str) for pair in texts.items() for text in pair):
            raise InputError("wrong-type.texts", where=where, key=key)
    for digest in (row.get("sha256") or {}).values():
        _check_digest(where, digest)
    places = [row.get("path"), *(row.get("sha256") or {}), (row.get("clip") or {}).get("path")]
    for place in filter(None, places):
        if Path(str(place)).is_absolute() or ".." in Path(str(place)).parts:
            raise InputError("outside-folder.row", where=where, place=str(place))


def _check_keys(where: str, row: dict, allowed: dict[str, str]) -> None:
    """Raise InputError for a key that is not allowed, or of another type."""
    for key, value in row.items():
        if key not in allowed:
            choice = Choice(key, allowed)
            raise InputError("unknown-key.manifest", where=where, key=key, choice=choice)
        seen = "null" if value is None else type(value).__name__
        if seen not in allowed[key].split(" or "):
            wanted = [YAML_TYPES[name] for name in allowed[key].split(" or ")]
            raise InputError("wrong-type.manifest", where=where, key=key, wanted=wanted)


def _check_file(where: str, file, allowed: dict[str, str]) -> None:
    if not isinstance(file, dict) or not file.get("url"):
        raise InputError("missing-key.url", where=where)
    _check_keys(where, file, allowed)
    if not URL.fullmatch(file["url"]):
        raise InputError("not-a-url", where=where, url=file["url"])
    if (file.get("size") or 0) < 0 or file.get("strip", 0) < 0:
        raise InputError("out-of-range.file", where=where)
    _check_digest(where, file.get("sha256"))


def _check_digest(where: str, digest: str | None) -> None:
    if digest is not None and not re.fullmatch(r"[0-9a-f]{8,64}", digest):
        raise InputError("not-a-digest", where=where, digest=digest)


def file_name(url: str) -> str:
    """Return the name of a download's file: letters, digits, dots and dashes, at most 100."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "-", name)[-100:].strip(".-") or "download"


def entry(name: str) -> dict:
    """Return the row of `name`; raises InputError for an unknown name."""
    rows = entries()
    if name not in rows:
        raise InputError("unknown-name", name=name, choice=Choice(name, rows))
    return rows[name]


def data_dir() -> Path:
    """Return the folder that holds a folder for each data set: $TV_DATA_DIR, or data/."""
    return Path(os.environ.get("TV_DATA_DIR") or "data")


def local_path(name: str) -> Path:
    """Return where the bytes of `name` are: $TV_DATA_DIR/NAME, or in the package.

    Raises InputError with the way to obtain them where they are missing.
    """
    row = entry(name)
    place = TOP_DIR / row["path"] if row.get("path") else data_dir() / name
    if not place.exists():
        obtain = " ".join(row["obtain"].split())
        raise InputError("not-at-hand", name=name, path=place, obtain=obtain)
    return place
