"""How does a new machine get a latent cache without encoding again?  From a file in the mirror."""

import logging
import shutil
import tarfile
from pathlib import Path

from tvhelpers.data.copy_files import copy_files
from tvhelpers.data.unpack import unpack
from tvhelpers.errors import InputError, one_line
from tvhelpers.files import atomic_dir, atomic_path, make_dir
from tvhelpers.train.checkpoint import empty

log = logging.getLogger(__name__)
WORTH = 60  # seconds of encoding that are worth keeping
KEPT = 2  # archives, the newest


def keep_cache(folder: Path, mirror: Path, seconds: float) -> None:
    """Write a cache that took so many seconds to encode as one .tar to the mirror.

    Nothing is written where that was quick, or where the mirror lacks room; an error is a warning.
    """
    if seconds < WORTH:
        return
    size = sum(path.stat().st_size for path in folder.iterdir())
    try:
        free = shutil.disk_usage(make_dir(mirror)).free
        if 1.2 * size > free:
            log.info(f"the latent cache ({size / 1e9:.1f} GB) does not fit into the mirror")
            return
        log.info(f"keeping the latent cache ({size / 1e9:.1f} GB) in the mirror {mirror}")
        with atomic_path(_archive(folder, mirror)) as aside, tarfile.open(aside, "w") as archive:
            archive.add(folder, ".")
        kept = sorted(mirror.glob("cache-*.tar"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-KEPT]:
            empty(path).unlink()
    except (OSError, InputError) as error:
        log.warning(f"the latent cache cannot be kept in the mirror ({one_line(error)})")


def restore_cache(folder: Path, mirror: Path) -> None:
    """Unpack the mirror's archive of a cache, if there is one and it is whole."""
    archive = _archive(folder, mirror)
    local = folder.with_name(archive.name)
    try:
        if not archive.is_file():
            return
        copy_files({archive: local}, "restoring the latent cache")
        with atomic_dir(folder) as aside:
            unpack(local, aside)
        log.info(f"latent cache restored from {archive}")
    except (OSError, InputError) as error:
        log.warning(f"{archive} cannot be used ({one_line(error)}); the images are encoded again")
    local.unlink(missing_ok=True)


def _archive(folder: Path, mirror: Path) -> Path:
    return mirror / f"{folder.name}.tar"
