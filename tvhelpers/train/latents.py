"""In which form does training read images and captions?  As a latent cache, computed once.

Entry i of E is item i of N; with flips, entry N + i is item i mirrored.
artifacts/cache-<key>/ holds
  moments.npy        fp16 (E, 2c, h/8, w/8): VAE mean, then log variance
  regions.npy        uint8 (E, h/8, w/8): `items.REGIONS`, if the source has masks
                     of several buckets, moments-832x1216.npy and so on: the bucket's items, in
                     order, and with flips the same mirrored; and
  shapes.npy         int32 (N, 2): height and width of each item's bucket, in pixels
  sizes.npy          int32 (E, 6): sizes of the image, if the base is conditioned on them
  token_ids.npy      int32 (C, tokens): the unique captions, for one text encoder after the other;
                     row 0 is the empty prompt
  embeds.npy         fp16 (C, tokens, d): their text encoder states, if these are small
  pooled.npy         fp16 (C, p): their pooled vectors, if the base takes them
  caption_index.npy  int64 (N,): row of each item's caption
  about.json         digests of what it was made from, and sizes
"""

import contextlib
import hashlib
import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from tvhelpers.data.buckets import Buckets, find_buckets, squares
from tvhelpers.data.items import Source
from tvhelpers.errors import InputError
from tvhelpers.files import (
    content_key,
    make_dir,
    remove_link,
    remove_temporary,
    replace_dir,
    writing_beside,
)
from tvhelpers.models.base import BaseLocation, load_part, side_multiple
from tvhelpers.records import read_record, write_json
from tvhelpers.train.cache_archive import keep_cache, restore_cache
from tvhelpers.train.distributed import Processes
from tvhelpers.train.encoding import (
    array_name,
    encode_captions,
    encode_images,
    open_text_encoders,
    save_array,
)

log = logging.getLogger(__name__)
FORMAT = 2  # raise it when this module or `encoding` changes the content of a cache
RESIDENT_SHARE = 0.25  # of the GPU's free memory that a cache may take
COPY_ROWS = 1024  # copied to the GPU at once
OF_BUCKETS = ("moments", "regions")  # an array of each bucket
ARRAYS = (*OF_BUCKETS, "sizes", "embeds", "pooled", "token_ids")

