"""A suite of another seed is like the published one; data sets give validation captions."""

from collections import Counter

from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_by_product
from tvhelpers.score.suite import open_suite


def captions_of(source):
    rows = open_suite("fb1000", captions=source)
    return [row for row in rows if row["stratum"] == "captions"]


def test_another_seed_draws_another_suite():
    published, other = open_suite("fb138"), open_suite("fb138:7")
    assert other == open_suite("fb138", 7) and other[0]["id"] == "fb7-0001"
    assert len({row["prompt"] for row in other} & {row["prompt"] for row in published}) < 20
    assert Counter(r["stratum"] for r in other) == Counter(r["stratum"] for r in published)


def test_captions_of_a_source_are_validation_captions(photo_folder):
    source = open_source(photo_folder)
    source.attributes = [flats.random_spec(3, i).attributes() for i in range(len(source))]
    rows = captions_of(source)
    held = split_by_product(source.product_ids, 0.1, 0)
    said = {caption for caption, out in zip(source.captions, held, strict=True) if out}
    assert rows and {row["prompt"] for row in rows} <= said
    assert rows[0]["unseen_by"] == [source.name] and rows[0]["covered_by"] == ["sd15"]
    assert rows[0]["atoms"]  # stable name


def test_captions_of_items_without_a_category_ask_for_nothing(photo_folder):
    rows = captions_of(open_source(photo_folder))
    assert rows and not any(row["atoms"] for row in rows)  # stable name
    assert rows[0]["covered_by"] == ["sd15"]
