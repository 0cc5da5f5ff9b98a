"""A batch has items in order or by weight, with or without caption, and no validation items."""

import numpy as np
import torch

from tvhelpers.data.sources import open_source


def test_caption_dropout_takes_its_share(make_trainer):
    batches = make_trainer(caption_dropout=0.3, batch_size=100).batches
    empty = torch.tensor(batches.texts[0])  # the empty prompt's states
    seen = [(batches.of_step(step, range(100)).text == empty).all(2).all(1) for step in range(10)]
    assert 0.25 < torch.cat(seen).float().mean() < 0.35


def test_the_baseline_never_sees_a_caption(make_trainer):
    baseline = make_trainer(method="baseline")
    full = make_trainer(method="full")
    empty = torch.tensor(baseline.batches.texts[0])
    captioned, empty_prompts = (
        t.batches.fixed(t.batches.entries[:4], range(4)) for t in (full, baseline)
    )
    assert (empty_prompts.text == empty).all() and not (captioned.text == empty).any(2).all(1).any()
    assert not torch.equal(full.losses(captioned), full.losses(empty_prompts))


def test_the_validation_products_are_never_trained_on(make_trainer):
    trainer = make_trainer()
    source = open_source(trainer.config.data)
    products = {source.product_ids[i] for i in trainer.data.validation_items}
    entries = trainer.batches.entries % trainer.data.cache.num_items
    trained = {source.product_ids[entry] for entry in entries}
    assert products and trained and not products & trained


def test_items_are_drawn_by_their_weights(make_trainer):
    plain, weighted = make_trainer().batches, make_trainer().batches
    num_items, num_entries = plain.data.cache.num_items, len(plain.entries)
    weighted.data.weights = np.arange(num_items, dtype=float)
    weighted.draw_from(weighted.entries)
    (epochs,) = weighted.order.buckets
    order = np.array([epochs[i] for i in range(50 * num_entries)])
    drawn = np.bincount(order, minlength=2 * num_items)[weighted.entries]
    expected = weighted.data.weights[weighted.entries % num_items]
    expected *= 50 * num_entries / expected.sum()
    assert np.abs(drawn - expected).max() <= 50  # an epoch rounds by less than one
    assert np.abs(drawn - expected).mean() < 5
    assert drawn[weighted.entries % num_items == 0].sum() == 0
    assert [epochs[i] for i in (300, 7)] == [order[300], order[7]]  # of position alone
    weighted.data.weights = np.ones(num_items)
    weighted.draw_from(weighted.entries)
    equal, each = weighted.order.buckets[0], plain.order.buckets[0]
    assert sorted(map(int, (equal[i] for i in range(num_entries)))) == sorted(
        each[i] for i in range(num_entries)
    )
