"""The latent cache: what training reads of images and captions, computed once.

artifacts/cache-<key>/ holds
  moments.npy        fp16 (E, 2c, h/8, w/8): VAE mean, then log variance; entry i is item i,
                     with flips entry N + i is item i mirrored
  embeds.npy         fp16 (C, tokens, d): text encoder states of the unique captions;
                     row 0 is the empty prompt
  caption_index.npy  int64 (N,): row of each item's caption
  about.json         what it was made from, and sizes
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import InputError
from tvhelpers.data.items import Source
from tvhelpers.data.photos import resize
from tvhelpers.models.base import BaseLocation, load_part
from tvhelpers.runtime import (
    atomic_path,
    content_key,
    locked,
    make_dir,
    read_json,
    replace_dir,
    write_json,
)

BATCH_PIXELS = 16 * 256 * 256  # encoded at once: 4 images of 512 px, which a T4 holds
FORMAT = 1  # raise it when a change of this module changes what a cache holds


@dataclass(frozen=True)
class LatentCache:
    """An open cache; arrays are memory-mapped."""

    folder: Path
    moments: np.ndarray
    embeds: np.ndarray
    caption_index: np.ndarray
    about: dict

    @property
    def num_items(self) -> int:
        return self.about["num_items"]

    def entries(self, item_indices: np.ndarray, flip: bool) -> np.ndarray:
        """Return the entries of the items, their mirrored ones after them where `flip`."""
        flips = item_indices + self.num_items if flip else item_indices[:0]
        return np.concatenate([item_indices, flips])

    def read(self, entries: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (moments fp32 (B, 2c, h, w), caption rows int64 (B,)) of cache entries."""
        moments = torch.from_numpy(self.moments[entries].astype(np.float32))
        return moments, torch.from_numpy(self.caption_index[entries % self.num_items])


def open_cache(
    source: Source,
    base: BaseLocation,
    resolution: int,
    flip: bool,
    root: Path,
    *,
    limit: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LatentCache:
    """Return the cache of (source, base, resolution, flip) under root/artifacts, building what is
    missing.

    A build that was stopped goes on where it stopped; of two processes one builds and the other
    waits.  Images are made square by padding, never cut.
    """
    count = min(limit, len(source)) if limit else len(source)
    vae = load_part(base, "vae")
    about = {
        "format": FORMAT,
        "source": source.fingerprint,
        "vae": module_digest(vae),
        "resolution": resolution,
        "flip": flip,
        "num_items": count,
        "scaling_factor": vae.config.scaling_factor,
        **_text_identity(base),
    }
    folder = Path(root) / "artifacts" / f"cache-{content_key(about)}"
    aside = folder.with_name(f"{folder.name}.partial")
    if not folder.is_dir():
        make_dir(folder.parent)
        with locked(folder.with_name(f".{folder.name}.lock"), wait=True):
            if not folder.is_dir():  # no other process was first
                _build(make_dir(aside), folder, about, source, base, vae.to(device), progress)
    return _open(folder)


def _build(aside: Path, folder: Path, about: dict, source, base, vae, progress) -> None:
    """Fill `aside` and give it the name `folder`."""
    _encode_images(vae, source, about, aside, progress)
    device = vae.device
    vae.to("cpu")
    _encode_captions(source.captions[: about["num_items"]], base, aside, device)
    write_json(aside / "about.json", about)
    replace_dir(aside, folder)
    (folder / "done.json").unlink(missing_ok=True)


def _open(folder: Path) -> LatentCache:
    about = read_json(folder / "about.json")
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("moments", "embeds")]
    return LatentCache(folder, *arrays, np.load(folder / "caption_index.npy"), about)


def module_digest(module: torch.nn.Module) -> str:
    """Return 16 hex digits of all weights of a module, as fp32 on the CPU."""
    import hashlib

    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


