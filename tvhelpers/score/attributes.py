"""Which attributes does a picture show, and how often are they the ones asked for?

What a prompt of a suite asks for is in its atoms; readers say what a picture shows: mini's judge,
or a CLIP by calibrated zero-shot.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.items import Source
from tvhelpers.data.split import split_by_product
from tvhelpers.files import content_key
from tvhelpers.models.base import unet_digest
from tvhelpers.models.clip import Clip, class_embeddings
from tvhelpers.score.features import JudgeClassifier
from tvhelpers.score.garment_words import FACTORS, said
from tvhelpers.score.metrics import Result, mean_score
from tvhelpers.score.statistics import Z95

CORE = ("category", "colour", "pattern")
MIN_EXAMPLES = 5  # pictures of a word that its reader's mistakes are learnt from
MIN_YOUDEN = 0.2  # a reader that tells a word apart by less says nothing of it


class Reader:
    """Says what pictures show: of each attribute one of the words in `heads` {attribute: words}.

    Readers have a name and a digest, and `numbers(pixels uint8 (N, H, W, 3)) -> (N, attributes)`.
    """

    def named(self, numbers: np.ndarray) -> list[dict[str, str]]:
        """Return {attribute: word} of each picture's numbers."""
        rows = numbers.tolist()
        return [{name: self.heads[name][n] for name, n in zip(self.heads, row)} for row in rows]

    def words(self, pixels: np.ndarray) -> list[dict[str, str]]:
        """Return {attribute: word} of each of pixels uint8 (N, H, W, 3)."""
        return self.named(self.numbers(pixels))


class AttributeJudge(Reader):
    """mini's judge as a reader."""

    name = "mini judge"

    def __init__(self, device: str = "cpu"):
        self.network = JudgeClassifier(device)
        self.digest, self.heads = self.network.digest, self.network.judge.heads

    def known(self) -> Source:
        """Return pictures whose attributes are known: flats that no training has seen."""
        return FlatsSource(204, 600, name="flats drawn anew")

    def numbers(self, pixels: np.ndarray) -> np.ndarray:
        """Return the number of each attribute's likeliest word (N, attributes)."""
        return self.network.choices(pixels)


