"""What metrics need: computed once, when it is asked for; a CLIP that did not draw the images."""

import pytest
import torch

from tests.helpers import refused
from tvhelpers.models.clip import Clip
from tvhelpers.score.needs import NEEDS, Needs, refuse_own_clip


def test_a_need_is_computed_once_and_when_it_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setitem(NEEDS, "mine", lambda needs: asked.append(needs))
    needs = Needs(folder=None, networks=None)
    assert not asked
    assert needs["mine"] is None and needs["mine"] is None and asked == [needs]


def test_a_generator_is_not_judged_by_its_own_clip():
    clip = Clip("mini")
    with refused("own-clip"):
        refuse_own_clip(clip, "mini")
    with torch.no_grad():
        clip.model.text_model.embeddings.token_embedding.weight.mul_(-1)
    refuse_own_clip(clip, "mini")
    with pytest.warns(UserWarning, match="was not found"):
        refuse_own_clip(clip, "another")
