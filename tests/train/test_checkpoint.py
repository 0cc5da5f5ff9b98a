"""The newest intact checkpoint is used, and a mirror is kept up to date."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers import refused
from tests.train.helpers import ADAPTER, same, stop_at
from tvhelpers.config import build_config
from tvhelpers.errors import one_line
from tvhelpers.progress import Interrupted
from tvhelpers.train import checkpoint
from tvhelpers.train.checkpoint import (
    Mirror,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from tvhelpers.train.trainer import train


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


def test_a_full_disk_is_named_although_torch_hides_it():
    with pytest.raises(OSError) as caught:
        checkpoint._write(Path("/dev/full"), {"weights": [torch.zeros(10**6)]})
    assert one_line(caught.value) == "disk full"


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
    (tmp_path / ".writing-killed_1").mkdir()
    (tmp_path / "step-0000001-best.pt").touch()  # a user's own
    with pytest.warns(UserWarning, match="damaged"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, 6, {"step": 6}, keep=1)
    assert load_checkpoint(tmp_path)["step"] == 6 and len(list(tmp_path.iterdir())) == 2
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001-best.pt"]


def test_a_new_machine_resumes_from_the_mirror(settings, whole, tmp_path, caplog):
    config = build_config(**settings, mirror=str(tmp_path / "drive"))
    run = tmp_path / "here" / "run"
    with pytest.raises(Interrupted):
        train(config, run, preview=stop_at(6))
    copies = list((tmp_path / "drive" / "run" / "checkpoints").iterdir())
    assert [path.name[:12] for path in copies] == ["step-0000006"]
    shutil.rmtree(run)
    train(config, run)
    assert "restored from the mirror" in caplog.text
    for name in (ADAPTER, "log.jsonl", "eval.jsonl"):
        assert same(run, whole, name) and same(run, tmp_path / "drive" / "run", name)
    with refused("another-request"):
        other = {**settings, "rank": 3, "mirror": str(tmp_path / "drive")}
        train(build_config(**other), tmp_path / "new" / "run")


def test_a_mirror_that_is_gone_is_said_once_and_tried_again(settings, tmp_path, caplog):
    drive = tmp_path / "drive"
    drive.write_text("not a folder")

    def come_back(step, unet):
        if step == 12:
            drive.unlink()

    config = build_config(**settings, mirror=str(drive))
    train(config, tmp_path / "run", preview=come_back)
    assert caplog.text.count("training continues without") == 1
    assert "can be written again" in caplog.text
    assert same(drive / "run", tmp_path / "run")


def test_a_mirror_that_came_back_too_late_gets_the_result_from_the_same_command(settings, tmp_path):
    drive, run = tmp_path / "drive", tmp_path / "run"
    drive.write_text("not a folder")
    config = build_config(**{**settings, "steps": 1, "method": "full"}, mirror=str(drive))
    train(config, run)
    drive.unlink()
    order, honest = [], checkpoint.copy_checked

    def copy(source, target):
        order.append(source.name)
        honest(source, target)

    with pytest.MonkeyPatch.context() as watched:
        watched.setattr(checkpoint, "copy_checked", copy)
        train(config, run)
        first, order[:] = order[:], []
        train(config, run)
    assert first.index("model_index.json") < first.index("result.json") and order == []
    assert (drive / "run" / "pipeline" / "unet" / "config.json").exists()


def test_a_drive_gets_what_fits_and_its_trash_stays_empty(colab, tmp_path, caplog):
    colab.mount(colab.mountpoint)
    run, mirror = tmp_path / "run", Mirror(colab.drive_dir, tmp_path / "run")
    for step in (1, 2, 3):
        save_checkpoint(run / "checkpoints", step, {"step": step, "noise": torch.rand(1000)})
        mirror.update()
        (kept,) = (mirror.folder / "checkpoints").iterdir()
        assert kept.name.startswith(f"step-000000{step}") and checkpoint.is_intact(kept)
    assert len(colab.trash) == 2 and sum(size for _, size in colab.trash) == 0
    colab.free = 100
    save_checkpoint(run / "checkpoints", 4, {"step": 4, "noise": torch.rand(1000)})
    mirror.update()
    assert "disk full" in caplog.text and [*(mirror.folder / "checkpoints").iterdir()] == [kept]


@pytest.mark.parametrize("folder", ["", "run", "run/copy"])
def test_a_mirror_in_the_run_folder_is_refused(tmp_path, folder):
    with refused("folder-taken"):
        Mirror(tmp_path / folder, tmp_path / "run")
