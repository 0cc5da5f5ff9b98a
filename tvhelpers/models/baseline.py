"""How is a UNet conditioned on a class instead of a prompt?

A class embedding is added to the time embedding (Dhariwal & Nichol 2021, section 4); the prompt is
empty.  Label 0 is "no class", the unconditional side of classifier-free guidance.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tvhelpers.errors import Choice, InputError
from tvhelpers.records import read_record, write_json

FILE = "classes.json"  # in the pipeline's folder
INITIAL_SCALE = 4.0  # of a time embedding: with 0 or 1, a class has no effect in 200 steps (LOG.md)


@dataclass(frozen=True)
class Classes:
    """The values of one attribute, or the combinations of several that occur in the data.

    `attributes` ("category", "colour"), `words` (("dress", "red"), ...); words[i] has label i + 1.
    Without words, the base is unconditional.
    """

    attributes: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()

    def labels(self, attributes: Sequence[dict[str, str]]) -> list[int]:
        """Return the label of each item, 0 if it lacks one of the attributes."""
        place = {word: i for i, word in enumerate(self.words, 1)}
        return [place.get(_word_of(row, self.attributes), 0) for row in attributes]

    def label_of(self, prompt: str) -> int:
        """Return the label of a prompt such as "category=dress" or "category=dress,colour=red"; 0
        for the empty prompt, and for every prompt if there are no words.

        Raises InputError for any other prompt.
        """
        if not prompt.strip() or not self.words:
            return 0
        pairs = [pair.partition("=")[::2] for pair in prompt.split(",")]
        word = _word_of({name.strip(): word.strip() for name, word in pairs}, self.attributes)
        if word not in self.words or len(pairs) != len(self.attributes):
            known = [
                ",".join(map("=".join, zip(self.attributes, one, strict=True)))
                for one in self.words
            ]
            raise InputError("unknown-class", prompt=prompt, choice=Choice(prompt, known))
        return self.words.index(word) + 1

    def save(self, folder: Path) -> None:
        """Write the classes into a pipeline's folder."""
        write_json(Path(folder) / FILE, {"attributes": self.attributes, "words": self.words})


def find_classes(attributes: str, rows: Sequence[dict[str, str]]) -> Classes:
    """Return the classes of items, by one attribute or several ("category,colour").

    Raises InputError if no item has those attributes.
    """
    names = tuple(name.strip() for name in attributes.split(","))
    words = sorted({_word_of(row, names) for row in rows} - {None})
    if not words:
        known = sorted({name for row in rows for name in row})
        raise InputError("not-stated", names=names, known=known)
    return Classes(names, tuple(words))


def _word_of(row: dict[str, str], names: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(row[name] for name in names) if all(name in row for name in names) else None


def read_classes(folder: str | Path) -> Classes | None:
    """Return the classes of a pipeline's folder, None if it is conditioned on text."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    row = read_record(path, "classes")
    if {*map(len, row["words"])} - {len(row["attributes"])}:
        raise InputError("file-damaged.classes", path=path)
    return Classes(tuple(row["attributes"]), tuple(tuple(word) for word in row["words"]))


def add_classes(unet, classes: Classes) -> None:
    """Give the UNet an embedding of the classes; with label 0 its predictions do not change.

    Each word begins as a random vector, always the same, and a combination as the sum of its words'
    vectors, so that combinations with a common word begin alike.  All are `INITIAL_SCALE` times as
    large as a time embedding.
    """
    with torch.no_grad():
        moments = torch.arange(0, 1000, 50)
        times = unet.time_embedding(unet.time_proj(moments).to(unet.dtype))
    generator = torch.Generator().manual_seed(0)
    rows = torch.zeros(len(classes.words) + 1, times.shape[1])
    for place in range(len(classes.attributes)):
        column = [word[place] for word in classes.words]
        known = sorted({*column})
        vectors = torch.randn((len(known), times.shape[1]), generator=generator)
        rows[1:] += vectors[[known.index(word) for word in column]]
    rows *= INITIAL_SCALE * times.float().std() / max(1, len(classes.attributes)) ** 0.5
    unet.class_embedding = torch.nn.Embedding.from_pretrained(rows, freeze=False)
    unet.register_to_config(num_class_embeds=len(rows))


def reset_weights(unet, start: str, seed: int):
    """Return the UNet as it is ("base"), with random weights ("scratch"), or with random cross-
    attention ("unconditional"): it still draws, but has learned nothing about prompts."""
    if start == "base":
        return unet
    torch.manual_seed(seed)
    fresh = type(unet).from_config(unet.config)
    if start == "scratch":
        return fresh
    attention = {name: w for name, w in fresh.state_dict().items() if ".attn2." in name}
    unet.load_state_dict(unet.state_dict() | attention)
    return unet


@contextlib.contextmanager
def class_conditioning(unet, labels: Sequence[int], guided: bool) -> Iterator[None]:
    """Condition the UNet on `labels`, one per image, within the block; with `guided`, as many zeros
    come first.

    A UNet without classes is not changed.
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
