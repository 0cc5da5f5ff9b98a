"""Experiments: the table, the items of arms, and a whole one on a tiny base."""

import errno
import itertools
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.items import REGIONS
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.experiments import measure, run, summary
from tvhelpers.experiments.items import FORMS, RIGHT, Arranged, Items, parts_of, write_items
from tvhelpers.experiments.measure import suite_rows
from tvhelpers.experiments.noise import simple_noise_scale
from tvhelpers.experiments.rows import Arm, Experiment, Scale, experiments, find_scale
from tvhelpers.records import read_record
from tvhelpers.train.clip_settings import ClipTuning

BEYOND = ("1,000 images",)  # the paper's own size takes more image-steps than the limit
SCALE = Scale(
    "tiny", test=4, selection=4, images=4, seeds=(1, 2, 3), steps=1, image_steps=99, most_items=0,
    most_epochs=0, clip={},
    train={"batch_size": 2, "steps": 2, "eval_steps": 0, "eval_items": 2, "rank": 2},
)  # fmt: skip


@pytest.mark.parametrize("name", experiments())
def test_each_arm_is_a_training_within_the_limit(name):
    experiment, mini = experiments()[name], find_scale("mini")
    assert experiment.against in [arm.name for arm in experiment.arms]
    for arm in experiment.arms:
        how, _ = Items(**arm.items), ClipTuning(**(arm.clip or {}))
        assert how.form in FORMS
        config = mini.config(arm, base="mini", data="flats", seed=1)
        if arm.name not in BEYOND:
            assert run.image_steps(config, how.count or 1000) <= 1.1 * mini.image_steps


def test_all_experiments_together_are_at_most_90_runs():
    different = {
        str((arm.train, arm.clip, arm.items))
        for one in experiments().values()
        for arm in one.arms
        if arm.train is not None
    }
    assert len(different) * len(find_scale("mini").seeds) <= 90


def test_the_parts_of_a_source_share_no_product_and_sizes_are_nested():
    source = FlatsSource(3, 60)
    source.product_ids = [f"p{i // 2}" for i in range(60)]
    parts = parts_of(source, 10, 8)
    products = [{source.product_ids[i] for i in part} for part in parts.values()]
    assert sum(map(len, parts.values())) == 60
    assert sum(map(len, products)) == len(set().union(*products))
    few, more = (Arranged(source, parts["train"], Items(count=n)).item_ids for n in (5, 20))
    assert more[:5] == few
    with refused("too-few-items"):
        Arranged(source, parts["train"], Items(count=50))
    with refused("too-few-items"):
        parts_of(source, 50, 10)


def test_stored_images_are_read_in_six_ways(tmp_path):
    source, numbers = FlatsSource(3, 12), [*range(12)]
    arranged = {form: Arranged(source, numbers, Items(form=form)) for form in FORMS}
    assert all(one.size(0) == one.pixels(0).shape[:2] for one in arranged.values())
    read = {form: one.pixels(0) for form, one in arranged.items()}
    right = source.pixels(0)
    assert np.array_equal(read[RIGHT], right)
    assert np.array_equal(read["axes not turned"], right.swapaxes(0, 1))
    assert np.array_equal(read["red and blue exchanged"], right[..., ::-1])
    assert len({image.tobytes() for image in read.values()}) == len(FORMS)
    stored = right / 255 - np.mean([source.pixels(i) for i in numbers], 0) / 255
    assert np.array_equal(read["affine"], ((stored + 1) / 2 * 255).round().astype(np.uint8))
    folder = write_items(source, numbers, Items(mirrored=True, alone=True), tmp_path)
    opened = open_source(folder)
    assert len(opened) == 24 == len({*opened.product_ids})
    assert np.array_equal(opened.pixels(12), right[:, ::-1])
    assert write_items(source, numbers, Items(mirrored=True, alone=True), tmp_path) == folder


def test_intervals_over_seeds_and_paired_differences():
    rows = [
        {"arm": arm, "seed": seed, "figures": {"loss": seed + gain, "share:x": None}}
        for arm, gain in (("a", 0.0), ("b", 0.5))
        for seed in (1, 2, 3)
    ]
    found = summary.summarised(rows, "a")
    low, high = found["arms"]["a"]["loss"]["ci"]  # t of 2 degrees of freedom: 4.303
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    gain = found["differences"]["b"]["loss"]
    assert gain["values"] == [0.5] * 3 and gain["ci"] == [0.5, 0.5]
    assert summary.over_seeds([1.0, 2.0])["ci"] is None


