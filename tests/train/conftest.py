"""Shared by the tests of training: quick settings, one latent cache, one finished run."""

import pytest

from tvhelpers.config import build_config
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.models.base import find_base, load_part
from tvhelpers.runtime import choose_dtype, root_dir
from tvhelpers.train import latents
from tvhelpers.train.batches import Data
from tvhelpers.train.distributed import Processes
from tvhelpers.train.model import noise_schedule
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train


@pytest.fixture(scope="session")
def settings(tiny_base, photo_folder):
    """Settings of a training that takes seconds."""
    return {
        "base": str(tiny_base), "data": str(photo_folder), "steps": 12, "batch_size": 4, "rank": 2,
        "eval_items": 4, "eval_steps": 6, "checkpoint_steps": 5, "device": "cpu", "held_out": 0.2,
        "flip": True, "warmup_steps": 20, "keep": "last",
    }  # fmt: skip


@pytest.fixture(scope="session")
def cache_root(tmp_path_factory):
    """A folder whose artifacts/ are shared by all tests of training."""
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(autouse=True)
def shared_root(own_root, cache_root, monkeypatch):
    """Find the latent caches of earlier tests."""
    monkeypatch.setenv("TV_ROOT", str(cache_root))


@pytest.fixture(scope="session")
def whole(settings, cache_root):
    """The folder of one finished training with `settings`, only to read."""
    train(build_config(**settings), cache_root / "whole", root=cache_root)
    return cache_root / "whole"


@pytest.fixture
def make_trainer(settings):
    """Return a function that builds a Trainer with changed settings."""

    def make(change_cache=lambda cache: cache, **changes) -> Trainer:
        config = build_config(**{**settings, **changes})
        source, base = open_source(config.data), find_base(config.base)
        cache = latents.open_cache(source, base, 64, config.flip, root_dir(), fit=config.fit)
        cache = change_cache(cache)
        parts = {"unet": load_part(base, "unet"), "scheduler": noise_schedule(base, config)}
        parts["family"] = base.architecture
        if config.text_rank or cache.embeds is None:
            parts |= {part: load_part(base, part) for part in base.architecture.text_encoders}
        data, processes = Data(cache, *split_items(source, config)), Processes(config.device)
        if config.regularization:
            other = open_source(config.regularization)
            data.regularization = latents.open_cache(other, base, 64, config.flip, root_dir())
        dtype, _ = choose_dtype(config.dtype, config.device)
        return Trainer(config, parts, data, dtype, processes)

    return make


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that makes `change(trainer, losses)` change the losses of each step."""
    honest = Trainer.losses

    def install(change):
        def spoilt(self, batch, plain=False):
            losses = honest(self, batch, plain)
            return losses if plain else change(self, losses)  # plain: an evaluation

        monkeypatch.setattr(Trainer, "losses", spoilt)

    return install
