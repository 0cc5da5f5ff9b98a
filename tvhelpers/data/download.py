"""How is a data set of the manifest downloaded, resumed, verified and unpacked?"""

import contextlib
import http.client
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tvhelpers import manifest
from tvhelpers.data.unpack import unpack
from tvhelpers.errors import InputError, is_disk_full
from tvhelpers.files import (
    atomic_dir,
    check_room,
    file_sha256,
    make_dir,
    size_of,
    writing_beside,
)
from tvhelpers.progress import progress_bar
from tvhelpers.records import read_record, write_json

log = logging.getLogger(__name__)
MARKER = ".obtained.json"
TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 4  # in a row without a new byte
PAUSE = 2.0  # seconds before another attempt, doubled each time
PIECE = 1 << 20
SLOWEST, WINDOW = 100, 60  # bytes a second, measured over so many seconds; a slower attempt fails
LENGTH = re.compile(r"[0-9]{1,99}")
PACKED = re.compile(r"\.(t?gz|tar|zip|bz2|xz)\b")  # servers call these encoded


def obtain(name: str, archives: Sequence[Path | str] = ()) -> Path:
    """Return the folder of `name`, downloaded, verified and unpacked; a second call does nothing.

    `archives`: zip or tar files that the user downloaded, to be unpacked into it.  Logs the licence
    and the steps of a gated set.  Raises InputError where the set cannot be downloaded and is
    missing, and where a download or an archive is damaged.
    """
    row = manifest.entry(name)
    log.info(f"{name}: {row['licence']}")
    if row.get("gate"):
        steps = row["obtain"] if row["gate"] is True else row["gate"]
        log.info(f"{name} is gated: {' '.join(steps.split())}")
    if row.get("path"):
        return manifest.local_path(name)
    if row.get("hub") or row["kind"] == "flats":
        raise InputError("no-download", name=name, obtain=" ".join(row["obtain"].split()))
    place = manifest.data_dir() / name
    with writing_beside(place):
        if row.get("files") and not (place.exists() and any(place.iterdir())):
            _get_files(row, place)
        for archive in map(Path, archives):
            _add_archive(archive, place)
        _check_digests(manifest.local_path(name), row)
    log.info(f"{name} is at {place}")
    return place


def _get_files(row: dict, place: Path) -> None:
    """Download and unpack all files aside, then rename the complete folder."""
    aside = place.parent / f".{place.name}.partial"
    downloads = [(fetch(file, aside / "downloads"), file) for file in row["files"]]
    with atomic_dir(place, aside / "files") as ready:
        for path, file in downloads:
            if file.get("unpack"):
                unpack(path, ready, strip=file.get("strip", 0))
            else:
                os.replace(path, ready / path.name)
        write_json(ready / MARKER, {"files": [file["url"] for file in row["files"]]})
    shutil.rmtree(aside)


def _add_archive(archive: Path, place: Path) -> None:
    """Unpack an archive of the user's into `place`; no existing file is overwritten."""
    if not archive.is_file():
        raise InputError("file-missing.archive", path=archive)
    marker = place / MARKER
    done = read_record(marker, "download") if marker.exists() else {}
    mark = f"{archive.name}, {archive.stat().st_size} bytes"
    if mark in done.get("archives", []):
        return log.info(f"{archive} is unpacked already")
    aside = place.parent / f".{place.name}.partial" / "archive"
    shutil.rmtree(aside, ignore_errors=True)
    unpack(archive, aside)
    _move_in(aside, place)
    shutil.rmtree(aside)
    with contextlib.suppress(OSError):  # an unfinished download stays there
        aside.parent.rmdir()
    write_json(marker, {**done, "archives": [*done.get("archives", []), mark]})


def _move_in(aside: Path, place: Path) -> None:
    paths = [path for path in sorted(aside.rglob("*")) if path.is_file()]
    targets = [place / path.relative_to(aside) for path in paths]
    for path, target in zip(paths, targets, strict=True):
        if target.exists() and file_sha256(path) != file_sha256(target):
            raise InputError("file-exists.another", path=target)
    for path, target in zip(paths, targets, strict=True):
        make_dir(target.parent)
        os.replace(path, target)


def _check_digests(place: Path, row: dict) -> None:
    for file, digest in (row.get("sha256") or {}).items():
        if not (place / file).is_file():
            raise InputError(
                "file-missing.dataset", path=place / file, obtain=" ".join(row["obtain"].split())
            )
        if not (seen := file_sha256(place / file)).startswith(digest):
            seen, digest = seen[:12], digest[:12]
            raise InputError("wrong-digest", path=place / file, seen=seen, digest=digest)


def fetch(file: dict, folder: Path) -> Path:
    """Download a file of the manifest ({url, sha256, size}) into `folder`; return its path.

    An interrupted download resumes.  Raises InputError where the server or the disk fails, or the
    size or the digest is wrong; such a file is removed.
    """
    path, digest = make_dir(folder) / manifest.file_name(file["url"]), file.get("sha256")
    is_whole = path.is_file() and file.get("size") in (None, path.stat().st_size)
    if is_whole and (not digest or file_sha256(path).startswith(digest)):
        return path
    partial = path.with_name(f".{path.name}.partial")  # no file_name begins with a dot
    _download(file, partial)
    if digest and not (seen := file_sha256(partial)).startswith(digest):
        _remove_partial(partial)
        seen, digest, url = seen[:12], digest[:12], file["url"]
        raise InputError("wrong-digest.download", url=url, seen=seen, digest=digest)
    os.replace(partial, path)
    _remove_partial(partial)
    return path


