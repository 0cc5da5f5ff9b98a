"""What networks know: photographs are no drawings, and nobody praises mud."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests.score.report_helpers import scored
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.image import read_photo
from tvhelpers.score import features
from tvhelpers.score.looks import Look, duplicates, flattered, looks_drawn, misfit


def mud(rng, side=64):
    """A brown smear with the noise of a camera."""
    smear = ndimage.gaussian_filter(rng.normal(0, 1, (side, side, 1)), (6, 6, 0))
    levels = np.array([110, 80, 55]) + 12 * smear / smear.std() + rng.normal(0, 3, (side, side, 3))
    return np.clip(levels, 0, 255).astype(np.uint8)


def cut_out(rng):
    """A shaded grey blob with a soft edge on white, as a photo for a catalogue."""
    y, x = (np.mgrid[:128, :128] - 64) / 128
    inside = ndimage.gaussian_filter(((x / 0.3) ** 2 + (y / 0.4) ** 2 < 1).astype(float), 1)
    levels = 150 + 60 * x + 20 * y + rng.normal(0, 4, (128, 128))
    return np.repeat((levels * inside + 255 * (1 - inside))[..., None], 3, 2).astype(np.uint8)


def folder(path, images):
    path.mkdir()
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(path / f"{i:03}.png")
    return path


def test_flats_are_drawings_and_nothing_else_is():
    rng, flats = np.random.default_rng(0), FlatsSource(31, 60)
    assert np.mean([looks_drawn(flats.pixels(i)) for i in range(60)]) >= 0.95
    others = [mud(rng), cut_out(rng), rng.integers(0, 256, (64, 64, 3), np.uint8),
              np.full((40, 40, 3), 255, np.uint8), np.zeros((9, 9, 3), np.uint8)]  # fmt: skip
    assert not any(map(looks_drawn, others))


def test_clothing_photos_are_no_drawings(shared):
    files = sorted((shared / "data" / "clothing" / "images").rglob("*.jpg"))[::60]
    assert np.mean([looks_drawn(read_photo(file)) for file in files]) <= 0.01


def test_a_network_refuses_or_marks_what_it_does_not_know():
    drawn, photos, unsure = Look("a", 39, 40), Look("b", 0, 40), Look("c", 25, 40)
    judge, inception = features.JudgeClassifier, features.InceptionClassifier
    judge = type("judge", (), {"knows": judge.knows, "name": "mini judge"})
    assert misfit(judge, "probs", [drawn]) == (False, "")
    for other in (photos, unsure):  # in doubt there is no praise either
        refused, why = misfit(judge, "probs", [drawn, other])
        assert refused and str(other) in why and "Inception-v3" in why
    few = [Look("few", drawn, count).is_drawn for drawn, count in ((4, 4), (3, 4), (6, 8), (7, 8))]
    assert few == [True, False, False, True]
    assert misfit(inception, "probs", [photos, unsure]) == (False, "")
    refused, mark = misfit(inception, "probs", [drawn])
    assert not refused and "knows photographs" in mark
    assert misfit(object(), "probs", [photos]) == (False, "")  # one's own classifier


@pytest.mark.parametrize("network", ["judge", "pixels", "clip"])
def test_planted_mud_beside_photographs_is_never_called_good(tmp_path, network, tiny_clip):
    if network == "clip":
        network = str(tiny_clip(tmp_path / "clip", "clip"))
        size = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}}
        size |= {"crop_size": {"height": 32, "width": 32}}
        (Path(network) / "preprocessor_config.json").write_text(json.dumps(size))
    rng = np.random.default_rng(1)
    shapes = [ndimage.gaussian_filter(rng.normal(0, 1, (64, 64, 3)), (3, 3, 0)) for _ in range(12)]
    photos = [np.clip(128 + 60 * one / one.std(), 0, 255).astype(np.uint8) for one in shapes]
    real = folder(tmp_path / "real", photos)
    dirs = [folder(tmp_path / "mud", [mud(rng) for _ in photos])]
    dirs.append(folder(tmp_path / "same", [photos[0]] * 12))
    result = scored(dirs, tmp_path / "m.json", "judge", real=real, features=network)
    for one in result["folders"]:
        names = {row["name"]: row for row in one["metrics"]}
        praise = {"precision", "recall", "density", "coverage", "inception_score"}
        good = {name for name in praise & {*names} if names[name]["value"] >= 0.5}
        assert not good and (network not in ("judge", "pixels") or not praise & {*names}), good
        assert all(row["details"]["p"] < 0.05 for row in [*names.values()] if "p" in row["details"])
        assert any("knows drawings only" in note for note in one["notes"])


def test_images_that_hardly_vary_get_no_precision_and_wild_ones_no_recall():
    rng = np.random.default_rng(2)
    real = rng.normal(0, 1, (40, 8))
    assert flattered(real, rng.normal(0, 1, (40, 8))) == ([], "")
    names, why = flattered(real, rng.normal(0, 0.2, (40, 8)))
    assert names == ["precision", "density", "coverage"] and "vary 0.0" in why
    assert flattered(real, rng.normal(0, 4, (40, 8)))[0] == ["recall"]


def test_one_image_for_all_prompts_is_all_duplicates():
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 256, (12, 3072)).astype(float)
    prompts = [f"p{i // 2}" for i in range(12)]
    assert duplicates(rows, prompts).value == 0
    assert duplicates(rows[:1] + rng.normal(0, 1, rows.shape), prompts).value == 1
    assert duplicates(rows[np.arange(12) // 2], prompts).value == 0  # of one prompt: no problem
