"""Classifiers that scores are computed on: pixels in, class probabilities out.

Each is loaded when it is made, never downloads, and names its weights by their digest.  They share
`name`, `digest`, `classes` (K labels) and `probs(pixels uint8 (N, H, W, 3)) -> float64 (N, K)`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import InputError
from tvhelpers.data.photos import resize
from tvhelpers.runtime import file_sha256

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_DIGEST = "6726825d"  # the head of its SHA-256, as its name says
INCEPTION_PACKAGES = ("torchmetrics", "torch_fidelity")
BATCH_SIZE = 32


class JudgeClassifier:
    """mini's judge: categories of flats as classes, or words of several of its heads together.

    A combination's probability is the product of its heads' own, as if they erred independently.
    A score on it is the effective number of kinds of garment that the pictures show; it is not to
    be compared with one on Inception-v3's 1,008 classes, and says little about pictures unlike
    flats.  Category and colour are over 200 classes: too many for a score of 138 pictures.
    Raises InputError where the judge's weights are missing.
    """

    def __init__(self, device: str = "cpu", heads: tuple[str, ...] = ("category",)):
        from tvhelpers.models.mini import RESOLUTION, load_judge

        try:
            judge, self.digest = load_judge()
        except FileNotFoundError as error:
            raise InputError(
                f"mini's judge is not there ({error}); install the package with its weights, or "
                "train them: python -m tvhelpers mini train"
            ) from None
        self.judge, self.device, self.size = judge.to(device).eval(), device, RESOLUTION
        self.heads, self.name = heads, f"mini judge ({' x '.join(heads)})"
        words = itertools.product(*(judge.heads[head] for head in heads))
        self.classes = tuple(", ".join(combination) for combination in words)

    @torch.no_grad()
    def probs(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, K) of pixels uint8 (N, H, W, 3), resized to the judge's own side."""
        small = np.stack([resize(one, self.size) for one in _checked(pixels)])
        images = torch.from_numpy(small).permute(0, 3, 1, 2).to(self.device).float() / 127.5 - 1
        logits = self.judge(images)
        joint = torch.ones((len(images), 1), dtype=torch.float64, device=self.device)
        for head in self.heads:
            joint = (joint[:, :, None] * logits[head].double().softmax(1)[:, None]).flatten(1)
        return joint.cpu().numpy()


class InceptionClassifier:
    """Inception-v3 of 2015-12-05 through torchmetrics and torch-fidelity, logits without bias.

    Raises InputError where the weights or the two packages are missing, or the digest is wrong.
    """

    name = "Inception-v3 2015-12-05"
    classes = tuple(f"output {i}" for i in range(1008))  # TensorFlow's graph pads ImageNet's 1,000

    def __init__(self, device: str = "cpu"):
        path = inception_at_hand()
        if path is None:
            raise InputError(
                f"Inception-v3's weights are not at hand: put {INCEPTION_FILE} into "
                f"{_inception_places()[0].parent} (data_manifest.yaml, inception, says from where) "
                "and pip install torchmetrics torch-fidelity; or use --classifier judge"
            )
        self.digest, self.device = file_sha256(path), device
        if not self.digest.startswith(INCEPTION_DIGEST):
            raise InputError(
                f"{path} is not the file it claims to be: its SHA-256 starts with "
                f"{self.digest[:8]}, not {INCEPTION_DIGEST}; get it anew"
            )
        self.network = _inception_network(path).to(device).eval()

    @torch.no_grad()
    def probs(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, 1008) of pixels uint8 (N, H, W, 3); resized inside the network."""
        images = torch.from_numpy(np.ascontiguousarray(_checked(pixels))).permute(0, 3, 1, 2)
        logits = self.network(images.to(self.device))
        return logits.double().softmax(1).cpu().numpy()


def choose_classifier(name: str = "auto", device: str = "cpu"):
    """Return (classifier, why it was chosen); "auto" takes Inception-v3 where its weights are.

    Raises InputError for an unknown name, and for "inception" without its weights.
    """
    if name == "judge":
        return JudgeClassifier(device), "asked for"
    if name == "inception":
        return InceptionClassifier(device), "asked for"
    if name != "auto":
        raise InputError(f"unknown classifier {name!r}; choose auto, inception or judge")
    missing = [package for package in INCEPTION_PACKAGES if not importlib.util.find_spec(package)]
    if inception_at_hand() is None:
        missing = ["weights", *missing]
    if not missing:
        return InceptionClassifier(device), "its weights are at hand"
    return JudgeClassifier(device), f"Inception-v3 lacks its {' and '.join(missing)}"


def inception_at_hand() -> Path | None:
    """Return Inception-v3's weight file if it is on this machine."""
    return next((place for place in _inception_places() if place.is_file()), None)


def _inception_places() -> list[Path]:
    data = Path(os.environ.get("TV_DATA_DIR") or "data")
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [data / "inception" / INCEPTION_FILE, hub / INCEPTION_FILE]


def _inception_network(path: Path):
    """Return torchmetrics' wrapper of torch-fidelity's network, giving logits (N, 1008)."""
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        network = NoTrainInceptionV3("inception-v3-compat", ["logits_unbiased"], str(path))
    except ImportError as error:
        raise InputError(
            f"Inception-v3 needs torchmetrics and torch-fidelity ({error}); pip install them, or "
            "use --classifier judge"
        ) from None
    # torchmetrics smooths when it resizes since 1.8; published scores resize as TensorFlow 1 did.
    # An attribute, since earlier versions know no such argument.
    network.use_antialias = False
    return network


def _checked(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; give uint8 (N, H, W, 3)")
    return pixels
