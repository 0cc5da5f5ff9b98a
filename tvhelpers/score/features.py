"""Which networks are scores computed on?  Pixels in, class probabilities or features out.

They never download, and `digest` identifies their weights.  Classifiers have `name`, `digest`,
`classes` (K labels) and `probs(pixels uint8 (N, H, W, 3)) -> float64 (N, K)`; extractors have
`name`, `digest` and `features(pixels) -> float64 (N, D)`.  An image's row does not depend on the
other images: every batch is filled up to BATCH_SIZE.  `knows` says which images a network is for
(`looks`).
"""

import importlib.util
import itertools
import os
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import check_choice
from tvhelpers.errors import InputError
from tvhelpers.files import content_key, file_sha256
from tvhelpers.hub import Unreadable, find_model, load, offline, readable
from tvhelpers.image import resize
from tvhelpers.models.base import unet_digest

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_DIGEST = "6726825d"  # the start of its SHA-256, as in its name
INCEPTION_PACKAGES = ("torchmetrics", "torch_fidelity")
BATCH_SIZE = 32
BLANK = np.zeros((1, 8, 8, 3), np.uint8)


class JudgeClassifier:
    """mini's judge: categories of flats as classes, or combinations of the words of several heads.

    A combination's probability is the product of its heads' probabilities, as if their errors were
    independent.  A score on it is the effective number of kinds of garment; it does not compare
    with one on Inception-v3's 1,008 classes, and says little about photos.  Category and colour
    make over 200 classes: too many for a score of 138 images.  Raises InputError where the judge's
    weights are missing.
    """

    knows = "drawings"

    def __init__(self, device: str = "cpu", heads: tuple[str, ...] = ("category",)):
        from tvhelpers.models.mini import RESOLUTION, load_judge

        try:
            judge, self.digest = load_judge()
        except FileNotFoundError as error:
            raise InputError("file-missing.judge", error=error) from None
        self.judge, self.device, self.size = judge.to(device).eval(), device, RESOLUTION
        self.heads, self.name = heads, f"mini judge ({' x '.join(heads)})"
        words = itertools.product(*(judge.heads[head] for head in heads))
        self.classes = tuple(", ".join(combination) for combination in words)

    def probs(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, K) of pixels uint8 (N, H, W, 3), resized to the judge's own side."""
        return self._rows(self._joint, pixels)

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features float64 (N, D) before the judge's heads, of pixels as in `probs`."""
        return self._rows(self.judge.features, pixels)

    def choices(self, pixels: np.ndarray) -> np.ndarray:
        """Return the index of each head's likeliest word (N, heads)."""

        def best(images: torch.Tensor) -> torch.Tensor:
            return torch.stack([logits.argmax(1) for logits in self.judge(images).values()], 1)

        return self._rows(best, pixels).astype(int)

    def _joint(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.judge(images)
        joint = torch.ones((len(images), 1), dtype=torch.float64, device=images.device)
        for head in self.heads:
            joint = (joint[:, :, None] * logits[head].double().softmax(1)[:, None]).flatten(1)
        return joint

    def _rows(self, network, pixels: np.ndarray) -> np.ndarray:
        small = np.stack([resize(one, self.size) for one in checked_pixels(pixels)])
        images = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 127.5 - 1
        return _in_batches(network, images, self.device)


class InceptionClassifier:
    """Inception-v3 of 2015-12-05 through torchmetrics and torch-fidelity, logits without bias.

    Raises InputError where the weights or the two packages are missing, or the digest is wrong.
    """

    name, knows = "Inception-v3 2015-12-05", "photographs"
    classes = tuple(f"output {i}" for i in range(1008))  # TensorFlow's graph pads ImageNet's 1,000

    def __init__(self, device: str = "cpu"):
        path = find_inception()
        if path is None:
            raise InputError("file-missing.inception", path=_inception_places()[0])
        self.digest, self.device = file_sha256(path), device
        if not self.digest.startswith(INCEPTION_DIGEST):
            seen = self.digest[: len(INCEPTION_DIGEST)]
            raise InputError("file-damaged.digest", path=path, seen=seen, digest=INCEPTION_DIGEST)
        self.network = _inception_network(path).to(device).eval()

    def probs(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, 1008) of pixels uint8 (N, H, W, 3); resized inside the network."""
        images = torch.from_numpy(np.ascontiguousarray(checked_pixels(pixels))).permute(0, 3, 1, 2)
        return _in_batches(lambda x: self.network(x).double().softmax(1), images, self.device)


class VisionExtractor:
    """Any vision model of transformers as an extractor: DINOv2, CLIP, FashionCLIP, SigLIP.

    `name` is a folder, or a hub id whose files are on this machine.  Images are preprocessed as its
    preprocessor_config.json says, always by Pillow.  Features are the image embedding of a model
    with a text encoder, else the pooled output.  Raises InputError where it cannot be loaded.
    """

    knows = "photographs"

    def __init__(self, name: str, device: str = "cpu"):
        from transformers import AutoModel

        # Not from transformers itself: 5.15 requires torchvision there, which Pillow does not need.
        from transformers.models.auto.image_processing_auto import AutoImageProcessor

        self.device = device
        try:
            with offline():
                self.name = find_model(name, EXTRACTORS)
                # Use Pillow even if torchvision is installed, which resizes differently.
                self.prepare = load(AutoImageProcessor, self.name, backend="pil")
                self.model = load(AutoModel, self.name, dtype=torch.float32).eval().to(device)
            with readable(self.name):
                _in_batches(self._pooled, self._prepared(BLANK), device)
        except Unreadable as error:
            raise InputError("model-unreadable", name=name, error=error) from None
        self.digest = content_key([unet_digest(self.model), self.prepare.to_dict()])

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, D) of pixels uint8 (N, H, W, 3)."""
        return _in_batches(self._pooled, self._prepared(pixels), self.device)

    def _prepared(self, pixels: np.ndarray) -> torch.Tensor:
        return self.prepare(list(checked_pixels(pixels)), return_tensors="pt").pixel_values

    def _pooled(self, images: torch.Tensor) -> torch.Tensor:
        if hasattr(self.model, "get_image_features"):
            found = self.model.get_image_features(pixel_values=images)
        else:
            found = self.model(pixel_values=images)
        return getattr(found, "pooler_output", found)


class PixelExtractor:
    """The small image itself as features: needs no network, finds nearly exact copies.

    It knows nothing else: a blurred image is near to all images in pixels.
    """

    name, digest, side, knows = "pixels, 32 a side", "1", 32, "copies"

    def __init__(self, device: str = "cpu"):
        pass

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, 3072) in levels 0..255 of pixels uint8 (N, H, W, 3)."""
        small = [resize(one, self.side) for one in checked_pixels(pixels)]
        return np.stack(small).reshape(len(small), -1).astype(np.float64)


CLASSIFIERS = {"inception": InceptionClassifier, "judge": JudgeClassifier}
EXTRACTORS = {"judge": JudgeClassifier, "pixels": PixelExtractor}  # else a VisionExtractor


def choose_classifier(name: object = "auto", device: str = "cpu", drawings: bool = False):
    """Return (classifier, why it was chosen); "auto" is the judge for `drawings`, else Inception-v3
    where its weights are found, else the judge.  A classifier instead of a name is returned as it
    is.

    Raises InputError for an unknown name, and for "inception" without its weights.
    """
    if not isinstance(name, str):
        return name, "handed in"
    if name in CLASSIFIERS:
        return CLASSIFIERS[name](device), "asked for"
    check_choice("classifier", name, ("auto", *CLASSIFIERS))
    if drawings:
        return JudgeClassifier(device), "the images look like drawings"
    if not (missing := missing_for_inception()):
        return InceptionClassifier(device), "its weights were found"
    return JudgeClassifier(device), f"Inception-v3 lacks its {' and '.join(missing)}"


def choose_extractor(name: str = "judge", device: str = "cpu"):
    """Return the extractor `name`: one of EXTRACTORS, or a `VisionExtractor`."""
    return EXTRACTORS[name](device) if name in EXTRACTORS else VisionExtractor(name, device)


def missing_for_inception() -> list[str]:
    """Return what Inception-v3 lacks on this machine: "weights", and names of packages."""
    missing = [package for package in INCEPTION_PACKAGES if not importlib.util.find_spec(package)]
    return missing if find_inception() else ["weights", *missing]


def find_inception() -> Path | None:
    """Return Inception-v3's weight file, None where it is not on this machine."""
    return next((place for place in _inception_places() if place.is_file()), None)


