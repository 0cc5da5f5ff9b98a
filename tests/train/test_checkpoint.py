import pytest
import torch

from tvhelpers.train.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip_keeps_the_newest(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(
            tmp_path, step, {"step": step, "weights": [torch.full((3,), float(step))]}, keep=2
        )
    assert load_checkpoint(tmp_path)["weights"][0].tolist() == [3.0, 3.0, 3.0]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    newest = save_checkpoint(tmp_path, 2, {"step": 2, "weights": [torch.zeros(1000)]})
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with pytest.warns(UserWarning, match="damaged"):
        assert load_checkpoint(tmp_path)["step"] == 1


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    def full_disk(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, 1, {"step": 1})
    assert load_checkpoint(tmp_path) is None and not list(tmp_path.iterdir())


def test_a_damaged_one_does_not_push_good_ones_out(tmp_path):
    save_checkpoint(tmp_path, 5, {"step": 5})
    save_checkpoint(tmp_path, 9, {"step": 9}).write_bytes(b"damaged")
    (tmp_path / ".writing-killed").mkdir()
    with pytest.warns(UserWarning, match="damaged"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, 6, {"step": 6}, keep=1)
    assert load_checkpoint(tmp_path)["step"] == 6 and len(list(tmp_path.iterdir())) == 1
