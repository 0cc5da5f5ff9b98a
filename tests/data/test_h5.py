"""Array files: their format is detected, or reported as unknown; options overrule."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.data.helpers import ORDERS, save_h5, subtracted
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.detect import format_report
from tvhelpers.data.h5 import inspect_images, open_images
from tvhelpers.data.sources import open_source

COUNT = 64


def test_npy_and_npz_are_read_like_h5(drawn, tmp_path):
    values = (drawn / np.float32(127.5) - 1).transpose(ORDERS["CHW"])
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", images=values, labels=np.arange(COUNT))
    for name, key in (("a.npy", "array"), ("a.npz", "images")):
        images = inspect_images(tmp_path / name)["images"]
        assert (images["key"], images["encoding"], images["axes"]) == (key, "affine", "CHW")
        with pytest.warns(UserWarning, match="captions are empty"):
            source = open_source(tmp_path / name)
        assert np.array_equal(source.pixels(7), drawn[7]) and len(source) == COUNT


def test_a_mean_image_from_another_file(drawn, tmp_path):
    path = save_h5(tmp_path / "x.h5", subtracted(drawn).transpose(ORDERS["CWH"]))
    with refused("mean-missing"):
        open_images(path)
    mean = (drawn.astype(np.float32) / 255).mean(0)
    savemat(tmp_path / "mean.mat", {"ih_mean": mean})
    np.save(tmp_path / "mean.npy", mean.transpose(2, 1, 0))  # in the images' own axes
    for name in ("mean.mat", "mean.npy"):
        images = open_images(path, mean=tmp_path / name)
        assert np.array_equal(images.read(0, COUNT), drawn)
    np.save(tmp_path / "other.npy", mean[:64])
    with refused("wrong-shape"):
        open_images(path, mean=tmp_path / "other.npy")


def test_inspect_from_the_command_line(drawn, tmp_path, capsys):
    path = save_h5(tmp_path / "x.h5", drawn)
    command = ["data", "inspect", str(path), "--image", str(tmp_path / "look.png"), "--json"]
    assert cli.main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"]["encoding"] == "uint8" and report["faults"] == []
    with Image.open(tmp_path / "look.png") as image:
        assert image.width > image.height
    assert cli.main([*command, "--axes", "sideways"]) == 2
    assert "CWH" in capsys.readouterr().err


def test_real_photos_within_one_level(real):
    folder, truth = real
    images = open_images(folder)
    assert np.abs(images.read(0, len(images)).astype(int) - truth).max() <= 1
    report = inspect_images(folder)
    assert report["images"]["encoding"] == "mean_subtracted" and report["faults"] == []


def test_affine_file_with_a_mean_image_beside_it(g2, pixels, tmp_path):
    with h5py.File(g2) as file:
        mean = file["ih_mean"][:]
    affine = (pixels / np.float32(127.5) - 1).transpose(0, 3, 2, 1)
    path = save_h5(tmp_path / "a.h5", ih=affine, ih_mean=mean)
    assert np.array_equal(open_images(path).read(0, 96), pixels)
    with refused("wrong-decode"):
        open_images(path, "mean").read(0, 4)


def test_wrong_decodes_are_refused_and_the_papers_stays(g2, pixels):
    for decode in ("unit", "uint8"):
        with refused("wrong-decode"):
            open_images(g2, decode)[0]
    with refused("unknown-choice"):
        open_images(g2, "guess")
    washed_out = open_images(g2, "affine")[0]
    assert abs(int(np.median(washed_out[:4])) - 128) < 20  # white turns mid-grey
    assert np.median(pixels[0][:4]) > 240


def test_missing_mean_image_is_reported_and_refused(g2, tmp_path):
    with h5py.File(g2) as file:
        path = save_h5(tmp_path / "G2.h5", ih=file["ih"][:])
    report = inspect_images(path)
    assert report["images"]["encoding"] == "mean_subtracted"
    assert report["images"]["needs"] == "ih_mean"
    assert any("ih_mean" in issue for issue in report["faults"])
    assert "ISSUE" in format_report(report)
    with refused("mean-missing"):
        open_images(path)


def test_rows_with_nan_are_named(g2, tmp_path):
    with h5py.File(g2) as file:
        ih, mean = file["ih"][:], file["ih_mean"][:]
    ih[7, 0, 3, 3] = np.nan
    path = save_h5(tmp_path / "G2.h5", ih=ih, ih_mean=mean)
    assert any("7" in issue and "NaN" in issue for issue in inspect_images(path)["faults"])
    with pytest.warns(UserWarning, match="NaN"):
        images = open_images(path)
    with refused("file-damaged") as caught:
        images.read(0, 16)
    assert "row 7" in str(caught.value)
