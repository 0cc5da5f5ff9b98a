"""What the tests of training share."""

import pytest


@pytest.fixture
def settings(tiny_base, photo_folder):
    """Settings of a training of seconds."""
    return {
        "base": str(tiny_base), "data": str(photo_folder), "steps": 12, "batch_size": 4, "rank": 2,
        "eval_items": 4, "eval_steps": 6, "checkpoint_steps": 5, "device": "cpu", "held_out": 0.2,
    }  # fmt: skip
