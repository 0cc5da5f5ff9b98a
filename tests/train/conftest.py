"""What the tests of training share."""

import pytest
import torch

from tvhelpers.config import build_config
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.models.base import find_base, load_part
from tvhelpers.runtime import root_dir
from tvhelpers.train import latents
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import noise_schedule


@pytest.fixture
def settings(tiny_base, photo_folder):
    """Settings of a training of seconds."""
    return {
        "base": str(tiny_base), "data": str(photo_folder), "steps": 12, "batch_size": 4, "rank": 2,
        "eval_items": 4, "eval_steps": 6, "checkpoint_steps": 5, "device": "cpu", "held_out": 0.2,
    }  # fmt: skip


@pytest.fixture
def make_trainer(settings):
    """Return a function that builds a Trainer with changed settings."""

    def make(change_cache=lambda cache: cache, **changes) -> Trainer:
        config = build_config(**{**settings, **changes})
        source, base = open_source(config.data), find_base(config.base)
        cache = latents.open_cache(source, base, 64, config.flip, root_dir())
        items, held_out = split_items(source, config)
        unet, scheduler = load_part(base, "unet"), noise_schedule(base, config)
        cache = change_cache(cache)
        needs_text = config.text_rank or cache.embeds is None
        text_encoder = load_part(base, "text_encoder") if needs_text else None
        data, where = (cache, items, held_out), ("cpu", torch.float32, None, text_encoder)
        return Trainer(config, unet, scheduler, *data, *where)

    return make
