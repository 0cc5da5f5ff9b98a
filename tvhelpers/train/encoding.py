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
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tvhelpers.data.items import REGIONS, Source
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_path
from tvhelpers.image import resize
from tvhelpers.models.clip import cut_off
from tvhelpers.progress import progress_bar
from tvhelpers.words import counted

log = logging.getLogger(__name__)
CHUNK_PIXELS = 16 * 256 * 256  # encoded at once: 4 images of 512 px, which fit on a T4
THREADS = min(16, os.cpu_count() or 1)
KEEP_SECONDS = 5.0  # of work that a kill may lose
SMALL_EMBEDS = 2**28  # bytes of text states that are cached even if the text encoder is smaller


def encode_images(vae, source: Source, about: dict, folder: Path, processes) -> None:
    """Fill moments.npy, regions.npy if there are masks, and done.npy (a byte per chunk); each
    process encodes its share of the chunks that are not done."""
    count = about["num_items"]
    chunk_size = max(1, CHUNK_PIXELS // about["resolution"] ** 2)
    chunks = [range(i, min(i + chunk_size, count)) for i in range(0, count, chunk_size)]
    arrays = _arrays(vae, about, folder, len(chunks), processes)
    left = processes.broadcast(np.flatnonzero(arrays["done"] == 0).tolist())
    mine = [left[i] for i in processes.part(len(left))]
    before = count - sum(len(chunks[number]) for number in left)
    waiting, kept = [], time.monotonic()
    with progress_bar("latent cache", count, done=before) as bar:
        try:
            for number, pixels, regions in _read_ahead(source, chunks, mine, about):
                _put(arrays, chunks[number], about, vae, pixels, regions)
                waiting.append(number)
                if time.monotonic() - kept > KEEP_SECONDS:
                    _keep(arrays, waiting)
                    kept = time.monotonic()
                bar.update(min(len(pixels) * processes.count, count - bar.n))
        finally:
            _keep(arrays, waiting)
    processes.any(False)  # waits for all processes: all chunks are there


def _arrays(vae, about: dict, folder: Path, num_chunks: int, processes) -> dict[str, np.ndarray]:
    """Return the arrays to fill, created unless they exist with the same number of chunks."""
    entries, side = about["num_items"] * (1 + about["flip"]), about["side"]
    kinds = {"moments": (np.float16, (entries, 2 * vae.config.latent_channels, side, side))}
    if about["masks"]:
        kinds["regions"] = (np.uint8, (entries, side, side))
    kinds["done"], done = (np.uint8, (num_chunks,)), folder / "done.npy"
    if processes.main and not (done.exists() and len(np.load(done)) == num_chunks):
        for name, (dtype, shape) in kinds.items():
            allocate(folder / f"{name}.npy", dtype, shape)
    processes.broadcast(None)  # waits until the files are there
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in kinds}


def _put(arrays: dict, rows: range, about: dict, vae, pixels, regions) -> None:
    """Encode a chunk and its mirror image, and write both."""
    what = f"items {rows.start} to {rows.stop - 1}"
    for copy in range(1 + about["flip"]):
        turn, shift = (-1 if copy else 1), copy * about["num_items"]
        place = slice(shift + rows.start, shift + rows.stop)
        arrays["moments"][place] = encode(vae, pixels[:, :, ::turn], what)
        if regions is not None:
            arrays["regions"][place] = regions[:, :, ::turn]


def _keep(arrays: dict, waiting: list[int]) -> None:
    """Write chunks to the disk, and then mark them as done."""
    for array in arrays.values():
        array.flush()
    arrays["done"][waiting] = 1
    arrays["done"].flush()
    waiting.clear()


