"""Which attributes does an image show, and how often are they those that its prompt asks for?

A prompt of a suite lists its attributes.  An attribute classifier names those that an image shows:
mini's judge for flats, or a CLIP by calibrated zero-shot classification.
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
MIN_EXAMPLES = 5  # calibration images of a word, to estimate the classifier's errors on it
MIN_YOUDEN = 0.2  # below this true rate less false rate, a word's predictions say nothing


class AttributeClassifier:
    """Names one word for each attribute of an image, of the words in `heads` {attribute: words}.

    Classifiers have `name`, `digest` and `predict(pixels uint8 (N, H, W, 3)) -> word indices (N,
    attributes)`.
    """

    def named(self, indices: np.ndarray) -> list[dict[str, str]]:
        """Return {attribute: word} of each image's word indices (N, attributes)."""
        rows = indices.tolist()
        return [{name: self.heads[name][n] for name, n in zip(self.heads, row)} for row in rows]

    def words(self, pixels: np.ndarray) -> list[dict[str, str]]:
        """Return {attribute: word} of each of pixels uint8 (N, H, W, 3)."""
        return self.named(self.predict(pixels))


class JudgeAttributeClassifier(AttributeClassifier):
    """mini's judge, which was trained on flats."""

    name, knows = "mini judge", "drawings"

    def __init__(self, device: str = "cpu"):
        self.network = JudgeClassifier(device)
        self.digest, self.heads = self.network.digest, self.network.judge.heads

    def calibration_set(self) -> Source:
        """Return flats that no training has seen; their attributes are known."""
        return FlatsSource(204, 600, name="fresh flats")

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the index of each attribute's likeliest word (N, attributes)."""
        return self.network.choices(pixels)


