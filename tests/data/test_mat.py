"""A .mat file that would crash scipy is refused before scipy reads it."""

import numpy as np
import pytest
from scipy.io import savemat

from tests.helpers import refused
from tvhelpers.data.mat import read_mat


@pytest.mark.parametrize(("place", "bits"), [(145, 8), (192, 11)])
def test_a_mat_that_would_crash_scipy(tmp_path, place, bits):
    """Flagged as complex, without an imaginary part; data of the type of an array."""
    savemat(tmp_path / "ind.mat", {"train_ind": np.arange(1, 5)[:, None].astype(np.int32)})
    data = bytearray((tmp_path / "ind.mat").read_bytes())
    assert data[192] == 5  # the tag of the data: int32
    data[place] ^= bits
    (tmp_path / "ind.mat").write_bytes(data)
    with refused("file-damaged") as caught:
        read_mat(tmp_path / "ind.mat", ("train_ind",))
    assert "an array of class" in str(caught.value)  # ours, not scipy's
