"""Specs are of the words of their category and season, as often as chance has it."""

import pytest

from tvhelpers.flats import (
    CATEGORIES,
    COLOURS,
    NEW_CATEGORIES,
    PATTERNS,
    Spec,
    is_unseen,
    random_spec,
)

SEED = 11


def some_specs(count, **words):
    return [random_spec(SEED, i, **words) for i in range(count)]


def test_seasons_part_all_flats():
    base, new = (some_specs(400, season=season) for season in ("base", "new"))
    assert not any(spec.is_new for spec in base) and all(spec.is_new for spec in new)
    assert {s.category for s in base}.isdisjoint(NEW_CATEGORIES)
    assert {s.category for s in new} == set(CATEGORIES)
    assert not {s.triple for s in base} & {s.triple for s in new if not s.has_new_word}
    triples = [(c, k, p) for c in CATEGORIES for k in COLOURS for p in PATTERNS]
    unseen = [triple for triple in triples if is_unseen(*triple)]
    assert 0.08 < len(unseen) / len(triples) < 0.12
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
