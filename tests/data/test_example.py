"""G2.h5: right decodes, wrong ones detected, bad files named."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.config import InputError
from tvhelpers.data.detect import format_report
from tvhelpers.data.example import write_g2
from tvhelpers.data.h5 import inspect_images, open_images
from tvhelpers.data.items import GARMENT

COUNT = 96


@pytest.fixture(scope="module")
def pixels():
    """Flats, all different: uint8 (COUNT, 128, 128, 3)."""
    return np.stack([flats.render(flats.random_spec(5, i), 5, i) for i in range(COUNT)])


@pytest.fixture(scope="module")
def g2(pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("g2")
    words = ["dress", "tee"] * (COUNT // 2)
    return write_g2(folder, iter(pixels), ["a garment."] * COUNT, words, ["red"] * COUNT)


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """Return (folder, true pixels) of 200 real photos in the benchmark's layout."""
    tool = shared / "tools" / "make_g2_fixture.py"
    out = tmp_path_factory.mktemp("real")
    command = [sys.executable, str(tool), str(out), "--count", "200", "--truth"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out, np.stack([np.asarray(Image.open(p)) for p in sorted((out / "truth").iterdir())])


def save(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def test_round_trip(g2, pixels):
    assert np.array_equal(open_images(g2).read(0, COUNT), pixels)
    with h5py.File(g2) as file:
        layout = {name: (data.shape, str(data.dtype)) for name, data in file.items()}
    assert layout == {
        "ih": ((COUNT, 3, 128, 128), "float32"),
        "ih_mean": ((3, 128, 128), "float32"),
        "b_": ((COUNT, 1, 128, 128), "float32"),
    }


def test_mask_is_upright_and_on_the_garment(g2, pixels):
    images = open_images(g2)
    dark = np.abs(pixels[3].astype(int) - 255).max(-1) > 60
    mask = images.regions(3) == GARMENT
    assert mask.shape == (128, 128) and mask.dtype == bool
    assert (mask & dark).sum() / (mask | dark).sum() > 0.9


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
    orders = {"HWC": (0, 1, 2, 3), "WHC": (0, 2, 1, 3), "CHW": (0, 3, 1, 2), "CWH": (0, 3, 2, 1)}
    for encoding, values in cases.items():
        for axes, order in orders.items():
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
    assert np.array_equal(open_images(path).read(0, COUNT), pixels)
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
    with refused("damaged") as caught:
        images.read(0, 16)
    assert "row 7" in str(caught.value)


def test_bad_files(g2, tmp_path):
    whole = g2.read_bytes()
    cases = {
        "missing.h5": (None, "file-missing"),
        "empty.h5": (b"", "damaged"),
        "cut.h5": (whole[: len(whole) // 2], "damaged"),
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
    rng, refused = np.random.default_rng(0), 0
    for k in range(60):
        broken = whole.copy()
        broken[rng.integers(0, 2048, 8)] = rng.integers(0, 256, 8)
        path = tmp_path / f"{k}.h5"
        broken.tofile(path)
        try:
            images = open_images(path)
            assert images[0].dtype == np.uint8 and images[0].ndim == 3
        except InputError:
            refused += 1
        path.unlink()
    assert refused > 10


def test_writer_refuses(g2, pixels, tmp_path):
    ok = (["a", "b"], ["tee", "tee"], [1, 2])
    with refused("file-exists"):
        write_g2(g2.parents[1], pixels[:2], *ok)
    with refused("unknown-choice"):
        write_g2(tmp_path, pixels[:2], ["a", "b"], ["tee", "trousers"], [1, 2])
    with refused("count-differs"):
        write_g2(tmp_path, pixels[:1], *ok)
    with refused("wrong-type"):
        write_g2(tmp_path, pixels[:3], *ok)
    assert not list(tmp_path.rglob("*.h5"))
