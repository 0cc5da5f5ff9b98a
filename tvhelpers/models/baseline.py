"""How is a UNet told a class instead of a sentence?

A class embedding joins the time embedding (Dhariwal & Nichol 2021, section 4); the text is the
empty prompt.  Label 0 is "no class": what classifier-free guidance starts from.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tvhelpers.errors import InputError
from tvhelpers.records import read_record, write_json

FILE = "classes.json"  # in the pipeline's folder
LOUDNESS = 4.0  # from zero, or as loud as the time, a class changes nothing in 200 steps (LOG.md)


@dataclass(frozen=True)
class Classes:
    """The words of one attribute, or the combinations of words of several that items show.

    `attributes` ("category", "colour"), `words` (("dress", "red"), ...); word i has label i + 1.
    Without words, nothing can be said.
    """

    attributes: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()

    def labels(self, attributes: Sequence[dict[str, str]]) -> list[int]:
        """Return the label of each item, 0 where it does not state all attributes."""
        place = {word: i for i, word in enumerate(self.words, 1)}
        return [place.get(_word_of(row, self.attributes), 0) for row in attributes]

    def label_of(self, prompt: str) -> int:
        """Return the label of a prompt such as "category=dress" or "category=dress,colour=red"; the
        empty one has none, 0, and where there are no words every prompt is as good as that.

        Raises InputError for anything else.
        """
        if not prompt.strip() or not self.words:
            return 0
        pairs = [pair.partition("=")[::2] for pair in prompt.split(",")]
        word = _word_of({name.strip(): word.strip() for name, word in pairs}, self.attributes)
        if word not in self.words or len(pairs) != len(self.attributes):
            raise InputError(
                "unknown-class",
                prompt=prompt,
                names=",".join(f"{name}=WORD" for name in self.attributes),
                known=self._known(),
            )
        return self.words.index(word) + 1

    def save(self, folder: Path) -> None:
        """Write the classes beside a pipeline."""
        write_json(Path(folder) / FILE, {"attributes": self.attributes, "words": self.words})

    def _known(self) -> str:
        """Return the words of each attribute in words."""
        if len(self.attributes) == 1:
            return f"WORD one of {', '.join(word for (word,) in self.words)}"
        columns = [sorted({*column}) for column in zip(*self.words, strict=True)]
        listed = "; ".join(
            f"{name}: {', '.join(column)}"
            for name, column in zip(self.attributes, columns, strict=True)
        )
        return f"a combination that was trained on ({listed})"


def find_classes(attributes: str, rows: Sequence[dict[str, str]]) -> Classes:
    """Return the classes that items have, of one attribute or several ("category,colour").

    Raises InputError where no item states them.
    """
    names = tuple(name.strip() for name in attributes.split(","))
    words = sorted({_word_of(row, names) for row in rows} - {None})
    if not words:
        known = sorted({name for row in rows for name in row})
        raise InputError("not-stated", attributes=attributes, value=", ".join(known) or "nothing")
    return Classes(names, tuple(words))


def _word_of(row: dict[str, str], names: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(row[name] for name in names) if all(name in row for name in names) else None


def read_classes(folder: str | Path) -> Classes | None:
    """Return the classes of a pipeline's folder, None for one that is conditioned on language."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    row = read_record(path, "classes")
    return Classes(tuple(row["attributes"]), tuple(tuple(word) for word in row["words"]))


def add_classes(unet, classes: Classes) -> None:
    """Give the UNet an embedding of the classes; told "no class", it is what it was.

    Each word begins as a random vector, the same every time, and a combination as the sum of its
    words', so that what is learnt of one helps others; all are `LOUDNESS` times as long as a time
    embedding is.
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
    rows *= LOUDNESS * times.float().std() / max(1, len(classes.attributes)) ** 0.5
    unet.class_embedding = torch.nn.Embedding.from_pretrained(rows, freeze=False)
    unet.register_to_config(num_class_embeds=len(rows))


def forgetful(unet, start: str, seed: int):
    """Return the UNet with random weights: all of them ("scratch"), those of cross-attention
    ("deaf"), so that it still draws but has never read a word, or none ("base")."""
    if start == "base":
        return unet
    torch.manual_seed(seed)
    fresh = type(unet).from_config(unet.config)
    if start == "scratch":
        return fresh
    heard = {name: w for name, w in fresh.state_dict().items() if ".attn2." in name}
    unet.load_state_dict(unet.state_dict() | heard)
    return unet


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
