"""Images of mixed shapes are cached, drawn and trained on in buckets of one shape each."""

import os
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests.helpers import refused
from tests.train.helpers import command, in_two_processes, same, stop_at
from tvhelpers import flats
from tvhelpers.config import build_config
from tvhelpers.data.buckets import assign, bucket_shapes
from tvhelpers.data.items import GARMENT, Images, Source
from tvhelpers.models.base import find_base, load_part
from tvhelpers.progress import Interrupted
from tvhelpers.runtime import root_dir
from tvhelpers.train import encoding, latents
from tvhelpers.train.cost import length_of
from tvhelpers.train.log import read_steps
from tvhelpers.train.order import Epochs, Order
from tvhelpers.train.trainer import train

SHAPES = bucket_shapes(160, 16)  # 9 of them


class Drawn(Images):
    """Flats cut out of wider margins, of random sizes, with the garment as their mask."""

    def __init__(self, count: int):
        rng = np.random.default_rng(4)
        self.sizes = [
            (round(100 * x), round(100 / x)) for x in np.exp(rng.uniform(-0.4, 0.4, count))
        ]
        super().__init__(count, self._draw)

    def _draw(self, index: int) -> np.ndarray:
        pixels = flats.render(flats.random_spec(5, index % 20), 5, index % 20, 160)
        height, width = self.sizes[index]
        return np.ascontiguousarray(pixels[:height, 160 - width :])

    def regions(self, index: int) -> np.ndarray:
        """Return the garment, darker than the margin, as region."""
        return np.where(self[index].min(2) < 200, GARMENT, 0).astype(np.uint8)


def drawn_source(count: int) -> Source:
    """Return a source of `Drawn` images."""
    ids = [f"item {i}" for i in range(count)]
    captions = [f"a dress {i % 7}" for i in range(count)]
    return Source("drawn", f"drawn {count}", captions, ids, ids, [{}] * count, [""] * count,
                  Drawn(count))  # fmt: skip


