"""The latent cache holds the right bytes, whatever threads and processes build it."""

import gc
import os
import threading
import weakref

import numpy as np
import pytest
import torch

from tvhelpers import flats
from tvhelpers.data.example import write_g2
from tvhelpers.data.items import GARMENT
from tvhelpers.data.sources import open_source
from tvhelpers.models.base import find_base, load_part
from tvhelpers.train import encoding, latents
from tvhelpers.train.distributed import Processes


@pytest.fixture
def open_tiny(tiny_base, photo_folder, monkeypatch):
    """Return a function that opens a cache of the small photos in a folder: 6 chunks of 4 items."""
    monkeypatch.setattr(encoding, "CHUNK_PIXELS", 4 * 64 * 64)

    def open_(root, **options):
        source, base = open_source(str(photo_folder)), find_base(str(tiny_base))
        return latents.open_cache(source, base, 64, True, root, **options)

    return open_


def content(cache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.folder.iterdir()}


def test_every_latent_belongs_to_its_caption(open_tiny, tiny_base, photo_folder, tmp_path):
    cache, source = open_tiny(tmp_path), open_source(str(photo_folder))
    base = find_base(str(tiny_base))
    vae, text = (load_part(base, p) for p in ("vae", "text_encoder"))
    texts = encoding.open_text_encoders(base)
    for item in range(len(source)):
        pixels = source.pixels(item)
        ids = texts.tokenize([source.captions[item]])
        for entry, view in ((item, pixels), (item + len(source), pixels[:, ::-1])):
            moments, row = cache.read(np.array([entry]))
            expected = torch.from_numpy(encoding.encode(vae, view[None], "it")).float()
            torch.testing.assert_close(moments, expected, atol=2e-2, rtol=2e-2)
            distances = np.abs(cache.moments[0].astype(float) - moments.numpy()).mean((1, 2, 3))
            assert distances.argsort()[0] == entry and distances[entry] == 0
            assert torch.equal(torch.from_numpy(cache.token_ids[row.numpy()]).long(), ids)
            stored = torch.from_numpy(cache.embeds[row.numpy()]).float()
            torch.testing.assert_close(stored, text(ids)[0], atol=2e-3, rtol=2e-3)


class Share(Processes):
    """One of several threads that build a cache like the processes of a launch."""

    def __init__(self, index: int, count: int, barrier: threading.Barrier, box: dict):
        self.index, self.count, self.device = index, count, "cpu"
        self.barrier, self.box = barrier, box

    def broadcast(self, value):
        if self.main:
            self.box["value"] = value
        self.barrier.wait(60)
        value = self.box["value"]
        self.barrier.wait(60)
        return value

    def any(self, *flags: bool) -> list[bool]:
        self.barrier.wait(60)
        return [*flags]


