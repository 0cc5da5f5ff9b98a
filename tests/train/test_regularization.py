"""Regularization images take their exact share of each step, and are drawn equally often."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tests.train.helpers import command, in_two_processes, same, stop_at
from tvhelpers import flats
from tvhelpers.config import build_config
from tvhelpers.data.items import GARMENT
from tvhelpers.models.base import find_base
from tvhelpers.models.vocabulary import read_vocabulary
from tvhelpers.progress import Interrupted
from tvhelpers.sample import own_images
from tvhelpers.train.dry_run import dry_run, in_lines
from tvhelpers.train.log import read_evaluations, read_steps
from tvhelpers.train.regularization import class_prompts
from tvhelpers.train.trainer import train


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """A folder of 5 images with captions, of which two are a skirt."""
    folder = tmp_path_factory.mktemp("others")
    captions = ["a coat", "a red skirt", "Skirts, blue", "a shirt dress", "something green"]
    for i, caption in enumerate(captions):
        Image.fromarray(flats.render(flats.random_spec(9, i), 9, i, 64)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(caption)
    return folder


def masked(cache):
    """Return a cache in which the middle of each image is the garment."""
    regions = np.zeros((len(cache.moments[0]), 8, 8), np.uint8)
    regions[:, 2:5, 2:5] = GARMENT
    return replace(cache, regions=(regions,))


def entries_of(batches, moments) -> list[int]:
    """Return the cache entries whose moments a batch holds."""
    all_moments = torch.tensor(batches.data.cache.moments[0]).float()
    return [int((all_moments == one).all(3).all(2).all(1).nonzero()[0, 0]) for one in moments]


@pytest.mark.parametrize("share", [0.25, 0.3, 0.05])
def test_each_source_has_its_exact_share_and_draws_its_items_equally_often(
    make_trainer, others, share
):
    how = {"regularization_weight": 0.5, "regularization_share": share, "batch_size": 5}
    trainer = make_trainer(regularization=str(others), **how)
    mixed, exact, drawn, new = trainer.samples, Fraction(str(share)), [], []
    for step in range(60):
        # as two processes take it, in micro-batches
        parts = [mixed.of_step(step, part) for part in (range(2), range(2, 4), range(4, 5))]
        whole = mixed.of_step(step, range(5))
        for name, column in vars(whole).items():
            pieces = [vars(part)[name] for part in parts]
            assert pieces[0] is column is None or torch.equal(torch.cat(pieces), column)
        is_old = whole.weights == 0.5
        assert (whole.weights[~is_old] == 1).all()
        new += entries_of(mixed.batches, whole.moments[~is_old])
        drawn += entries_of(mixed.regularization, whole.moments[is_old])
        assert len(drawn) == (step + 1) * 5 * exact // 1 == mixed.drawn_before(step + 1)
    counts = Counter(drawn), Counter(new)
    for count, entries in zip(counts, (range(10), trainer.batches.entries), strict=True):
        assert {*count} <= {*entries}
        assert max(count.values()) - min(count[entry] for entry in entries) <= 1


def test_regularization_images_of_weight_0_change_no_gradient(make_trainer, others):
    trainer = make_trainer(regularization=str(others), regularization_weight=0.0)
    trainer._gradients()
    mixed = [weight.grad.clone() for weight in trainer.model.weights]
    trainer.update.optimizer.zero_grad()
    new = trainer.samples.of_step(0, range(3))  # of 4, a quarter of which is regularization
    (trainer.losses(new).sum() / 4).backward()
    for weight, seen in zip(trainer.model.weights, mixed, strict=True):
        torch.testing.assert_close(seen, weight.grad, atol=1e-8, rtol=1e-5)
    assert any(seen.any() for seen in mixed)


def test_without_masks_a_regularization_image_counts_whole(make_trainer, others):
    weights = {"garment_weight": 0.5, "background_weight": 0.1, "min_snr_gamma": 0}
    trainer = make_trainer(masked, regularization=str(others), batch_size=8, **weights)
    batch = trainer.samples.of_step(0, range(8))
    whole = replace(batch, regions=None)
    with torch.no_grad():
        seen, expected = trainer.losses(batch), trainer.losses(whole)
    assert (seen[:6] != expected[:6]).all()
    torch.testing.assert_close(seen[6:], expected[6:])


def test_a_step_of_sdxl_has_sizes_and_pooled_vectors_of_both(
    make_trainer, settings, others, tiny_sdxl
):
    trainer = make_trainer(base=str(tiny_sdxl), regularization=str(others))
    batch = trainer.samples.of_step(0, range(4))
    assert batch.sizes.tolist() == [[64, 64, 0, 0, 64, 64]] * 4 and len(batch.pooled) == 4
    assert trainer.train_step()["loss"] > 0


def test_stopped_or_with_two_processes_the_steps_are_the_same(settings, others, tmp_path):
    settings = settings | {"regularization": str(others), "regularization_share": 0.3}
    settings |= {"accumulate": 2, "batch_size": 2}
    whole, stopped, both = (tmp_path / name for name in ("whole", "stopped", "both"))
    train(build_config(**settings), whole)
    with pytest.raises(Interrupted):
        train(build_config(**settings), stopped, preview=stop_at(6))
    train(build_config(**settings), stopped)
    assert same(whole, stopped) and same(whole, stopped, "eval.jsonl")
    assert all(row["regularization_loss"] > 0 for row in read_evaluations(whole))
    in_two_processes(command(settings, both), [tmp_path / "screen-0", tmp_path / "screen-1"])
    for a, b in zip(read_steps(whole), read_steps(both), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    with refused("another-request"):
        train(build_config(**settings | {"regularization": ""}), whole)


def test_a_base_draws_its_own_images_once(settings, tmp_path, monkeypatch, caplog):
    settings = settings | {"regularization": "own:3", "steps": 2}
    config = build_config(**settings)
    found = dry_run(config, tmp_path / "run", root=tmp_path)
    assert found["items"]["regularization"] == found["to_draw"] == 3
    assert "3 for regularization" in " ".join(in_lines(found)) and not [*tmp_path.iterdir()]
    with refused("own-images-missing"):
        train(config, tmp_path / "run", root=tmp_path)
    calls = []

    def draw(*request):
        calls.append(request)
        own_images.draw_own(*request)

    for name in ("run", "again"):
        train(config, tmp_path / name, root=tmp_path, draw_own=draw)
    assert same(tmp_path / "run", tmp_path / "again") and len(calls) == 1
    _, prompts, seeds, _, folder = calls[0]
    assert len({*seeds}) == len([*folder.glob("*_*.png")]) == 3 and "drawn in" in caplog.text
    assert all(prompt.startswith(("a ", "an ")) or prompt.endswith("s") for prompt in prompts)
    assert dry_run(config, tmp_path / "more", root=tmp_path)["to_draw"] == 0


def test_prompts_are_of_the_garments_that_captions_name():
    captions = ["red dresses", "a Dress", "a jumpsuit, green", "blue trousers", "a shirt", "cloth"]
    prompts = class_prompts(captions)
    assert prompts == ["a dress", "a jumpsuit", "trousers", "a shirt"]
    known = read_vocabulary(find_base("mini"), False)  # which a new garment must not be mixed up by
    assert class_prompts(["a belt", "a red dress"], known) == ["a dress"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"regularization": "own:0"}, "out-of-range"),
        ({"regularization": "own:"}, "out-of-range"),
        ({"regularization": "own:-3"}, "out-of-range"),
        ({"regularization_share": 0.0}, "out-of-range"),
        ({"regularization_share": 1.0}, "out-of-range"),
        ({"regularization_share": float("nan")}, "out-of-range"),
        ({"regularization_weight": -1.0}, "out-of-range"),
        ({"regularization": "flats", "method": "baseline"}, "not-for-method"),
        ({"regularization": "flats", "fit": "bucket"}, "regularization-in-buckets"),
    ],
)
def test_wrong_settings_are_refused(changes, code):
    with refused(code):
        build_config(**changes)


def test_images_that_cannot_be_used_are_refused_before_anything_is_written(
    settings, others, tmp_path
):
    bare, empty, tested = (tmp_path / name for name in ("bare", "empty", "tested"))
    for folder in (bare, empty, tested):
        folder.mkdir()
    for folder in (bare, tested):
        (folder / "1.png").write_bytes((others / "1.png").read_bytes())
    (tested / "metadata.csv").write_text("file_name,caption,split\n1.png,a coat,test\n")
    wordless = tmp_path / "wordless"
    wordless.mkdir()
    lines = ["file_name,caption,product"]
    for i in range(4):
        (wordless / f"{i}.png").write_bytes((others / f"{i}.png").read_bytes())
        lines.append(f"{i}.png,something nice,{i}")
    (wordless / "metadata.csv").write_text("\n".join(lines))
    for changes, code in (
        ({"regularization": str(bare)}, "no-caption"),
        ({"regularization": str(empty)}, "no-images"),
        ({"regularization": str(tmp_path / "gone")}, "file-missing"),
        ({"regularization": str(tested)}, "too-few-items"),
        ({"regularization": settings["data"]}, "regularization-is-data"),
        ({"regularization": "own:2", "data": str(wordless)}, "no-class-words"),
    ):
        with refused(code):
            train(build_config(**settings | changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()
