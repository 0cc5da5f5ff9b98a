"""What metrics need: a CLIP that is no judge of its own pictures."""

import pytest
import torch

from tests.helpers import refused
from tvhelpers.models.clip import Clip
from tvhelpers.score.needs import refuse_own_clip


def test_a_generator_is_not_judged_by_its_own_clip():
    clip = Clip("mini")
    with refused("own-clip"):
        refuse_own_clip(clip, "mini")
    with torch.no_grad():
        clip.model.text_model.embeddings.token_embedding.weight.mul_(-1)
    refuse_own_clip(clip, "mini")
    with pytest.warns(UserWarning, match="not at hand"):
        refuse_own_clip(clip, "another")
