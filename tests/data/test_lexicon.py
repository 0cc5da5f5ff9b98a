"""Words of fashion are found in a product's name, and a part is not taken for the whole."""

from tvhelpers.data.lexicon import SLOTS, WORDS, product_words


def test_words_of_a_name():
    assert product_words("Striped_A-Line_Coat") == {"pattern": ["striped"], "cut": ["A-line"]}
    assert product_words("There's_A_Will_Tee") == {}
    fuzzy = product_words("Boxy_Fuzzy_Knit__Poncho")
    assert fuzzy == {"cut": ["boxy"], "fabric": ["fuzzy", "knit"]}
    # a part is not the whole, a compound not its pieces, and labels' own words are left to them
    assert product_words("Lace-Paneled_Tee") == {"detail": ["lace panels"]}
    assert product_words("Striped_Pocket_Coat") == {"pattern": ["striped"], "detail": ["a pocket"]}
    assert product_words("Stripe-Pocket_Coat") == {"detail": ["a striped pocket"]}
    assert product_words("Bell_Sleeve_Red_Sleeveless_Coat") == {"sleeve": ["bell"]}
    assert product_words("Velvet-Hammer_Tee") == {}


def test_every_word_of_the_lists_is_text():
    """YAML reads a bare yes, no, on or off as something else."""
    found, values = [], [WORDS]
    while values:
        value = values.pop()
        found += [value] if not isinstance(value, (dict, list)) else []
        values += [*value.keys(), *value.values()] if isinstance(value, dict) else []
        values += value if isinstance(value, list) else []
    odd = [value for value in found if not isinstance(value, (str, type(None)))]
    assert sorted(odd) == sorted(row["at_most"] for row in SLOTS.values())
