"""On which items does an arm train, and in which form?  Each answer is a folder of images.

The items of a source have three parts, by whole products: `test`, which no training and no
selection sees; `selection`, which a search selects by; and the rest, which is trained on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvhelpers.data.captions import recaption
from tvhelpers.data.convert import write_source
from tvhelpers.data.items import ATTRIBUTES, GARMENT, Source
from tvhelpers.errors import InputError
from tvhelpers.files import content_key
from tvhelpers.runtime import seed_for
from tvhelpers.words import with_article

MEAN_OF = 256  # items, of which the stored images are less the mean, as in the benchmark's file
RIGHT, TURNED = "decoded right", "axes not turned"
FORMS = {  # how stored numbers (rgb / 255 less their mean, -1..1) are read, to 0..255
    RIGHT: lambda stored, mean: (stored + mean) * 255,
    "as stored": lambda stored, mean: stored.clip(0, 1) * 255,
    "affine": lambda stored, mean: (stored + 1) / 2 * 255,
    "wrapped": lambda stored, mean: (stored * 255).round() % 256,
    TURNED: lambda stored, mean: ((stored + mean) * 255).swapaxes(0, 1),
    "red and blue exchanged": lambda stored, mean: ((stored + mean) * 255)[..., ::-1],
}


@dataclass(frozen=True)
class Items:
    """How an arm's training items differ from those of its source."""

    count: int = 0  # 0: all; the first of a random order, so small sets are parts of large ones
    form: str = RIGHT  # one of FORMS
    captions: str = "own"  # own, category: "a dress", or recaptioned: that by the labels
    mirrored: bool = False  # each product has a second image, the mirrored one
    alone: bool = False  # each image counts as a product of its own when items are split
    skewed: bool = False  # the k-th colour is kept in one of k items
    demand: bool = False  # a weight where the data have none: the k-th category sells 1/k
    masked: bool = False  # with masks: the source's, or else all that is not white, as of a flat


def parts_of(source: Source, test: int, selection: int, seed: int = 0) -> dict[str, list[int]]:
    """Return {"test", "selection", "train": item numbers in a random order}, by whole products.

    Items of the source's own test split are never in "train".  Raises InputError where a part is
    empty.
    """
    order = sorted({*source.product_ids}, key=lambda product: seed_for(seed, "part", product))
    of_product: dict[str, list[int]] = {product: [] for product in order}
    for i, product in enumerate(source.product_ids):
        of_product[product].append(i)
    parts: dict[str, list[int]] = {"test": [], "selection": [], "train": []}
    wanted = {"test": test, "selection": selection, "train": len(source)}
    for product in order:
        part = next(name for name in parts if len(parts[name]) < wanted[name])
        parts[part] += of_product[product]
    parts["train"] = [i for i in parts["train"] if source.splits[i] in ("", "train")]
    if not all(parts.values()):
        needed = test + selection + 2
        raise InputError("too-few-items.experiment", name=source.name, count=len(source),
                         needed=needed)  # fmt: skip
    return parts