def test_neither_threads_nor_shares_nor_a_kill_change_a_byte(open_tiny, monkeypatch, tmp_path):
    whole = content(open_tiny(tmp_path / "whole"))
    monkeypatch.setattr(encoding, "THREADS", 5)
    monkeypatch.setattr(encoding, "KEEP_SECONDS", 0)
    if not (child := os.fork()):
        put, chunks = encoding._put, []

        def killed(*given):
            chunks.append(len(chunks) < 3 or os._exit(9))
            put(*given)

        monkeypatch.setattr(encoding, "_put", killed)
        open_tiny(tmp_path / "cut")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    encoded, encode = [], encoding.encode
    monkeypatch.setattr(encoding, "encode", lambda *a: encoded.append(a[1]) or encode(*a))
    barrier, box, caches, lock = threading.Barrier(3), {}, {}, threading.Lock()

    def load(base, part):
        with lock:  # transformers cannot load in two threads at once
            return load_part(base, part)

    for module in (latents, encoding):
        monkeypatch.setattr(module, "load_part", load)

    def build(index: int) -> None:
        share = Share(index, 3, barrier, box)
        caches[index] = open_tiny(tmp_path / "cut", processes=share)

    threads = [threading.Thread(target=build, args=[index]) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(encoded) == 2 * 3  # of 6 chunks 3 were there, each with its mirror image
    assert [content(cache) == whole for cache in caches.values()] == [True] * 3
    encoded.clear()
    open_tiny(tmp_path / "cut")
    assert not encoded  # there already: opened


def test_masks_lie_on_the_latents_of_their_garments(tiny_base, tmp_path):
    specs = [flats.random_spec(5, i) for i in range(4)]
    pixels = [flats.render(spec, 5, i, 128) for i, spec in enumerate(specs)]
    texts = ["a dress"] * 4
    write_g2(tmp_path, pixels, texts, ["dress"] * 4, ["red"] * 4)
    source, base = open_source(str(tmp_path)), find_base(str(tiny_base))
    cache = latents.open_cache(source, base, 128, True, tmp_path)
    for item in range(4):
        shares = source.mask(item).reshape(16, 8, 16, 8).mean((1, 3))
        sure = abs(shares - 0.5) > 0.01
        assert np.array_equal((cache.regions[0][item] == GARMENT)[sure], (shares > 0.5)[sure])
        assert np.array_equal(cache.regions[0][item + 4], cache.regions[0][item, :, ::-1])
        assert not np.array_equal(cache.regions[0][item], cache.regions[0][item + 4])


def test_a_mask_is_padded_as_its_image_is():
    regions = np.zeros((16, 32), np.uint8)
    regions[:, 24:] = GARMENT
    regions[:8, :8] = 1
    small = encoding.latent_regions(regions, (32, 32), {"side": 4, "resolution": 32})
    wanted = [[0, 0, 0, 0], [1, 0, 0, 2], [0, 0, 0, 2], [0, 0, 0, 0]]
    assert small.tolist() == wanted


def test_what_is_read_from_the_gpus_memory_is_the_same(open_tiny, tmp_path):
    cache = open_tiny(tmp_path)
    resident = cache.on_gpu("cpu", free=2**30)
    assert isinstance(resident.moments[0], torch.Tensor) and resident.embeds.dtype == torch.float16
    entries = np.array([40, 3, 3, 17])
    for a, b in zip(cache.read(entries), resident.read(entries), strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)
    assert cache.on_gpu("cpu", free=cache.num_bytes) is cache  # it would take all that is free


def test_many_captions_are_kept_as_token_ids(tiny_base, monkeypatch, tmp_path):
    source, base = open_source("flats"), find_base(str(tiny_base))
    monkeypatch.setattr(encoding, "SMALL_EMBEDS", 0)
    weights = sum(w.numel() for w in load_part(base, "text_encoder").parameters())
    source.captions = [f"garment {i}" for i in range(len(source))]
    for limit, kept in ((8, True), (weights // (77 * 32) + 1, False)):
        cache = latents.open_cache(source, base, 64, False, tmp_path, limit=limit)
        assert (cache.embeds is not None) == kept and cache.token_ids.shape == (limit + 1, 77)


def test_the_autoencoder_leaves_the_memory(open_tiny, monkeypatch, tmp_path):
    alive = []

    def load(base, part):
        loaded = load_part(base, part)
        if part == "vae":
            alive.append(weakref.ref(loaded))
        return loaded

    for module in (latents, encoding):
        monkeypatch.setattr(module, "load_part", load)
    cache = open_tiny(tmp_path)
    gc.collect()
    assert cache.num_items == 24 and len(alive) == 1 and alive[0]() is None


def test_captions_that_are_cut_off_are_counted(tiny_base, photo_folder, tmp_path, caplog):
    source, base = open_source(str(photo_folder)), find_base(str(tiny_base))
    source.captions[3] = "a very " * 60 + "long dress"
    latents.open_cache(source, base, 64, False, tmp_path)
    assert f"1 of {len(set(source.captions)) + 1} captions" in caplog.text
    assert "long dress' is ignored" in caplog.text
