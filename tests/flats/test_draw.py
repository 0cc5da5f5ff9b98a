"""Flats are a function of (spec, seed, index), and look like their words."""

from dataclasses import replace

import numpy as np

from tvhelpers.flats import CATEGORIES, COLOURS, PATTERNS, caption, random_spec, render

SEED = 11


def some_specs(count, **words):
    return [random_spec(SEED, i, **words) for i in range(count)]


def garment(pixels):
    """Return the bounding box (top, left, bottom, right) of what is not background."""
    rows, columns = np.where((pixels.astype(int) < 200).any(-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_a_flat_is_a_function_of_seed_and_index():
    for i, spec in enumerate(some_specs(12)):
        pixels = render(spec, SEED, i)
        assert pixels.shape == (128, 128, 3) and pixels.dtype == np.uint8
        assert spec == random_spec(SEED, i) and caption(spec, SEED, i) == caption(spec, SEED, i)
        assert pixels.tobytes() == render(spec, SEED, i).tobytes()
        for seed, index in ((SEED, i + 1), (SEED + 1, i)):
            assert (render(spec, seed, index) != pixels).any(-1).mean() > 0.01
    assert render(spec, SEED, 0, 64).shape == (64, 64, 3)


def test_the_garment_is_big_and_inside_its_white_frame():
    for i, spec in enumerate(some_specs(60)):
        pixels = render(spec, SEED, i)
        assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
        top, left, bottom, right = garment(pixels)
        assert min(top, left, 128 - bottom, 128 - right) >= 1, spec
        assert max(bottom - top, right - left) > 0.4 * 128, spec


def test_plain_garments_have_the_colour_they_are_named_for():
    names, anchors = list(COLOURS), np.array(list(COLOURS.values()), float)
    right = 0
    specs = some_specs(120, patterns=("plain",))
    for i, spec in enumerate(specs):
        pixels = render(spec, SEED, i).astype(float)
        top, left, bottom, right_edge = garment(pixels)
        inside = pixels[top:bottom, left:right_edge].reshape(-1, 3)
        cloth = inside[(inside < 254).any(-1)]
        seen = np.median(cloth, axis=0)
        right += names[np.square(anchors - seen).sum(-1).argmin()] == spec.colour
    assert right >= 0.95 * len(specs)


def test_every_pattern_shows_on_every_category():
    for category in CATEGORIES:
        spec = random_spec(SEED, 3, categories=(category,), patterns=("plain",))
        plain = render(spec, SEED, 3).astype(int)
        for pattern in PATTERNS[1:]:
            patterned = render(replace(spec, pattern=pattern), SEED, 3)
            assert (np.abs(plain - patterned) > 24).any(-1).mean() > 0.025, (category, pattern)
