"""How do data get from the user's Drive to this machine, where a training can read them?"""

import contextlib
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tvhelpers import manifest
from tvhelpers.data.array_sources import benchmark_files, is_array_file, is_converted
from tvhelpers.data.convert import convert
from tvhelpers.data.copy_files import WAITS, Answer, copy_files, list_tree, patiently
from tvhelpers.data.sources import open_source
from tvhelpers.data.table_sources import is_table
from tvhelpers.errors import InputError, one_line
from tvhelpers.files import atomic_dir, atomic_path, content_key, write_text
from tvhelpers.output import say
from tvhelpers.runtime import root_dir
from tvhelpers.show import colab

BENCHMARK = "fashion-synthesis"
SAMPLE = 32_000  # images that are taken from a large file
HDF5 = (".h5", ".hdf5")
LARGE = 4 << 30  # bytes of an array file that is not copied if its decoded images take less
DIGEST_PIECES = 16  # of it that identify it: each is a request to the Drive
ZIP_SECONDS = 300  # between two copies of a growing gallery
WORTH = 0.6  # share of a file's bytes below which its images are decoded instead of copied


def local_data(data: str) -> str:
    """Bring data from the Drive to this machine, once a session, and return what opens them.

    A name is looked for in the Drive's textile-vision/data; a path on the Drive is used as it is.
    Of an array file above 4 GiB, SAMPLE images are decoded and kept, if these are smaller than the
    file; on the Drive too, where the next machine finds them.  Data that are not on the Drive are
    returned unchanged.  Raises InputError where the disk is too small, or the Drive
    cannot be read: what was copied by then stays, and the next call resumes there.
    """
    name = BENCHMARK if data == "auto" else data
    here, there = colab.WORK / "data", on_drive(name)
    if os.environ.get("TV_DATA_DIR") not in (None, "", str(here)):
        return data
    os.environ["TV_DATA_DIR"] = str(here)
    if there is None:
        return data
    own = name not in manifest.entries()
    place = here / (Path(content_key(name)[:6], there.name) if own else name)
    found = _bring(there, place)
    return str(found) if own else data


def on_drive(name: str) -> Path | None:
    """Return where the data of a name or path are on the Drive, None if they are not."""
    there = colab.DRIVE / colab.FOLDER_ON_DRIVE / "data" / name
    if not name or not there.is_relative_to(colab.DRIVE):
        return None
    return there if patiently(lambda: _exists(there), there) else None


def original(data: str) -> Path | None:
    """Return the array file that DATA names, or its folder, as it lies on the Drive; None where
    there is none, and where results are not on the Drive.

    A few of its rows can be read there; a training reads what `local_data` returns.
    """
    used = root_dir().is_relative_to(colab.DRIVE)
    there = on_drive(BENCHMARK if data == "auto" else data) if used else None
    return there if there and is_array_file(there) and not is_table(there) else None


def _exists(path: Path) -> bool:
    try:
        return bool(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _bring(there: Path, place: Path) -> Path:
    """Bring a file or folder of the Drive, and return what opens it here."""
    single = patiently(there.is_file, there)
    alone = there.parent in (colab.DRIVE / "MyDrive", colab.DRIVE / colab.FOLDER_ON_DRIVE / "data")
    if single and is_table(there) and not alone:  # its images lie beside it
        return _bring(there.parent, place.with_suffix("")) / there.name
    if is_converted(there) or not is_array_file(there):
        files = patiently(lambda: list_tree(there), there)
        _copy({path: place / path.relative_to(there) for path in files}, place.name)
        return place
    files = benchmark_files(there)
    (inside, h5), *_ = files.items()
    large = h5.suffix in HDF5 and patiently(h5.stat, h5).st_size > LARGE
    if large and _decoded(there, h5, place):
        return place
    place = place.parent if single and len(files) == 1 else place
    _copy({path: place / name for name, path in files.items()}, h5.name)
    return place / inside if single else place


def _copy(pairs: dict[Path, Path], what: str) -> None:
    if copy_files(pairs, f"copying {what} to this machine"):
        say(f"{what} is on this machine now; later runs of this cell find it")


def _decoded(there: Path, h5: Path, place: Path) -> bool:
    """Bring decoded images of a large array file to `place`; False where they are no smaller.

    Made once: the next machine copies the folder that is kept on the Drive.
    """
    facts = patiently(h5.stat, h5)
    key = content_key([facts.st_size, facts.st_mtime_ns])[:6]
    kept = colab.DRIVE / colab.FOLDER_ON_DRIVE / "converted" / f"{place.name}-{SAMPLE}-{key}"
    mark, pixels = place.with_name(f".{place.name}.from"), place / "pixels.h5"  # made last
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == kept.name):
        shutil.rmtree(place, ignore_errors=True)  # of another file
        write_text(mark, kept.name)
    names = ("items.jsonl", pixels.name)
    if not pixels.is_file() and patiently(lambda: _exists(kept / pixels.name), kept):
        _copy({kept / name: place / name for name in names}, f"{kept.name} (decoded images)")
    if not pixels.is_file():
        if not _convert(there, place):
            return False
        try:
            copy_files({place / name: kept / name for name in names}, "keeping them on the Drive")
            say(f"kept in {kept}: the next notebooks take them from there")
        except (OSError, InputError) as error:
            say(f"they are not kept on the Drive ({error}); they stay on this machine")
    return True


