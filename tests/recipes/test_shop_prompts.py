"""The fixed prompts of shops are those that the recipe makes, and no training has them."""

import json

from recipes.shop_prompts import COUNT, FILE, shop_prompts
from tvhelpers import flats
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.flats.shop import is_reserved


def test_the_list_is_what_the_recipe_makes():
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    assert rows == shop_prompts() and len(rows) == COUNT
    assert all(is_reserved(row["prompt"]) for row in rows)
    assert len({row["prompt"].lower() for row in rows}) == COUNT
    assert {row["category"] for row in rows} == {*flats.CATEGORIES}
    assert {row["colour"] for row in rows} == {*flats.COLOURS}


def test_no_caption_of_a_shop_is_one_of_them():
    texts = FlatsSource(21, 400, season="base", shop=True).captions
    assert not any(map(is_reserved, texts))
