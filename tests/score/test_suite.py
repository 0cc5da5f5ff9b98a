"""The prompt suite: its digest, what it covers, that its strata are what they say."""

import re
from collections import Counter

import pytest

from tests.helpers import refused
from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.score import suite as prompts
from tvhelpers.score.draw_suite import STRATA
from tvhelpers.score.garment_words import FACTORS, GARMENTS, garments, pairs_of
from tvhelpers.score.suite import covered, open_suite


@pytest.fixture(scope="module")
def suite():
    return open_suite("fb1000")


def stratum(rows, name):
    return [row for row in rows if row["stratum"] == name]


def pairs(rows):
    worn = (garment for row in rows for garment in row["spec"]["garments"])
    return {pair for garment in worn for pair in pairs_of(garment)}


@pytest.mark.parametrize("name", prompts.SHA256)
def test_the_suite_is_the_published_one(name):
    assert prompts.digest(open_suite(name)) == prompts.SHA256[name]


def test_fb138_is_the_head_of_fb1000(suite):
    small = open_suite("fb138")
    assert small == suite[:138]
    for rows, parts in ((small, 1), (suite, 2)):
        wanted = {name: sum(counts[:parts]) for name, counts in STRATA.items()}
        assert Counter(row["stratum"] for row in rows) == wanted
    assert len({row["prompt"] for row in suite}) == len({row["id"] for row in suite}) == 1000
    seeds = [seed for row in suite for seed in row["seeds"]]
    assert len(set(seeds)) == 4000 and 0 <= min(seeds) <= max(seeds) < 2**32
    kinds = Counter(row["spec"]["garments"][0]["category"] for row in stratum(small, "core"))
    assert kinds == dict.fromkeys(GARMENTS, 7)


def test_the_core_covers_the_pairs_of_words(suite):
    feasible = {pair for name in GARMENTS for g in garments(name) for pair in pairs_of(g)}
    small, core = suite[:138], stratum(suite, "core")
    assert len(feasible) > 700 and feasible <= pairs(core)
    # 84 rows cannot show all 132 pairs of category and colour.
    assert len(feasible & pairs(core[:84])) >= 0.875 * len(feasible)
    assert len(feasible & pairs(small)) >= 0.965 * len(feasible)


def test_binding_rows_come_as_pairs_with_the_same_words(suite):
    by_id = {row["id"]: row for row in suite}
    for row in stratum(suite, "binding"):
        other = by_id[row["swap_of"]]
        assert other["swap_of"] == row["id"] and other["prompt"] != row["prompt"]
        one, two = (re.sub(r"\ban?\b", "", r["prompt"]).split() for r in (row, other))
        assert Counter(re.sub(",", "", w) for w in one) == Counter(re.sub(",", "", w) for w in two)
    assert all(row["swap_of"] is None for row in suite if row["stratum"] != "binding")


def test_what_mini_covers_it_has_words_and_garments_for(suite):
    calibration = {
        word
        for i in range(3000)
        for text in flats.captions(flats.random_spec(5, i))
        for word in re.findall(r"[\w-]+", text)
    }
    rows = covered(suite, "mini")
    assert len(covered(suite[:138], "mini")) >= 45 and covered(suite, "sd15") == suite
    for row in rows:
        (garment,) = row["spec"]["garments"]
        words = {*re.findall(r"[\w-]+", row["prompt"] + " " + row["paraphrase"])}
        assert words <= calibration, words - calibration
        options = {n: flats.options(garment["category"], n) for n in flats.OPTIONAL}
        rest = {n: garment.get(n, (words or (None,))[0]) for n, words in options.items()}
        flats.Spec(garment["category"], garment.get("colour", "red"), garment.get("pattern", "plain"), **rest)  # noqa: E501  # fmt: skip


def test_rare_tuples_are_in_no_training_flat_and_others_mostly_are(suite):
    trained = {spec.triple for spec in open_source("flats-base").specs}
    for row in stratum(suite, "rare"):
        assert tuple(row["tuple_key"].split("|")) not in trained
    core = [row for row in covered(stratum(suite, "core"), "mini") if not row["unseen_by"]]
    assert all(tuple(row["tuple_key"].split("|")) in trained for row in core) and len(core) > 50


def test_attributes_are_the_words_of_the_spec(suite):
    names = set()
    for row in suite:
        worn, asked = row["spec"]["garments"], row["atoms"]  # stable name
        words = {(one["garment"], one["attribute"], one["expect"]) for one in asked}
        assert words == {(i, *pair) for i, garment in enumerate(worn) for pair in garment.items()}
        for one in asked:
            parent = one["parent"]
            assert (parent is None) == (one["attribute"] == "category")
            assert parent is None or asked[parent]["garment"] == one["garment"]
        assert 2 < row["token_len"] <= 75 and row["paraphrase"] != row["prompt"]
        names |= {one["attribute"] for one in asked}
    assert set(FACTORS) <= names


def test_what_is_no_suite_is_refused(tmp_path):
    for name in ("fb139", "fb138:x", "fb138:-1"):
        with refused("unknown-choice"):
            open_suite(name)
    with refused("fixed-suite"):
        open_suite("paper-8", 3)
    with refused("fixed-suite"):
        open_suite("paper-8", captions=open_source("flats-new-season"))
    path = tmp_path / "mine.jsonl"
    prompts.write(open_suite("paper-8"), path)
    assert open_suite(str(path)) == open_suite("paper-8")
    with refused("file-exists"):
        prompts.write(open_suite("paper-8")[:2], path)
    text = path.read_text()
    path.write_text(text.replace('"prompt"', '"text"', 1))
    with refused("missing-key") as caught:
        open_suite(str(path))
    assert "line 1 of" in str(caught.value) and "'prompt'" in str(caught.value)
    path.write_text(text + text)
    with refused("not-a-suite"):
        open_suite(str(path))
