"""Classifiers that scores are computed on: pixels in, class probabilities out.

Each is loaded when it is made, never downloads, and names its weights by their digest.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import InputError
from tvhelpers.data.photos import resize
from tvhelpers.runtime import file_sha256

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_DIGEST = "6726825d"  # the head of its SHA-256, as its name says
BATCH_SIZE = 32


class JudgeClassifier:
    """mini's judge: (category, colour) pairs of flats as classes.

    A score on it is the effective number of kinds of garment that the pictures show; it is not to
    be compared with one on Inception-v3's 1,008 classes.
    """

    name = "mini judge (category x colour)"

    def __init__(self, device: str = "cpu"):
        from tvhelpers.models.mini import RESOLUTION, load_judge

        self.judge, self.digest = load_judge()
        self.judge, self.device, self.size = self.judge.to(device), device, RESOLUTION

    @torch.no_grad()
    def probs(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, K) of pixels uint8 (N, H, W, 3), resized to the judge's own side."""
        small = np.stack([resize(one, self.size) for one in _checked(pixels)])
        images = torch.from_numpy(small).permute(0, 3, 1, 2).to(self.device).float() / 127.5 - 1
        heads = {head: logits.double().softmax(1) for head, logits in self.judge(images).items()}
        joint = heads["category"][:, :, None] * heads["colour"][:, None]
        return joint.flatten(1).cpu().numpy()


class InceptionClassifier:
    """Inception-v3 of 2015-12-05 through torchmetrics and torch-fidelity, logits without bias."""

    name = "Inception-v3 2015-12-05"

    def __init__(self, device: str = "cpu"):
        path = inception_at_hand()
        if path is None:
            raise InputError(
                f"Inception-v3's weights are not at hand: put {INCEPTION_FILE} into "
                f"{_inception_places()[0].parent} (data_manifest.yaml, inception, says from where) "
                "and pip install torch-fidelity; or use --classifier judge"
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
    if inception_at_hand() and _has_torch_fidelity():
        return InceptionClassifier(device), "its weights are at hand"
    return JudgeClassifier(device), "Inception-v3's weights or torch-fidelity are not at hand"


def inception_at_hand() -> Path | None:
    """Return Inception-v3's weight file if it is on this machine."""
    return next((place for place in _inception_places() if place.is_file()), None)


def _inception_places() -> list[Path]:
    data = Path(os.environ.get("TV_DATA_DIR") or "data")
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [data / "inception" / INCEPTION_FILE, hub / INCEPTION_FILE]


def _has_torch_fidelity() -> bool:
    import importlib.util

    return importlib.util.find_spec("torch_fidelity") is not None


def _inception_network(path: Path):
    """Return torchmetrics' wrapper of torch-fidelity's network, giving logits (N, 1008)."""
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3("inception-v3-compat", ["logits_unbiased"], str(path))
    except (ImportError, ModuleNotFoundError) as error:
        raise InputError(f"Inception-v3 needs torch-fidelity ({error}); pip install it") from None


def _checked(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; give uint8 (N, H, W, 3)")
    return pixels
