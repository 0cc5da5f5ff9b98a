"""The encoding, axes and channels of stored images are detected, or reported as unknown."""

import h5py
import numpy as np
import pytest

from tests.data.helpers import ORDERS, save_h5, stretched, wrapped
from tests.helpers import refused
from tvhelpers.data.h5 import inspect_images, open_images
from tvhelpers.image import read_photo, resize


@pytest.fixture(scope="module")
def photographed(shared):
    """Real photos, uint8 (64, 128, 128, 3)."""
    paths = sorted((shared / "data" / "clothing" / "images").rglob("*.jpg"))
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, 64).astype(int)]
    return np.stack([resize(read_photo(path), 128) for path in chosen])


@pytest.mark.parametrize("kind", ["drawn", "photographed"])
def test_what_is_lost_is_said_and_not_passed_on(kind, request, tmp_path):
    pixels = request.getfixturevalue(kind)
    for encoding, change in {"minmax": stretched, "wrapped": wrapped}.items():
        for axes in ("HWC", "CWH"):
            path = save_h5(tmp_path / "x.h5", change(pixels).transpose(ORDERS[axes]))
            report = inspect_images(path)
            assert (report["images"]["encoding"], report["images"]["axes"]) == (encoding, axes)
            assert any("lost" in issue for issue in report["faults"])
    with refused("file-damaged"):
        open_images(path)
    assert np.array_equal(open_images(path, "uint8")[0], wrapped(pixels)[0])
    as_bytes = np.rint(stretched(pixels) * 255).astype(np.uint8)
    path = save_h5(tmp_path / "x.h5", as_bytes)
    assert inspect_images(path)["images"]["encoding"] == "minmax"
    with pytest.warns(UserWarning, match="stretched"):
        assert np.array_equal(open_images(path)[3], as_bytes[3])


def test_red_and_blue_are_detected_by_walls_and_floors(photographed, drawn, tmp_path):
    for name, pixels in {"RGB": photographed, "BGR": photographed[..., ::-1]}.items():
        for axes, order in ORDERS.items():
            path = save_h5(tmp_path / "x.h5", pixels.transpose(order))
            assert inspect_images(path)["images"]["channels"] == name
            assert np.array_equal(open_images(path, axes=axes)[5], photographed[5])
    path = save_h5(tmp_path / "x.h5", drawn[..., ::-1])
    assert inspect_images(path)["images"]["channels"] == "unknown"
    assert np.array_equal(open_images(path, channels="BGR")[5], drawn[5])


def test_noise_is_undecided(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    images = inspect_images(save_h5(tmp_path / "x.h5", noise))["images"]
    assert {images[part] for part in ("encoding", "axes", "channels")} == {"unknown"}
    for given, what in (({}, "--decode"), ({"decode": "uint8"}, "--axes")):
        with refused("undecided") as caught:
            open_images(tmp_path / "x.h5", **given)
        assert what in str(caught.value)
    assert np.array_equal(open_images(tmp_path / "x.h5", "uint8", "HWC")[2], noise[2])


def test_pure_colours_side_by_side_are_no_seams(tmp_path):
    rng, pixels = np.random.default_rng(1), np.zeros((40, 64, 64, 3), np.uint8)
    for one in pixels:
        x, y = rng.integers(4, 40, 2)
        one[y : y + 20, x : x + 20, rng.integers(0, 3)] = 255
    assert inspect_images(save_h5(tmp_path / "x.h5", pixels))["images"]["encoding"] == "uint8"


def test_encodings_of_real_photos_are_detected(real, tmp_path):
    """No encoding and no order of the axes is taken for another, whatever the keys are called."""
    folder, truth = real
    with h5py.File(folder / "Img" / "G2.h5") as file:
        subtracted = file["ih"][:].transpose(0, 3, 2, 1)
    affine = truth.astype(np.float32) / 127.5 - 1
    cases = {"affine": affine, "mean_subtracted": subtracted, "unit": truth / 255, "uint8": truth}
    for encoding, values in cases.items():
        for axes, order in ORDERS.items():
            path = save_h5(tmp_path / f"{encoding}{axes}.h5", x=values.transpose(order)[:100])
            images = inspect_images(path)["images"]
            assert (images["encoding"], images["axes"]) == (encoding, axes)
            if encoding != "mean_subtracted":
                off = open_images(path).read(0, 100).astype(int) - truth[:100]
                assert np.abs(off).max() <= 1
    half = inspect_images(save_h5(tmp_path / "half.h5", x=affine.astype(np.float16)))["images"]
    assert half["encoding"] == "affine"