class Arranged(Source):
    """The items `numbers` of a source, in the form that `how` says; their splits are empty."""

    def __init__(self, source: Source, numbers: list[int], how: Items):
        numbers = _kept(source, numbers, how)
        self.how, self.places = how, [(i, False) for i in numbers]
        if how.mirrored:
            self.places += [(i, True) for i in numbers]
        self.source = source
        self.mean = 0 if how.form == RIGHT else _mean(source, numbers)
        labels = _with_demand(source.attributes) if how.demand else source.attributes
        super().__init__(
            source.name,
            content_key([source.fingerprint, numbers, _key(how)]),
            [_caption(source, i, how) for i, _ in self.places],
            [source.item_ids[i] + "-mirrored" * turned for i, turned in self.places],
            [source.product_ids[i] + f"-{turned:d}" * how.alone for i, turned in self.places],
            [labels[i] for i, _ in self.places],
            [""] * len(self.places),
        )

    def pixels(self, index: int) -> np.ndarray:
        """Return an item's image, uint8 (H, W, 3), as it is read."""
        number, turned = self.places[index]
        pixels = self.source.pixels(number)
        if self.how.form != RIGHT:
            stored = pixels / 255 - self.mean
            pixels = FORMS[self.how.form](stored, self.mean).round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels[:, ::-1] if turned else pixels)

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an item's image, as it is read."""
        size = self.source.size(self.places[index][0])
        return size[::-1] if self.how.form == TURNED else size

    def regions(self, index: int) -> np.ndarray | None:
        """Return each pixel's code in REGIONS, uint8 (H, W); None if no masks are asked for."""
        if not self.how.masked:
            return None
        number, turned = self.places[index]
        regions = self.source.regions(number)
        if regions is None:
            regions = np.where((self.source.pixels(number) < 255).any(2), GARMENT, 0)
        return np.ascontiguousarray(regions[:, ::-1] if turned else regions, np.uint8)


def _key(how: Items) -> dict:
    """Return what identifies the items: without masks as before there were any."""
    return {key: value for key, value in vars(how).items() if key != "masked" or value}


def write_items(source: Source, numbers: list[int], how: Items, out: Path) -> Path:
    """Write items as a folder that `open_source` opens, and return it; a finished one is opened.

    Raises InputError where the source has fewer items than `how` asks for.
    """
    arranged = Arranged(source, numbers, how)
    folder = Path(out) / arranged.fingerprint
    if not (folder / "metadata.jsonl").exists():  # written last
        write_source(arranged, folder, None, "images")
    return folder


def check_count(source: Source, numbers: list[int], how: Items) -> None:
    """Raise InputError where `how` asks for more items than `numbers` has."""
    if how.count > len(numbers):
        raise InputError("too-few-items.size", name=source.name, count=len(numbers),
                         needed=how.count)  # fmt: skip


def _kept(source: Source, numbers: list[int], how: Items) -> list[int]:
    check_count(source, numbers, how)
    if how.skewed:
        ranks = _ranks([row.get("colour", "") for row in source.attributes])
        colours = [ranks[source.attributes[i].get("colour", "")] for i in numbers]
        ids = [source.item_ids[i] for i in numbers]
        rolls = [seed_for(0, "skew", one) / 2**63 for one in ids]
        numbers = [i for i, k, roll in zip(numbers, colours, rolls, strict=True) if roll * k < 1]
    return numbers[: how.count or None]


def _ranks(words: list[str]) -> dict[str, int]:
    """Return {word: 1 for the first in a fixed random order, 2, ...}."""
    order = sorted({*words}, key=lambda word: seed_for(0, "rank", word))
    return {word: rank for rank, word in enumerate(order, 1)}


def _with_demand(attributes: list[dict[str, str]]) -> list[dict[str, str]]:
    ranks = _ranks([row.get("category", "") for row in attributes])
    return [{"weight": f"{1 / ranks[row.get('category', '')]:.6f}", **row} for row in attributes]


def _caption(source: Source, number: int, how: Items) -> str:
    labels = {key: word for key, word in source.attributes[number].items() if key in ATTRIBUTES}
    category = labels.get("category", "garment")
    plain = with_article(category, category)
    if how.captions == "recaptioned":
        return recaption(labels, "", plain, seed=0, index=number, variants=1)[0]
    return plain if how.captions == "category" else source.captions[number]


def _mean(source: Source, numbers: list[int]) -> np.ndarray:
    """Return the mean image (H, W, 3) of up to MEAN_OF items, 0..1; their mean colour (3,) where
    sizes differ."""
    images = [source.pixels(i) for i in numbers[:MEAN_OF]]
    if len({image.shape for image in images}) > 1:
        return np.mean([image.mean((0, 1)) for image in images], 0) / 255
    return np.mean(images, 0) / 255
