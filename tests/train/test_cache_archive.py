"""A latent cache that took long is encoded once, whatever machine comes next."""

import shutil

import pytest

from tvhelpers.data.sources import open_source
from tvhelpers.models.base import find_base
from tvhelpers.train import cache_archive, latents


@pytest.fixture
def open_tiny(colab, tiny_base, photo_folder, monkeypatch):
    """A function that opens a cache of small photos on this machine, with a mirror on a Drive."""
    monkeypatch.setattr(cache_archive, "WORTH", 0)
    colab.mount(colab.mountpoint)

    def open_(resolution=64):
        source, base = open_source(str(photo_folder)), find_base(str(tiny_base))
        mirror = str(colab.drive_dir / "runs")
        return latents.open_cache(source, base, resolution, False, colab.work, mirror=mirror)

    return open_


def content(cache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.folder.iterdir()}


def test_a_new_machine_unpacks_the_cache_that_another_encoded(open_tiny, colab, monkeypatch):
    made = content(open_tiny())
    (archive,) = (colab.drive_dir / "runs").iterdir()
    shutil.rmtree(colab.work)
    with monkeypatch.context() as patch:
        patch.setattr(latents, "_build", None)
        assert content(open_tiny()) == made
    shutil.rmtree(colab.work)
    archive.write_bytes(archive.read_bytes()[:-5000])  # half sent
    assert content(open_tiny()) == made  # encoded again


def test_only_what_took_long_and_has_room_is_kept_and_old_ones_go(open_tiny, colab, monkeypatch):
    folder = colab.drive_dir / "runs"
    monkeypatch.setattr(cache_archive, "WORTH", 60)
    open_tiny(32)
    assert not folder.exists()
    monkeypatch.setattr(cache_archive, "WORTH", 0)
    monkeypatch.setattr(cache_archive, "KEPT", 1)
    colab.free = 10
    open_tiny(48)
    assert not [*folder.iterdir()]
    colab.free = None
    for resolution in (64, 80):
        open_tiny(resolution)
    assert len([*folder.iterdir()]) == 1 and [size for _, size in colab.trash] == [0]
