"""How are drawn garments opened as a source?"""

import hashlib
from pathlib import Path

import numpy as np

from tvhelpers import flats
from tvhelpers.data.items import Source
from tvhelpers.errors import InputError
from tvhelpers.files import content_key


class FlatsSource(Source):
    """Flats (size, size, 3), drawn when read; flat i is a function of (seed, i) and the words.

    `categories`, `colours`, `patterns`: words to choose from, None for all; `season`: "base", "new"
    or "all".  Or `triples`: rows (category, colour, pattern); flat i shows row i modulo their
    number.  Or `shop`: flats as a shop has them, with shades, cuts and a shop's captions, of which
    only the season is chosen.  Raises InputError for a count below 1 and unknown words.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        *,
        categories=None,
        colours=None,
        patterns=None,
        triples=None,
        season: str = "all",
        shop: bool = False,
        name: str = "flats",
        size: int = 128,
    ):
        if count < 1:
            raise InputError("out-of-range.flats", name=name, count=count)
        words = {"categories": categories, "colours": colours, "patterns": patterns}
        words = {key: tuple(values) for key, values in words.items() if values}
        words["season"] = season
        triples = [tuple(triple) for triple in triples or []]
        if shop and (triples or len(words) > 1):
            raise InputError("given-twice.shop", name=name)
        caption = flats.shop_caption if shop else flats.caption
        self.seed, self.side = seed, size
        try:
            if shop:
                self.specs = [flats.shop_spec(seed, i, season) for i in range(count)]
            else:
                self.specs = [self._spec(i, words, triples) for i in range(count)]
            probe = flats.render(self.specs[0], seed, 0, size)
        except (ValueError, KeyError) as error:
            raise InputError("unknown-choice.flats", name=name, error=error) from None
        ids = [f"{name}-{seed}-{i:06d}" for i in range(count)]
        captions = [caption(spec, seed, i) for i, spec in enumerate(self.specs)]
        attributes = [spec.attributes() for spec in self.specs]
        drawn = hashlib.sha256(probe.tobytes()).hexdigest()
        of = [seed, size, words, triples, flats.DRAWING, drawn, captions, attributes]
        if shop:
            of += [flats.LATER_DRAWING, [spec.shade for spec in self.specs]]
        key = content_key(of)
        super().__init__(name, key, captions, ids, ids, attributes, [""] * count)

    def _spec(self, index: int, words: dict, triples: list[tuple]):
        if triples:
            triple = triples[index % len(triples)]
            keys = ("categories", "colours", "patterns")
            words |= {key: (word,) for key, word in zip(keys, triple, strict=True)}
        return flats.random_spec(self.seed, index, **words)

    def pixels(self, index: int) -> np.ndarray:
        """Return the flat, uint8 (size, size, 3)."""
        return flats.render(self.specs[index], self.seed, index, self.side)

    def size(self, index: int) -> tuple[int, int]:
        """Return the size of all flats."""
        return self.side, self.side


def open_flats(name: str, path: Path, options: dict) -> FlatsSource:
    """Open a row of the manifest of kind flats, by its `params`."""
    try:
        return FlatsSource(name=name, **options.get("params", {}))
    except TypeError as error:  # a missing or unknown parameter
        raise InputError("unknown-choice.flats", name=name, error=error) from None
