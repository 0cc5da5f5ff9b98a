"""Which inputs can a metric need?  Each is computed once, when a metric first asks for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import torch

from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.hub import offline
from tvhelpers.models.base import find_base, load_part, unet_digest
from tvhelpers.models.clip import Clip
from tvhelpers.runtime import choose_device
from tvhelpers.score import colour
from tvhelpers.score.attributes import ClipAttributeClassifier, JudgeAttributeClassifier
from tvhelpers.score.cache import TOGETHER, RowCache
from tvhelpers.score.copying import CopyCheck
from tvhelpers.score.distances import neighbour_scores
from tvhelpers.score.features import choose_classifier, choose_extractor
from tvhelpers.score.image_folder import ImageFolder
from tvhelpers.score.request import ScoreRequest


class Needs:
    """The inputs of metrics for one folder: needs[name] for the names in NEEDS, computed once.

    `real` are those of the real images.  None where the folder or the request lacks an input.
    """

    def __init__(self, folder: ImageFolder, networks: Networks, real: Needs | None = None):
        self.folder, self.networks, self.real, self.found = folder, networks, real, {}

    def __getitem__(self, name: str):
        if name not in self.found:
            self.found[name] = NEEDS[name](self)
        return self.found[name]

    def rows(self, name: str) -> np.ndarray | None:
        """Return a network's output for the folder's images (N, K)."""
        rows = self.networks.rows.get(name)
        return rows and rows.of(self.folder.digests, self.folder.pixels)


def _asked_colours(needs: Needs) -> list[str | None] | None:
    asked = [parse_caption(prompt).get("colour") for prompt in needs["prompts"] or []]
    asked = [word if word in colour.EXAMPLES else None for word in asked]
    return asked if any(asked) else None


def _words(needs: Needs) -> list[dict[str, str]] | None:
    numbers = needs.rows("words")
    return None if numbers is None else needs.networks.attribute_classifier.named(numbers)


def _text_embeds(needs: Needs) -> np.ndarray | None:
    clip, prompts = needs.networks.clip, needs["prompts"]
    return clip.encode_texts(prompts).double().numpy() if clip and prompts else None


def _neighbours(needs: Needs) -> dict | None:
    real = needs["real_features"]
    return None if real is None else neighbour_scores(real, needs["features"])


# Another need is another entry here.  Images are in the folder's own order.
NEEDS: dict[str, Callable[[Needs], object]] = {
    "pixels": lambda its: its.folder,  # uint8 (H, W, 3) of one image after the other
    "prompts": lambda its: its.folder.prompts,
    "seeds": lambda its: its.folder.seeds,
    "groups": lambda its: its.folder.groups(),  # images are paired by these (N,)
    "suite_rows": lambda its: its.folder.rows if any(its.folder.rows) else None,
    "probs": lambda its: its.rows("probs"),  # of classes (N, K)
    "asked_colours": _asked_colours,  # by the prompts, of those that can be measured (N,)
    "colours": lambda its: its.rows("colours"),  # indices of the measured ones (N, 1)
    "heads": lambda its: getattr(its.networks.attribute_classifier, "heads", None),
    "words": _words,  # {attribute: one of its `heads`} as predicted for each image
    "calibration_words": lambda its: its.networks.calibration_words,  # (true, predicted)
    "image_embeds": lambda its: its.rows("image_embeds"),  # of length one, by the CLIP (N, D)
    "text_embeds": _text_embeds,  # of the prompts (N, D)
    "features": lambda its: its.rows("features"),  # by the extractor (N, D)
    "real_features": lambda its: its.real and its.real["features"],  # of real images (M, D)
    "neighbours": _neighbours,  # four results that are computed together
    "copies": lambda its: its.networks.copies and [its.networks.copies[its.folder.path]],  # result
}


class Networks:
    """The networks and sources that a request names, opened.

    `rows` {need: RowCache} are the networks' outputs; `card` names networks and sources.
    """

    def __init__(self, request: ScoreRequest, folders: list[ImageFolder]):
        self.folders, device = folders, choose_device(request.device)
        cache = partial(RowCache, request.cache)
        net, why = choose_classifier(request.classifier, device)
        self.card = {"classifier": net.name, "classifier_digest": net.digest, "chosen": why}
        self.rows = {
            "probs": cache(net.probs, "probs", net.name, net.digest),
            "colours": cache(colour.colour_numbers, "colour", colour.RULES),
        }
        if request.features or request.real:
            net = choose_extractor(request.features or "judge", device)
            self.card |= {"extractor": net.name, "extractor_digest": net.digest}
            self.rows["features"] = cache(net.features, "features", net.name, net.digest)
        with offline():  # scores never download
            self.clip = Clip(request.clip, device) if request.clip else None
        if self.clip:
            for base in sorted(set().union(*(folder.bases for folder in folders))):
                refuse_own_clip(self.clip, base)
            key = "clip, padded", self.clip.name, unet_digest(self.clip.model)
            self.rows["image_embeds"] = cache(self._embedded, *key)
        net, self.calibration = open_attribute_classifier(request, self.clip, folders, device)
        self.attribute_classifier = net
        if net:
            self.card |= {"attribute_classifier": net.name, "calibration": self.calibration.name}
            self.rows["words"] = cache(net.predict, "words", net.name, net.digest, net.heads)
        self.check = None
        if request.train:
            net = choose_extractor(request.copies, device)
            self.check = CopyCheck(net, request.train, request.validation, request.cache)
            self.card |= {"train": self.check.train.name, "validation": self.check.validation.name}
            self.card |= {"copies": net.name}

    @cached_property
    def calibration_words(self) -> tuple[list[dict], list[dict]] | None:
        """True and predicted words of the calibration images."""
        classifier, source = self.attribute_classifier, self.calibration
        if classifier is None:
            return None
        items = getattr(classifier, "rest", range(len(source)))
        digests = [f"{source.fingerprint}-{i}" for i in items]
        predicted = self.rows["words"].of(digests, lambda i: source.pixels(items[i]))
        return [source.attributes[i] for i in items], classifier.named(predicted)

    @cached_property
    def copies(self) -> dict | None:
        """{path: result} of `CopyCheck` for every folder."""
        if self.check is None:
            return None
        rows = self.check.rows_of("drawn")
        sides = [
            (rows.of(folder.digests, folder.pixels), folder.groups()) for folder in self.folders
        ]
        paths = (folder.path for folder in self.folders)
        return dict(zip(paths, self.check.results(sides), strict=True))

    def _embedded(self, pixels: np.ndarray) -> np.ndarray:
        """Return embeddings (N, D), always from a full batch: kernels add in another order else."""
        full = [*pixels, *[pixels[0]] * (TOGETHER - len(pixels))]
        return self.clip.encode_images(full, batch_size=TOGETHER)[: len(pixels)].double().numpy()


def open_attribute_classifier(request: ScoreRequest, clip, folders: list, device: str):
    """Return (attribute classifier, calibration source), or twice None for images of no suite."""
    if not any(row for folder in folders for row in folder.rows):
        return None, None
    mini = all(folder.bases == {"mini"} for folder in folders)
    name = request.attribute_classifier
    name = name or ("judge" if mini else "clip" if clip and request.calibration else "")
    source = open_source(request.calibration) if name and request.calibration else None
    if name == "clip":
        return ClipAttributeClassifier(clip, source), source
    judge = JudgeAttributeClassifier(device) if name else None
    return judge, source if source or not judge else judge.calibration_set()


def refuse_own_clip(clip: Clip, base: str) -> None:
    """Raise InputError where `clip` has the text encoder of `base`, which would flatter it.

    Warn where the base is not on this machine and cannot be compared.
    """
    try:
        with offline():  # records, perhaps another person's, name the base
            own = load_part(find_base(base), "text_encoder").state_dict()
    except InputError:
        warnings.warn(
            f"base {base!r} was not found: not checked whether {clip.name} is its own CLIP",
            stacklevel=2,
        )
        return
    name = "embeddings.token_embedding.weight"
    mine = next(weight for key, weight in own.items() if key.endswith(name))
    other = clip.model.text_model.state_dict()[name]
    if mine.shape == other.shape and torch.allclose(mine.float(), other.float(), atol=1e-3):
        raise InputError("own-clip", clip=clip.name, base=base)
