"""Menus of words: which they offer, how they write into a prompt, and what they read back."""

from types import SimpleNamespace

import pytest

from tvhelpers.models.base import find_base
from tvhelpers.show.studio_words import menu_words, options, with_word, word_in

MINI = find_base("mini")


def words_of(base=MINI, adapter=MINI.adapter, labels=()):
    return menu_words(SimpleNamespace(base=base, adapter=adapter), labels)


@pytest.mark.parametrize(
    ("prompt", "name", "word", "after"),
    [
        ("a red dress", "colour", "blue", "a blue dress"),
        ("a red dress", "colour", "orange", "an orange dress"),
        ("an orange dress", "colour", "", "a dress"),
        ("dress with a bow", "colour", "red", "red dress with a bow"),
        ("something else", "colour", "red", "red something else"),
        ("a blueish thing", "colour", "orange", "an orange blueish thing"),
        ("RED Dress", "colour", "blue", "blue Dress"),
        ("a red dress", "pattern", "striped", "a red striped dress"),
        ("a striped dress", "colour", "red", "a red striped dress"),
        ("an orange V-neck dress", "colour", "", "a V-neck dress"),
        ("a red bomber jacket", "category", "t-shirt", "a red t-shirt"),
        ("a gown with puff sleeves", "category", "skirt", "a skirt with puff sleeves"),
        ("something red", "category", "dress", "something red dress"),
        ("", "category", "dress", "dress"),
        ("a red dress", "category", "trousers", "a pair of red trousers"),
        ("a pair of red trousers", "category", "dress", "a red dress"),
        ("a short sleeved dress", "length", "long", "a long short sleeved dress"),
        ("a long short-sleeved red dress", "neckline", "crew neck",
         "a long short-sleeved red crew neck dress"),
    ],
)  # fmt: skip
def test_a_menu_writes_into_the_prompt_and_reads_back(prompt, name, word, after):
    words = words_of()
    assert with_word(prompt, words, name, word) == after
    assert word_in(after, words, name) == word


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a t shirt", {"category": "t-shirt"}),
        ("a Short-Sleeved v neck dress",
         {"category": "dress", "sleeve": "short-sleeved", "neckline": "V-neck"}),
        ("a bomber jacket in red, blue",
         {"category": "bomber jacket", "colour": "red"}),
        ("a predressed dotted thing", {"pattern": "dotted"}),
        ("a gown (red:1.3)", {"category": "dress", "colour": "red"}),
        ("", {}),
    ],
)  # fmt: skip
def test_what_a_prompt_says_is_read_as_a_whole_word(prompt, read):
    words = words_of()
    found = {name: word_in(prompt, words, name) for name in words}
    assert {name: word for name, word in found.items() if word} == read


def test_the_menus_offer_the_words_of_the_base_of_labels_or_of_fashion(tmp_path):
    mini = words_of()
    assert [*mini] == "category colour pattern fabric sleeve neckline length fit".split()
    assert options(mini["fit"]) == ["high-waisted"] and len(options(mini["category"])) == 18
    assert "tartan" not in options(words_of(adapter=None)["pattern"])
    plain = SimpleNamespace(path=str(tmp_path))
    fashion = words_of(plain)
    assert {"denim", "velvet"} <= {*options(fashion["fabric"])} and "fit" in fashion
    assert {"skirt", "dress"} <= {*options(fashion["category"])}
    rows = [{"category": "kilt", "sleeve": "none", "colour": "mauve"}, {"category": "sash"}]
    own = words_of(plain, labels=rows)
    assert options(own["category"]) == ["kilt", "sash"] and options(own["colour"]) == ["mauve"]
    assert own["sleeve"] == fashion["sleeve"]
