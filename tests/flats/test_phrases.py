"""The captions of flats are English, and say what they state."""

import re

from tvhelpers.flats import ATTRIBUTES, Spec, caption, captions, phrasings, random_spec

SEED = 11


def some_specs(count, **words):
    return [random_spec(SEED, i, **words) for i in range(count)]


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
