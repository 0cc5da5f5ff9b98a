"""How is a latent cache filled?  Images and masks in chunks that threads read ahead; captions once.

A chunk is always the same items in one forward pass, so neither the number of threads or processes
nor an interruption changes a byte.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tvhelpers.data.buckets import Buckets, Shape, cover, fit
from tvhelpers.data.items import REGIONS, Source
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_path
from tvhelpers.image import resize
from tvhelpers.models.architecture import Architecture
from tvhelpers.models.base import BaseLocation, load_part
from tvhelpers.models.clip import cut_off
from tvhelpers.progress import progress_bar
from tvhelpers.words import counted

log = logging.getLogger(__name__)
CHUNK_PIXELS = 16 * 256 * 256  # encoded at once: 4 images of 512 px, which fit on a T4
THREADS = min(16, os.cpu_count() or 1)
KEEP_SECONDS = 5.0  # of work that a kill may lose
SMALL_EMBEDS = 2**28  # bytes of text states that are cached even if the text encoder is smaller


def encode_images(vae, source, about: dict, buckets: Buckets, folder: Path, processes) -> None:
    """Fill the moments of each bucket, its regions if there are masks, sizes.npy if the base takes
    them, and done.npy (a byte per chunk); each process encodes its share of the chunks that are not
    done."""
    count = about["num_items"]
    chunk_size = max(1, CHUNK_PIXELS // about["resolution"] ** 2)
    own = map(buckets.items, range(len(buckets.shapes)))
    chunks = [part[i : i + chunk_size] for part in own for i in range(0, len(part), chunk_size)]
    arrays = _arrays(vae, about, buckets, folder, len(chunks), processes)
    left = processes.broadcast(np.flatnonzero(arrays["done"] == 0).tolist())
    mine = [left[i] for i in processes.part(len(left))]
    before = count - sum(len(chunks[number]) for number in left)
    waiting, kept = [], time.monotonic()
    with progress_bar("latent cache", count, done=before) as bar:
        try:
            for number, pixels, read in _read_ahead(source, chunks, mine, about, buckets):
                _put(arrays, chunks[number], about, buckets, vae, pixels, read)
                waiting.append(number)
                if time.monotonic() - kept > KEEP_SECONDS:
                    _keep(arrays, waiting)
                    kept = time.monotonic()
                bar.update(min(len(pixels) * processes.count, count - bar.n))
        finally:
            _keep(arrays, waiting)
    processes.any(False)  # waits for all processes: all chunks are there


def array_name(kind: str, shape: Shape | None, about: dict) -> str:
    """Return the name, without .npy, of an array, if there is a `shape` of those of a bucket."""
    return f"{kind}-{shape[1]}x{shape[0]}" if shape and "multiple" in about else kind


def latent_shape(shape: Shape, about: dict) -> Shape:
    """Return the (height, width) of the latents of images of a shape."""
    return tuple(side * about["side"] // about["resolution"] for side in shape)


def _arrays(vae, about, buckets, folder: Path, num_chunks: int, processes) -> dict[str, np.ndarray]:
    """Return the arrays to fill, created unless they exist with the same number of chunks."""
    copies, kinds = 1 + about["flip"], {}
    for shape, count in zip(buckets.shapes, buckets.counts.tolist(), strict=True):
        sides, name = latent_shape(shape, about), partial(array_name, shape=shape, about=about)
        rows = (copies * count, 2 * vae.config.latent_channels, *sides)
        kinds[name("moments")] = (np.float16, rows)
        if about["masks"]:
            kinds[name("regions")] = (np.uint8, (copies * count, *sides))
    if "sizes" in about:
        kinds["sizes"] = (np.int32, (copies * about["num_items"], 6))
    kinds["done"], done = (np.uint8, (num_chunks,)), folder / "done.npy"
    if processes.main and not (done.exists() and len(np.load(done)) == num_chunks):
        for name, (dtype, shape) in kinds.items():
            allocate(folder / f"{name}.npy", dtype, shape)
    processes.broadcast(None)  # waits until the files are there
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in kinds}


def _put(arrays: dict, items: np.ndarray, about: dict, buckets, vae, pixels, read: dict) -> None:
    """Encode a chunk and its mirror image, and write both, with what else was `read`."""
    what, bucket = f"items {items[0]} to {items[-1]}", buckets.bucket[items[0]]
    name = partial(array_name, shape=buckets.shapes[bucket], about=about)
    for copy in range(1 + about["flip"]):
        turn, rows = (-1 if copy else 1), buckets.rows[items] + copy * buckets.counts[bucket]
        arrays[name("moments")][rows] = encode(vae, pixels[:, :, ::turn], what)
        if about["masks"]:
            arrays[name("regions")][rows] = read["regions"][:, :, ::turn]
        if "sizes" in about:
            arrays["sizes"][items + copy * about["num_items"]] = read["sizes"]


def _keep(arrays: dict, waiting: list[int]) -> None:
    """Write chunks to the disk, and then mark them as done."""
    for array in arrays.values():
        array.flush()
    arrays["done"][waiting] = 1
    arrays["done"].flush()
    waiting.clear()


def _read_ahead(
    source: Source, chunks: list[np.ndarray], numbers: list[int], about: dict, buckets: Buckets
) -> Iterator[tuple[int, np.ndarray, dict[str, np.ndarray]]]:
    """Yield (number, pixels uint8 (n, H, W, 3), {"sizes" (n, 6), "regions" uint8 (n, h, w) if there
    are masks}) of chunks; threads read and resize the next ones meanwhile."""

    def read(item: int) -> dict[str, np.ndarray]:
        pixels, shape = source.pixels(item), buckets.shapes[buckets.bucket[item]]
        found = {"pixels": resized(pixels, shape, about)}
        found["sizes"] = sizes_of(pixels.shape[:2], shape, about)
        if about["masks"]:
            found["regions"] = latent_regions(source.regions(item), shape, about)
        return found

    def collect(number: int, futures: list) -> tuple:
        rows = [future.result() for future in futures]
        found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return number, found.pop("pixels"), found

    waiting = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for number in numbers:
            futures = [pool.submit(read, item) for item in chunks[number].tolist()]
            waiting.append((number, futures))
            if sum(len(futures) for _, futures in waiting) > 2 * THREADS + len(chunks[number]):
                yield collect(*waiting.popleft())
        while waiting:
            yield collect(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def resized(pixels: np.ndarray, shape: Shape, about: dict) -> np.ndarray:
    """Return pixels uint8 (H, W, 3) in the shape of their bucket: cropped, or padded to squares."""
    return fit(pixels, shape) if "multiple" in about else resize(pixels, shape[0])


def sizes_of(size: Shape, shape: Shape, about: dict) -> np.ndarray:
    """Return the sizes (6,) of an image, as `Architecture.unet_conditions` takes them: as it was,
    or of the square that it is padded to; top and left of what is cropped; of its bucket."""
    if "multiple" not in about:
        return np.array([max(size), max(size), 0, 0, *shape])
    left, top, right, _ = cover(size, shape)
    scale = shape[1] / (right - left)
    return np.array([*size, round(top * scale), round(left * scale), *shape])


def latent_regions(regions: np.ndarray, shape: Shape, about: dict) -> np.ndarray:
    """Return the region of each latent, uint8 (h, w): the most frequent one of its pixels.

    `regions` uint8 (H, W), codes of `items.REGIONS`, is cropped or padded like its image.
    """
    if "multiple" not in about:
        missing = [max(regions.shape) - side for side in regions.shape]
        regions = np.pad(regions, [(count // 2, count - count // 2) for count in missing])
    codes = range(len(REGIONS))[::-1]  # the garment first: it wins where two are equally frequent
    masks = [np.where(regions == code, 255, 0).astype(np.uint8) for code in codes]
    sides, box = latent_shape(shape, about), cover(regions.shape, shape)
    shares = [
        Image.fromarray(mask).resize(sides[::-1], Image.Resampling.BOX, box) for mask in masks
    ]
    return np.array(codes, np.uint8)[np.argmax([np.asarray(share) for share in shares], 0)]


@torch.no_grad()
def encode(vae, pixels: np.ndarray, what: str) -> np.ndarray:
    """Return the moments fp16 of pixels; raises InputError, naming `what`, if not finite."""
    images = torch.from_numpy(pixels.copy()).to(vae.device)
    images = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    for half in (vae.device.type == "cuda", False):  # fp16 overflows in some autoencoders
        with torch.autocast(vae.device.type, torch.float16, enabled=half):
            posterior = vae.encode(images).latent_dist
        moments = torch.cat([posterior.mean, posterior.logvar], 1).float().cpu().numpy()
        if np.isfinite(moments).all() and np.abs(moments).max() <= np.finfo(np.float16).max:
            return moments.astype(np.float16)
    raise InputError("not-finite.latents", what=what)


@dataclass(frozen=True)
class TextEncoders:
    """The tokenizers and text encoders of a base, by which captions become text states."""

    family: Architecture
    tokenizers: list
    encoders: list
    zeroes_empty: bool  # whether the states of the empty prompt are zeros

    @property
    def limit(self) -> int:
        """The most tokens of a caption; longer ones are truncated."""
        return self.tokenizers[0].model_max_length

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        """Return token ids int64 (N, encoders x tokens), padded and truncated as in the pipelines
        of diffusers: those of each text encoder, one after the other."""
        options = {"padding": "max_length", "truncation": True, "max_length": self.limit}
        found = [one(texts, return_tensors="pt", **options).input_ids for one in self.tokenizers]
        return torch.cat(found, 1)

    def keeps_states(self, num_captions: int) -> bool:
        """Return whether a cache holds the text states of its captions: they are small, or smaller
        than the text encoders."""
        width = sum(encoder.config.hidden_size for encoder in self.encoders)
        weights = (weight for encoder in self.encoders for weight in encoder.parameters())
        size = 2 * num_captions * self.limit * width
        return size <= max(2 * sum(weight.numel() for weight in weights), SMALL_EMBEDS)

    @torch.no_grad()
    def encode(self, ids: torch.Tensor, device: str, batch_size: int = 64) -> dict:
        """Return {"embeds": text states fp16 (N, tokens, d), "pooled": vectors fp16 (N, p) if the
        family has them} of token ids."""
        encoders = [encoder.to(device) for encoder in self.encoders]
        rows = []
        for part in ids.split(batch_size):
            found = self.family.encode_text(encoders, split_ids(part.to(device), len(encoders)))
            rows.append([None if one is None else one.half().cpu() for one in found])
        states, pooled = zip(*rows, strict=True)
        embeds = {"embeds": torch.cat(states).numpy()}
        return embeds if pooled[0] is None else embeds | {"pooled": torch.cat(pooled).numpy()}


def open_text_encoders(base: BaseLocation) -> TextEncoders:
    """Return the tokenizers and text encoders of a base, fp32 on the CPU."""
    family = base.architecture
    parts = [
        [load_part(base, part) for part in own] for own in (family.tokenizers, family.text_encoders)
    ]
    return TextEncoders(family, *parts, family.zeroes_empty_prompt(base.index))


def split_ids(ids: torch.Tensor, num_encoders: int) -> tuple[torch.Tensor, ...]:
    """Return the token ids (B, tokens) of each text encoder, from the joined ones of `tokenize`."""
    return ids.reshape(len(ids), num_encoders, -1).unbind(1)


def encode_captions(captions: list[str], texts: TextEncoders, folder: Path, device: str) -> None:
    """Write token_ids.npy and caption_index.npy, and embeds.npy and pooled.npy if the text states
    of all captions are smaller than the text encoders; warn of captions that are truncated."""
    if (folder / "caption_index.npy").exists():  # written last
        return
    unique = list(dict.fromkeys(["", *captions]))
    tokenizer = texts.tokenizers[0]
    tokens = tokenizer(unique, truncation=False, verbose=False).input_ids
    if long := [caption for caption, ids in zip(unique, tokens) if len(ids) > texts.limit]:
        what = f"{len(long):,} of {counted(len(unique), 'caption')} truncated"
        end = in_words(cut_off(tokenizer, long[0], texts.limit))
        log.warning(
            f"{what}, being longer than {texts.limit} tokens; of the first, {end} is ignored"
        )
    ids = texts.tokenize(unique)
    save_array(folder / "token_ids.npy", ids.int().numpy())
    if texts.keeps_states(len(unique)):
        for name, rows in texts.encode(ids, device).items():
            if texts.zeroes_empty:
                rows[0] = 0
            save_array(folder / f"{name}.npy", rows)
    rows = {caption: row for row, caption in enumerate(unique)}
    index = np.array([rows[caption] for caption in captions], np.int64)
    save_array(folder / "caption_index.npy", index)


def allocate(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Create a .npy of zeros with all of its disk space reserved.

    Without that, a full disk would kill the process at a write into the memory map.
    """
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file, atomically."""
    with atomic_path(path) as aside, open(aside, "wb") as file:
        np.save(file, array)
