"""Flats are a function of (spec, seed, index), look like their words, and have English captions."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tvhelpers.flats import (
    ATTRIBUTES,
    CATEGORIES,
    COLOURS,
    NEW_CATEGORIES,
    PATTERNS,
    Spec,
    caption,
    captions,
    phrasings,
    random_spec,
    render,
)
from tvhelpers.runtime import seed_for

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


def test_captions_are_distinct_english():
    for spec in some_specs(200):
        texts = captions(spec)
        assert len(set(texts)) == len(texts) >= 8
        assert caption(spec, SEED, 0) in texts
        for text, stated in phrasings(spec):
            assert spec.category in text and "  " not in text and text == text.strip()
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
            assert not re.search(
                r"\ban? (\S+ )*(trousers|shorts|leggings)", text.replace("a pair of", "")
            )
            for name in ("colour", "pattern", "waist"):
                word = getattr(spec, name)
                if word not in (None, "plain", "regular"):
                    assert (word in text) == (name in stated or word in text.split()), (text, name)
            assert ("high-waisted" in text) == (spec.waist == "high-waisted")


def test_a_caption_says_what_it_states():
    spec = Spec("dress", "red", "striped", "long", "V-neck", "knee-length")
    stated = dict(phrasings(spec))
    assert stated["red striped dress"] == ("category", "colour", "pattern", "waist")
    assert stated["a knee-length long-sleeved red striped V-neck dress"] == ATTRIBUTES
    assert "colour" not in stated["striped V-neck dress"]
    bag = Spec("belt", "brown")
    assert "brown leather belt" in captions(bag)


def test_seasons_part_all_flats():
    base, new = (some_specs(400, season=season) for season in ("base", "new"))
    assert not any(spec.is_new for spec in base) and all(spec.is_new for spec in new)
    assert {s.category for s in base}.isdisjoint(NEW_CATEGORIES)
    assert {s.category for s in new} == set(CATEGORIES)
    assert not {s.triple for s in base} & {s.triple for s in new if not s.has_new_word}
    triples = [(c, k, p) for c in CATEGORIES for k in COLOURS for p in PATTERNS]
    held_out = sum(seed_for(0, "held-out triple", *triple) % 10 == 0 for triple in triples)
    assert 0.08 < held_out / len(triples) < 0.12
    with pytest.raises(ValueError, match="unknown season 'autumn'"):
        random_spec(1, 1, season="autumn")
    with pytest.raises(ValueError, match="no such garment is of season 'base'"):
        random_spec(1, 1, season="base", categories=("belt",))


def test_random_specs_reach_every_word_and_obey_the_choice():
    specs = some_specs(300)
    for name, words in (("category", CATEGORIES), ("colour", COLOURS), ("pattern", PATTERNS)):
        assert {getattr(spec, name) for spec in specs} == set(words)
    assert {s.colour for s in some_specs(20, colours=("red",))} == {"red"}
    assert Spec("overalls", "red", length="long").attributes() == {
        "category": "overalls",
        "colour": "red",
        "pattern": "plain",
        "length": "long",
    }


@pytest.mark.parametrize(
    ("words", "unknown", "known"),
    [
        (("cape", "red"), "cape", "hoodie"),
        (("belt", "mauve"), "mauve", "purple"),
        (("belt", "red", "paisley"), "paisley", "tartan"),
    ],
)
def test_unknown_words_are_named(words, unknown, known):
    with pytest.raises(ValueError, match=f"'{unknown}'.*{known}"):
        Spec(*words)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ({"category": "skirt"}, "length of a skirt is None"),
        ({"category": "trousers", "length": "long", "sleeve": "short"}, "sleeve of a trousers"),
        ({"category": "hoodie", "sleeve": "long", "neckline": "V-neck"}, "neckline of a hoodie"),
    ],
)
def test_what_a_category_does_not_have_is_refused(words, wrong):
    with pytest.raises(ValueError, match=wrong):
        Spec(colour="red", **words)
