"""Arrays in files that are damaged, or contradict their headers, are reported."""

import io
import math
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from tests.data.helpers import save_h5
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data import arrays, detect
from tvhelpers.data.h5 import inspect_images, open_images
from tvhelpers.errors import InputError


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
    labels = save_h5(tmp_path / "labels.h5", b_=np.zeros((4, 1, 8, 8)), names=np.arange(3))
    with refused("no-images"):
        inspect_images(labels)
    with refused("no-images"):
        inspect_images(tmp_path)
    arrays = {"names": np.arange(3), "photos": np.zeros((4, 8, 8, 3), np.uint8)}
    with refused("no-images") as caught:
        open_images(save_h5(tmp_path / "two.h5", **arrays), key="names")
    assert "arrays: 'photos (4, 8, 8, 3)', 'names" in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # of issues that a flipped byte makes
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


def packed(path, shape, dtype="u1"):
    """Write an .h5 of zeros whose only chunk is small on the disk, and grows when it is read."""
    packer, size = zlib.compressobj(9), math.prod(shape) * np.dtype(dtype).itemsize
    parts = [packer.compress(bytes(min(1 << 24, size - i))) for i in range(0, size, 1 << 24)]
    with h5py.File(path, "w") as file:
        data = file.create_dataset("pixels", shape, dtype, chunks=shape, compression="gzip")
        data.id.write_direct_chunk((0,) * len(shape), b"".join([*parts, packer.flush()]))
    return path


def test_bombs_are_refused_in_little_memory(tmp_path):
    packed(tmp_path / "rows.h5", (2100, 300, 300, 3))  # 567 MB in one piece
    packed(tmp_path / "image.h5", (1, 4800, 4800, 3))
    head = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (2100, 300, 300, 3)}
    np.lib.format.write_array_header_1_0(head, about)
    values = head.getvalue() + bytes(2100 * 300 * 300 * 3)
    with zipfile.ZipFile(tmp_path / "rows.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", values)
    for name in ("rows.h5", "image.h5", "rows.npz"):
        assert (tmp_path / name).stat().st_size < 1 << 20
        tracemalloc.start()
        with refused("too-large"):
            inspect_images(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
        tracemalloc.stop()


def test_large_images_are_detected_from_few_rows(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), np.uint8)
    path = save_h5(tmp_path / "x.h5", pixels)
    monkeypatch.setattr(arrays, "MAX_ROW", 2 * pixels[0].size)
    monkeypatch.setattr(detect, "SAMPLE_ROWS", 8)
    monkeypatch.setattr(detect, "AIM", pixels[0].size)
    assert inspect_images(path)["images"]["rows_sampled"] == 2


def test_a_file_of_many_arrays_is_cut(tmp_path, capsys):
    for name, images in (("labels.h5", {}), ("x.h5", {"pixels": np.zeros((4, 8, 8, 3), np.uint8)})):
        save_h5(tmp_path / name, **{f"a {i}": np.zeros((2, 2)) for i in range(3000)}, **images)
    assert cli.main(["data", "inspect", str(tmp_path / "labels.h5")]) == 2
    assert len(capsys.readouterr().err) < 400
    for more in ([], ["--json"]):
        assert cli.main(["data", "inspect", str(tmp_path / "x.h5"), *more]) == 0
        said = capsys.readouterr().out
        assert "pixels" in said and "3,001 arrays" in said and len(said) < 12_000
