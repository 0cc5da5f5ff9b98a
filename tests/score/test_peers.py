import numpy as np
import pytest
import torch

pytest.importorskip("torchmetrics")

from tvhelpers.score.metrics import inception_score
from tvhelpers.score.peers import torchmetrics_inception_score


def test_one_split_of_torchmetrics_is_our_plain_estimate_and_ten_are_like_ours():
    probs = np.random.default_rng(0).dirichlet(np.full(20, 0.1), 200)
    details = inception_score(probs).details
    before = torch.random.get_rng_state()
    one, ten = (torchmetrics_inception_score(probs, splits) for splits in (1, 10))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one[0] == pytest.approx(details["plug_in"], rel=1e-5)
    assert ten[0] == pytest.approx(details["ten_split_mean"], abs=2 * details["ten_split_std"])
    assert ten == torchmetrics_inception_score(probs, 10)
