"""How well pictures fit their prompts: what a reader's own mistakes hide, CLIPScore, binding."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from tvhelpers.config import InputError
from tvhelpers.models.base import find_base, load_part
from tvhelpers.models.clip import Clip, class_embeddings
from tvhelpers.models.clip_checks import confusion
from tvhelpers.score.metrics import Result, mean_score
from tvhelpers.score.statistics import Z95

MIN_EXAMPLES = 5  # pictures of a word that its reader's mistakes are learnt from
MIN_YOUDEN = 0.2  # a reader that tells a word apart by less says nothing of it


def corrected_rate(
    name: str,
    wanted: Sequence[str],
    seen: Sequence[str],
    real_true: Sequence[str],
    real_seen: Sequence[str],
    groups=None,
) -> Result:
    """Return the share of pictures that show the wanted word (N,), less the reader's mistakes.

    `real_true` and `real_seen` (M,) are labels and readings of real pictures: of each word, how
    often it is seen where it is, and where it is not.  The share of true ones that would give what
    was seen (Rogan & Gladen 1978) is each picture's part, so that parts lie outside 0..1 and their
    mean need not.  `details` holds the plain rate, the reader's rate on real pictures (`ceiling`)
    and how many pictures had a wanted word that real pictures lack.  The interval is over pictures
    and real pictures.  Raises ValueError where no wanted word has MIN_EXAMPLES real pictures.
    """
    rates = _mistakes(real_true, real_seen)
    kept = [i for i, word in enumerate(wanted) if word in rates]
    if not kept:
        raise ValueError(f"{name}: no wanted word has {MIN_EXAMPLES} real pictures to learn from")
    parts, slopes = [], {word: [] for word in rates}
    for i in kept:
        hit, false, *_ = rates[wanted[i]]
        part = (float(seen[i] == wanted[i]) - false) / (hit - false)
        parts.append(part)
        slopes[wanted[i]].append(part)
    groups = None if groups is None else [groups[i] for i in kept]
    plain = mean_score(name, parts, groups, "Rogan-Gladen, errors of reading from real pictures")
    plain.details.update(
        plain_rate=float(np.mean([seen[i] == wanted[i] for i in kept])),
        ceiling=float(np.mean([s == t for s, t in zip(real_seen, real_true, strict=True)])),
        left_out=len(wanted) - len(kept),
    )
    if plain.se is None:
        return plain
    # What the rates of reading add, by the delta method: d(part)/d(hit), d(part)/d(false).
    extra = 0.0
    for word, values in slopes.items():
        if values:
            hit, false, hits, falses = rates[word]
            weight, rate, gap = len(values) / len(kept), float(np.mean(values)), hit - false
            extra += (weight * rate / gap) ** 2 * hit * (1 - hit) / hits
            extra += (weight * (1 - rate) / gap) ** 2 * false * (1 - false) / falses
    se = math.hypot(plain.se, math.sqrt(extra))
    ci = (max(0.0, plain.value - Z95 * se), min(1.0, plain.value + Z95 * se))
    return Result(
        name, min(1.0, max(0.0, plain.value)), se, ci, plain.n, plain.method, plain.warnings,
        plain.per_item, plain.details, plain.left_out,
    )  # fmt: skip


def clip_score(images: np.ndarray, texts: np.ndarray, groups=None) -> Result:
    """Return the CLIPScore of unit embeddings (N, D) of pictures and of their prompts: the mean of
    100 * max(cosine, 0) (Hessel et al. 2021, scaled as torchmetrics does), 0..100."""
    images, texts = (np.asarray(side, np.float64) for side in (images, texts))
    if images.shape != texts.shape:
        raise ValueError(f"pictures {images.shape} and prompts {texts.shape} do not match")
    values = 100 * np.maximum((images * texts).sum(1), 0)
    return mean_score("clip_score", values, groups, "100 max(cosine, 0)")


def binding(
    images: np.ndarray, texts: np.ndarray, pairs: Sequence[tuple[int, int]], groups=None
) -> Result:
    """Return the share of swap pairs (i, j) whose two pictures are each nearer to their own prompt.

    Pictures and prompts are unit embeddings (N, D); the prompts of a pair have the same words with
    two of them swapped, so chance gives a quarter of the pairs.  `groups` (of the pairs), such as
    prompts, count as one.
    """
    images, texts = (np.asarray(side, np.float64) for side in (images, texts))
    nearness = images @ texts.T
    right = [nearness[i, i] > nearness[i, j] and nearness[j, j] > nearness[j, i] for i, j in pairs]
    return mean_score("binding", right, groups, "both pictures nearer to their own prompt")


class ZeroShotReader:
    """A CLIP that reads one attribute: the word whose sentences are nearest to the picture.

    `texts_of` {word: sentences}.  Without calibration, words that sentences make likely are seen
    too often: `calibrate` learns an offset a word and one scale from pictures with known words.
    """

    def __init__(self, clip: Clip, texts_of: dict[str, list[str]]):
        self.clip, self.words = clip, tuple(texts_of)
        self.texts = class_embeddings(clip, texts_of)
        self.scale, self.offsets = torch.tensor(100.0), torch.zeros(len(self.words))

    def probs(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Return the chance of each word, float64 (N, K), for pixels uint8 (H, W, 3)."""
        return self._logits(self.clip.images(pixels)).double().softmax(1).numpy()

    def read(self, pixels: Sequence[np.ndarray]) -> list[str]:
        """Return the likeliest word of each picture (N,)."""
        return [self.words[i] for i in self.probs(pixels).argmax(1)]

    def calibrate(self, pixels: Sequence[np.ndarray], true: Sequence[str]) -> float:
        """Fit the scale and the offsets to pictures (N,) with true words; returns the loss in nats.

        Offsets are held back a little (as by one picture a word), so that few pictures do not
        decide.  Raises ValueError for a word that the reader does not know.
        """
        unknown = sorted({*true} - {*self.words})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of the reader's words {self.words}")
        nearness = self.clip.images(pixels) @ self.texts.T
        wanted = torch.tensor([self.words.index(word) for word in true])
        log_scale = torch.tensor(math.log(20.0), requires_grad=True)
        offsets = torch.zeros(len(self.words), requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [log_scale, offsets], max_iter=200, line_search_fn="strong_wolfe"
        )

        def loss():
            optimizer.zero_grad()
            logits = log_scale.exp() * nearness + offsets
            value = torch.nn.functional.cross_entropy(logits, wanted)
            value = value + offsets.square().sum() / (2 * len(wanted))
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        self.scale, self.offsets = log_scale.detach().exp(), offsets.detach()
        return float(torch.nn.functional.cross_entropy(self._scaled(nearness), wanted))

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        return self._scaled(images @ self.texts.T)

    def _scaled(self, nearness: torch.Tensor) -> torch.Tensor:
        return self.scale * nearness + self.offsets


