"""Colour without a network: CIEDE2000 against published values, drawings, and when it abstains."""

import numpy as np
import pytest

from tvhelpers import flats
from tvhelpers.score.colour import colour_difference, find_garment, name_colour, to_lab

SHARMA = [  # pairs of Sharma, Wu, Dalal (2005), table 1, each for another branch of the formula
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


def on_white(colour, size=128) -> np.ndarray:
    image = np.full((size, size, 3), 255, np.uint8)
    image[size // 4 : -size // 4, size // 4 : -size // 4] = colour
    return image


@pytest.mark.parametrize(("one", "other", "difference"), SHARMA)
def test_ciede2000_is_that_of_the_paper(one, other, difference):
    assert colour_difference(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)
    assert colour_difference(np.array(other), np.array(one)) == pytest.approx(difference, abs=1e-4)


def test_lab_of_known_colours():
    known = {(255, 255, 255): (100, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20), (0, 0, 0): (0, 0, 0)}
    for srgb, lab in known.items():
        assert to_lab(np.array(srgb, np.uint8)) == pytest.approx(lab, abs=0.02)


def test_plain_drawings_have_the_colour_they_were_drawn_in():
    specs = [flats.random_spec(204, i) for i in range(80)]
    plain = [(i, spec) for i, spec in enumerate(specs) if spec.pattern == "plain"]
    assert len({spec.colour for _, spec in plain}) >= 8
    wrong = [
        (spec.colour, name)
        for i, spec in plain
        if (name := name_colour(flats.render(spec, 204, i)).name) not in (spec.colour, None)
    ]
    assert not wrong


def test_a_black_and_white_gingham_is_not_gray():
    band = np.arange(64) // 8 % 2
    image = on_white((0, 0, 0))
    image[32:96, 32:96] = np.array([10, 130, 250])[band[:, None] + band][:, :, None]
    colour = name_colour(image)
    assert colour.name != "gray"
    assert colour.shares["gray"] < 0.05


def test_a_mask_says_where_the_garment_is():
    image = np.full((96, 96, 3), (200, 30, 30), np.uint8)
    image[:, 48:] = (20, 60, 190)
    mask = np.zeros((96, 96), bool)
    mask[:, :48] = True
    assert name_colour(image, mask).name == "red"
    assert name_colour(image, ~mask).name == "blue"


def test_the_garment_is_found_white_on_white_too():
    for colour in ((20, 20, 20), (246, 246, 246)):
        found = find_garment(to_lab(on_white(colour)))
        assert found[40:88, 40:88].all()
        assert not found[:28].any()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((64, 64, 3), 127, np.uint8), "no garment"),
        (np.hstack([on_white((200, 30, 30))[:, :64], on_white((20, 60, 190))[:, 64:]]), "nearly"),
    ],
)
def test_it_abstains_and_says_why(image, reason):
    colour = name_colour(image)
    assert colour.name is None
    assert reason in colour.reason
