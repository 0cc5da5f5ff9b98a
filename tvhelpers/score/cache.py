"""Rows of a network by the content of pictures, so that nothing is computed twice."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.files import atomic_path, content_key, make_dir


class RowCache:
    """The rows (N, K) that one network gave, in one file of `folder`, by the pictures' SHA-256.

    `network` is all that decides a row, such as name, digest and preparation: another one has
    another file.  Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, network: list):
        self.path = folder and make_dir(Path(folder)) / f"rows-{content_key(network)}.npz"
        self.rows = self._stored()

    def of(self, digests: list[str], compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
        """Return rows (N, K) of pictures; `compute` gives those of the numbers that are missing.

        A picture that is there twice is computed once.
        """
        first: dict[str, int] = {}
        for i, digest in enumerate(digests):
            if digest not in self.rows:
                first.setdefault(digest, i)
        if first:
            found = compute(list(first.values()))
            self.rows.update(zip(first, found, strict=True))
            self._store()
        return np.stack([self.rows[digest] for digest in digests])

    def _stored(self) -> dict[str, np.ndarray]:
        if not (self.path and self.path.exists()):
            return {}
        try:
            with np.load(self.path) as file:
                return dict(zip(file["digests"].tolist(), file["rows"], strict=True))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{self.path} is damaged ({type(error).__name__}); delete it, and it is made anew"
            ) from None

    def _store(self) -> None:
        if self.path is None:
            return
        with atomic_path(self.path) as aside, open(aside, "wb") as file:
            np.savez(file, digests=np.array([*self.rows]), rows=np.stack([*self.rows.values()]))
