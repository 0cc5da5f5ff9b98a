"""A training of a part of mini that was stopped resumes bit for bit."""

import os
import signal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipes.mini.fit import FitConfig, fit
from recipes.mini.train import time_limit
from tvhelpers.progress import Interrupted

DATA = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))


class Small(nn.Module):
    """A small model to train."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 6)


def loss_of(model, indices, generator, progress):
    noise = torch.randn((len(indices), 6), generator=generator)
    return F.mse_loss(model.layer(DATA[indices] + 0.1 * noise), DATA[indices])


@pytest.mark.parametrize("stop", [1, 7])
def test_a_stopped_training_resumes_bit_for_bit(tmp_path, stop):
    config = FitConfig(steps=12, batch_size=5, learning_rate=1e-2, checkpoint_minutes=0)
    whole = fit(Small(), loss_of, len(DATA), config, tmp_path / "whole")

    def stopping(model, indices, generator, progress):
        if progress * config.steps == pytest.approx(stop):
            raise KeyboardInterrupt
        return loss_of(model, indices, generator, progress)

    with pytest.raises(KeyboardInterrupt):
        fit(Small(), stopping, len(DATA), config, tmp_path / "broken")
    broken = fit(Small(), loss_of, len(DATA), config, tmp_path / "broken")
    assert torch.equal(whole.layer.weight, broken.layer.weight)
    assert not torch.equal(whole.layer.weight, Small().layer.weight)


def test_a_part_whose_time_is_over_stops_with_a_checkpoint(tmp_path):
    config = FitConfig(steps=12, batch_size=5, learning_rate=1e-2)  # no checkpoint is due
    whole = fit(Small(), loss_of, len(DATA), config, tmp_path / "whole")
    steps = []

    def asked(model, indices, generator, progress):
        steps.append(progress)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(model, indices, generator, progress)

    with pytest.raises(Interrupted, match="step 4 of 12"):
        fit(Small(), asked, len(DATA), config, tmp_path / "broken")
    broken = fit(Small(), asked, len(DATA), config, tmp_path / "broken")
    assert torch.equal(whole.layer.weight, broken.layer.weight) and len(steps) == 12


def test_a_time_limit_stops_the_work_and_leaves_no_handler():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), time_limit(0.05):
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before
    with time_limit(0):
        assert signal.getsignal(signal.SIGTERM) is before