def _remove_partial(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _version_path(partial).unlink(missing_ok=True)


def _version_path(partial: Path) -> Path:
    """Return the path of the record that says which version of the file is partly here."""
    return partial.with_name(f"{partial.name}.json")


def _download(file: dict, partial: Path) -> None:
    """Request the missing bytes until all are here; stop after ATTEMPTS without much progress."""
    url, failures, pause = file["url"], 0, PAUSE
    while True:
        before = size_of(partial)
        try:
            return _request(url, partial, file.get("size"))
        except urllib.error.HTTPError as error:
            problem = error
            failures = ATTEMPTS if error.code < 500 else failures
        except InputError:
            raise
        except ValueError as error:  # not an address, such as http://a..b/
            raise InputError("download-failed.broken", url=url, error=error) from None
        except (OSError, http.client.HTTPException) as error:
            _raise_disk_full(error, partial)
            problem = getattr(error, "reason", error)
        failures = 0 if size_of(partial) > before + SLOWEST * WINDOW else failures + 1
        if failures >= ATTEMPTS:
            raise InputError("download-failed.broken", url=url, error=problem)
        time.sleep(pause)
        pause = PAUSE if not failures else 2 * pause


def _raise_disk_full(error: Exception, path: Path) -> None:
    if is_disk_full(error):
        raise InputError("disk-full", folder=path.parent) from None
    if isinstance(error, PermissionError):
        raise InputError("no-permission.download", path=path) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http or https only, and never from https to http."""

    def http_error_302(self, request, fp, code, msg, headers):
        """Raise InputError for another scheme, before urllib raises an error of its own."""
        to = headers.get("Location") or headers.get("URI") or ""
        if urlsplit(to).scheme not in ("", "https", request.type):
            raise InputError("download-failed.redirect", url=request.full_url, to=to)
        return super().http_error_302(request, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _request(url: str, partial: Path, size: int | None) -> None:
    """Append the missing bytes to the partial file; start again where the server's file changed."""
    start = size_of(partial)
    known = start and _version_path(partial).exists()
    note = read_record(_version_path(partial), "partial download") if known else {}
    headers = {"User-Agent": "tvhelpers", "Accept-Encoding": "identity"}
    if start and note.get("url") == url:
        headers |= {"Range": f"bytes={start}-"}
        headers |= {"If-Range": note["version"]} if note.get("version") else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or "Range" not in headers:
            raise
        if start not in (note.get("total"), size):  # 416: the server has no bytes from `start` on
            _remove_partial(partial)
            raise ConnectionError("the file on the server has changed") from None
        return
    with response:
        _receive(response, url, partial, start if response.status == 206 else 0, size)


def _receive(response, url: str, partial: Path, start: int, size: int | None) -> None:
    """Write the bytes of a response, which begin at `start`; `size` is that of the manifest."""
    kind, packed = response.headers.get_content_type(), response.headers.get("Content-Encoding", "")
    if kind in ("text/html", "application/xhtml+xml"):
        raise InputError("download-failed.page", url=url)
    if packed.lower() not in ("", "identity") and not PACKED.search(partial.name):
        raise InputError("download-failed.packed", url=url, packed=packed)
    total = _total(response.headers, partial, start)
    if None not in (size, total) and total != size:
        raise InputError("wrong-size", url=url, total=total, size=size)
    check_room(partial.name[1:], partial.parent, (total or size or start) - start)
    tag = response.headers.get("ETag") or ""
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    write_json(_version_path(partial), {"url": url, "version": version, "total": total})
    _copy(response, url, partial, start, total if size is None else size)


def _total(headers, partial: Path, start: int) -> int | None:
    """Return the size of the whole file, from the headers of a response; None if they lack it.

    Raises ConnectionError where the response does not begin at byte `start`.
    """
    length = headers.get("Content-Length", "")
    length = int(length) if LENGTH.fullmatch(length) else None
    if not start:
        return length
    span = re.fullmatch(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)",
                        headers.get("Content-Range", ""))  # fmt: skip
    begin, last = map(int, span.groups()[:2]) if span else (None, 0)
    total = int(span[3]) if span and span[3] != "*" else None
    fits = total is None or last + 1 == total
    if begin != start or not fits or length not in (None, last + 1 - start):
        _remove_partial(partial)
        raise ConnectionError("the server sent another part of the file than was requested")
    return total


def _copy(response, url: str, partial: Path, start: int, total: int | None) -> None:
    """Write at most `total` bytes; if it is None, at most half of the free disk space."""
    limit = start + shutil.disk_usage(partial.parent).free // 2 if total is None else total
    bar = progress_bar(partial.name[1:].removesuffix(".partial"), total, done=start, unit="B")
    done, since, base = start, time.monotonic(), start
    with bar, open(partial, "ab" if start else "wb") as out:
        while piece := response.read1(PIECE):
            if not done and piece[:99].lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise InputError("download-failed.page", url=url)
            done += len(piece)
            if done > limit:
                break
            out.write(piece)
            bar.update(len(piece))
            if time.monotonic() > since + WINDOW:
                if done < base + SLOWEST * WINDOW:
                    raise ConnectionError(f"less than {SLOWEST} bytes a second came")
                since, base = time.monotonic(), done
        out.flush()
        os.fsync(out.fileno())
    if done > limit:
        _remove_partial(partial)
        raise InputError("wrong-size.longer", url=url, size=limit)
    if total is not None and done != total:
        raise ConnectionError(f"{done} of {total} bytes came")