def refuse_own_clip(clip: Clip, base: str) -> None:
    """Raise InputError where `clip` has the text encoder that `base` draws with: a generator that
    is judged by its own CLIP is told what it wants to hear.

    A base that is not at hand cannot be compared, and is let pass with a warning.
    """
    try:
        own = load_part(find_base(base), "text_encoder").state_dict()
    except InputError:
        warnings.warn(
            f"base {base} is not at hand: whether {clip.name} is its own CLIP was not checked",
            stacklevel=2,
        )
        return
    theirs = clip.model.text_model.state_dict()
    name = "embeddings.token_embedding.weight"
    mine = next(weight for key, weight in own.items() if key.endswith(name))
    other = theirs[name]
    if mine.shape == other.shape and torch.allclose(mine.float(), other.float(), atol=1e-3):
        raise InputError(
            f"{clip.name} is the CLIP that {base} draws with, and would flatter it; give another"
        )


def _mistakes(true: Sequence[str], seen: Sequence[str]) -> dict[str, tuple]:
    """Return {word: (rate seen where it is, rate seen where it is not, and of how many each)}."""
    words = sorted({*true} | {*seen})
    table = confusion(true, seen, words)
    found = {}
    for i, word in enumerate(words):
        shown, other = int(table[i].sum()), int(len(true) - table[i].sum())
        if shown < MIN_EXAMPLES or other < MIN_EXAMPLES:
            continue
        hit, false = table[i, i] / shown, (table[:, i].sum() - table[i, i]) / other
        if hit - false >= MIN_YOUDEN:
            found[word] = (hit, false, shown, other)
    return found
