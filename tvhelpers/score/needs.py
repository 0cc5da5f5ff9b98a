"""Which inputs can a metric need?  Each is computed once, when a metric first asks for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.hub import offline
from tvhelpers.models.base import find_base, load_part, unet_digest
from tvhelpers.models.clip import Clip
from tvhelpers.paths import for_each
from tvhelpers.runtime import choose_device
from tvhelpers.score import colour
from tvhelpers.score.attributes import ClipAttributeClassifier, JudgeAttributeClassifier
from tvhelpers.score.cache import TOGETHER, RowCache
from tvhelpers.score.copying import CopyCheck
from tvhelpers.score.distances import neighbour_scores
from tvhelpers.score.features import choose_classifier, choose_extractor
from tvhelpers.score.image_folder import ImageFolder
from tvhelpers.score.looks import ADVICE, BESIDE_REAL, RULES, Look, flattered, misfit, sights
from tvhelpers.score.request import ScoreRequest


class Needs:
    """The inputs of metrics for one folder: needs[name] for the names in NEEDS, computed once.

    `real` are those of the real images.  None where the folder or the request lacks an input.
    """

    def __init__(self, folder: ImageFolder, networks: Networks, real: Needs | None = None):
        self.folder, self.networks, self.real, self.found = folder, networks, real, {}
        self.notes: dict[str, None] = {}  # what is not computed, and why

    def __getitem__(self, name: str):
        if name not in self.found:
            self.found[name] = NEEDS[name](self)
        return self.found[name]

    def rows(self, name: str) -> np.ndarray | None:
        """Return a network's output for the folder's images (N, K); None where there is no such
        network, and where it does not know such images."""
        rows = self.networks.rows.get(name)
        if rows is None or not self.fits(name):
            return None
        return rows.of(self.folder.digests, self.folder.pixels)

    def note(self, text: str) -> None:
        """Add a sentence for whoever reads the figures."""
        self.notes[text] = None

    def fits(self, name: str) -> bool:
        """Return whether the network of some rows knows the folder's images, and the real ones that
        they are compared with; otherwise, or in doubt, a note says so."""
        if name not in self.networks.opened:  # it needs no network
            return True
        folders = [self.folder, *([self.real.folder] if self.real and name == "features" else [])]
        looks = [self.networks.look(one) for one in folders]
        refused, text = misfit(self.networks.opened[name], name, looks)
        if text:
            self.note(text)
        return not refused


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).exists() else name


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


def _real_features(needs: Needs) -> np.ndarray | None:
    if needs.real is None:
        return None
    extractor = needs.networks.opened["features"]
    if getattr(extractor, "knows", "anything") == "copies":
        needs.note(f"no {BESIDE_REAL}: {extractor.name}, find copies only; {ADVICE}")
        return None
    return needs.real["features"]


def _neighbours(needs: Needs) -> dict | None:
    drawn = needs["features"]
    real = None if drawn is None else needs["real_features"]
    if real is None:
        return None
    found = neighbour_scores(real, drawn)
    names, why = flattered(real, drawn)
    if why:
        needs.note(why)
    return found | dict.fromkeys(names)


def _copies(needs: Needs) -> list | None:
    found = needs.networks.copies
    return [found[needs.folder.path]] if found and needs.fits("copies") else None


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
    "real_features": _real_features,  # of real images (M, D)
    "neighbours": _neighbours,  # {name: result, None for a flattered one}, computed together
    "thumbnails": lambda its: its.rows("sights")[:, 1:],  # in levels 0..255 (N, D)
    "copies": _copies,  # [result]
}


class Networks:
    """The networks and sources that a request names, opened.

    `rows` {need: RowCache} are the networks' outputs, `opened` {need: network} the networks, and
    `card` names them and the sources.
    """

    def __init__(self, request: ScoreRequest, folders: list[ImageFolder]):
        self.folders, device = folders, choose_device(request.device)
        self.cache, self.opened, self.check, self.notes = request.cache, {}, None, []
        self.rows = {
            "sights": RowCache(self.cache, sights, "sights", RULES),
            "colours": RowCache(self.cache, colour.colour_numbers, "colour", colour.RULES),
        }
        drawings = all(self.look(folder).is_drawn for folder in folders)
        net, why = choose_classifier(request.classifier, device, drawings)
        self.card = {"classifier": net.name, "classifier_digest": net.digest, "chosen": why}
        self._add("probs", net, net.probs)
        if request.features or request.real:
            net = choose_extractor(request.features or "judge", device)
            self.card |= {"extractor": net.name, "extractor_digest": net.digest}
            self._add("features", net, net.features)
        with offline():  # scores never download
            self.clip = Clip(request.clip, device) if request.clip else None
        if self.clip:
            for base in sorted(set().union(*(folder.bases for folder in folders))):
                refuse_own_clip(self.clip, base)
            key = "clip, padded", self.clip.name, unet_digest(self.clip.model)
            self.rows["image_embeds"] = RowCache(self.cache, self._embedded, *key)
            self.opened["image_embeds"] = self.clip
        net, self.calibration = open_attribute_classifier(request, self.clip, folders, drawings)
        self.attribute_classifier = net
        if net:
            self.card |= {"attribute_classifier": net.name, "calibration": self.calibration.name}
            self._add("words", net, net.predict, net.heads)
        if request.train:
            self._open_check(request, device)

    def _add(self, name: str, net, rows_of: Callable, *key) -> None:
        """Add a network, and the cache of its outputs."""
        self.opened[name] = net
        self.rows[name] = RowCache(self.cache, rows_of, name, net.name, net.digest, *key)

    def look(self, folder: ImageFolder) -> Look:
        """Return how many images of a folder look like drawings."""
        rows = self.rows["sights"].of(folder.digests, folder.pixels)
        return Look(str(folder.path), int(rows[:, 0].sum()), len(rows))

    def _open_check(self, request: ScoreRequest, device: str) -> None:
        """Open the training set; too small a split is noted, and costs no other figure."""
        net = choose_extractor(request.copies, device)
        self.opened["copies"] = net
        try:
            self.check = CopyCheck(net, request.train, request.validation, request.cache)
        except InputError as error:
            if not str(error.code).startswith("too-few"):
                raise
            self.notes.append(f"no copying: {error}")
            return
        self.card |= {"train": self.check.train.name, "validation": self.check.validation.name}
        self.card |= {"copies": net.name}
        if isinstance(request.train, str):
            self.card["train_path"] = for_each(request.train, _absolute)

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


def open_attribute_classifier(request: ScoreRequest, clip, folders: list, drawings: bool):
    """Return (attribute classifier, calibration source), or twice None for images of no suite.

    By default it is the judge for images by mini, and a CLIP, where one is given with a calibration
    set, for other images and for images by mini that do not look like `drawings`.
    """
    if not any(row for folder in folders for row in folder.rows):
        return None, None
    mini = all(folder.bases == {"mini"} for folder in folders)
    name = request.attribute_classifier
    by_clip = clip and request.calibration and not (mini and drawings)
    name = name or ("clip" if by_clip else "judge" if mini else "")
    source = open_source(request.calibration) if name and request.calibration else None
    if name == "clip":
        return ClipAttributeClassifier(clip, source), source
    judge = JudgeAttributeClassifier(choose_device(request.device)) if name else None
    return judge, source if source or not judge else judge.calibration_set()


def refuse_own_clip(clip: Clip, base: str) -> None:
    """Raise InputError where `clip` has the text encoder of `base`, which would flatter it.

    Warn where the base is not on this machine and cannot be compared.
    """
    try:
        with offline():  # records, perhaps another person's, name the base
            found = find_base(base)
            parts = found.architecture.text_encoders
            own = [load_part(found, part).state_dict() for part in parts]
    except InputError:
        warnings.warn(
            f"base {base!r} was not found: not checked whether {clip.name} is its own CLIP",
            stacklevel=2,
        )
        return
    name = "embeddings.token_embedding.weight"
    other = clip.model.text_model.state_dict()[name]
    for weights in own:
        mine = next(weight for key, weight in weights.items() if key.endswith(name))
        if mine.shape == other.shape and torch.allclose(mine.float(), other.float(), atol=1e-3):
            raise InputError("own-clip", clip=clip.name, base=base)