def test_sentences_say_what_is_clear_of_0_and_no_more():
    names = ("test_loss", "gap", "state_mb")
    values = {"a": (1.0, 9.0, 20_000), "b": (2.0, 1.0, 1000), "c": (1.1, 5.0, 20_000)}
    rows = [
        {"arm": arm, "seed": seed, "figures": dict(zip(names, found, strict=True))}
        for arm, found in values.items()
        for seed in (1, 2, 3)
    ]
    for i, row in enumerate(rows):
        row["figures"]["test_loss"] += 0.1 * (i % 4)
    about = {"against": "a", "figures": [*names], "seeds": [1, 2, 3], "base": "mini", "data": "d"}
    result = {**about, "title": "", "claim": "", "scale": "s", **summary.summarised(rows, "a")}
    text = " ".join(summary.sentences(result))
    assert "b: test loss" in text and ") worse." in text and "0.2 differences" in text
    assert "b: gap -8, state (MiB) -1.9e+04; c: gap -4." in text
    assert "2 differences are not clear of 0" in text
    assert summary.table(result)[1][2:] == ["9", "20,000"]  # one value, no interval of width 0


def test_epochs_end_with_their_items():
    assert measure._epoch_ends(12, 18 / 8) == [2, 4, 7, 9, 11]
    assert measure._epoch_ends(25, 5) == [*range(5, 26, 5)] and not measure._epoch_ends(3, 43 / 8)


def test_the_noise_scale_is_that_of_known_gradients():
    torch.manual_seed(0)
    mean = torch.full((4000,), 0.1, dtype=torch.float64)  # |G|^2 = 40, tr(S) of a sample = 4000
    batches = [(mean + torch.randn(8, 4000, dtype=torch.float64)).mean(0) for _ in range(16)]
    assert simple_noise_scale(batches, 8) == pytest.approx(100, rel=0.15)
    assert simple_noise_scale([mean, -mean], 8) == float("inf")


def test_a_prompt_asks_for_what_its_caption_states():
    source = FlatsSource(3, 40, season="new")
    rows = suite_rows(source, 40, 1, set())
    checked = [{one["expect"] for one in row["atoms"]} for row in rows]  # stable name
    for found, labels, caption in zip(checked, source.attributes, source.captions, strict=True):
        words = [labels[name] for name in ("category", "colour", "pattern")]
        stated = {word for word in words if f" {word} " in f" {caption} "}
        assert stated <= found or words[0] not in stated
    assert sum(map(bool, checked)) >= 30


@pytest.fixture(scope="module")
def experiment():
    masked = Arm("masked", {"background_weight": 0.2}, items={"masked": True})
    whole = Arm("all", {"method": "full", "prediction": "v_prediction"})  # as mini predicts
    arms = (Arm("base", train=None), Arm("adapter"), whole, masked)
    return Experiment("tiny", "Which?", "A claim.", "base", ("test_loss", "noise_scale"), arms)


def test_a_whole_experiment_is_opened_when_it_is_run_again(
    experiment, tiny_base, photo_folder, tmp_path, monkeypatch
):
    bench = run.Bench(tmp_path / "out", str(tiny_base), str(photo_folder), SCALE)
    first = run.run_experiment(experiment, bench)
    losses = {arm: row["test_loss"] for arm, row in first["arms"].items()}
    assert losses["base"]["ci"][0] == losses["base"]["ci"][1]  # no seed changes it
    for trained in ("adapter", "all", "masked"):
        assert len({*losses[trained]["values"]}) == 3
    assert not {*losses["adapter"]["values"]} & {*losses["masked"]["values"]}
    assert all(np.isfinite(first["arms"]["all"]["noise_scale"]["values"]))
    full = first["arms"]["all"]["trained_weights"]["mean"]
    assert first["arms"]["adapter"]["trained_weights"]["mean"] < full / 4
    stored = read_record(tmp_path / "out" / "tiny.json", "experiment")
    assert summary.in_lines(stored) and stored["rows"] == first["rows"]
    monkeypatch.setattr(run, "train", None)
    assert run.run_experiment(experiment, replace(bench)) == first
    moved = str(shutil.copytree(tiny_base, tmp_path / "moved"))
    again = run.run_experiment(experiment, replace(bench, base=moved))
    assert again == first | {"base": "moved (folder)"}


