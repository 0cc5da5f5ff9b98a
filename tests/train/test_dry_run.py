"""A dry run says what the training then does, and writes nothing."""

import errno

import pytest

from tests.helpers import refused
from tests.train.helpers import stop_at
from tvhelpers.config import build_config
from tvhelpers.progress import Interrupted
from tvhelpers.train import disk, latents, trainer
from tvhelpers.train.dry_run import dry_run, in_lines
from tvhelpers.train.memory import GB
from tvhelpers.train.trainer import train


def tree(folder):
    """Return the size and the time of every file of a folder."""
    rows = [(path, path.stat()) for path in folder.rglob("*")]
    return {path: (about.st_size, about.st_mtime_ns) for path, about in rows}


def size_of(paths):
    return sum(path.stat().st_size for path in paths) / GB


def test_a_dry_run_agrees_with_the_training_and_writes_nothing(settings, tmp_path):
    config = build_config(**settings | {"keep": "best"})
    run, root = tmp_path / "run", tmp_path / "root"
    first = dry_run(config, run, root=root)
    assert tree(tmp_path) == {}
    assert sum(first["minutes"].values()) > first["minutes"]["cache"] > 0
    with pytest.raises(Interrupted):
        train(config, run, root=root, preview=stop_at(6))
    (cache,) = (root / "artifacts").glob("cache-*")
    assert first["disk"]["cache_gb"] == pytest.approx(size_of(cache.glob("*.npy")), rel=0.2)
    (shape,) = first["shapes"]
    opened = latents.read_cache(cache)
    assert shape["image"] == [opened.about["resolution"]] * 2 and shape["batch"] == 4
    assert shape["latents"] == [*opened.latent_shape(0)]
    *_, newest = sorted(run.glob("checkpoints/*.pt"))
    each = first["disk"]["checkpoints_gb"] / (config.keep_checkpoints + 1)
    assert size_of([newest]) / 3 < each < 3 * size_of([newest])

    before = tree(tmp_path)
    middle = dry_run(config, run, root=root)
    assert tree(tmp_path) == before
    assert middle["resumes_at"] == 6
    assert not middle["minutes"]["cache"] and not middle["disk"]["cache_gb"]  # it is there
    assert "resumes at step 6" in " ".join(in_lines(middle))

    result = train(config, run, root=root)
    snapshots = size_of(run.glob("snapshots/*"))
    assert first["disk"]["snapshots_gb"] / 3 <= snapshots <= 3 * first["disk"]["snapshots_gb"]
    assert first["steps"] == result["steps"] and first["finished"] is False
    assert first["items"] == {"training": result["num_items"], "validation": result["num_held_out"]}
    adapters = size_of(run.glob("adapter*.safetensors"))
    assert first["disk"]["result_gb"] / 3 < adapters < 3 * first["disk"]["result_gb"]
    assert dry_run(config, run, root=root)["finished"]


def test_a_dry_run_of_a_mirrored_training_finds_where_it_resumes(settings, tmp_path):
    config = build_config(**settings, mirror=str(tmp_path / "drive"))
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", preview=stop_at(6))
    (tmp_path / "run").rename(tmp_path / "lost")
    assert dry_run(config, tmp_path / "run")["resumes_at"] == 6
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes", [{"method": "full"}, {"method": "baseline", "classes": "category"}, {"dora": True}]
)
def test_a_dry_run_knows_all_kinds_of_training(settings, tmp_path, changes):
    data = {"data": "flats", "limit": 24, "resolution": 64}
    found = dry_run(
        build_config(**{**settings, **data, **changes}), tmp_path / "run", root=tmp_path
    )
    assert found["memory"]["predicted_gb"] > 0 and found["disk"]["result_gb"] > 0
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small_is_said_before_a_training(
    settings, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(disk, "_free", lambda path: 2**18)
    config = build_config(**settings | {"epochs": 0, "steps": 1})
    train(config, tmp_path / "run", root=tmp_path)
    found = in_lines(dry_run(config, tmp_path / "new", root=tmp_path))
    lines = [line.removeprefix("warning: ") for line in found if "is too small" in line]
    assert len(lines) == 1 and [x for x in caplog.messages if "is too small" in x] == lines


def test_a_full_disk_at_the_end_is_said_with_the_step_to_resume_at(settings, tmp_path, monkeypatch):
    config = build_config(**settings | {"epochs": 0, "steps": 2, "checkpoint_steps": 1})
    with monkeypatch.context() as full:
        full.setattr(trainer, "_save_adapter", lambda *_: raise_full())
        with refused("disk-full") as caught:
            train(config, tmp_path / "run")
    assert str(caught.value).endswith("at step 2")
    assert train(config, tmp_path / "run")["steps"] == 2


def raise_full():
    raise OSError(errno.ENOSPC, "No space left on device")
