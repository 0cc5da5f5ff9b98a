"""How well does a CLIP match images, captions and attributes?  Pure functions of unit embeddings.

Most return one answer per item, from which `score.metrics.mean_score` computes an interval; items
with the same caption are one group, as they share their answers.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from tvhelpers.models.clip import Clip, class_embeddings
from tvhelpers.runtime import seed_for

PHRASES = {"category": "a {other} {word}"}  # prompt of an attribute's word and a second word
PHRASE = "a {word} {other}"
BESIDE = {"category": "colour"}  # attribute of the second word; otherwise category


def attribute_codes(
    captions: Sequence[str], attributes: Sequence[dict[str, str]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the attributes of items as codes int64 (N, A), whether they are stated bool (N, A),
    and the captions as codes int64 (N,)."""
    names = sorted({name for row in attributes for name in row})
    columns = [[row.get(name, "") for row in attributes] for name in names]
    *codes, texts = (
        torch.from_numpy(np.unique(column, return_inverse=True)[1])
        for column in [*columns, list(captions)]
    )
    stated = torch.tensor([[name in row for name in names] for row in attributes], dtype=torch.bool)
    return torch.stack(codes, 1) if codes else texts[:, None][:, :0], stated, texts


def fitting(codes: torch.Tensor, stated: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Return bool (N, N): whether caption i is also the caption of image j, or states attributes
    that are all true of j."""
    true = stated.any(1)[:, None].repeat(1, len(texts))
    for code, named in zip(codes.T, stated.T, strict=True):
        true &= (code[:, None] == code[None]) | ~named[:, None]
    return true | (texts[:, None] == texts[None])


def hits_at(similarity, fits, k: int) -> np.ndarray:
    """Return bool (N,): whether a correct column is among the k best of each row of similarity
    (N, M); `fits` bool (N, M) marks the correct ones, several in a row are allowed."""
    order = torch.argsort(torch.as_tensor(similarity), dim=1, descending=True, stable=True)
    return torch.gather(torch.as_tensor(fits), 1, order)[:, :k].any(1).numpy()


def recall_at(similarity, fits, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Return {k: share of the rows with a correct column among the k best}, by `hits_at`."""
    return {k: float(hits_at(similarity, fits, k).mean()) for k in ks}


def naive_ceiling(captions: Sequence[str]) -> dict[int, float]:
    """Return {k: the highest naive recall at k = 1, 5, 10 that is possible, in both directions}.

    m images with one caption share one ranking, so at most k of them are found.
    """
    counts = Counter(captions).values()
    return {k: sum(min(k, count) for count in counts) / len(captions) for k in (1, 5, 10)}


def retrieval(
    similarity: torch.Tensor, captions: Sequence[str], attributes: Sequence[dict[str, str]]
) -> dict[str, dict[int, float]]:
    """Return recall at 1, 5, 10 in both directions, from cosines (N captions, N images): naive
    (only the caption's own image is correct), its ceiling, and caption-aware."""
    own, aware = torch.eye(len(captions)) > 0, fitting(*attribute_codes(captions, attributes))
    return {
        "text to image, naive": recall_at(similarity, own),
        "image to text, naive": recall_at(similarity.T, own),
        "naive, at the very best": naive_ceiling(captions),
        "text to image, caption-aware": recall_at(similarity, aware),
        "image to text, caption-aware": recall_at(similarity.T, aware.T),
    }


def phrases(attributes: Sequence[dict[str, str]], name: str) -> dict[str, list[str]]:
    """Return {word of attribute `name`: prompts with it}, one for each word of a second attribute,
    so that the mean over the prompts depends only on the first word."""
    beside = BESIDE.get(name, "category")
    words = sorted({row[name] for row in attributes if name in row})
    others = sorted({row[beside] for row in attributes if beside in row}) or ["garment"]
    phrase = PHRASES.get(name, PHRASE)
    return {word: [phrase.format(word=word, other=other) for other in others] for word in words}


def zero_shot(clip: Clip, images: torch.Tensor, texts_of: dict[str, list[str]]) -> list[str]:
    """Return for each image embedding (N, d) the word whose prompts are nearest on average."""
    words = list(texts_of)
    best = (images @ class_embeddings(clip, texts_of).T).argmax(1)
    return [words[i] for i in best.tolist()]


def confusion(true: Sequence[str], seen: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """Return counts int (K, K): row = the true word, column = the predicted one."""
    place = {word: i for i, word in enumerate(words)}
    table = np.zeros((len(words), len(words)), int)
    np.add.at(table, ([place[w] for w in true], [place[w] for w in seen]), 1)
    return table


def swapped_captions(
    captions: Sequence[str], attributes: Sequence[dict[str, str]], name: str
) -> dict[int, str]:
    """Return {item: its caption with its word of attribute `name` replaced by another such word},
    without items whose caption lacks the word."""
    words = sorted({row[name] for row in attributes if name in row})
    found = {}
    for i, (caption, row) in enumerate(zip(captions, attributes, strict=True)):
        others = [word for word in words if word != row.get(name)]
        word = rf"\b{re.escape(row.get(name, ''))}\b"
        place = re.search(word, caption, re.IGNORECASE) if name in row else None
        if place and others:
            other = others[seed_for(0, name, i) % len(others)]
            found[i] = caption[: place.start()] + other + caption[place.end() :]
    return found


def hard_negatives(
    clip: Clip,
    images: torch.Tensor,
    captions: Sequence[str],
    attributes: Sequence[dict[str, str]],
    name: str,
) -> np.ndarray:
    """Return bool for each image with a swapped caption: whether its own caption is nearer (0.5 by
    chance)."""
    swapped = swapped_captions(captions, attributes, name)
    if not swapped:
        return np.zeros(0, bool)
    own = clip.encode_texts([captions[i] for i in swapped])
    other = clip.encode_texts(list(swapped.values()))
    shown = images[list(swapped)]
    return ((shown * own).sum(1) > (shown * other).sum(1)).numpy()


def neighbours(images: torch.Tensor, row: int, count: int) -> list[int]:
    """Return the rows of the `count` images nearest to image `row`, nearest first."""
    order = torch.argsort(images @ images[row], descending=True, stable=True).tolist()
    return [other for other in order if other != row][:count]


def answers(
    clip: Clip,
    variants: dict[str, Sequence[np.ndarray]],
    captions: Sequence[str],
    attributes: Sequence[dict[str, str]],
    names: Sequence[str] = ("category", "colour"),
) -> dict[str, dict[str, tuple[np.ndarray, list[str]]]]:
    """Return {variant: {check: (bool per item: correct or not, the items' captions)}} of all checks
    on {variant: images of the items}.

    Images with one caption share one ranking: the captions are the groups of an interval.  `names`
    are the attributes for zero-shot classification and swapping; those that no item has are
    skipped.
    """
    cached = _CachedTexts(clip)
    return {
        variant: _answers(cached, clip.encode_images(pixels), captions, attributes, names)
        for variant, pixels in variants.items()
    }


class _CachedTexts:
    """The text encoder of a CLIP, which encodes every text once."""

    def __init__(self, clip: Clip):
        self.clip, self.cache = clip, {}

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the embeddings of the texts, float32 (n, d)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.cache]
        if new:
            self.cache |= zip(new, self.clip.encode_texts(new), strict=True)
        return torch.stack([self.cache[text] for text in texts])


def _answers(clip: Clip | _CachedTexts, images: torch.Tensor, captions, attributes, names) -> dict:
    texts = clip.encode_texts(captions)
    aware = fitting(*attribute_codes(captions, attributes))
    found = {}
    for name in names:
        stated = [i for i, row in enumerate(attributes) if name in row]
        if stated:
            seen = zero_shot(clip, images[stated], phrases(attributes, name))
            correct = [attributes[i][name] == word for i, word in zip(stated, seen, strict=True)]
            found[f"{name}, zero-shot"] = np.array(correct), [captions[i] for i in stated]
    found["text to image, R@5"] = hits_at(texts @ images.T, aware, 5), list(captions)
    found["image to text, R@5"] = hits_at(images @ texts.T, aware.T, 5), list(captions)
    for name in names:
        swapped = [captions[i] for i in swapped_captions(captions, attributes, name)]
        if swapped:
            hits = hard_negatives(clip, images, captions, attributes, name)
            found[f"{name}, swapped"] = hits, swapped
    return found