def _inception_places() -> list[Path]:
    data = Path(os.environ.get("TV_DATA_DIR") or "data")
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [data / "inception" / INCEPTION_FILE, hub / INCEPTION_FILE]


def _inception_network(path: Path):
    """Return torchmetrics' wrapper of torch-fidelity's network; it gives logits (N, 1008)."""
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        network = NoTrainInceptionV3("inception-v3-compat", ["logits_unbiased"], str(path))
    except ImportError as error:
        raise InputError("package-missing.inception", error=error) from None
    # torchmetrics >= 1.8 resizes with antialiasing; published scores resize as TensorFlow 1 did.
    # An attribute, because earlier versions have no such argument.
    network.use_antialias = False
    return network


@torch.no_grad()
def _in_batches(network, images: torch.Tensor, device: str) -> np.ndarray:
    """Return float64 (N, K) of images (N, ...), in batches of BATCH_SIZE, the last one filled up
    with its own first image: kernels add in another order for other shapes and layouts."""
    rows = []
    for batch in images.contiguous().split(BATCH_SIZE):
        full = torch.cat([batch, batch[:1].expand(BATCH_SIZE - len(batch), *batch.shape[1:])])
        rows.append(network(full.to(device))[: len(batch)].double().cpu())
    return torch.cat(rows).numpy()


def checked_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return pixels uint8 (N, H, W, 3); raises ValueError for anything else, such as floats, whose
    range is unknown."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; give uint8 (N, H, W, 3)")
    return pixels
