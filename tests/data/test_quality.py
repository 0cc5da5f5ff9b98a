"""Quality issues of single images are found."""

import numpy as np

from tests.data.helpers import save_h5
from tvhelpers.data.h5 import inspect_images


def test_issues_of_single_images(drawn, tmp_path):
    pixels = drawn.copy()
    pixels[5] = 200
    pixels[9] = 120 + pixels[9] // 16
    pixels[11, 20:110, 20:110] = 255
    pixels[30] = np.clip(pixels[7].astype(int) + 1, 0, 255)
    path = save_h5(tmp_path / "x.h5", pixels)
    issues = " ".join(inspect_images(path)["faults"])
    for kind, number in (
        ("flat", 5),
        ("low dynamic range", 9),
        ("clipped", 11),
        ("near-duplicate", 30),
    ):
        assert f"({kind}): image number {number};" in issues


def test_issues_of_all_images(tmp_path, drawn):
    pixels = np.repeat(drawn, 5, 0)
    pixels[2] = 0  # 320 images, of which 256 are looked at
    path = save_h5(tmp_path / "x.h5", pixels)
    issues = inspect_images(path, all_rows=True)["faults"]
    assert any("(flat): image number 2;" in issue for issue in issues)
