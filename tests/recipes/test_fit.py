"""A training of a part of mini that was stopped resumes bit for bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipes.mini.fit import FitConfig, fit

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
