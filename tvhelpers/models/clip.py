"""CLIP as a pair of encoders, and the pure functions that check it: zero-shot and retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tvhelpers import manifest
from tvhelpers.config import InputError
from tvhelpers.runtime import choose_device, read_json

# Mean and standard deviation of CLIP's own pre-processing (Radford et al. 2021), for a model whose
# folder has no preprocessor_config.json.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Clip:
    """A CLIPModel with its tokenizer: `name` is a base of the manifest, a folder or a hub id.

    A folder without a tokenizer takes the one beside it.  Raises InputError where it cannot be had.
    """

    def __init__(self, name: str = "mini", device: str = "auto"):
        from transformers import CLIPModel, CLIPTokenizer

        row = manifest.entries().get(name, {}).get("clip", {})
        path = str(manifest.TOP_DIR / row["path"]) if "path" in row else row.get("hub", name)
        own = any((Path(path) / file).exists() for file in ("vocab.json", "tokenizer.json"))
        here = own or not Path(path).is_dir()
        words = path if here else str(Path(path).with_name("tokenizer"))
        self.name, self.device = name, choose_device(device)
        try:
            self.model = CLIPModel.from_pretrained(path, dtype=torch.float32)
            self.tokenizer = CLIPTokenizer.from_pretrained(words)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"CLIP {name!r} cannot be loaded from {path}: {reason}") from None
        self.model = self.model.eval().to(self.device)
        self.size = self.model.config.vision_config.image_size
        self.mean, self.std = _normalisation(Path(path))

    @torch.no_grad()
    def images(self, pixels: Sequence[np.ndarray], batch_size: int = 64) -> torch.Tensor:
        """Return unit embeddings float32 (N, d) of pictures uint8 (H, W, 3), made square."""
        found = []
        for start in range(0, len(pixels), batch_size):
            batch = [self._prepared(one) for one in pixels[start : start + batch_size]]
            images = torch.from_numpy(np.stack(batch)).to(self.device)
            vision = self.model.vision_model(pixel_values=images)
            found.append(self.model.visual_projection(vision.pooler_output))
        return torch.nn.functional.normalize(torch.cat(found), dim=1).cpu()

    @torch.no_grad()
    def texts(self, texts: Sequence[str], batch_size: int = 256) -> torch.Tensor:
        """Return unit embeddings float32 (N, d); what is over the model's length is cut off."""
        found = []
        for start in range(0, len(texts), batch_size):
            tokens = self.tokenizer(
                list(texts[start : start + batch_size]),
                padding=True,
                truncation=True,
                return_tensors="pt",
            ).to(self.device)
            found.append(self.model.text_projection(self.model.text_model(**tokens).pooler_output))
        return torch.nn.functional.normalize(torch.cat(found), dim=1).cpu()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, start and end included, before any cut."""
        return [len(ids) for ids in self.tokenizer(list(texts), verbose=False).input_ids]

    @property
    def limit(self) -> int:
        """The number of tokens that the text encoder reads."""
        return self.tokenizer.model_max_length

    def _prepared(self, pixels: np.ndarray) -> np.ndarray:
        side = (self.size, self.size)
        image = Image.fromarray(pixels).resize(side, Image.Resampling.BICUBIC)
        scaled = (np.asarray(image, np.float32) / 255 - self.mean) / self.std
        return scaled.transpose(2, 0, 1).astype(np.float32)


def class_embeddings(clip: Clip, texts_of: dict[str, list[str]]) -> torch.Tensor:
    """Return one unit embedding a class (K, d): the mean over its texts (prompt ensembling)."""
    means = [clip.texts(texts).mean(0) for texts in texts_of.values()]
    return torch.nn.functional.normalize(torch.stack(means), dim=1)


def recall_at(similarity, fits, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Return {k: share of the rows of similarity (N, M) with a fitting column among the k best}.

    `fits` bool (N, M) says which columns count; with several fitting ones, any of them is a hit.
    """
    order = torch.argsort(torch.as_tensor(similarity), dim=1, descending=True, stable=True)
    hits = torch.gather(torch.as_tensor(fits), 1, order)
    return {k: float(hits[:, :k].any(1).float().mean()) for k in ks}


def confusion(true: Sequence[str], seen: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """Return counts int (K, K): row = the true word, column = the one that was seen."""
    place = {word: i for i, word in enumerate(words)}
    table = np.zeros((len(words), len(words)), int)
    np.add.at(table, ([place[w] for w in true], [place[w] for w in seen]), 1)
    return table


def _normalisation(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    path = folder / "preprocessor_config.json"
    settings = read_json(path) if path.is_file() else {"image_mean": MEAN, "image_std": STD}
    return np.float32(settings["image_mean"]), np.float32(settings["image_std"])
