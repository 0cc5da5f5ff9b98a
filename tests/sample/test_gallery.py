"""A gallery is written once, resumes where it stopped, and belongs to one request."""

import contextlib
import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tvhelpers.files import make_dir
from tvhelpers.models.base import find_base, load_part, unet_digest
from tvhelpers.models.identity import FILES
from tvhelpers.sample import gallery
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler


@pytest.fixture(scope="module")
def sampler(tiny_base):
    return Sampler(str(tiny_base), device="cpu")


def images_in(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_seeds_names_and_records(sampler, tmp_path):
    request = Request(("a red dress", "a blue skirt"), count=2, seed=5, steps=2)
    records = generate(sampler, request, tmp_path)
    assert [r["file"] for r in records] == ["0000_5.png", "0001_6.png", "0002_5.png", "0003_6.png"]
    assert records == [json.loads(line) for line in (tmp_path / "records.jsonl").open()]
    needed = {"file", "prompt", "seed", "steps", "guidance", "scheduler", "base", "base_revision",
              "adapter_sha256", "versions"}  # fmt: skip
    assert all(needed <= set(record) for record in records)
    images = [np.asarray(Image.open(tmp_path / r["file"])) for r in records]
    assert images[0].shape == (64, 64, 3)
    assert not np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


def test_same_request_gives_the_same_bytes(sampler, tmp_path):
    for name in ("a", "b"):
        generate(sampler, Request(("a red dress",), count=3, steps=3), tmp_path / name)
    assert images_in(tmp_path / "a") == images_in(tmp_path / "b")


def test_the_bar_moves_by_batches_which_its_time_is_of(sampler, tmp_path, monkeypatch):
    moves = []

    class Bar(contextlib.nullcontext):
        """What a bar is to the gallery."""

        n = 0

        def __enter__(self):
            return self

        def update(self, count):
            moves.append(count)
            self.n += count

    monkeypatch.setattr(gallery, "progress_bar", lambda *args, **options: Bar())
    for count in (1, 6):
        generate(
            sampler, Request(("a dress",), count, steps=1), tmp_path / str(count), batch_size=4
        )
    assert moves == [1, 4, 2]


def test_a_request_that_was_stopped_resumes(sampler, tmp_path, monkeypatch):
    request = Request(("a red dress",), count=4, steps=2)
    generate(sampler, request, tmp_path / "whole")
    draw = sampler.sample

    def two(*args, **options):
        yield from itertools.islice(draw(*args, **options), 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(sampler, "sample", two)
        generate(sampler, request, tmp_path / "broken", batch_size=1)
    with open(tmp_path / "broken" / "records.jsonl", "a", encoding="utf-8") as file:
        file.write('{"index": 2, "file": "00')  # killed in the middle of a line
    first = (tmp_path / "broken" / "0000_0.png").stat().st_mtime_ns
    records = generate(sampler, request, tmp_path / "broken", batch_size=1)
    assert len(records) == 4 and (tmp_path / "broken" / "0000_0.png").stat().st_mtime_ns == first
    lines = (tmp_path / "broken" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 3]
    monkeypatch.setattr(sampler, "sample", None)  # nothing is drawn again
    assert generate(sampler, request, tmp_path / "broken") == records


@pytest.mark.parametrize("name", ["tiny", "mini"])
def test_what_is_drawn_already_is_opened_without_the_pipeline(name, tiny_base, tmp_path):
    base = str(tiny_base) if name == "tiny" else name
    request = Request(("a red dress",), steps=1)
    first, again = Sampler(base, device="cpu"), Sampler(base, device="cpu")
    records = generate(first, request, tmp_path)
    assert generate(again, request, tmp_path) == records
    assert first.loaded and not again.loaded
    unet = load_part(find_base(base), "unet")
    assert again.identity["base_revision"] == unet_digest(unet)
    assert again.identity["scheduler"] == type(first.pipe.scheduler).__name__
    with torch.no_grad():
        unet.conv_in.weight[0, 0, 0, 0] += 1
    assert unet_digest(unet) != again.identity["base_revision"]


def test_a_base_is_the_same_wherever_its_folder_lies(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv("TV_ROOT", str(tmp_path))
    request, folder = Request(("a red dress",), steps=2), tmp_path / "here" / "pipeline"
    shutil.copytree(tiny_base, folder)
    for name in ("a", "b"):
        generate(Sampler(str(folder), device="cpu"), request, tmp_path / name)
        folder = folder.rename(make_dir(tmp_path / "moved" / "here") / "pipeline")
    texts = [(tmp_path / name / "request.json").read_text() for name in "ab"]
    assert texts[0] == texts[1] and '"here (folder)"' in texts[0] and str(tmp_path) not in texts[0]
    assert images_in(tmp_path / "a") == images_in(tmp_path / "b")

    folder = folder.rename(tmp_path / "renamed")
    moved = Sampler(str(folder), device="cpu")
    generate(moved, request, tmp_path / "a")
    assert not moved.loaded
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(
        json.dumps({**config, "_name_or_path": "/elsewhere"})
    )
    assert Sampler(str(folder), device="cpu").identity == moved.identity
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.5}))
    with refused("another-request"):
        generate(Sampler(str(folder), device="cpu"), request, tmp_path / "a")


def test_an_older_request_names_the_path_of_its_base(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv("TV_ROOT", str(tmp_path))
    sampler, request = Sampler(str(tiny_base), device="cpu"), Request(("a red dress",), steps=2)
    who = {key: value for key, value in sampler.identity.items() if key != FILES}
    sampler.identity = who | {"base": str(tiny_base)}
    generate(sampler, request, tmp_path / "out")
    (tmp_path / "out" / "0000_0.png").unlink()
    (record,) = generate(Sampler(str(tiny_base), device="cpu"), request, tmp_path / "out")
    assert FILES in record and record["base"] == "base (folder)"
    shutil.copytree(tiny_base, tmp_path / "other")
    with refused("another-request"):
        generate(Sampler(str(tmp_path / "other"), device="cpu"), request, tmp_path / "out")


def test_another_requests_folder_is_refused(sampler, tmp_path):
    generate(sampler, Request(("a red dress",), steps=2), tmp_path)
    before = images_in(tmp_path)
    with refused("another-request"):
        generate(sampler, Request(("a red dress",), steps=2, seed=1), tmp_path)
    assert images_in(tmp_path) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a")
    with refused("folder-taken"):
        generate(sampler, Request(("a red dress",), steps=2), tmp_path / "mine")


def test_usual_words_and_suites_give_no_warning(tmp_path, recwarn):
    usual = Request(("a photo of a black dress", "red T-shirts"), steps=1)
    generate(Sampler("mini", "none", "cpu"), usual, tmp_path / "usual")
    suite = Request(("a zebra",), steps=1, ids=("id-1",), seeds=((1,),))
    generate(Sampler("mini", "none", "cpu"), suite, tmp_path / "suite")
    assert not [one for one in recwarn if "never seen" in str(one.message)]


def test_a_damaged_image_is_drawn_again(sampler, tmp_path):
    request = Request(("a red dress", "a blue skirt"), steps=2)
    # One at a time: a kernel may add a batch of one in another order than a batch of two.
    generate(sampler, request, tmp_path, batch_size=1)
    before = images_in(tmp_path)
    broken = tmp_path / "0001_0.png"
    broken.write_bytes(before[broken.name][:200])
    generate(sampler, request, tmp_path, batch_size=1)
    assert images_in(tmp_path) == before
    (tmp_path / "records.jsonl").write_text("no json\n{}\n")
    with refused("not-json"):
        generate(sampler, request, tmp_path)
