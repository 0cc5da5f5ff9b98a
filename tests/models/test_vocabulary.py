"""A base names the words that it has never seen, and what to say instead."""

import pytest

from tests.helpers import refused
from tvhelpers.models.base import BaseLocation, find_base
from tvhelpers.models.vocabulary import FILE, read_vocabulary, remark, write_words
from tvhelpers.records import write_json

WORDS = {
    "category": {"coat": 3, "raincoat": 2, "T-shirt": 9, "tank top": 1, "dress": 4},
    "colour": {"red": 5, "blue": 4},
    "filler": {"a": 3, "with": 1},
}
RECORD = {
    "words": WORDS,
    "adapter_words": {"pattern": {"tartan": 2}},
    "ignored": ["kids", "s"],
    "nearest": {"navy": "blue", "tee shirt": "T-shirt", "plaid": "tartan", "cape": "poncho"},
}


@pytest.fixture
def base(tmp_path):
    write_json(tmp_path / FILE, RECORD)
    return BaseLocation("mine", str(tmp_path))


@pytest.mark.parametrize(
    ("prompt", "unseen"),
    [
        ("Red DRESSES, 2 t-shirts; a kid's tank top with kids", {}),
        ("a red raincoatt", {"raincoatt": "raincoat"}),
        ("navy tshirt", {"navy": "blue", "tshirt": "T-shirt"}),
        ("a tee shirt, a zebra", {"tee shirt": "T-shirt", "zebra": ""}),
        ("plaid tartan", {"plaid": "", "tartan": ""}),  # only the adapter has seen tartan
        ("a best, bed, coal", {"best": "", "bed": "", "coal": ""}),  # words of their own
        ("a cape", {"cape": ""}),  # the base does not know ponchos either
        ("旗袍 ☂ 12", {"旗袍": ""}),
        ("", {}),
    ],
)
def test_unseen_words_and_the_nearest_that_the_base_knows(base, prompt, unseen):
    assert read_vocabulary(base, with_adapter=False).unseen(prompt) == unseen


def test_the_adapter_that_comes_with_a_base_adds_its_words(base):
    found = read_vocabulary(base, with_adapter=True)
    assert found.unseen("tartan plaid") == {"plaid": "tartan"}


def test_an_adapter_of_ones_own_adds_the_words_of_its_captions(base, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    assert read_vocabulary(base, False, run) is None  # an adapter that does not say
    write_words(base, run, ["a cobalt zebra coat", "the Zebra"])
    found = read_vocabulary(base, False, run)
    assert found.unseen("red zebras in cobalt, plaid") == {"in": "", "plaid": ""}
    write_words(BaseLocation("other", str(run / "none")), tmp_path / "none", ["a coat"])
    assert not (tmp_path / "none").exists()


def test_a_base_without_a_vocabulary_says_nothing_and_a_damaged_one_is_refused(tmp_path):
    base = BaseLocation("mine", str(tmp_path))
    assert read_vocabulary(base, True) is None
    write_json(tmp_path / FILE, {"words": {"colour": ["red"]}})
    with refused("wrong-type"):
        read_vocabulary(base, True)


def test_the_remark_is_one_line():
    assert remark("mini", {}) == ""
    one = remark("mini", {"raincoatt": "raincoat"})
    assert one == "mini has never seen 'raincoatt'; nearest: 'raincoat'"
    two = remark("mini", {"navy": "blue", "zebra": "", "blazer": "jacket"})
    assert two.endswith("'blazer'; nearest: 'blue' for 'navy', 'jacket' for 'blazer'")
    assert "nearest" not in remark("mini", {"zebra": ""})
    many = remark("mini", {f"{letter}\n" * 60: "" for letter in "abcdefghi"})
    assert "\n" not in many and len(many) < 300 and "3 more" in many


def test_mini_knows_all_words_of_its_own_captions():
    from tvhelpers import flats

    known = read_vocabulary(find_base("mini"), with_adapter=False)
    for i in range(300):
        spec = flats.random_spec(5, i, season="base")
        assert not known.unseen(" ".join(flats.captions(spec)))
    assert known.unseen("navy blazer") == {"navy": "blue", "blazer": "jacket"}
    assert known.unseen("a tartan belt with stripes") == {
        "tartan": "",
        "belt": "",
        "stripes": "striped",
    }
    assert set(known.unseen("the best slim lights").values()) == {""}