def _convert(there: Path, place: Path) -> bool:
    """Decode images of the Drive's file into `place`; False, and nothing is done, if they have
    little less bytes than the file."""
    reading = {"digest_pieces": DIGEST_PIECES}
    source = _again(lambda: open_source(there, **reading))
    count = min(SAMPLE, len(source))
    size = count * _again(lambda: source.pixels(0)).nbytes
    whole = sum(path.stat().st_size for path in benchmark_files(there).values())
    if size > WORTH * whole:
        return False
    say(
        f"{count:,} of {len(source):,} images are taken from {there}, by whole products: "
        f"{size / 1e9:.1f} GB instead of {whole / 1e9:.1f}, as they are seen; once"
    )
    _again(lambda: convert(there, place, sample=SAMPLE, reading=reading))
    return True


def _again(work: Callable[[], Answer]) -> Answer:
    """Return `work()`, tried again where HDF5, which hides the number of an error, cannot read."""
    for seconds in WAITS:
        try:
            return work()
        except InputError as error:
            if error.code != "file-damaged":
                raise
            say(f"{error}; trying again in {seconds} s")
            time.sleep(seconds)
    return work()


@contextlib.contextmanager
def gallery(folder: Path, local: Path) -> Iterator[Path]:
    """Yield the folder to draw in: `folder`, or, where that is on a Drive, one in `local`.

    Then it is kept beside `folder` as one zip, every five minutes and at the end, and unpacked on a
    machine that lacks it: a Drive takes long for hundreds of files.  A folder that an older version
    drew on the Drive is used as it is.
    """
    if not folder.is_relative_to(colab.DRIVE) or patiently(lambda: _exists(folder), folder):
        yield folder
        return
    here, archive = local / folder.name, folder.with_name(f"{folder.name}.zip")
    if not here.is_dir() and patiently(lambda: _exists(archive), archive):
        brought = here.with_name(archive.name)
        copy_files({archive: brought}, f"bringing {archive.name} from the Drive")
        with atomic_dir(here) as aside, zipfile.ZipFile(brought) as opened:
            opened.extractall(aside)
        brought.unlink()
    over = threading.Event()

    def keep_zipping() -> None:
        """Write the archive every five minutes."""
        while not over.wait(ZIP_SECONDS):
            _zip(here, archive)

    keeper = threading.Thread(target=keep_zipping, daemon=True)
    keeper.start()
    try:
        yield here
    finally:
        over.set()
        keeper.join()
        if problem := _zip(here, archive):
            say(f"{archive} cannot be written ({problem}); the images are in {here}")


def _zip(here: Path, archive: Path) -> str:
    """Write the files of a folder to an archive that lacks some; return what prevents it, if so."""
    files = sorted(path for path in here.glob("[!.]*") if path.is_file())
    wanted = {path.name: path.stat().st_size for path in files}
    try:
        if archive.is_file():
            with zipfile.ZipFile(archive) as opened:
                if {one.filename: one.file_size for one in opened.infolist()} == wanted:
                    return ""
        if files:
            with atomic_path(archive) as aside, zipfile.ZipFile(aside, "w") as made:
                for path in files:
                    made.write(path, path.name)
    except (OSError, InputError, zipfile.BadZipFile) as error:
        return one_line(error)
    return ""


def mirror_if_room(place: Path | None, root: Path, gigabytes: float) -> dict:
    """Return {"mirror": ""}, a setting of trainings, where the Drive of `root` has less room than
    they need, and print so; {} otherwise, and where `place` says that there is no Drive."""
    if place is None or (free := shutil.disk_usage(root).free / 1e9) >= gigabytes:
        return {}
    say(
        f"these trainings would fill the Drive: {gigabytes:g} GB are needed and {free:.0f} are "
        "free. They stay on this machine; images and tables go to the Drive"
    )
    return {"mirror": ""}
