"""Which images keep a training from forgetting?  Those of a second source, or the base's own.

Prior preservation (Ruiz et al. 2023, section 3.2): while "dress" learns to be *this* dress, other
dresses remind the base of what it knew.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tvhelpers.config import OWN, TrainConfig
from tvhelpers.data.caption_parsing import GARMENTS, stated_garment
from tvhelpers.data.items import Images, Source, Subset
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.files import content_key, writing_beside
from tvhelpers.image import read_photo
from tvhelpers.models.base import BaseLocation, base_digest
from tvhelpers.models.vocabulary import Vocabulary, read_vocabulary
from tvhelpers.runtime import seed_for
from tvhelpers.words import counted, listed, with_article

log = logging.getLogger(__name__)
Draw = Callable[[str, list[str], list[int], str, Path], None]


class OwnImages(Source):
    """Images that a base draws itself of `prompts`, each from a seed of its own, in a gallery under
    root/artifacts; they may not be there yet."""

    def __init__(self, base: BaseLocation, prompts: list[str], seed: int, root: Path):
        self.prompts = prompts
        self.seeds = [seed_for(seed, "own", i) % 2**32 for i in range(len(prompts))]
        key = content_key({"base": base_digest(base), "prompts": prompts, "seeds": self.seeds})
        self.folder = Path(root) / "artifacts" / f"own-{key}"
        ids, count = [f"{i:04d}_{seed}" for i, seed in enumerate(self.seeds)], len(prompts)
        images = Images(count, lambda i: read_photo(self.folder / f"{ids[i]}.png"))
        nothing = [{} for _ in ids], [""] * count
        super().__init__("the base's own images", key, prompts, ids, ids, *nothing, images)

    @property
    def is_drawn(self) -> bool:
        """Whether all images are there: the sheet of a gallery is written last."""
        return (self.folder / "grid.png").exists()

    def complete(self, base: str, device: str, draw: Draw | None) -> None:
        """Draw what is missing by `draw(base, prompts, seeds, device, folder)`.

        Raises InputError if images are missing and there is no `draw`.
        """
        if self.is_drawn:
            return
        if draw is None:
            raise InputError("own-images-missing", folder=self.folder)
        what = f"{counted(len(self), 'image')} of {listed([*dict.fromkeys(self.prompts)])}"
        log.info(f"regularization: the base draws {what}, once")
        began = time.monotonic()
        with writing_beside(self.folder, math.inf):  # another training may draw the same
            draw(base, self.prompts, self.seeds, device, self.folder)
        log.info(f"drawn in {(time.monotonic() - began) / 60:.1f} minutes; see {self.folder}")


def open_regularization(
    config: TrainConfig, source: Source, train_items: np.ndarray, base: BaseLocation, root: Path
) -> Source | None:
    """Return the regularization images of a training, without those of their own test or validation
    split; None without the setting.

    Raises InputError for a source without captions or items, for the training's own data, and where
    no caption names a garment that the base knows.
    """
    if not config.regularization:
        return None
    if own := OWN.fullmatch(config.regularization):
        captions = (source.captions[item] for item in train_items)
        prompts = class_prompts(captions, read_vocabulary(base, False))
        if not prompts:
            raise InputError("no-class-words", name=source.name)
        prompts = [prompts[i % len(prompts)] for i in range(int(own[1]))]
        return OwnImages(base, prompts, config.seed, root)
    found = open_source(config.regularization)
    if found.fingerprint == source.fingerprint:
        raise InputError("regularization-is-data", name=found.name)
    items = [i for i, split in enumerate(found.splits) if split in ("", "train")]
    if not items:
        raise InputError("too-few-items.regularization", name=found.name)
    return found if len(items) == len(found) else Subset(found, items)


def class_prompts(captions: Iterable[str], vocabulary: Vocabulary | None = None) -> list[str]:
    """Return a prompt for each garment that captions name, such as "a dress", frequent ones first;
    none for a word that is not in the `vocabulary` of the base, which would draw something else."""
    counts = Counter(filter(None, map(_garment, captions)))
    prompts = [with_article(word, word) for word, _ in counts.most_common()]
    return [one for one in prompts if not (vocabulary and vocabulary.unseen(one))]


def _garment(caption: str) -> str:
    """Return the garment of a caption as one word, a plural such as "dresses" as "dress"; "" for
    none."""
    words = caption.lower().replace(",", " ").replace(".", " ").split()
    others = (word for word in words if word in GARMENTS)
    word = stated_garment(caption) or next(others, "")
    ones = (word.removesuffix(end) for end in ("es", "s"))
    return next((one for one in ones if one in GARMENTS), word)
