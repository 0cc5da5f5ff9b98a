"""Rows become captions and labels."""

import pytest
from PIL import Image

from tvhelpers.data.sources import open_source


def test_captions_made_from_labels_beside_a_title_are_said(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    rows = "file_name,title,category\na.png,a linen dress for summer,dress\n"
    (tmp_path / "metadata.csv").write_text(rows)
    with pytest.warns(UserWarning, match=r"1 of 1 item without a caption.*caption=title"):
        assert open_source(str(tmp_path)).captions == ["a photo of a dress"]