def test_a_full_disk_is_one_sentence_and_the_same_call_resumes(
    experiment, tiny_base, photo_folder, tmp_path, monkeypatch
):
    fsync = os.fsync
    few = replace(experiment, arms=experiment.arms[1:3])
    first, broken = (
        run.Bench(tmp_path / name, str(tiny_base), str(photo_folder), replace(SCALE, seeds=(1,)))
        for name in "ab"
    )
    whole, refusals = run.run_experiment(few, first), 0

    def full(handle):
        if not next(room):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    for files in range(5, 99, 4):  # so many are written before the disk is full
        room = itertools.chain(range(files, -1, -1), itertools.repeat(0))
        try:
            found = run.run_experiment(few, replace(broken))
            break
        except InputError as error:
            assert error.code == "disk-full" and str(tmp_path / "b") in str(error)
            refusals += 1
    assert refusals > 3
    for row in (*found["rows"], *whole["rows"]):
        del row["curves"]["measured"]  # memory
    assert found == whole


def test_too_few_items_are_refused_before_anything_is_trained(experiment, tmp_path):
    bench = run.Bench(tmp_path / "out", "mini", "flats", replace(SCALE, most_items=0))
    many = Arm("many", items={"count": len(bench.parts["train"]) + 1})
    with refused("too-few-items"):
        run.run_experiment(replace(experiment, arms=(*experiment.arms, many)), bench)
    assert not [*(tmp_path / "out").iterdir()]


def test_test_items_without_a_caption_are_counted(tmp_path, caplog):
    few, none = (run.Bench(tmp_path, "mini", "flats", SCALE) for _ in range(2))
    source = FlatsSource(3, 40)
    vars(few)["source"] = vars(none)["source"] = source
    test = parts_of(source, 4, 4)["test"]
    source.captions[test[0]] = " "
    assert few.parts["test"] == test and "3 of 4 test items" in caplog.text
    source.captions = [""] * 40
    with refused("no-caption"):
        none.parts  # noqa: B018


def test_what_cannot_be_run_is_refused(tmp_path, capsys):
    assert cli.main(["experiment", "method", "--out", str(tmp_path / "a")]) == 2
    assert "did you mean 'methods'" in capsys.readouterr().err
    with refused("unknown-choice"):
        find_scale("huge")
    assert not (tmp_path / "a").exists()


def test_masks_of_items_are_a_column_of_images(tmp_path):
    source = Arranged(FlatsSource(3, 4), [0, 1, 2, 3], Items(masked=True))
    folder = write_items(source.source, [0, 1, 2, 3], Items(masked=True), tmp_path)
    opened = open_source(folder)
    for i in range(4):
        assert np.array_equal(opened.regions(i), source.regions(i)) and not opened.skipped
        assert 0.1 < opened.mask(i).mean() < 0.8
        assert (opened.pixels(i)[~opened.mask(i)] == 255).all()
    mask = folder / "masks" / "000001.png"
    Image.new("L", (128, 128), 128).save(mask)
    changed = open_source(folder)
    assert (changed.regions(1) == REGIONS.index("skin")).all()
    assert changed.fingerprint != opened.fingerprint
    Image.new("L", (32, 32)).save(mask)
    with refused("mask-unfit"):
        open_source(folder).regions(1)
    mask.unlink()
    with refused("file-missing"):
        open_source(folder)
    table = folder / "metadata.jsonl"
    table.write_text(table.read_text().replace("masks/000001.png", ""))
    with refused("mask-missing"):
        open_source(folder)


def test_recaptioning_says_the_labels(tmp_path):
    source = FlatsSource(3, 12)
    plain = Arranged(source, [*range(12)], Items(captions="category"))
    said = Arranged(source, [*range(12)], Items(captions="recaptioned"))
    for labels, before, after in zip(said.attributes, plain.captions, said.captions, strict=True):
        assert labels["colour"] not in before and labels["colour"] in after