class ClipReader(Reader):
    """A CLIP as a reader of the attributes that pictures of `known` have, calibrated on half of
    their products; the other half (`rest`) tells how often it errs."""

    def __init__(self, clip: Clip, known: Source, most: int = 1000):
        self.clip, self.name = clip, f"zero-shot by {clip.name}"
        self.digest = content_key([known.fingerprint, unet_digest(clip.model)])
        numbers = range(0, len(known), -(-len(known) // most))
        held = split_by_product([known.product_ids[i] for i in numbers], 0.5, seed=0)
        fit, self.rest = ([i for i, h in zip(numbers, held) if h == side] for side in (0, 1))
        images = clip.images([known.pixels(i) for i in fit])
        self.readers: dict[str, ZeroShotReader] = {}
        for name in FACTORS:
            stated = [k for k, i in enumerate(fit) if name in known.attributes[i]]
            truth = [known.attributes[fit[k]][name] for k in stated]
            words = sorted({*truth})
            if len(words) > 1:
                self.readers[name] = ZeroShotReader(clip, {w: _sentences(name, w) for w in words})
                self.readers[name].calibrate(images[stated], truth)
        self.heads = {name: reader.words for name, reader in self.readers.items()}

    def numbers(self, pixels: np.ndarray) -> np.ndarray:
        """Return the number of each attribute's likeliest word (N, attributes)."""
        images = self.clip.images(list(pixels))
        return np.stack([one.probs(images).argmax(1) for one in self.readers.values()], 1)


def _sentences(name: str, word: str) -> list[str]:
    thing = {
        "category": word,
        "neckline": f"garment with a {word} neckline",
        "fabric": f"garment made of {word}",
    }.get(name, f"{said(name, word)} garment")
    return [f"a {thing}", f"a photo of a {thing}"]


class ZeroShotReader:
    """One attribute by a CLIP: the word whose sentences are nearest to the picture.

    `texts_of` {word: sentences}; pictures are unit embeddings (N, D).  Without calibration, words
    that sentences make likely are seen too often: `calibrate` learns an offset a word and one scale
    from pictures with known words.
    """

    def __init__(self, clip: Clip, texts_of: dict[str, list[str]]):
        self.words, self.texts = tuple(texts_of), class_embeddings(clip, texts_of)
        self.scale, self.offsets = torch.tensor(100.0), torch.zeros(len(self.words))

    def probs(self, images: torch.Tensor) -> np.ndarray:
        """Return the chance of each word, float64 (N, K)."""
        logits = self.scale * (images @ self.texts.T) + self.offsets
        return logits.double().softmax(1).numpy()

    def calibrate(self, images: torch.Tensor, true: Sequence[str]) -> None:
        """Fit the scale and the offsets to pictures (N,) with true words.

        Offsets are held back a little (as by one picture a word), so that few pictures do not
        decide.  Raises ValueError for a word that the reader does not know.
        """
        unknown = sorted({*true} - {*self.words})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of the reader's words {self.words}")
        nearness = images @ self.texts.T
        wanted = torch.tensor([self.words.index(word) for word in true])
        log_scale = torch.tensor(math.log(20.0), requires_grad=True)
        offsets = torch.zeros(len(self.words), requires_grad=True)
        how = {"max_iter": 200, "line_search_fn": "strong_wolfe"}
        optimizer = torch.optim.LBFGS([log_scale, offsets], **how)

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


def agreement(wanted: list[dict], seen: list[dict]) -> dict[str, np.ndarray]:
    """Return {attribute: bool (N,)}: whether picture i shows what was asked of it, and "all".

    An attribute that `wanted[i]` does not name counts as right.  Raises ValueError for different
    lengths.
    """
    names = sorted({name for row in wanted for name in row})
    pairs = list(zip(wanted, seen, strict=True))
    right = {name: np.array([s[name] == w.get(name, s[name]) for w, s in pairs]) for name in names}
    right["all"] = np.all(list(right.values()), axis=0)
    return right


def corrected_rate(name: str, wanted, seen, real_true, real_seen, groups=None) -> Result:
    """Return the share of pictures that show the wanted word, less the reader's mistakes.

    `wanted` and `seen` (N,) are words; `real_true` and `real_seen` (M,) are labels and readings of
    real pictures: of each word, how often it is seen where it is, and where it is not.  The share
    of true ones that would give what was seen (Rogan & Gladen 1978) is each picture's part, so that
    parts lie outside 0..1 and their mean need not.  `details` holds the plain rate, the reader's
    rate on real pictures (`ceiling`) and how many pictures had a wanted word that real pictures
    lack.  The interval is over pictures and real pictures.  Raises ValueError where no wanted word
    has MIN_EXAMPLES real pictures.
    """
    rates = _mistakes(real_true, real_seen)
    kept = [i for i, word in enumerate(wanted) if word in rates]
    if not kept:
        raise ValueError(f"{name}: no wanted word has {MIN_EXAMPLES} real pictures to learn from")
    words = np.array([wanted[i] for i in kept])
    right = np.array([seen[i] == wanted[i] for i in kept])
    hit, false, *_ = np.array([rates[word] for word in words]).T
    parts = (right - false) / (hit - false)
    groups = None if groups is None else [groups[i] for i in kept]
    plain = mean_score(name, parts, groups, "Rogan-Gladen, errors of reading from real pictures")
    ceiling = float(np.mean([s == t for s, t in zip(real_seen, real_true, strict=True)]))
    left_out = len(wanted) - len(kept)
    plain.details.update(plain_rate=float(right.mean()), ceiling=ceiling, left_out=left_out)
    if plain.se is None:
        return plain
    # What the rates of reading add, by the delta method: d(part)/d(hit), d(part)/d(false).
    extra = 0.0
    for word, (hit, false, hits, falses) in rates.items():
        if (words == word).any():
            weight, rate, gap = np.mean(words == word), parts[words == word].mean(), hit - false
            extra += (weight * rate / gap) ** 2 * hit * (1 - hit) / hits
            extra += (weight * (1 - rate) / gap) ** 2 * false * (1 - false) / falses
    se = math.hypot(plain.se, math.sqrt(extra))
    low, value, high = (plain.value + side * Z95 * se for side in (-1, 0, 1))
    value = min(1.0, max(0.0, value))
    return replace(plain, value=value, se=se, ci=(max(0.0, low), min(1.0, high)))


def _mistakes(true: Sequence[str], seen: Sequence[str]) -> dict[str, tuple]:
    """Return {word: (rate seen where it is, rate seen where it is not, and of how many each)}."""
    there, said = Counter(true), Counter(seen)
    both, found = Counter(zip(true, seen, strict=True)), {}
    for word in sorted(there):
        shown, other = there[word], len(true) - there[word]
        if min(shown, other) < MIN_EXAMPLES:
            continue
        hit, false = both[word, word] / shown, (said[word] - both[word, word]) / other
        if hit - false >= MIN_YOUDEN:
            found[word] = (hit, false, shown, other)
    return found


def atom_scores(
    rows: Sequence[dict | None], seen: Sequence[dict], heads: dict, known: tuple[list, list]
) -> list[Result]:
    """Return the share of right atoms by attribute, and of pictures with all of them right.

    `rows` (N,) of the suite, None for pictures of none, and `seen` (N,) words by attribute; an atom
    whose word is none of the reader's `heads` is not asked, and a picture with none is left out, as
    is one of several garments.  `known`: true and read words of pictures (M,), for the reader's
    own `ceiling` and for the share `corrected` by its errors.  Pictures of one prompt count as one.
    """
    asked = [_asked(row, heads) for row in rows]
    found = []
    for name in heads:
        kept = [i for i, want in enumerate(asked) if name in want]
        if kept:
            wanted, read = [asked[i][name] for i in kept], [seen[i][name] for i in kept]
            groups = [rows[i]["id"] for i in kept]
            found.append(_atom_score(name, wanted, read, groups, known))
    return found + _all_right({"atom:all": range(len(rows))}, rows, seen, heads)


def stratum_scores(rows: Sequence[dict | None], seen: Sequence[dict], heads: dict) -> list[Result]:
    """Return the share of pictures with all atoms right, by stratum; arguments as `atom_scores`."""
    strata: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if _asked(row, heads):
            strata.setdefault(f"stratum:{row['stratum']}", []).append(i)
    return _all_right(strata, rows, seen, heads)


def _asked(row: dict | None, heads: dict) -> dict[str, str]:
    """Return {attribute: word} that a reader with `heads` can check; {} for several garments."""
    if row is None or any(atom["garment"] for atom in row["atoms"]):
        return {}
    atoms = {atom["attribute"]: atom["expect"] for atom in row["atoms"]}
    return {name: word for name, word in atoms.items() if word in heads.get(name, ())}


def _all_right(parts: dict, rows, seen, heads: dict) -> list[Result]:
    """Return the share of pictures with all atoms right, of each {name: pictures} that has any."""
    found = []
    for name, numbers in parts.items():
        kept = [(i, want) for i in numbers if (want := _asked(rows[i], heads))]
        right = [all(seen[i][name] == word for name, word in want.items()) for i, want in kept]
        if kept:
            groups = [rows[i]["id"] for i, _ in kept]
            found.append(mean_score(name, right, groups, "all atoms right"))
    return found


def _atom_score(name: str, wanted, read, groups, known: tuple[list, list]) -> Result:
    right = [want == word for want, word in zip(wanted, read, strict=True)]
    result = mean_score(f"atom:{name}", right, groups, "atoms right")
    pairs = [(t[name], r[name]) for t, r in zip(*known, strict=True) if name in t]
    true, words = zip(*pairs, strict=True) if pairs else ((), ())
    try:
        rate = corrected_rate(name, wanted, read, true, words, groups)
    except ValueError as error:
        return replace(result, warnings=(*result.warnings, f"not corrected: {error}"))
    corrected = {"corrected": rate.value, "corrected_ci": rate.ci, "n_known": len(pairs)}
    left_out = {"ceiling": rate.details["ceiling"], "left_out": rate.details["left_out"]}
    return replace(result, details={**corrected, **left_out})


def binding(rows: Sequence[dict | None], seeds: Sequence[int], images, texts) -> list[Result]:
    """Return [the share of swap pairs whose two pictures are each nearer to their own prompt], []
    without whole pairs.

    `rows` (N,) of the suite, None for pictures of none; `seeds` (N,) tell the copies of a prompt
    apart; unit embeddings (N, D) of pictures and prompts.  The prompts of a pair have the same
    words with two of them swapped, so chance gives a quarter of the pairs.
    """
    copies = [row and (row["id"], row["seeds"].index(s)) for row, s in zip(rows, seeds)]
    place = {key: i for i, key in enumerate(copies) if key}
    pairs = [(i, place.get((rows[i]["swap_of"], copy))) for (_, copy), i in place.items()]
    pairs = sorted((i, j) for i, j in pairs if j is not None and rows[i]["id"] < rows[j]["id"])
    near = images @ texts.T
    right = [near[i, i] > near[i, j] and near[j, j] > near[j, i] for i, j in pairs]
    groups = [rows[i]["id"] for i, _ in pairs]
    method = "both pictures nearer to their own prompt"
    return [mean_score("binding", right, groups, method)] if pairs else []
