"""The losses of mini's parts."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipes.mini.losses import caption_fits, token_loss
from tvhelpers import flats
from tvhelpers.train.clip_tuning import soft_cross_entropy


def test_a_caption_fits_all_that_have_what_it_says():
    items = [("red", "dress", "long"), ("red", "dress", "short"), ("blue", "dress", "long")]
    codes = torch.tensor(
        np.stack([np.unique(v, return_inverse=True)[1] for v in zip(*items, strict=True)], 1)
    )
    said = torch.tensor([[True, True, False], [True, True, True], [False, True, False]])
    assert caption_fits(codes, said).tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 1]]


def test_every_caption_fits_its_own_flat():
    for i in range(50):
        spec = flats.random_spec(3, i)
        for text, stated in flats.phrasings(spec):
            assert set(stated) <= set(flats.ATTRIBUTES) and "category" in stated, text


def test_soft_cross_entropy_is_the_ordinary_one_for_one_partner():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    ordinary = F.cross_entropy(logits, torch.arange(4))
    torch.testing.assert_close(soft_cross_entropy(logits, torch.eye(4)), ordinary)
    both = torch.tensor([[1.0, 1.0, 0.0]])
    equal, one = torch.tensor([[9.0, 9.0, -9.0]]), torch.tensor([[18.0, 0.0, -9.0]])
    assert soft_cross_entropy(equal, both) < soft_cross_entropy(one, both)


def test_token_loss_falls_when_states_are_their_own_embeddings():
    class Text(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.embeddings, self.scale = nn.Module(), scale
            self.embeddings.token_embedding = nn.Embedding.from_pretrained(torch.eye(9))

        def forward(self, input_ids, attention_mask):
            states = self.scale * self.embeddings.token_embedding(input_ids)
            return type("Output", (), {"last_hidden_state": states})

    ids = torch.tensor([[1, 2, 3, 0]])
    mask = torch.tensor([[1, 1, 1, 0]])
    losses = [token_loss(Text(s), {"input_ids": ids, "attention_mask": mask}) for s in (0.0, 9.0)]
    assert losses[0] == pytest.approx(np.log(9)) and losses[1] < 0.01