def shares_of(mask: np.ndarray, cut: list[float], sides: tuple[int, int]) -> np.ndarray:
    """Return the share of each latent that a mask covers, by the centres of its pixels; `cut`:
    pixels that are cropped at the top and on the left."""
    cells = []
    for size, crop, side in zip(mask.shape, cut, sides, strict=True):
        places = (np.arange(size) + 0.5 - crop) / (size - 2 * crop) * side
        cells.append(np.floor(places)[:, None] == np.arange(side))
    rows, columns = (each.astype(float) for each in cells)
    return rows.T @ mask @ columns / np.outer(rows.sum(0), columns.sum(0))


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_cache_is_a_plain_computation(count, tiny_sdxl, monkeypatch, tmp_path):
    monkeypatch.setattr(latents, "side_multiple", lambda base: 16)
    source, base = drawn_source(count), find_base(str(tiny_sdxl))
    cache = latents.open_cache(source, base, 160, True, tmp_path, fit="bucket")
    vae, seen, unequal = load_part(base, "vae"), Counter(), []
    assert len(SHAPES) == 9 and cache.moments[0].shape[0] == 2 * cache.buckets.counts[0]
    for item in range(count):
        pixels, (height, width) = source.pixels(item), source.size(item)
        apart = [abs(np.log(high * width / wide / height)) for high, wide in SHAPES]
        high, wide = SHAPES[int(np.argmin(apart))]
        seen[high, wide] += 1
        small = np.asarray(ImageOps.fit(Image.fromarray(pixels), (wide, high), Image.LANCZOS))
        scale = max(high / height, wide / width)
        cut = [(height - high / scale) / 2, (width - wide / scale) / 2]
        for copy, view in enumerate((small, small[:, ::-1])):
            entry = np.array([item + copy * count])
            expected = encoding.encode(vae, view[None], "it")
            moments, row = cache.read(entry)
            assert np.abs(moments.numpy() - expected).max() < 4e-3
            assert row == cache.caption_index[item]
            sizes = [height, width, *(round(scale * one) for one in cut), high, wide]
            assert cache.sizes[entry[0]].tolist() == sizes
            shares = shares_of(source.mask(item), cut, (high // 8, wide // 8))[:, :: 1 - 2 * copy]
            wrong = (cache.read_regions(entry)[0].numpy() == GARMENT) != (shares > 0.5)
            unequal.append(wrong.mean())  # where the edge of a latent halves a row of pixels
            assert not wrong[abs(shares - 0.5) > 0.3].any()
    assert np.mean(unequal) < 0.01
    assert len(seen) == 9 and seen == dict(zip(cache.buckets.shapes, cache.buckets.counts))


def test_a_killed_cache_is_the_same(tiny_base, monkeypatch, tmp_path):
    monkeypatch.setattr(encoding, "CHUNK_PIXELS", 4 * 160 * 160)
    monkeypatch.setattr(encoding, "KEEP_SECONDS", 0)
    source, base, put, done = drawn_source(40), find_base(str(tiny_base)), encoding._put, []

    def killed(*given):
        done.append(len(done) < 6 or os._exit(9))
        put(*given)

    def content(root):
        cache = latents.open_cache(source, base, 160, True, root, fit="bucket")
        return {path.name: path.read_bytes() for path in cache.folder.iterdir()}

    if not (child := os.fork()):
        monkeypatch.setattr(encoding, "_put", killed)
        content(tmp_path / "cut")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    one, *_ = (tmp_path / "cut").rglob("moments-*")
    one.unlink()
    with refused("file-damaged"):
        content(tmp_path / "cut")


def order_of(counts, size, weights=None) -> Order:
    """Return the order of buckets with these numbers of entries, numbered on."""
    ends = np.cumsum([0, *counts])
    parts = [np.arange(*pair) for pair in pairwise(ends)]
    own = [None if weights is None else weights[part] for part in parts]
    return Order([Epochs(*pair, 3, (i,)) for i, pair in enumerate(zip(parts, own))], size, 3)


def test_each_item_is_drawn_once_an_epoch():
    order = order_of([12, 40, 4, 64], 4)
    epochs = [[order.entries(30 * e + i, range(4)) for i in range(30)] for e in range(3)]
    assert all(sorted(np.concatenate(epoch)) == [*range(120)] for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    buckets = [order.turn(number)[0] for number in range(30)]
    assert buckets != sorted(buckets)  # they are mixed


def test_an_item_of_a_small_bucket_is_drawn_as_often_as_others():
    counts = [13, 47, 1, 3]  # a single image, and fewer than a batch
    order, drawn = order_of(counts, 8), Counter()
    batches = [order.entries(number, range(8)) for number in range(160)]
    for batch in batches:
        drawn.update(batch.tolist())
    assert {*drawn} == {*range(64)} and 16 <= min(drawn.values()) <= max(drawn.values()) <= 24
    turns = [order.turn(number)[0] for number in range(155)]
    assert order.counts(155).tolist() == np.bincount(turns).tolist()
    assert [order_of(counts, 8).counts(8 * n).tolist()[2] for n in (1, 3, 5)] == [0, 0, 1]
    again = order_of(counts, 8)
    for number in (150, 3, 77):  # of its number alone, and of the places that are asked for
        assert np.array_equal(again.entries(number, range(8)), batches[number])
        assert np.array_equal(again.entries(number, range(5, 8)), batches[number][5:])


def test_items_are_drawn_by_their_weights_in_all_buckets():
    weights = np.linspace(0, 3, 60)
    order, drawn = order_of([10, 50], 4, weights), Counter()
    for number in range(1500):
        drawn.update(order.entries(number, range(4)).tolist())
    expected = weights * 6000 / weights.sum()
    assert max(abs(drawn[i] - expected[i]) for i in range(60)) < 0.1 * expected.max()


@pytest.fixture(scope="module")
def mixed(settings, tmp_path_factory):
    """Settings of a training on photos of three aspects."""
    folder = tmp_path_factory.mktemp("mixed")
    for i in range(24):
        pixels = flats.render(flats.random_spec(3, i), 3, i, 96)
        Image.fromarray(pixels[:, 16:80] if i % 3 else pixels[20:70]).save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(f"a dress {i}")
    return settings | {"data": str(folder), "fit": "bucket", "resolution": 64}


def test_a_stopped_training_ends_with_the_same_bytes(mixed, tmp_path):
    config = build_config(**mixed | {"keep": "best", "steps": 10, "accumulate": 2})
    train(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", preview=stop_at(6))
    train(config, tmp_path / "cut")
    assert same(tmp_path / "whole", tmp_path / "cut")
    with refused("another-request"):
        train(build_config(**mixed | {"fit": "pad"}), tmp_path / "cut")


def test_two_processes_take_the_steps_of_one(mixed, tmp_path):
    settings = mixed | {"steps": 5, "checkpoint_steps": 0, "eval_steps": 0}
    train(build_config(**settings), tmp_path / "one")
    words = command(settings, tmp_path / "two")
    in_two_processes(words, [tmp_path / "screen-0", tmp_path / "screen-1"])
    one, two = read_steps(tmp_path / "one"), read_steps(tmp_path / "two")
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], abs=1e-5)


def test_a_batch_is_of_one_bucket(mixed, make_trainer):
    trainer = make_trainer(**mixed)
    shapes = Counter()
    for step in range(12):
        batch = trainer.batches.of_step(step, range(4))
        shapes[tuple(batch.noise.shape[2:])] += 1
        assert batch.moments.shape == (4, 8, *batch.noise.shape[2:])
    assert {*shapes} == {(6, 10), (8, 8), (10, 6)} - {(8, 8)}
    later = trainer.batches.order.buckets[1 - trainer.batches.order.turn(0)[0]]
    assert trainer.batches.undrawn(1) == len({*(later.entries % 24)})
    assert not trainer.batches.undrawn(12) and "small buckets" not in length_of(trainer)
    trainer.num_steps = 1
    assert "small buckets" in length_of(trainer)
    trainer.micro_batch = 3
    assert torch.isfinite(trainer.train_step()["loss"])


def test_what_fits_no_bucket_is_refused(mixed, tmp_path):
    with refused("out-of-range"):
        train(build_config(**mixed | {"resolution": 72}), tmp_path / "run")
    source = drawn_source(3)
    source.images.sizes[1] = (20, 160)
    with refused("out-of-range"):
        latents.open_cache(source, find_base(mixed["base"]), 64, False, root_dir(), fit="bucket")


def test_shapes_have_the_area_of_the_resolution():
    assert bucket_shapes(128, 32) == [(96, 160), (128, 128), (160, 96)]
    assert (832, 1216) in bucket_shapes(1024, 64) and (704, 1408) in bucket_shapes(1024, 64)
    for resolution, multiple in ((512, 64), (768, 64), (1024, 64), (1024, 32)):
        for high, wide in bucket_shapes(resolution, multiple):
            assert 0.8 < high * wide / resolution**2 <= 1 and 0.5 <= high / wide <= 2
            assert not high % multiple and not wide % multiple
    found = assign(np.array([(10, 10), (30, 10)]), [(1, 2), (1, 1), (2, 1)])
    assert found.bucket.tolist() == [0, 1] and found.shapes == [(1, 1), (2, 1)]
