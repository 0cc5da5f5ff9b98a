"""Stores of images: what they hold is told, or said to be unknown; hands overrule."""

import io
import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.helpers import refused
from tvhelpers import cli, flats
from tvhelpers.config import InputError
from tvhelpers.data.detect import format_report
from tvhelpers.data.h5 import inspect_images, open_images
from tvhelpers.data.sources import open_source
from tvhelpers.image import read_photo, resize

COUNT = 64
ORDERS = {"HWC": (0, 1, 2, 3), "WHC": (0, 2, 1, 3), "CHW": (0, 3, 1, 2), "CWH": (0, 3, 2, 1)}


@pytest.fixture(scope="module")
def drawn():
    """Flats, uint8 (COUNT, 128, 128, 3)."""
    return np.stack([flats.render(flats.random_spec(8, i), 8, i) for i in range(COUNT)])


@pytest.fixture(scope="module")
def photographed(shared):
    """Real photos, uint8 (COUNT, 128, 128, 3)."""
    paths = sorted((shared / "data" / "clothing" / "images").rglob("*.jpg"))
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, COUNT).astype(int)]
    return np.stack([resize(read_photo(path), 128) for path in chosen])


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """Return (folder, true pixels) of 200 real photos in the benchmark's layout."""
    tool = shared / "tools" / "make_g2_fixture.py"
    out = tmp_path_factory.mktemp("real")
    command = [sys.executable, str(tool), str(out), "--count", "200", "--truth"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out, np.stack([np.asarray(Image.open(p)) for p in sorted((out / "truth").iterdir())])


def save(path, values=None, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in ({"x": values} if values is not None else arrays).items():
            file[name] = array
    return path


def subtracted(pixels):
    unit = pixels.astype(np.float32) / 255
    return unit - unit.mean(0)


def stretched(pixels):
    low, high = (f(pixels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return ((pixels - low) / (high - low)).astype(np.float32)


def wrapped(pixels):
    return (subtracted(pixels) * 255).astype(np.int64).astype(np.uint8)


@pytest.mark.parametrize("kind", ["drawn", "photographed"])
def test_what_is_lost_is_said_and_not_passed_on(kind, request, tmp_path):
    pixels = request.getfixturevalue(kind)
    for encoding, change in {"minmax": stretched, "wrapped": wrapped}.items():
        for axes in ("HWC", "CWH"):
            path = save(tmp_path / "x.h5", change(pixels).transpose(ORDERS[axes]))
            report = inspect_images(path)
            assert (report["images"]["encoding"], report["images"]["axes"]) == (encoding, axes)
            assert any("lost" in fault for fault in report["faults"])
    with refused("file-damaged"):
        open_images(path)
    assert np.array_equal(open_images(path, "uint8")[0], wrapped(pixels)[0])
    as_bytes = np.rint(stretched(pixels) * 255).astype(np.uint8)
    path = save(tmp_path / "x.h5", as_bytes)
    assert inspect_images(path)["images"]["encoding"] == "minmax"
    with pytest.warns(UserWarning, match="stretched"):
        assert np.array_equal(open_images(path)[3], as_bytes[3])


def test_red_and_blue_are_told_by_walls_and_floors(photographed, drawn, tmp_path):
    for name, pixels in {"RGB": photographed, "BGR": photographed[..., ::-1]}.items():
        for axes, order in ORDERS.items():
            path = save(tmp_path / "x.h5", pixels.transpose(order))
            assert inspect_images(path)["images"]["channels"] == name
            assert np.array_equal(open_images(path, axes=axes)[5], photographed[5])
    path = save(tmp_path / "x.h5", drawn[..., ::-1])
    assert inspect_images(path)["images"]["channels"] == "unknown"
    assert np.array_equal(open_images(path, channels="BGR")[5], drawn[5])


def test_noise_is_undecided(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    images = inspect_images(save(tmp_path / "x.h5", noise))["images"]
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
    assert inspect_images(save(tmp_path / "x.h5", pixels))["images"]["encoding"] == "uint8"


def test_npy_and_npz_are_read_like_h5(drawn, tmp_path):
    values = (drawn / np.float32(127.5) - 1).transpose(ORDERS["CHW"])
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", pictures=values, labels=np.arange(COUNT))
    for name, key in (("a.npy", "array"), ("a.npz", "pictures")):
        images = inspect_images(tmp_path / name)["images"]
        assert (images["key"], images["encoding"], images["axes"]) == (key, "affine", "CHW")
        with pytest.warns(UserWarning, match="captions are empty"):
            source = open_source(tmp_path / name)
        assert np.array_equal(source.pixels(7), drawn[7]) and len(source) == COUNT


def test_npz_that_lies(tmp_path):
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 3, 512, 512)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with refused("too-large"):
        inspect_images(tmp_path / "huge.npz")
    (tmp_path / "text.npz").write_bytes(b"no archive")
    np.save(tmp_path / "header.npy", np.zeros((4, 8, 8, 3), np.uint8))
    header = (tmp_path / "header.npy").read_bytes().replace(b"3), }", b"3 (  ")
    (tmp_path / "header.npy").write_bytes(header)  # numpy raises tokenize.TokenError
    np.save(tmp_path / "objects.npy", np.array([{}, 3], object), allow_pickle=True)
    for name in ("text.npz", "objects.npy"):
        with refused("file-damaged"):
            inspect_images(tmp_path / name)


def test_a_mean_image_from_another_file(drawn, tmp_path):
    path = save(tmp_path / "x.h5", subtracted(drawn).transpose(ORDERS["CWH"]))
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


def test_faults_of_single_images(drawn, tmp_path):
    pixels = drawn.copy()
    pixels[5] = 200
    pixels[9] = 120 + pixels[9] // 16
    pixels[11, 20:110, 20:110] = 255
    pixels[30] = np.clip(pixels[7].astype(int) + 1, 0, 255)
    path = save(tmp_path / "x.h5", pixels)
    faults = " ".join(inspect_images(path)["faults"])
    for kind, number in (
        ("flat", 5),
        ("low dynamic range", 9),
        ("clipped", 11),
        ("near-duplicate", 30),
    ):
        assert f"({kind}): {number}" in faults


def test_faults_of_all_images(tmp_path, drawn):
    pixels = np.repeat(drawn, 5, 0)
    pixels[2] = 0  # 320 images, of which 256 are looked at
    path = save(tmp_path / "x.h5", pixels)
    assert any("(flat): 2" in fault for fault in inspect_images(path, all_rows=True)["faults"])


def test_inspect_from_the_command_line(drawn, tmp_path, capsys):
    path = save(tmp_path / "x.h5", drawn)
    command = ["data", "inspect", str(path), "--picture", str(tmp_path / "look.png"), "--json"]
    assert cli.main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"]["encoding"] == "uint8" and report["faults"] == []
    with Image.open(tmp_path / "look.png") as picture:
        assert picture.width > picture.height
    assert cli.main(["data", "inspect", str(path), "--axes", "sideways"]) == 2
    assert "auto, CWH" in capsys.readouterr().err


# ------------------------------------------------------------------ the benchmark's own layout


def test_real_photos_within_one_level(real):
    folder, truth = real
    images = open_images(folder)
    assert np.abs(images.read(0, len(images)).astype(int) - truth).max() <= 1
    report = inspect_images(folder)
    assert report["images"]["encoding"] == "mean_subtracted" and report["faults"] == []


def test_encodings_of_real_photos_are_told(real, tmp_path):
    """No encoding and no order of the axes is taken for another, whatever the keys are called."""
    folder, truth = real
    with h5py.File(folder / "Img" / "G2.h5") as file:
        subtracted = file["ih"][:].transpose(0, 3, 2, 1)
    affine = truth.astype(np.float32) / 127.5 - 1
    cases = {"affine": affine, "mean_subtracted": subtracted, "unit": truth / 255, "uint8": truth}
    for encoding, values in cases.items():
        for axes, order in ORDERS.items():
            path = save(tmp_path / f"{encoding}{axes}.h5", x=values.transpose(order)[:100])
            images = inspect_images(path)["images"]
            assert (images["encoding"], images["axes"]) == (encoding, axes)
            if encoding != "mean_subtracted":
                off = open_images(path).read(0, 100).astype(int) - truth[:100]
                assert np.abs(off).max() <= 1
    half = inspect_images(save(tmp_path / "half.h5", x=affine.astype(np.float16)))["images"]
    assert half["encoding"] == "affine"


def test_affine_file_with_a_mean_image_beside_it(g2, pixels, tmp_path):
    with h5py.File(g2) as file:
        mean = file["ih_mean"][:]
    affine = (pixels / np.float32(127.5) - 1).transpose(0, 3, 2, 1)
    path = save(tmp_path / "a.h5", ih=affine, ih_mean=mean)
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
        path = save(tmp_path / "G2.h5", ih=file["ih"][:])
    report = inspect_images(path)
    assert report["images"]["encoding"] == "mean_subtracted"
    assert report["images"]["needs"] == "ih_mean"
    assert any("ih_mean" in fault for fault in report["faults"])
    assert "FAULT" in format_report(report)
    with refused("mean-missing"):
        open_images(path)


def test_rows_with_nan_are_named(g2, tmp_path):
    with h5py.File(g2) as file:
        ih, mean = file["ih"][:], file["ih_mean"][:]
    ih[7, 0, 3, 3] = np.nan
    path = save(tmp_path / "G2.h5", ih=ih, ih_mean=mean)
    assert any("7" in fault and "NaN" in fault for fault in inspect_images(path)["faults"])
    with pytest.warns(UserWarning, match="NaN"):
        images = open_images(path)
    with refused("file-damaged") as caught:
        images.read(0, 16)
    assert "row 7" in str(caught.value)


def test_bad_files(g2, tmp_path):
    whole = g2.read_bytes()
    cases = {
        "missing.h5": (None, "file-missing"),
        "empty.h5": (b"", "file-damaged"),
        "cut.h5": (whole[: len(whole) // 2], "file-damaged"),
        "text.h5": (b"file_name,caption\n" * 99, "another-format"),
    }
    for name, (content, code) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with refused(code):
            inspect_images(tmp_path / name)
    labels = save(tmp_path / "labels.h5", b_=np.zeros((4, 1, 8, 8)), names=np.arange(3))
    with refused("no-images"):
        inspect_images(labels)
    with refused("no-images"):
        inspect_images(tmp_path)


@pytest.mark.filterwarnings("ignore")  # of faults that a flip makes
def test_damaged_headers_are_named_or_harmless(g2, tmp_path):
    whole = np.frombuffer(g2.read_bytes(), np.uint8)
    rng, num_refused = np.random.default_rng(0), 0
    for k in range(60):
        broken = whole.copy()
        broken[rng.integers(0, 2048, 8)] = rng.integers(0, 256, 8)
        path = tmp_path / f"{k}.h5"
        broken.tofile(path)
        try:
            images = open_images(path)
            assert images[0].dtype == np.uint8 and images[0].ndim == 3
        except InputError:
            num_refused += 1
        path.unlink()
    assert num_refused > 10
