"""What may a metric need?  Each need is computed once, when a metric first asks for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import torch

from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.models.base import find_base, load_part, unet_digest
from tvhelpers.models.clip import Clip
from tvhelpers.runtime import choose_device
from tvhelpers.score import colour
from tvhelpers.score.attributes import AttributeJudge, ClipReader
from tvhelpers.score.cache import TOGETHER, RowCache
from tvhelpers.score.copying import CopyCheck
from tvhelpers.score.distances import neighbour_scores
from tvhelpers.score.features import choose_classifier, choose_extractor
from tvhelpers.score.pictures import PictureFolder
from tvhelpers.score.request import ScoreRequest


class Needs:
    """What metrics need of one folder: needs[name], of the names in NEEDS, computed once.

    `real` are those of the real pictures.  None stands for what folder or request do not have.
    """

    def __init__(self, folder: PictureFolder, networks: Networks, real: Needs | None = None):
        self.folder, self.networks, self.real, self.found = folder, networks, real, {}

    def __getitem__(self, name: str):
        if name not in self.found:
            self.found[name] = NEEDS[name](self)
        return self.found[name]

    def rows(self, name: str) -> np.ndarray | None:
        """Return what one of the networks gives for the folder's pictures (N, K)."""
        rows = self.networks.rows.get(name)
        return rows and rows.of(self.folder.digests, self.folder.pixels)


def _asked_colours(needs: Needs) -> list[str | None] | None:
    asked = [parse_caption(prompt).get("colour") for prompt in needs["prompts"] or []]
    asked = [word if word in colour.EXAMPLES else None for word in asked]
    return asked if any(asked) else None


def _words(needs: Needs) -> list[dict[str, str]] | None:
    numbers = needs.rows("words")
    return None if numbers is None else needs.networks.reader.named(numbers)


def _text_embeds(needs: Needs) -> np.ndarray | None:
    clip, prompts = needs.networks.clip, needs["prompts"]
    return clip.texts(prompts).double().numpy() if clip and prompts else None


def _neighbours(needs: Needs) -> dict | None:
    real = needs["real_features"]
    return None if real is None else neighbour_scores(real, needs["features"])


# A need more is an entry here.  Pictures are in the folder's own order.
NEEDS: dict[str, Callable[[Needs], object]] = {
    "pixels": lambda its: its.folder,  # uint8 (H, W, 3) of one picture after the other
    "prompts": lambda its: its.folder.prompts,
    "seeds": lambda its: its.folder.seeds,
    "groups": lambda its: its.folder.groups(),  # what pictures are paired by (N,)
    "suite_rows": lambda its: its.folder.rows if any(its.folder.rows) else None,
    "probs": lambda its: its.rows("probs"),  # of classes (N, K)
    "asked_colours": _asked_colours,  # by the prompts, of those that can be measured (N,)
    "colours": lambda its: its.rows("colours"),  # numbers of measured ones (N, 1)
    "heads": lambda its: its.networks.reader and its.networks.reader.heads,  # {attribute: words}
    "words": _words,  # {attribute: word} that the reader sees on each picture
    "known_words": lambda its: its.networks.known_words,  # (true, read) where both are known
    "image_embeds": lambda its: its.rows("image_embeds"),  # of length one, by the CLIP (N, D)
    "text_embeds": _text_embeds,  # of the prompts (N, D)
    "features": lambda its: its.rows("features"),  # by the extractor (N, D)
    "real_features": lambda its: its.real and its.real["features"],  # of real pictures (M, D)
    "neighbours": _neighbours,  # four figures that are counted together
    "copies": lambda its: its.networks.copies and [its.networks.copies[its.folder.path]],  # result
}


class Networks:
    """The networks and sources that a request names, opened.

    `rows` {need: RowCache} are what they give for each picture; `card` says what they are.
    """

    def __init__(self, request: ScoreRequest, folders: list[PictureFolder]):
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
        self.clip = Clip(request.clip, device) if request.clip else None
        if self.clip:
            for base in sorted(set().union(*(folder.bases for folder in folders))):
                refuse_own_clip(self.clip, base)
            key = "clip, padded", self.clip.name, unet_digest(self.clip.model)
            self.rows["image_embeds"] = cache(self._embedded, *key)
        self.reader, self.known = open_reader(request, self.clip, folders, device)
        if self.reader:
            net = self.reader
            self.card |= {"reader": net.name, "known": self.known.name}
            self.rows["words"] = cache(net.numbers, "words", net.name, net.digest, net.heads)
        self.check = None
        if request.train:
            net = choose_extractor(request.copies, device)
            self.check = CopyCheck(net, request.train, request.held_out, request.cache)
            self.card |= {"train": self.check.train.name, "held_out": self.check.held_out.name}
            self.card |= {"copies": net.name}

    @cached_property
    def known_words(self) -> tuple[list[dict], list[dict]] | None:
        """True and read words of the pictures with known attributes."""
        if self.reader is None:
            return None
        numbers = getattr(self.reader, "rest", range(len(self.known)))
        digests = [f"{self.known.fingerprint}-{i}" for i in numbers]
        read = self.rows["words"].of(digests, lambda i: self.known.pixels(numbers[i]))
        return [self.known.attributes[i] for i in numbers], self.reader.named(read)

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
        """Return embeddings (N, D), from a full batch: with fewer, kernels add in another order."""
        full = [*pixels, *[pixels[0]] * (TOGETHER - len(pixels))]
        return self.clip.images(full, batch_size=TOGETHER)[: len(pixels)].double().numpy()


def open_reader(request: ScoreRequest, clip, folders: list[PictureFolder], device: str):
    """Return (reader, source of pictures with known attributes), or twice None without a suite."""
    if not any(row for folder in folders for row in folder.rows):
        return None, None
    mini = all(folder.bases == {"mini"} for folder in folders)
    name = request.reader or ("judge" if mini else "clip" if clip and request.known else "")
    known = open_source(request.known) if name and request.known else None
    if name == "clip":
        return ClipReader(clip, known), known
    reader = AttributeJudge(device) if name else None
    return reader, known if known or not reader else reader.known()


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
    name = "embeddings.token_embedding.weight"
    mine = next(weight for key, weight in own.items() if key.endswith(name))
    other = clip.model.text_model.state_dict()[name]
    if mine.shape == other.shape and torch.allclose(mine.float(), other.float(), atol=1e-3):
        raise InputError("own-clip", clip=clip.name, base=base)