class ClipAttributeClassifier(AttributeClassifier):
    """A CLIP that names the attributes of the calibration set.  Half of its products calibrate the
    CLIP; the other half (`rest`) shows how often it is wrong."""

    def __init__(self, clip: Clip, calibration: Source, most: int = 1000):
        self.clip, self.name = clip, f"zero-shot by {clip.name}"
        self.digest = content_key([calibration.fingerprint, unet_digest(clip.model)])
        items = range(0, len(calibration), -(-len(calibration) // most))
        half = split_by_product([calibration.product_ids[i] for i in items], 0.5, seed=0)
        fit, self.rest = ([i for i, h in zip(items, half) if h == side] for side in (0, 1))
        images = clip.encode_images([calibration.pixels(i) for i in fit])
        self.classifiers: dict[str, ZeroShotClassifier] = {}
        for name in FACTORS:
            stated = [k for k, i in enumerate(fit) if name in calibration.attributes[i]]
            truth = [calibration.attributes[fit[k]][name] for k in stated]
            words = sorted({*truth})
            if len(words) > 1:
                one = ZeroShotClassifier(clip, {word: _texts(name, word) for word in words})
                one.calibrate(images[stated], truth)
                self.classifiers[name] = one
        self.heads = {name: one.words for name, one in self.classifiers.items()}

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the index of each attribute's likeliest word (N, attributes)."""
        images = self.clip.encode_images(list(pixels))
        return np.stack([one.probs(images).argmax(1) for one in self.classifiers.values()], 1)


def _texts(name: str, word: str) -> list[str]:
    thing = {
        "category": word,
        "neckline": f"garment with a {word} neckline",
        "fabric": f"garment made of {word}",
    }.get(name, f"{said(name, word)} garment")
    return [f"a {thing}", f"a photo of a {thing}"]


class ZeroShotClassifier:
    """Names one attribute by a CLIP: the word whose texts are nearest to the image.

    `texts_of` {word: texts}; images are unit embeddings (N, D).  Without calibration, words whose
    texts resemble all images are named too often: `calibrate` fits an offset for each word and one
    scale.
    """

    def __init__(self, clip: Clip, texts_of: dict[str, list[str]]):
        self.words, self.texts = tuple(texts_of), class_embeddings(clip, texts_of)
        self.scale, self.offsets = torch.tensor(100.0), torch.zeros(len(self.words))

    def probs(self, images: torch.Tensor) -> np.ndarray:
        """Return the probability of each word, float64 (N, K)."""
        logits = self.scale * (images @ self.texts.T) + self.offsets
        return logits.double().softmax(1).numpy()

    def calibrate(self, images: torch.Tensor, true: Sequence[str]) -> None:
        """Fit the scale and the offsets to images (N, D) and their true words (N,).

        Offsets are regularized as by one image of each word, for small calibration sets.  Raises
        ValueError for a word that is not in `texts_of`.
        """
        unknown = sorted({*true} - {*self.words})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of the classifier's words {self.words}")
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
    """Return {attribute: bool (N,)}: whether image i shows the wanted word, and "all" together.

    An attribute that `wanted[i]` does not name counts as correct.  Raises ValueError for different
    lengths.
    """
    names = sorted({name for row in wanted for name in row})
    rows = list(zip(wanted, seen, strict=True))
    correct = {name: np.array([s[name] == w.get(name, s[name]) for w, s in rows]) for name in names}
    correct["all"] = np.all(list(correct.values()), axis=0)
    return correct


def corrected_rate(name: str, wanted, seen, real_true, real_seen, groups=None) -> Result:
    """Return the share of images that show the wanted word, corrected for the classifier's errors.

    `wanted`, `seen` (N,): wanted and predicted words.  `real_true`, `real_seen` (M,): true and
    predicted words of the calibration images, which give each word's true and false positive rate.
    Each image contributes (correct - false rate) / (true rate - false rate) (Rogan & Gladen 1978),
    which can lie outside 0..1.  `details`: the plain rate, the classifier's accuracy on the
    calibration images (`ceiling`), and the number of images skipped because the calibration images
    lack their wanted word.  The interval covers both sets.  Raises ValueError where no wanted word
    has MIN_EXAMPLES calibration images.
    """
    rates = _error_rates(real_true, real_seen)
    kept = [i for i, word in enumerate(wanted) if word in rates]
    if not kept:
        raise ValueError(f"{name}: no wanted word has {MIN_EXAMPLES} usable calibration images")
    words = np.array([wanted[i] for i in kept])
    correct = np.array([seen[i] == wanted[i] for i in kept])
    hit, false, *_ = np.array([rates[word] for word in words]).T
    parts = (correct - false) / (hit - false)
    groups = None if groups is None else [groups[i] for i in kept]
    plain = mean_score(name, parts, groups, "Rogan-Gladen, error rates from calibration images")
    ceiling = float(np.mean([s == t for s, t in zip(real_seen, real_true, strict=True)]))
    skipped = len(wanted) - len(kept)
    plain.details.update(plain_rate=float(correct.mean()), ceiling=ceiling, skipped=skipped)
    value = min(1.0, max(0.0, plain.value))
    if plain.se is None:
        return replace(plain, value=value)
    # The error rates' own variance, by the delta method: d(part)/d(hit), d(part)/d(false).
    extra = 0.0
    for word, (hit, false, hits, falses) in rates.items():
        if (words == word).any():
            weight, rate, gap = np.mean(words == word), parts[words == word].mean(), hit - false
            extra += (weight * rate / gap) ** 2 * hit * (1 - hit) / hits
            extra += (weight * (1 - rate) / gap) ** 2 * false * (1 - false) / falses
    se = math.hypot(plain.se, math.sqrt(extra))
    ci = max(0.0, plain.value - Z95 * se), min(1.0, plain.value + Z95 * se)
    return replace(plain, value=value, se=se, ci=ci)


def _error_rates(true: Sequence[str], seen: Sequence[str]) -> dict[str, tuple]:
    """Return {word: (true positive rate, false positive rate, their numbers of images)}."""
    there, predicted = Counter(true), Counter(seen)
    both, found = Counter(zip(true, seen, strict=True)), {}
    for word in sorted(there):
        shown, other = there[word], len(true) - there[word]
        if min(shown, other) < MIN_EXAMPLES:
            continue
        hit, false = both[word, word] / shown, (predicted[word] - both[word, word]) / other
        if hit - false >= MIN_YOUDEN:
            found[word] = (hit, false, shown, other)
    return found


def attribute_scores(
    rows: Sequence[dict | None], seen: Sequence[dict], heads: dict, calibration: tuple[list, list]
) -> list[Result]:
    """Return the share of images that show the prompt's word, for each attribute and for all.

    `rows` (N,): the suite's rows, None for images of no suite; `seen` (N,): predicted words by
    attribute.  Words that are not in `heads` are not checked; images without any word to check and
    prompts of several garments are skipped.  `calibration`: true and predicted words (M,), for the
    classifier's accuracy and the share `corrected` for its errors.  Images of one prompt count as
    one.
    """
    asked = [_asked(row, heads) for row in rows]
    found = []
    for name in heads:
        kept = [i for i, want in enumerate(asked) if name in want]
        if kept:
            wanted, read = [asked[i][name] for i in kept], [seen[i][name] for i in kept]
            groups = [rows[i]["id"] for i in kept]
            found.append(_attribute_score(name, wanted, read, groups, calibration))
    return found + _all_correct({"attribute:all": range(len(rows))}, rows, seen, heads)


def stratum_scores(rows: Sequence[dict | None], seen: Sequence[dict], heads: dict) -> list[Result]:
    """Return the share of images that show all attributes of their prompt, by stratum; arguments as
    in `attribute_scores`."""
    strata: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if _asked(row, heads):
            strata.setdefault(f"stratum:{row.get('stratum', '')}", []).append(i)
    return _all_correct(strata, rows, seen, heads)


def _asked(row: dict | None, heads: dict) -> dict[str, str]:
    """Return {attribute: word} that a classifier can check; {} for several garments."""
    attributes = row["atoms"] if row else []  # stable name
    if any(one["garment"] for one in attributes):
        return {}
    words = {one["attribute"]: one["expect"] for one in attributes}
    return {name: word for name, word in words.items() if word in heads.get(name, ())}


def _all_correct(parts: dict, rows, seen, heads: dict) -> list[Result]:
    """Return the share of images with all attributes correct, of each {name: image numbers}."""
    found = []
    for name, numbers in parts.items():
        kept = [(i, want) for i in numbers if (want := _asked(rows[i], heads))]
        correct = [all(seen[i][name] == word for name, word in want.items()) for i, want in kept]
        if kept:
            groups = [rows[i]["id"] for i, _ in kept]
            found.append(mean_score(name, correct, groups, "all attributes correct"))
    return found


def _attribute_score(name: str, wanted, read, groups, calibration: tuple[list, list]) -> Result:
    correct = [want == word for want, word in zip(wanted, read, strict=True)]
    result = mean_score(f"attribute:{name}", correct, groups, "attributes correct")
    pairs = [(t[name], r[name]) for t, r in zip(*calibration, strict=True) if name in t]
    true, words = zip(*pairs, strict=True) if pairs else ((), ())
    try:
        rate = corrected_rate(name, wanted, read, true, words, groups)
    except ValueError as error:
        return replace(result, warnings=(*result.warnings, f"not corrected: {error}"))
    corrected = {"corrected": rate.value, "corrected_ci": rate.ci, "n_calibration": len(pairs)}
    skipped = {"ceiling": rate.details["ceiling"], "skipped": rate.details["skipped"]}
    return replace(result, details={**corrected, **skipped})


def binding(rows: Sequence[dict | None], seeds: Sequence[int], images, texts) -> list[Result]:
    """Return [the share of swap pairs whose two images are both nearer to their own prompt], or []
    without complete pairs.

    `rows` (N,): the suite's rows, None for images of no suite; `seeds` (N,) tell the images of one
    prompt apart; unit embeddings (N, D) of images and prompts.  The prompts of a pair have the same
    words, two of them swapped, so random images give 0.25.
    """
    copies = [row and (row["id"], row["seeds"].index(s)) for row, s in zip(rows, seeds)]
    place = {key: i for i, key in enumerate(copies) if key}
    pairs = [(i, place.get((rows[i].get("swap_of"), copy))) for (_, copy), i in place.items()]
    pairs = sorted((i, j) for i, j in pairs if j is not None and rows[i]["id"] < rows[j]["id"])
    near = images @ texts.T
    correct = [near[i, i] > near[i, j] and near[j, j] > near[j, i] for i, j in pairs]
    groups = [rows[i]["id"] for i, _ in pairs]
    method = "both images nearer to their own prompt"
    return [mean_score("binding", correct, groups, method)] if pairs else []
