"""How do several sources become one, such as last season's photos and this season's?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tvhelpers.data.items import COLUMNS, Source
from tvhelpers.files import content_key
from tvhelpers.paths import AND


class Joined(Source):
    """The items of several sources, in order; ids and products begin with the source's own name, as
    two folders may both hold an IMG_1.jpg."""

    def __init__(self, sources: Sequence[Source]):
        self.sources = sources
        self.places = [(source, i) for source in sources for i in range(len(source))]
        columns = {key: [one for x in sources for one in getattr(x, key)] for key in COLUMNS}
        prefixes = _prefixes([source.name for source in sources])
        own = [prefix for prefix, source in zip(prefixes, sources) for _ in range(len(source))]
        for key in ("item_ids", "product_ids"):
            columns[key] = [f"{x}/{one}" for x, one in zip(own, columns[key], strict=True)]
        key = content_key([[source.fingerprint, x] for source, x in zip(sources, prefixes)])
        name = AND.join(source.name for source in sources)
        super().__init__(name, key, **columns)

    def pixels(self, index: int) -> np.ndarray:
        """Return the image of an item of one of the sources."""
        source, row = self.places[index]
        return source.pixels(row)

    def size(self, index: int) -> tuple[int, int]:
        """Return the size of the image of an item of one of the sources."""
        source, row = self.places[index]
        return source.size(row)

    def regions(self, index: int) -> np.ndarray | None:
        """Return the mask of an item; None where one of the sources has no masks."""
        if any(source.regions(0) is None for source in self.sources):
            return None
        source, row = self.places[index]
        return source.regions(row)


def _prefixes(names: list[str]) -> list[str]:
    """Return the last part of each name, with a number where two are equal."""
    short = [Path(name).name for name in names]
    return [
        f"{name}-{short[: number + 1].count(name)}" if short.count(name) > 1 else name
        for number, name in enumerate(short)
    ]
