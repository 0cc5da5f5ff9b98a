"""Which data formats can be opened, and which reader opens a given name or path?"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tvhelpers import manifest
from tvhelpers.data import array_sources, flats_source, folder, table_sources
from tvhelpers.data.attributes import is_attribute_prediction, open_attribute_prediction
from tvhelpers.data.h5 import check_choices
from tvhelpers.data.highres import open_highres
from tvhelpers.data.items import Images, Source, checked
from tvhelpers.data.joined import Joined
from tvhelpers.data.photo_files import (
    is_archive,
    refuse_archive,
    shortened,
    warn_of_skipped,
)
from tvhelpers.data.photos import without_bad
from tvhelpers.data.tables import OURS
from tvhelpers.errors import Choice, InputError
from tvhelpers.hub import HUB, HUB_ID, find_model
from tvhelpers.paths import is_there, names_of, snapshot_of


@dataclass(frozen=True)
class Reader:
    """How one format is read.

    `open(name, path, options)`: `options` are the keys of the source's row in the manifest, and
    over them what the user gave: columns {name: column}, captions_optional (photos may lack
    captions), and decode, axes, channels and mean of stored images.
    """

    name: str  # as a row's `reader` gives it
    matches: Callable[[Path], bool] | None  # whether a path is of this format; None: never
    open: Callable[[str, Path, dict], Source]


READERS = [  # of several that match a path, the first opens it; a new format is a line here
    Reader("flats", None, flats_source.open_flats),
    Reader("huggingface", None, table_sources.open_hub),
    Reader("table", table_sources.is_table, table_sources.open_table),
    Reader("converted", array_sources.is_converted, array_sources.open_converted),
    # a language_original.mat alone: captions without images
    Reader("language", lambda path: path.suffix == ".mat", array_sources.open_language),
    Reader("archive", is_archive, refuse_archive),
    # the benchmark's folder, or any other file
    Reader("h5", array_sources.is_array_file, array_sources.open_array_file),
    Reader("attributes", is_attribute_prediction, open_attribute_prediction),
    # photos, or a table or shards of a table in the folder
    Reader("photos", Path.exists, folder.open_photos),
]


def open_source(
    name_or_path: str | Path,
    columns: dict[str, str] | None = None,
    *,
    photos: Path | None = None,
    captions_optional: bool = False,
    skip_bad: bool = False,
    **reading,
) -> Source:
    """Open a name of data_manifest.yaml, a folder or file, "hub:owner/name" of the hub, or several
    of them with " + " between them.

    A folder holds photos with metadata.csv, .jsonl or .parquet (file_name and a caption, text, or
    category), with a caption file each, or in folders named by category, also mixed; or one of:
    photos whose names are words; Img/G2.h5 (and Anno, Eval), or that file; pixels.h5 and
    items.jsonl of `data convert`; DeepFashion's Category and Attribute Prediction (Img, and
    Anno_coarse or Anno_fine, or either alone).  For a table with other columns, `columns`
    {our name: column} tells which is which, as in data_manifest.yaml.

    `photos`: an archive of original photos to use instead (`open_highres`); `captions_optional`:
    photos may have no caption yet; `skip_bad`: skip images that cannot be read, and rows whose
    image is missing; `reading`: decode, axes, channels, mean of stored images (`open_images`).
    Warns of skipped files, once for each reason.  Raises InputError where none of these formats
    fits, and for an unknown option, even if this format would ignore it.
    """
    if parts := names_of(str(name_or_path)):
        how = {"photos": photos, "captions_optional": captions_optional, "skip_bad": skip_bad}
        return Joined([open_source(part, columns, **how, **reading) for part in parts])
    _check_options(str(name_or_path), columns or {}, reading)
    options = {"captions_optional": captions_optional, "skip_bad": skip_bad}
    options |= {key: value for key, value in reading.items() if value not in ("auto", None)}
    source = checked(_open(str(name_or_path), columns, options))
    source = open_highres(source, photos) if photos else source
    if skip_bad and type(source.images) is Images:  # others are arrays, or are checked already
        source = without_bad(source)
    source.skipped = shortened(Path(name_or_path), source.skipped)
    warn_of_skipped(name_or_path, source.skipped)
    return source


def _check_options(place: str, columns: dict, reading: dict) -> None:
    """Raise InputError for options that no reader knows."""
    check_choices(**{key: reading.get(key) or "auto" for key in ("decode", "axes", "channels")})
    mean, known = reading.get("mean"), (*OURS, "images", "pixels")
    if mean and not is_there(Path(mean)):
        raise InputError("file-missing.arrays", path=Path(mean))
    for name in columns:
        if name not in known:
            choice = Choice(name, known)
            raise InputError("unknown-choice.column", place=place, name=name, choice=choice)


def _open(name: str, columns: dict[str, str] | None, options: dict) -> Source:
    """Open a name or path with the reader that a row of the manifest names, or that fits."""
    if not name:
        raise InputError("no-images.unnamed")
    if name.startswith(HUB):
        return table_sources.open_hub_id(find_model(name), columns or {})
    row = manifest.entries().get(name, {})
    options = {"columns": {}, **row, **options}
    reader = _named_reader(name, row)
    if columns and row:
        raise InputError("given-twice.columns", name=name)
    if reader and not reader.matches:
        return reader.open(name, Path(name), options)
    path = manifest.local_path(name) if row else _existing(Path(name))
    name, path = name if row else _safe_name(path), snapshot_of(path)
    if columns:  # of a table, which a folder may hold
        options["columns"] = columns
        reader = reader or (READERS[-1] if path.is_dir() else None)
    reader = reader or next(one for one in READERS if one.matches and one.matches(path))
    return reader.open(name, path, options)


def _named_reader(name: str, row: dict) -> Reader | None:
    """Return the reader that a row of the manifest names; None where its path decides."""
    kind = row.get("kind", "images")
    wanted = row.get("reader", "photos") if kind == "images" else kind
    known = {reader.name: reader for reader in READERS}
    if wanted not in known:
        choice = Choice(wanted, known)
        raise InputError("unknown-choice.reader", name=name, value=wanted, choice=choice)
    return None if wanted == "photos" else known[wanted]


def _existing(path: Path) -> Path:
    if not path.exists():
        rows = manifest.entries().items()
        names = [name for name, row in rows if row["kind"] in ("images", "flats")]
        if HUB_ID.fullmatch(str(path)) and not path.parent.is_dir():
            raise InputError("file-missing.hub-source", path=path, hub=f"{HUB}{path}")
        raise InputError("file-missing.source", path=path, choice=Choice(path, names))
    return path


def _safe_name(path: Path) -> str:
    """Return a name for folders of results: letters, digits, dots, dashes."""
    name = path.stem if path.is_file() else path.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "source"
