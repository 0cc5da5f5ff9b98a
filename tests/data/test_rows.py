"""Rows become captions and labels."""

import warnings

import pytest
from PIL import Image

from tvhelpers.data.sources import open_source


def test_captions_made_from_labels_beside_a_title_are_said(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    rows = "file_name,title,category\na.png,a linen dress for summer,dress\n"
    (tmp_path / "metadata.csv").write_text(rows)
    with pytest.warns(UserWarning, match=r"1 of 1 item without a caption.*caption=title"):
        assert open_source(str(tmp_path)).captions == ["a photo of a dress"]


def test_labels_of_several_words_are_no_better_captions(tmp_path):
    (tmp_path / "Hats & Caps").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "Hats & Caps" / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_source(str(tmp_path)).captions == ["a photo of Hats & Caps"]
