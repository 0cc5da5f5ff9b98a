"""The baseline without language: a UNet that is told a class instead of a sentence.

A class embedding joins the time embedding (Dhariwal & Nichol 2021, section 4); the text is the
empty prompt.  Label 0 is "no class": what classifier-free guidance starts from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tvhelpers.config import InputError
from tvhelpers.runtime import read_json, write_json

FILE = "classes.json"  # in the pipeline's folder
LOUDNESS = 4.0  # from zero, or as loud as the time, a class changes nothing in 200 steps (LOG.md)


@dataclass(frozen=True)
class Classes:
    """The words of one attribute; word i has label i + 1.  Without words, nothing can be said."""

    attribute: str = ""
    words: tuple[str, ...] = ()

    def labels(self, attributes: Sequence[dict[str, str]]) -> list[int]:
        """Return the label of each item, 0 where it does not state the attribute."""
        place = {word: i for i, word in enumerate(self.words, 1)}
        return [place.get(row.get(self.attribute), 0) for row in attributes]

    def label_of(self, prompt: str) -> int:
        """Return the label of a prompt such as "category=dress"; the empty one has none, 0, and
        where there are no words every prompt is as good as that.

        Raises InputError for anything else.
        """
        name, _, word = prompt.partition("=")
        if not prompt.strip() or not self.words:
            return 0
        if name.strip() != self.attribute or word.strip() not in self.words:
            raise InputError(
                f"this base knows no language, only classes, and {prompt!r} is none; give "
                f"{self.attribute}=WORD with WORD one of {', '.join(self.words)}"
            )
        return self.words.index(word.strip()) + 1

    def save(self, folder: Path) -> None:
        """Write the classes beside a pipeline."""
        write_json(Path(folder) / FILE, {"attribute": self.attribute, "words": list(self.words)})


def find_classes(attribute: str, attributes: Sequence[dict[str, str]]) -> Classes:
    """Return the classes that items have; raises InputError where none states the attribute."""
    words = sorted({row[attribute] for row in attributes if attribute in row})
    if not words:
        known = sorted({name for row in attributes for name in row})
        raise InputError(
            f"no item states {attribute!r}; the items state {', '.join(known) or 'nothing'}"
        )
    return Classes(attribute, tuple(words))


def read_classes(folder: str | Path) -> Classes | None:
    """Return the classes of a pipeline's folder, None for one that is conditioned on language."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    row = read_json(path)
    return Classes(row["attribute"], tuple(row["words"]))


def add_classes(unet, classes: Classes) -> None:
    """Give the UNet an embedding of the classes; told "no class", it is what it was.

    Each class begins as a random vector, the same every time, `LOUDNESS` times as long as a time
    embedding is.
    """
    with torch.no_grad():
        moments = torch.arange(0, 1000, 50)
        times = unet.time_embedding(unet.time_proj(moments).to(unet.dtype))
    rows = torch.randn(
        (len(classes.words) + 1, times.shape[1]), generator=torch.Generator().manual_seed(0)
    )
    rows[0] = 0
    rows *= LOUDNESS * times.float().std()
    unet.class_embedding = torch.nn.Embedding.from_pretrained(rows, freeze=False)
    unet.register_to_config(num_class_embeds=len(rows))


@contextlib.contextmanager
def told(unet, labels: Sequence[int], guided: bool) -> Iterator[None]:
    """Within the block, the UNet is told `labels`, one a picture; `guided`: after as many zeros.

    One that has no classes stays as it is.
    """
    if unet.class_embedding is None:
        yield
        return
    labels = torch.tensor([0] * len(labels) * guided + list(labels), device=unet.device)
    forward = unet.forward

    def with_labels(*args, **kwargs):
        return forward(*args, class_labels=labels, **kwargs)

    unet.forward = with_labels
    try:
        yield
    finally:
        del unet.forward