def _text_identity(base: BaseLocation) -> dict:
    tokenizer = load_part(base, "tokenizer")
    probe = tokenizer(["A red dress, striped"]).input_ids
    return {
        "text_encoder": module_digest(load_part(base, "text_encoder")),
        "vocabulary": len(tokenizer),
        "probe": probe,
    }


def _encode_images(vae, source: Source, about: dict, folder: Path, progress: Callable) -> None:
    """Fill moments.npy; done.json says how many items are on the disk."""
    count, copies = about["num_items"], 1 + about["flip"]
    batch_size = max(1, BATCH_PIXELS // about["resolution"] ** 2)
    side = about["resolution"] // 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (count * copies, 2 * vae.config.latent_channels, side, side)
    path, marker = folder / "moments.npy", folder / "done.json"
    done = read_json(marker) if marker.exists() and path.exists() else 0
    if not done:
        _allocate(path, shape)
    moments = np.load(path, mmap_mode="r+")
    for start in range(done, count, batch_size):
        stop = min(start + batch_size, count)
        pixels = np.stack(
            [resize(source.pixels(i), about["resolution"]) for i in range(start, stop)]
        )
        moments[start:stop] = _encode(vae, pixels, f"items {start} to {stop - 1}")
        if about["flip"]:
            moments[count + start : count + stop] = _encode(
                vae, pixels[:, :, ::-1], f"items {start} to {stop - 1}"
            )
        moments.flush()
        write_json(marker, stop)
        progress(stop, count)


def _allocate(path: Path, shape: tuple[int, ...]) -> None:
    """Make an fp16 .npy of zeros whose every byte has its place on the disk.

    Without it, a full disk would end the process at a write into the memory map.
    """
    np.lib.format.open_memmap(path, "w+", np.float16, shape).flush()
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@torch.no_grad()
def _encode(vae, pixels: np.ndarray, what: str) -> np.ndarray:
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(vae.device)
    posterior = vae.encode(images.float() / 127.5 - 1).latent_dist
    moments = torch.cat([posterior.mean, posterior.logvar], 1).cpu().numpy()
    if not np.isfinite(moments).all() or np.abs(moments).max() > np.finfo(np.float16).max:
        raise InputError(
            f"the autoencoder gives NaN or infinite latents for {what}; "
            "look at these images, or at the base"
        )
    return moments.astype(np.float16)


@torch.no_grad()
def _encode_captions(
    captions: list[str], base: BaseLocation, folder: Path, device: str, batch_size: int = 64
) -> None:
    """Write embeds.npy and caption_index.npy; warn of captions that are cut off."""
    unique = list(dict.fromkeys(["", *captions]))
    tokenizer, text_encoder = (
        load_part(base, "tokenizer"),
        load_part(base, "text_encoder").to(device),
    )
    limit = tokenizer.model_max_length
    lengths = [len(ids) for ids in tokenizer(unique, truncation=False, verbose=False).input_ids]
    if long := sum(length > limit for length in lengths):
        warnings.warn(
            f"{long} of {len(unique)} captions are over {limit} tokens and are cut off there",
            stacklevel=2,
        )
    _allocate(folder / "embeds.npy", (len(unique), limit, text_encoder.config.hidden_size))
    embeds = np.load(folder / "embeds.npy", mmap_mode="r+")
    for start in range(0, len(unique), batch_size):
        texts = unique[start : start + batch_size]
        embeds[start : start + len(texts)] = (
            encode_text(tokenizer, text_encoder, texts).cpu().numpy()
        )
    embeds.flush()
    rows = {caption: row for row, caption in enumerate(unique)}
    with atomic_path(folder / "caption_index.npy") as aside, open(aside, "wb") as file:
        np.save(file, np.array([rows[caption] for caption in captions], np.int64))


def encode_text(tokenizer, text_encoder, texts: list[str]) -> torch.Tensor:
    """Return the text states (N, tokens, d) that StableDiffusionPipeline would condition on."""
    tokens = tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
        max_length=tokenizer.model_max_length,
    )
    return text_encoder(tokens.input_ids.to(text_encoder.device))[0]
