"""A shop's flats are drawn in the shades that its captions name, and fillers say nothing."""

import numpy as np
import pytest

from tvhelpers import flats
from tvhelpers.flats.shop import ALIKE, MARKED, WORDS, _plural, is_reserved
from tvhelpers.flats.spec import SHADES_OF, options, rng_for
from tvhelpers.models.vocabulary import terms_in, words_in
from tvhelpers.score.colour import EXAMPLES, to_lab

SEED = 12
SPECS = [flats.shop_spec(SEED, i) for i in range(600)]


def phrase(i):
    return flats.shop_phrase(SPECS[i], rng_for(SEED, i, "shop caption"))


def meanings(*names) -> dict[str, set[str]]:
    """Return {term in lower case: values of an attribute that it may stand for}."""
    found: dict[str, set[str]] = {}
    values = {
        "category": {category: [*nouns] for category, nouns in WORDS["nouns"].items()},
        "colour": {c: [c, *WORDS["colours"].get(c, [])] for c in flats.COLOURS},
        "pattern": {},
    }
    for colour, shades in SHADES_OF.items():
        values["colour"][colour] += [name for shade in shades for name in flats.SHADE_NAMES[shade]]
    for place in ("before", "after"):
        for value, words in WORDS[place]["pattern"].items():
            values["pattern"].setdefault(value, []).extend(words)
    for name in names:
        for value, words in values[name].items():
            for word in words:
                for form in (word, _plural(word)):
                    found.setdefault(" ".join(words_in(form)), set()).add(value)
    return found


def test_a_shade_lies_within_the_range_of_its_colour():
    for colour, shades in SHADES_OF.items():
        for shade in shades:
            lab = to_lab(np.array([[flats.SHADES[shade]]], np.uint8))[0, 0]
            far = {name: min(np.linalg.norm(lab - np.array(one)) for one in examples)
                   for name, examples in EXAMPLES.items()}  # fmt: skip
            assert min(far, key=far.get) == colour, shade
    names = [name for own in flats.SHADE_NAMES.values() for name in own]
    assert len(names) == len(set(names)) and not set(names) & set(flats.COLOURS)


def test_cloth_has_the_shade_of_its_spec():
    for i, shade in enumerate(flats.SHADES):
        colour = next(c for c, shades in SHADES_OF.items() if shade in shades)
        spec = flats.Spec("t-shirt", colour, "plain", "short", "crew", shade=shade)
        pixels = flats.render(spec, SEED, i).astype(float)
        cloth = pixels[50:90, 50:78].reshape(-1, 3)
        assert np.abs(np.median(cloth, 0) - flats.SHADES[shade]).max() < 24, shade


def test_specs_are_functions_of_the_seed_reach_all_and_keep_to_the_season():
    assert flats.shop_spec(SEED, 7) == SPECS[7] != flats.shop_spec(SEED + 1, 7)
    for name in (*flats.ATTRIBUTES, "cut"):
        assert {str(getattr(s, name) or "none") for s in SPECS} == {*flats.words_of(name)} | (
            set() if name in ("category", "colour", "pattern") else {"none"}
        )
    for season, new in (("base", False), ("new", True)):
        assert {flats.shop_spec(SEED, i, season).is_new for i in range(200)} == {new}
    assert sum(spec.colour == "black" for spec in SPECS) > 1.5 * len(SPECS) / 12
    with pytest.raises(ValueError, match="unknown season 'autumn'"):
        flats.shop_spec(1, 1, "autumn")


def test_many_neighbours_differ_in_one_attribute():
    pairs = [(SPECS[i].attributes(), SPECS[i + 1].attributes()) for i in range(0, 600, 2)]
    near = [len(a.items() ^ b.items()) == 2 and a["category"] == b["category"] for a, b in pairs]
    assert 0.8 * ALIKE < np.mean(near) < 1.2 * ALIKE


