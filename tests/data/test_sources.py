"""Every kind of source gives the same kind of items; splits keep products whole."""

import json
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tests.data.helpers import noise
from tests.helpers import refused
from tvhelpers.cli import main
from tvhelpers.config import TrainConfig
from tvhelpers.data import sources
from tvhelpers.data.convert import convert
from tvhelpers.data.items import Source, file_digest
from tvhelpers.data.sources import open_source
from tvhelpers.files import content_key
from tvhelpers.train.trainer import train


def test_nothing_to_open(tmp_path):
    for name, code in [
        (tmp_path / "none", "file-missing"),
        (tmp_path, "no-images"),
        ("sd15", "unknown-choice"),
        ("", "no-images"),
    ]:
        with refused(code):
            open_source(name)


def test_clothing_photos_by_their_name(shared, tmp_path, monkeypatch):
    (tmp_path / "clothing-small").symlink_to(shared / "data" / "clothing")
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path))
    source = open_source("clothing-small")
    assert source.name == "clothing-small" and len(source) > 3_000
    assert source[0].caption.startswith("a photo of a") and source[0].pixels.dtype == np.uint8


@dataclass
class PpmSource(Source):
    """Items of .ppm files."""

    paths: list = field(kw_only=True)

    def pixels(self, index):
        return np.asarray(Image.open(self.paths[index]))


def open_ppm(name, path, options):
    paths = sorted(path.glob("*.ppm"))
    captions = [one.stem.replace("-", " ") for one in paths]
    attributes = [{"category": caption.split()[-2]} for caption in captions]
    key = content_key([file_digest(one) for one in paths])
    ids = [one.name for one in paths]
    return PpmSource(name, key, captions, ids, ids, attributes, [""] * len(ids), paths=paths)


def test_a_reader_of_ones_own_is_one_line_in_the_registry(tmp_path, tiny_base, monkeypatch, capsys):
    ppm = sources.Reader("ppm", lambda path: any(path.glob("*.ppm")), open_ppm)
    monkeypatch.setattr(sources, "READERS", [ppm, *sources.READERS])
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    pixels = noise(8, 64, 64)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"a-red-dress-{i}.ppm")
    convert(folder, tmp_path / "out")
    again = open_source(tmp_path / "out")
    assert again.captions[3] == "a red dress 3" and np.array_equal(again.pixels(3), pixels[3])
    row = {"kind": "images", "licence": "mine", "obtain": "manually", "reader": "ppm"}
    (tmp_path / "tv.yaml").write_text(json.dumps({"mine": row}))
    monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "tv.yaml"))
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "data"))
    assert open_source("mine").fingerprint == open_source(folder).fingerprint
    for verb in ("split", "coverage"):
        assert main(["data", verb, "mine"]) == 0
    assert main(["data", "captions", str(folder), "--out", str(tmp_path / "new.jsonl")]) == 0
    config = TrainConfig(base=str(tiny_base), data="mine", steps=2, batch_size=2, rank=2,
                         eval_items=2, eval_steps=0, device="cpu", held_out=0.3)  # fmt: skip
    assert train(config, tmp_path / "run")["num_items"] == 6


def test_a_reader_that_there_is_not(own_row):
    own_row(reader="excel")
    with refused("unknown-choice"):
        open_source("mine")