def _read_ahead(
    source: Source, chunks: list[range], numbers: list[int], about: dict
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Yield (number, pixels uint8 (n, s, s, 3), regions uint8 (n, h, w) or None) of chunks; threads
    read and resize the next ones meanwhile."""

    def read(item: int) -> tuple:
        pixels = resize(source.pixels(item), about["resolution"])
        regions = source.regions(item) if about["masks"] else None
        return pixels, regions if regions is None else latent_regions(regions, about["side"])

    def collect(number: int, futures: list) -> tuple:
        pixels, regions = zip(*(future.result() for future in futures), strict=True)
        return number, np.stack(pixels), np.stack(regions) if about["masks"] else None

    waiting = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for number in numbers:
            waiting.append((number, [pool.submit(read, item) for item in chunks[number]]))
            if sum(len(futures) for _, futures in waiting) > 2 * THREADS + len(chunks[number]):
                yield collect(*waiting.popleft())
        while waiting:
            yield collect(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def latent_regions(regions: np.ndarray, side: int) -> np.ndarray:
    """Return the region of each latent, uint8 (side, side): the most frequent one of its pixels.

    `regions` uint8 (H, W), codes of `items.REGIONS`, is padded to a square like its image.
    """
    missing = [max(regions.shape) - side for side in regions.shape]
    square = np.pad(regions, [(count // 2, count - count // 2) for count in missing])
    codes = range(len(REGIONS))[::-1]  # the garment first: it wins where two are equally frequent
    masks = [Image.fromarray(np.where(square == code, 255, 0).astype(np.uint8)) for code in codes]
    shares = [np.asarray(mask.resize((side, side), Image.Resampling.BOX)) for mask in masks]
    return np.array(codes, np.uint8)[np.argmax(shares, 0)]


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


def encode_captions(captions: list[str], tokenizer, text_encoder, folder: Path, device) -> None:
    """Write token_ids.npy and caption_index.npy, and embeds.npy if the text states of all captions
    are smaller than the text encoder; warn of captions that are truncated."""
    if (folder / "caption_index.npy").exists():  # written last
        return
    unique = list(dict.fromkeys(["", *captions]))
    limit = tokenizer.model_max_length
    tokens = tokenizer(unique, truncation=False, verbose=False).input_ids
    if long := [caption for caption, ids in zip(unique, tokens) if len(ids) > limit]:
        what = f"{len(long):,} of {counted(len(unique), 'caption')} truncated"
        end = in_words(cut_off(tokenizer, long[0], limit))
        log.warning(f"{what}, being longer than {limit} tokens; of the first, {end} is ignored")
    ids = tokenize(tokenizer, unique)
    _save(folder / "token_ids.npy", ids.int().numpy())
    if keeps_states(len(unique), limit, text_encoder):
        _save(folder / "embeds.npy", text_states(text_encoder.to(device), ids))
    rows = {caption: row for row, caption in enumerate(unique)}
    index = np.array([rows[caption] for caption in captions], np.int64)
    _save(folder / "caption_index.npy", index)


def keeps_states(num_captions: int, tokens: int, text_encoder) -> bool:
    """Return whether a cache holds the text states of its captions: they are small, or smaller than
    the text encoder."""
    size = 2 * num_captions * tokens * text_encoder.config.hidden_size
    weights = 2 * sum(weight.numel() for weight in text_encoder.parameters())
    return size <= max(weights, SMALL_EMBEDS)


@torch.no_grad()
def text_states(text_encoder, ids: torch.Tensor, batch_size: int = 64) -> np.ndarray:
    """Return the text states fp16 (N, tokens, d) of token ids."""
    parts = (ids[start : start + batch_size] for start in range(0, len(ids), batch_size))
    states = [text_encoder(part.to(text_encoder.device))[0].half().cpu() for part in parts]
    return torch.cat(states).numpy()


def tokenize(tokenizer, texts: list[str]) -> torch.Tensor:
    """Return token ids int64 (N, tokens), padded and truncated as in StableDiffusionPipeline."""
    limit = tokenizer.model_max_length
    options = {"padding": "max_length", "truncation": True, "max_length": limit}
    return tokenizer(texts, return_tensors="pt", **options).input_ids


def allocate(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Create a .npy of zeros with all of its disk space reserved.

    Without that, a full disk would kill the process at a write into the memory map.
    """
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as aside, open(aside, "wb") as file:
        np.save(file, array)