def test_captions_say_nothing_that_is_not_drawn():
    for name in ("category", "colour", "pattern"):
        table = meanings(name)
        for i, spec in enumerate(SPECS):
            text, stated = phrase(i)
            text = text.replace(", on white", "")
            text = text.replace(f"{flats.cloth_of(spec.category) or '-'} ", "")  # white denim
            said = [table[term] for term in terms_in(text, table) if term in table]
            assert all(getattr(spec, name) in values for values in said), (text, spec)
            unsaid = name == "colour" and "jeans" in text.lower()
            assert bool(said) == (name in stated) or unsaid or name == "pattern", (text, stated)


def test_captions_state_what_is_unusual():
    for i, spec in enumerate(SPECS):
        text, stated = phrase(i)
        assert {"category", "waist", "cut"} <= set(stated) <= set(flats.STATED), text
        for name in flats.ATTRIBUTES:
            if getattr(spec, name) in MARKED:
                assert name in stated, text
        if spec.pattern != "plain":
            assert "pattern" in stated, text


def test_texts_for_evaluation_are_never_trained_on():
    texts = [flats.shop_caption(spec, SEED, i) for i, spec in enumerate(SPECS)]
    assert texts == [phrase(i)[0] for i in range(600)] and not any(map(is_reserved, texts))
    kept = [
        flats.shop_phrase(spec, rng_for(1, i, "x"), True)[0] for i, spec in enumerate(SPECS[:9])
    ]
    assert all(map(is_reserved, kept)) and is_reserved(kept[0].upper())


def test_fillers_and_strange_words_mean_nothing_here():
    terms = [*meanings("category", "colour", "pattern")]
    for place in ("before", "after"):
        terms += [w for values in WORDS[place].values() for words in values.values() for w in words]
    said = {word for term in terms for word in words_in(term)}
    said -= set("a in with without and fit one suit".split())
    nothing = [*WORDS["strange"], *(w for words in WORDS["fillers"].values() for w in words)]
    for text in nothing:
        assert said.isdisjoint(words_in(text)), text


def test_the_base_never_reads_a_word_of_the_new_season():
    new = [*flats.NEW_CATEGORIES, *flats.NEW_PATTERNS]
    words = {word for category in new for word in WORDS["nouns"].get(category, [])}
    for place in ("before", "after"):
        words |= {word for name in new for word in WORDS[place]["pattern"].get(name, [])}
    words |= {"high-waisted", "high rise", "high waist", "high-rise"}
    spelt = {" ".join(words_in(word)) for word in words}
    for i in range(600):
        text = flats.shop_caption(flats.shop_spec(SEED, i, "base"), SEED, i)
        assert spelt.isdisjoint(terms_in(text, spelt)), text


def test_what_came_later_is_not_in_the_first_flats_and_changes_the_drawing():
    first = [flats.random_spec(SEED, i) for i in range(300)]
    assert {(spec.cut, spec.shade) for spec in first} == {(None, None)}
    for category in flats.CATEGORIES:
        for name in (*flats.OPTIONAL, "cut"):
            words = options(category, name, later=True)
            fixed = {n: (options(category, n, later=True) or (None,))[0]
                     for n in (*flats.OPTIONAL, "cut")}  # fmt: skip
            usual = flats.Spec(category, "blue", shade="blue", **fixed)
            for word in words[max(1, len(options(category, name))) :]:
                spec = flats.Spec(category, "blue", shade="blue", **{**fixed, name: word})
                a, b = (flats.render(s, SEED, 3).astype(int) for s in (usual, spec))
                assert (np.abs(a - b) > 24).any(-1).mean() > 0.02, (category, word)
                assert (b[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    with pytest.raises(ValueError, match="length of a skirt"):
        flats.Spec("skirt", "red", length="midi", waist="regular")


def test_black_cloth_has_no_yellow_thread():
    for pattern in flats.PATTERNS:
        for i in range(4):
            spec = flats.Spec("shirt", "black", pattern, "long", "collar", shade="black")
            red, green, blue = flats.render(spec, SEED, i).astype(int).transpose(2, 0, 1)
            assert not ((red > blue + 60) & (green > blue + 60)).any(), pattern
