"""How are images and texts embedded by a CLIP of any kind?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from tvhelpers import hub, manifest
from tvhelpers.errors import InputError
from tvhelpers.image import resize
from tvhelpers.records import write_json
from tvhelpers.runtime import choose_device, quiet_libraries

# Mean and standard deviation of CLIP's own preprocessing (Radford et al. 2021), for a model without
# preprocessor_config.json.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_BLANK = np.zeros((8, 8, 3), np.uint8)


class Clip:
    """A CLIP of any kind (CLIP, FashionCLIP, SigLIP) with its tokenizer.

    `name` is a base of the manifest, a folder (such as `clip tune` writes) or a hub id.  A folder
    without a tokenizer uses the folder "tokenizer" beside it.  Raises InputError if it cannot be
    loaded, or if its image and text embeddings differ in length.
    """

    def __init__(self, name: str = "mini", device: str = "auto"):
        path = find_clip(name)
        self.name, self.device = name.removeprefix(hub.HUB), choose_device(device)
        try:
            self.model, self.tokenizer = _load(path)
            self.mean, self.std = _normalisation(path)
            self.model = self.model.eval().to(self.device)
            # SigLIP pools the last token: it was trained on padded texts, without a mask.
            self.padded = self.model.config.model_type.startswith("siglip")
            with hub.readable(path):
                self.size = self.model.config.vision_config.image_size
                sides = self.encode_images([_BLANK]), self.encode_texts(["a"])
        except hub.Unreadable as error:
            raise InputError("clip-unreadable", path=path, error=error) from None
        widths = [side.shape[1] for side in sides]
        if widths[0] != widths[1]:
            raise InputError("clip-unfit", name=name, images=widths[0], texts=widths[1])

    @property
    def knows(self) -> str:
        """What it was trained on (`score.looks`): mini's own on drawings, others on photographs."""
        return "drawings" if self.name == "mini" else "photographs"

    @torch.no_grad()
    def encode_images(self, pixels: Sequence[np.ndarray], batch_size: int = 64) -> torch.Tensor:
        """Return unit embeddings float32 (N, d) of images uint8 (H, W, 3), padded to squares."""
        starts = range(0, len(pixels), batch_size)
        batches = (
            np.stack([to_square(one, self.size) for one in pixels[s : s + batch_size]])
            for s in starts
        )
        return torch.cat([self.embed_images(torch.from_numpy(one)) for one in batches]).cpu()

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> torch.Tensor:
        """Return unit embeddings float32 (N, d) of texts, truncated to the model's length."""
        starts = range(0, len(texts), batch_size)
        return torch.cat([self.embed_texts(texts[s : s + batch_size]) for s in starts]).cpu()

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (N, d), with gradient, of images 0..255 (N, S, S, 3)."""
        mean, std = (torch.from_numpy(side)[:, None, None] for side in (self.mean, self.std))
        values = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        return _unit(self.model.get_image_features(pixel_values=values.to(self.device)))

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit embeddings (N, d) of texts, with gradient."""
        tokens = self.tokenizer(
            list(texts),
            padding="max_length" if self.padded else True,
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
        ).to(self.device)
        names = ("input_ids",) if self.padded else ("input_ids", "attention_mask")
        return _unit(self.model.get_text_features(**{name: tokens[name] for name in names}))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text with start and end, before truncation."""
        return [len(ids) for ids in self.tokenizer(list(texts), verbose=False).input_ids]

    def cut_off(self, text: str) -> str:
        """Return the end of a text that is truncated, "" if all of it fits."""
        return cut_off(self.tokenizer, text, self.limit)

    @property
    def limit(self) -> int:
        """The most tokens that the text encoder takes."""
        places = self.model.config.text_config.max_position_embeddings
        return min(self.tokenizer.model_max_length, places)

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and preprocessing as a folder that `Clip(folder)` loads, and any
        program that uses transformers."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        settings = {"image_mean": self.mean.tolist(), "image_std": self.std.tolist()}
        settings |= {"image_processor_type": "CLIPImageProcessor"}
        settings |= {"size": {"shortest_edge": self.size}}
        settings |= {"crop_size": {"height": self.size, "width": self.size}}
        write_json(Path(folder) / "preprocessor_config.json", settings)


def find_clip(name: str) -> str:
    """Return the folder or hub id of a CLIP: a base's own, the result of `clip tune`, or as in
    `hub.find_model`."""
    row = manifest.entries().get(name, {}).get("clip", {})
    if "path" in row:
        return str(manifest.TOP_DIR / row["path"])
    tuned = Path(name) / "clip"
    if (tuned / "config.json").is_file():
        return str(tuned)
    known = [key for key, row in manifest.entries().items() if "clip" in row]
    return row.get("hub") or hub.find_model(name, known)


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return an image uint8 (H, W, 3) as uint8 (size, size, 3), padded and resized."""
    return resize(pixels, size, Image.Resampling.BICUBIC)


def cut_off(tokenizer, text: str, limit: int) -> str:
    """Return the end of a text that does not fit in `limit` tokens, "" if all of it fits."""
    ids = tokenizer(text, truncation=False, verbose=False).input_ids
    return tokenizer.decode(ids[limit - 1 : -1]).strip()


def class_embeddings(clip: Clip, texts_of: dict[str, list[str]]) -> torch.Tensor:
    """Return one unit embedding per class (K, d): the mean over its texts (prompt ensembling)."""
    means = [clip.encode_texts(texts).mean(0) for texts in texts_of.values()]
    return F.normalize(torch.stack(means), dim=1)


def _load(path: str) -> tuple:
    """Return (model, tokenizer) of a folder or hub id; raises Unreadable for an incomplete CLIP."""
    quiet_libraries("transformers")
    from transformers import AutoModel, AutoTokenizer

    own = any((Path(path) / file).exists() for file in ("vocab.json", "tokenizer.json"))
    here = own or not Path(path).is_dir()
    model = hub.load(AutoModel, path, whole=True, dtype=torch.float32)
    if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
        what = f"a {type(model).__name__} has no image encoder and text encoder"
        raise hub.Unreadable(ValueError(what))
    words = path if here else str(Path(path).with_name("tokenizer"))
    return model, hub.load(AutoTokenizer, words)


def _normalisation(path: str) -> tuple[np.ndarray, np.ndarray]:
    from transformers.image_processing_base import ImageProcessingMixin

    with hub.readable(path):
        try:
            settings, _ = ImageProcessingMixin.get_image_processor_dict(path)
        except OSError:  # it has no image processor
            settings = {}
        sides = settings.get("image_mean", MEAN), settings.get("image_std", STD)
        mean, std = (np.asarray(side, np.float32).reshape(3) for side in sides)
        if not (np.isfinite([mean, std]).all() and (std > 0).all()):
            raise ValueError("image_mean and image_std are not three numbers, or zero")
    return mean, std


def _unit(found) -> torch.Tensor:
    """Return embeddings at length one; transformers returns a tensor before version 5."""
    return F.normalize(getattr(found, "pooler_output", found), dim=1)
