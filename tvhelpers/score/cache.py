"""How are networks' outputs kept, so that each image is computed once?"""

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path, content_key, make_dir, remove_temporary, writing_beside
from tvhelpers.progress import progress_bar

TOGETHER = 32  # images of one size in a batch
QUIET = 2  # seconds without a bar


class RowCache:
    """The outputs (N, K) of `network` for images, by the images' digests, in one file of `folder`.

    `network` takes pixels uint8 (n, H, W, 3).  `key` is everything that an output depends on, such
    as the network's name and digest; each key has its own file.  Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, network: Callable[[np.ndarray], np.ndarray], *key):
        self.network = network
        self.path = folder and make_dir(Path(folder)) / f"rows-{content_key(key)}.npz"
        self.rows = self._stored()

    def of(self, digests: Sequence[str], pixels: Callable[[int], np.ndarray]) -> np.ndarray:
        """Return the rows (N, K) of images; `pixels(i)` reads image i where its row is missing.

        An image that occurs twice is computed once.
        """
        missing: dict[str, int] = {}
        for i, digest in enumerate(digests):
            if digest not in self.rows:
                missing.setdefault(digest, i)
        if missing:
            self._compute(missing, pixels)
        return np.stack([self.rows[digest] for digest in digests])

    def _compute(self, missing: dict[str, int], pixels: Callable[[int], np.ndarray]) -> None:
        """Add the rows of images {digest: number}; a stop keeps those that are done."""
        names = iter(missing)
        try:
            with progress_bar("scoring", len(missing), unit="images", delay=QUIET) as bar:
                for batch in batches(map(pixels, missing.values())):
                    for row in self.network(batch):
                        self.rows[next(names)] = row
                    bar.update(len(batch))
        finally:
            self._store()

    def _stored(self) -> dict[str, np.ndarray]:
        if not (self.path and self.path.exists()):
            return {}
        try:
            with np.load(self.path) as file:
                return dict(zip(file["digests"].tolist(), file["rows"], strict=True))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError("file-damaged.rows", path=self.path, error=error) from None

    def _store(self) -> None:
        if self.path is None or not self.rows:
            return
        with writing_beside(self.path, math.inf):
            self.rows = self._stored() | self.rows  # also rows that other processes stored
            remove_temporary(self.path.parent)
            with atomic_path(self.path) as aside, open(aside, "wb") as file:
                np.savez(file, digests=np.array([*self.rows]), rows=np.stack([*self.rows.values()]))


def batches(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield pixels uint8 (n, H, W, 3) of up to TOGETHER consecutive images of one size."""
    batch: list[np.ndarray] = []
    for pixels in images:
        if batch and (len(batch) == TOGETHER or pixels.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(pixels)
    yield np.stack(batch)
