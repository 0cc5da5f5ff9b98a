"""How do data get from the user's Drive to this machine, where a training can read them?"""

import contextlib
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tvhelpers import manifest
from tvhelpers.data.array_sources import benchmark_files, is_array_file, is_converted
from tvhelpers.data.convert import convert
from tvhelpers.data.copy_files import WAITS, copy_files, list_tree, patiently
from tvhelpers.data.sources import open_source
from tvhelpers.data.table_sources import is_table
from tvhelpers.errors import InputError, one_line
from tvhelpers.files import atomic_dir, atomic_path, content_key, write_text
from tvhelpers.output import say
from tvhelpers.records import TakenError
from tvhelpers.runtime import root_dir
from tvhelpers.show import colab

BENCHMARK = "fashion-synthesis"
SAMPLE = 32_000  # images that are taken from a large file; 0: all
HDF5 = (".h5", ".hdf5")
LARGE = 4 << 30  # bytes of an array file that is not copied if its decoded images take less
DIGEST_PIECES = 16  # of it that identify it: each is a request to the Drive
ZIP_SECONDS = 300  # between two copies of a growing gallery
WORTH = 0.6  # share of a file's bytes below which its images are decoded instead of copied


def local_data(data: str, images: int = SAMPLE) -> str:
    """Bring data from the Drive to this machine, once a session, and return what opens them.

    A name is looked for in the Drive's textile-vision/data; a path on the Drive is used as it is.
    Of an array file above 4 GiB, some `images` (0: all) are decoded and kept, if these are smaller
    than the file; on the Drive too, where the next machine finds them.  Data that are not on the
    Drive are returned unchanged.  Raises InputError where the disk is too small, or the Drive
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
    found = _bring(there, place, images)
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


def _bring(there: Path, place: Path, images: int) -> Path:
    """Bring a file or folder of the Drive, and return what opens it here."""
    single = patiently(there.is_file, there)
    alone = there.parent in (colab.DRIVE / "MyDrive", colab.DRIVE / colab.FOLDER_ON_DRIVE / "data")
    if single and is_table(there) and not alone:  # its images lie beside it
        return _bring(there.parent, place.with_suffix(""), images) / there.name
    if is_converted(there) or not is_array_file(there):
        files = patiently(lambda: list_tree(there), there)
        _copy({path: place / path.relative_to(there) for path in files}, place.name)
        return place
    files = benchmark_files(there)
    (inside, h5), *_ = files.items()
    large = h5.suffix in HDF5 and patiently(h5.stat, h5).st_size > LARGE
    if large and (found := _decoded(there, h5, place, images)):
        return found
    place = place.parent if single and len(files) == 1 else place
    _copy({path: place / name for name, path in files.items()}, h5.name)
    return place / inside if single else place


def _copy(pairs: dict[Path, Path], what: str) -> None:
    if copy_files(pairs, f"copying {what} to this machine"):
        say(f"{what} is on this machine now; later runs of this cell find it")


def _decoded(there: Path, h5: Path, place: Path, images: int) -> Path | None:
    """Return a folder of decoded images of a large array file, None where that is no smaller.

    Made once: the next machine copies the folder that is kept on the Drive.
    """
    facts = patiently(h5.stat, h5)
    key = content_key([facts.st_size, facts.st_mtime_ns])[:6]
    kept = colab.DRIVE / colab.FOLDER_ON_DRIVE / "converted"
    kept /= f"{place.name}-{images or 'all'}-{key}"
    names, mark = ("items.jsonl", "pixels.h5"), place / ".from"  # pixels.h5 is made last
    if is_done(place) and not (mark.is_file() and mark.read_text(encoding="utf-8") == kept.name):
        shutil.rmtree(place)  # of another file, or another number of images
    if not is_done(place) and patiently(lambda: _exists(kept / "pixels.h5"), kept):
        _copy({kept / name: place / name for name in names}, f"{kept.name} (decoded images)")
    if not is_done(place):
        size = _convert(there, place, images)
        if size is None:
            return None
        _keep({place / name: kept / name for name in names}, size)
    write_text(mark, kept.name)
    return place


def _keep(pairs: dict[Path, Path], size: int) -> None:
    """Copy decoded images to the Drive, if there is room for them."""
    (kept, *_), free = pairs.values(), shutil.disk_usage(colab.DRIVE).free
    if 1.2 * size > free:
        say(f"they are not kept on the Drive: {free / 1e9:.1f} GB are free there")
        return
    try:
        copy_files(pairs, f"keeping {size / 1e9:.1f} GB on the Drive")
        say(f"kept in {kept.parent}: the next notebooks take them from there")
    except (OSError, InputError) as error:
        say(f"they cannot be kept on the Drive ({error}); they stay on this machine")


def is_done(folder: Path) -> bool:
    """Return whether a folder holds a finished conversion."""
    return is_converted(folder) and (folder / "pixels.h5").is_file()


def _convert(there: Path, place: Path, images: int) -> int | None:
    """Decode images of the Drive's file into `place`, and return their bytes; None, and nothing is
    done, if that is little less than the file.  Tried again where the Drive fails."""
    for seconds in (*WAITS, None):
        try:
            source = open_source(there, digest_pieces=DIGEST_PIECES)
            count = min(images or len(source), len(source))
            size, whole = count * source.pixels(0).nbytes, sum(_sizes(there))
            if size > WORTH * whole:
                return None
            say(
                f"{count:,} of {len(source):,} images are taken from {there}, by whole products: "
                f"{size / 1e9:.1f} GB instead of {whole / 1e9:.1f}, as they are seen; once"
            )
            sample = images if count < len(source) else 0
            convert(there, place, sample=sample, reading={"digest_pieces": DIGEST_PIECES})
            return size
        except TakenError:  # a stopped conversion of another number of images
            shutil.rmtree(place)
        except InputError as error:  # the library of HDF5 hides the number of the error
            if error.code != "file-damaged" or seconds is None:
                raise
            say(f"{error}; trying again in {seconds} s")
            time.sleep(seconds)
    raise AssertionError


def _sizes(there: Path) -> list[int]:
    return [path.stat().st_size for path in benchmark_files(there).values()]


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
    keeper = threading.Thread(target=_keep_zipping, args=(here, archive, over), daemon=True)
    keeper.start()
    try:
        yield here
    finally:
        over.set()
        keeper.join()
        if problem := _zip(here, archive):
            say(f"{archive} cannot be written ({problem}); the images are in {here}")


def _keep_zipping(here: Path, archive: Path, over: threading.Event) -> None:
    while not over.wait(ZIP_SECONDS):
        _zip(here, archive)


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
