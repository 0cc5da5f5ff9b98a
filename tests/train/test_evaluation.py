"""The validation loss is the same for all seeds, and in batches of any size."""

import numpy as np
import pytest
import torch

from tests.train.helpers import validation_loss
from tvhelpers.train.evaluation import (
    BATCH,
    DRAWS,
    evaluate,
    item_losses,
    training_subset,
    trial_items,
)


def test_runs_to_compare_hold_the_same_items_out(make_trainer):
    one, other = make_trainer(seed=0), make_trainer(seed=1)
    assert np.array_equal(one.data.validation_items, other.data.validation_items)
    assert validation_loss(one) == pytest.approx(validation_loss(other), rel=1e-6)
    third = make_trainer(split_seed=1)
    assert not np.array_equal(one.data.validation_items, third.data.validation_items)


def test_an_evaluation_in_smaller_parts_is_the_same(make_trainer):
    trainer, sizes = make_trainer(batch_size=16), []
    items, honest = training_subset(trainer), trainer.model.predict
    losses = item_losses(trainer, items)
    trainer.model.predict = lambda noisy, *rest: sizes.append(len(noisy)) or honest(noisy, *rest)
    trainer.micro_batch = 1
    parts = item_losses(trainer, np.resize(items, 6))
    assert sizes == [4, 2]
    torch.testing.assert_close(parts[: len(losses)], losses)


def test_an_evaluation_tells_the_gap_and_where_the_loss_is(make_trainer):
    trainer = make_trainer(method="full", learning_rate=2e-3, warmup_steps=0, steps=40, flip=False)
    items, validation = training_subset(trainer), trainer.data.validation_items
    trainer.batches.draw_from(items)
    first = evaluate(trainer)
    assert len(items) == len(validation) == 4 and not {*items} & {*validation}
    for _ in range(40):
        trainer.train_step()
    last = evaluate(trainer)
    assert last["training_slice_loss"] < first["training_slice_loss"]
    late = trainer.batches.fixed_timesteps(validation) >= 750
    late = item_losses(trainer, validation)[late]
    assert last["by_timestep"][3] == (pytest.approx(late.mean().item()) if len(late) else None)


def test_few_items_get_several_noises_where_the_loss_chooses_the_adapter(make_trainer):
    trainer = make_trainer(keep="best")
    items = trainer.data.validation_items
    each = item_losses(trainer, np.tile(items, DRAWS // len(items))).reshape(-1, len(items))
    assert len({*each[:, 0].tolist()}) == DRAWS // len(items) > 1  # no two noises are the same
    assert evaluate(trainer)["validation_loss"] == pytest.approx(each.mean().item())
    tiled = np.tile(items, DRAWS // len(items))
    fixed = trainer.batches.fixed(tiled, np.arange(len(tiled)))
    assert torch.equal(trainer.batches.fixed_timesteps(tiled), fixed.timesteps)
    alone = make_trainer(keep="last")
    assert len(trial_items(trainer)) == BATCH and len(trial_items(alone)) == len(items)
    assert evaluate(alone)["validation_loss"] == pytest.approx(each[0].mean().item())