Rows = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class LatentCache:
    """An open cache; its arrays are memory-mapped, or on the GPU."""

    folder: Path
    buckets: Buckets
    moments: tuple[Rows, ...]  # of each bucket
    regions: tuple[Rows, ...] | None  # None if the source has no masks
    sizes: Rows | None  # None if the base does not take them
    embeds: Rows | None  # None if the text encoders are smaller
    pooled: Rows | None  # None as embeds, or if the base does not take them
    token_ids: Rows
    caption_index: np.ndarray
    about: dict

    @property
    def num_items(self) -> int:
        """The number of items; with flips there are twice as many entries."""
        return self.about["num_items"]

    def entries(self, item_indices: np.ndarray, flip: bool) -> np.ndarray:
        """Return the entries of the items, with `flip` followed by their mirrored ones."""
        flips = item_indices + self.num_items if flip else item_indices[:0]
        return np.concatenate([item_indices, flips])

    @property
    def arrays(self) -> dict[str, tuple[Rows, ...]]:
        """The arrays of each of ARRAYS that there is."""
        found = {name: getattr(self, name) for name in ARRAYS}
        found = {name: each for name, each in found.items() if each is not None}
        return {name: each if name in OF_BUCKETS else (each,) for name, each in found.items()}

    @property
    def num_bytes(self) -> int:
        """The bytes of all arrays."""
        return sum(array.nbytes for each in self.arrays.values() for array in each)

    def latent_shape(self, entry: int) -> tuple[int, int, int]:
        """Return (channels, height, width) of the latents of an entry."""
        bucket = self.buckets.bucket[entry % self.num_items]
        _, channels, *sides = self.moments[bucket].shape
        return channels // 2, *sides

    def read(self, entries: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (moments fp32 (B, 2c, h, w), caption rows int64 (B,) on the CPU) of entries of one
        bucket."""
        captions = self.caption_index[entries % self.num_items]
        return self._take(self.moments, entries).float(), torch.from_numpy(captions)

    def read_regions(self, entries: np.ndarray) -> torch.Tensor:
        """Return the regions uint8 (B, h, w) of entries of one bucket."""
        return self._take(self.regions, entries)

    def _take(self, arrays: tuple[Rows, ...], entries: np.ndarray) -> torch.Tensor:
        copy, items = np.divmod(entries, self.num_items)
        bucket = self.buckets.bucket[items[0]]
        return take(arrays[bucket], self.buckets.rows[items] + copy * self.buckets.counts[bucket])

    def on_gpu(self, device: str, free: int | None = None) -> Self:
        """Return the cache with its arrays on `device` if they take at most a quarter of the
        `free` bytes there, otherwise as it is."""
        free = torch.cuda.mem_get_info()[0] if free is None else free
        if self.num_bytes > RESIDENT_SHARE * free:
            return self
        found = {}
        for name, each in self.arrays.items():
            copies = tuple(_copied(array, device) for array in each)
            found[name] = copies if name in OF_BUCKETS else copies[0]
        return replace(self, **found)


def take(rows: Rows, index: np.ndarray) -> torch.Tensor:
    """Return rows of an array, on the device of the array."""
    if isinstance(rows, torch.Tensor):
        return rows[send(torch.from_numpy(index), rows.device)]
    return torch.from_numpy(rows[index])


def send(tensor: torch.Tensor, device) -> torch.Tensor:
    """Return the tensor on `device`, without waiting for the GPU."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _copied(array: np.ndarray, device: str) -> torch.Tensor:
    """Copy a memory-mapped array to the GPU in parts, as the main memory may be small."""
    dtype = torch.from_numpy(array[:0].copy()).dtype
    rows = torch.empty(array.shape, dtype=dtype, device=device)
    for start in range(0, len(array), COPY_ROWS):
        part = array[start : start + COPY_ROWS].copy()
        rows[start : start + len(part)] = torch.from_numpy(part)
    return rows


def open_cache(
    source: Source, base: BaseLocation, resolution: int, flip: bool, root: Path,
    limit: int = 0, fit: str = "pad", processes: Processes | None = None, mirror: str = "",
) -> LatentCache:  # fmt: skip
    """Return the cache of (source, base, resolution, flip, fit) under root/artifacts; build it if
    it is missing.

    A build that was stopped resumes.  The `processes` of one launch build it together, in a folder
    that all of them must see; of two launches one builds and the other waits.  `fit`: images are
    padded to squares, or cropped to the shape of their bucket.  A `mirror` folder keeps one that
    took long, for another machine.
    """
    processes = processes or Processes()
    about, models = cache_request(source, base, resolution, flip, limit, fit)
    folder = cache_dir(root, about)
    if processes.broadcast(folder.is_dir()):
        return read_cache(folder)
    with writing_beside(folder, math.inf) if processes.main else contextlib.nullcontext():
        mirror = mirror if processes.main else ""
        if mirror and not folder.is_dir():
            restore_cache(folder, Path(mirror))
        if not processes.broadcast(folder.is_dir()):  # no other launch has built it
            began = time.monotonic()
            _build(folder, about, source, models, processes)
            if mirror:
                keep_cache(folder, Path(mirror), time.monotonic() - began)
    del models
    torch.cuda.empty_cache()
    return read_cache(folder)


def cache_request(
    source: Source, base: BaseLocation, resolution: int, flip: bool, limit: int = 0,
    fit: str = "pad",
) -> tuple[dict, tuple]:  # fmt: skip
    """Return the about.json of a cache, and the models that make it: VAE and `TextEncoders`."""
    vae, texts = load_part(base, "vae"), open_text_encoders(base)
    family, (tokenizer, *others) = base.architecture, texts.tokenizers
    about = {
        "format": FORMAT,
        "source": source.fingerprint,
        "vae": module_digest(vae),
        "resolution": resolution,
        "side": resolution // family.downsampling(vae.config),
        "flip": flip,
        "masks": source.regions(0) is not None,
        "num_items": min(limit, len(source)) if limit else len(source),
        "scaling_factor": vae.config.scaling_factor,
        **dict(zip(family.text_encoders, map(module_digest, texts.encoders), strict=True)),
        "vocabulary": len(tokenizer),
        "probe": tokenizer(["A red dress, striped"]).input_ids,
    }
    if others:
        about["pads"] = [one.pad_token_id for one in texts.tokenizers]
    if texts.zeroes_empty:
        about["empty_prompt"] = "zeros"
    if family.takes_sizes:
        about["sizes"] = "padded" if fit == "pad" else "cropped"
    if fit == "bucket":
        about["multiple"] = side_multiple(base)
    return about, (vae, texts)


def cache_dir(root: Path, about: dict) -> Path:
    """Return the folder of a cache, which may not exist."""
    return Path(root) / "artifacts" / f"cache-{content_key(about)}"


def _build(folder: Path, about: dict, source: Source, models, processes) -> None:
    """Build the cache under a temporary name, then rename it to `folder`."""
    (vae, texts), device, buckets = models, processes.device, None
    aside = folder.with_name(f"{folder.name}.partial")
    if processes.main:
        remove_temporary(make_dir(remove_link(aside)))
        for path in aside.glob("*.npy"):
            remove_link(path)
        buckets = buckets_of(source, about, aside)
    encode_images(vae.to(device), source, about, processes.broadcast(buckets), aside, processes)
    vae.to("cpu")
    if processes.main:
        encode_captions(source.captions[: about["num_items"]], texts, aside, device)
        write_json(aside / "about.json", about)
        (aside / "done.npy").unlink(missing_ok=True)
        replace_dir(aside, folder)
    processes.broadcast(None)


def buckets_of(source: Source, about: dict, folder: Path) -> Buckets:
    """Return the buckets of a cache's items, and log them; those of `folder`, if it has them."""
    count, resolution, file = about["num_items"], about["resolution"], folder / "shapes.npy"
    if "multiple" not in about:
        return squares(count, resolution)
    if file.exists():
        return _read_buckets(folder, about)
    buckets, lines = find_buckets(source, count, resolution, about["multiple"])
    for line in lines:
        log.info(line)
    if folder.is_dir():
        save_array(file, np.array(buckets.shapes, np.int32)[buckets.bucket])
    return buckets


def _read_buckets(folder: Path, about: dict) -> Buckets:
    if "multiple" not in about:
        return squares(about["num_items"], about["resolution"])
    shapes, bucket = np.unique(np.load(folder / "shapes.npy"), axis=0, return_inverse=True)
    return Buckets([*map(tuple, shapes.tolist())], bucket.reshape(-1))


def read_cache(folder: Path) -> LatentCache:
    """Return the finished cache of a folder; raises InputError if it is missing or damaged."""
    if not folder.is_dir():
        raise InputError("folder-not-shared.cache", folder=folder)
    about = read_record(folder / "about.json", "latent cache")
    buckets, arrays = _read_buckets(folder, about), {}
    for name in ARRAYS:
        shapes = buckets.shapes if name in OF_BUCKETS else [None]
        paths = [folder / f"{array_name(name, shape, about)}.npy" for shape in shapes]
        found = tuple(np.load(path, mmap_mode="r") for path in paths if path.exists())
        if len(found) < len(paths) and (found or name == "moments"):
            raise InputError("file-damaged.rows", path=folder, error="a bucket's file is missing")
        arrays[name] = (found if name in OF_BUCKETS else found[0]) if found else None
    index = np.load(folder / "caption_index.npy")
    if folder.name != f"cache-{content_key(about)}":
        raise InputError("file-damaged.rows", path=folder, error="its about.json was changed")
    return LatentCache(folder, buckets, **arrays, caption_index=index, about=about)


def module_digest(module: torch.nn.Module) -> str:
    """Return 16 hex digits of all weights of a module, as fp32 on the CPU."""
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]
