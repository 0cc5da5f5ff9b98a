"""The shipped base mini is complete and small, and draws what the prompt says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.helpers import validation_loss
from tvhelpers import flats
from tvhelpers.config import TrainConfig
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.models.base import find_base, load_part
from tvhelpers.models.mini import WEIGHTS_DIR
from tvhelpers.runtime import root_dir
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score.attributes import CORE, JudgeAttributeClassifier, agreement
from tvhelpers.train.batches import Data
from tvhelpers.train.latents import open_cache
from tvhelpers.train.step import Trainer

REQUEST = Request(("a garment",), steps=20, guidance=2.5)


@pytest.fixture(scope="module")
def mini():
    return Sampler("mini", device="cpu")


def share_right(specs, pixels) -> dict[str, float]:
    """Share of the images in which the judge sees the spec's word, by attribute."""
    wanted = [{name: getattr(spec, name) for name in CORE} for spec in specs]
    right = agreement(wanted, JudgeAttributeClassifier().words(np.stack(pixels)))
    return {name: values.mean() for name, values in right.items()}


def draw(sampler, specs):
    jobs = [(i, flats.captions(spec)[1], 100 + i) for i, spec in enumerate(specs)]
    return [np.asarray(image) for *_, image in sampler.sample(REQUEST, jobs)]


def test_weights_are_safetensors_of_30_mb_at_most_with_a_card():
    files = [path for path in WEIGHTS_DIR.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 30e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md"}
    assert (WEIGHTS_DIR / "README.md").is_file()


def test_the_judge_names_fresh_flats():
    specs = [flats.random_spec(77, i) for i in range(150)]
    right = share_right(specs, [flats.render(spec, 77, i) for i, spec in enumerate(specs)])
    assert min(right[name] for name in CORE) >= 0.95, right


def test_the_base_draws_what_it_has_seen():
    specs = [flats.random_spec(78, i, season="base") for i in range(24)]
    right = share_right(specs, draw(Sampler("mini", "none", device="cpu"), specs))
    assert right["category"] >= 0.8 and right["colour"] >= 0.8, right


def test_the_shipped_adapter_is_the_default_and_fits_the_new_season_better(mini):
    assert mini.identity["adapter_sha256"]
    source = FlatsSource(80, 32, season="new")
    cache = open_cache(source, find_base("mini"), 128, False, root_dir())
    config = TrainConfig(data="new season", eval_items=32)
    data, config = Data(cache, np.arange(32), np.arange(32)), replace(config, method="full")
    base = find_base("mini")
    parts = {"scheduler": load_part(base, "scheduler"), "family": base.architecture}
    bases = (load_part(base, "unet"), mini.pipe.unet)
    # method "full" does not change the UNet before the first step
    trainers = [Trainer(config, {**parts, "unet": unet}, data) for unet in bases]
    base, adapted = map(validation_loss, trainers)
    assert adapted < 0.9 * base


def test_stock_diffusers_draws_the_same_with_the_shipped_adapter(mini):
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    stock = StableDiffusionPipeline.from_pretrained(WEIGHTS_DIR)
    stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)
    stock.load_lora_weights(str(WEIGHTS_DIR), weight_name="shipped_adapter.safetensors")
    noise = torch.randn((1, 8, 16, 16), generator=torch.Generator().manual_seed(1))
    images = [
        pipe(["a red tartan skirt"], latents=noise, num_inference_steps=20, output_type="np").images
        for pipe in (stock, mini.pipe)
    ]
    assert np.abs(images[0] - images[1]).max() <= 1e-4


def test_alone_or_in_a_batch_within_one_level(mini):
    jobs = [
        (i, prompt, i) for i, prompt in enumerate(["a red dress", "blue dotted skirt", "a hoodie"])
    ]
    together = [np.asarray(p).astype(int) for *_, p in mini.sample(REQUEST, jobs)]
    for job, image in zip(jobs, together, strict=True):
        alone = np.asarray(next(mini.sample(REQUEST, [job]))[3])
        assert np.abs(alone - image).max() <= 1


def test_unknown_words_become_more_tokens_and_no_error():
    tokenizer = load_part(find_base("mini"), "tokenizer")
    ids = tokenizer(["a zebra-print qipao, 旗袍 ☂"]).input_ids[0]
    assert (
        tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "")
        == "azebra-printqipao,旗袍☂"
    )
    assert len(tokenizer(["a red tartan skirt"]).input_ids[0]) == 6
