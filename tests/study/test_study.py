"""A study from its folders to its figures: blind, balanced, each vote kept once."""

import collections
import json
import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.helpers import refused
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.study.analysis import analyse, answers_of, write_csv
from tvhelpers.study.make import make_study
from tvhelpers.study.model import IMAGES, KINDS, REAL, Study
from tvhelpers.study.simulation import simulate_rater
from tvhelpers.study.votes import VoteBox, import_votes, vote_of

REAL_FLATS = FlatsSource(41, 30)
PROMPTS = [f"a {colour} {noun}" for noun in ("dress", "coat", "skirt", "hoodie") for colour in
           ("red", "blue", "green", "black", "white")]  # fmt: skip
NOW = "2026-01-02T03:04:05"
SECRETS = ("secret-base", "secret-tuned", "secret-third")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three systems' images of PROMPTS; the metadata of each file names its system."""
    root, found = tmp_path_factory.mktemp("systems"), {}
    for number, name in enumerate(SECRETS):
        folder = root / name
        folder.mkdir()
        info = PngImagePlugin.PngInfo()
        info.add_text("system", name)
        rows = []
        for i, prompt in enumerate(PROMPTS):
            pixels = np.full((24, 24, 3), 60 * number + i, np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png", pnginfo=info)
            rows.append(json.dumps({"file": f"{i}.png", "prompt": prompt, "seed": 3}) + "\n")
        (folder / "records.jsonl").write_text("".join(rows))
        found[name] = folder
    return found


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory):
    """A folder with a study of everything, and one of pairs alone."""
    root = tmp_path_factory.mktemp("studies")
    make_study(folders, root / "all", real=REAL_FLATS, tasks=KINDS, seed=1)
    make_study({name: folders[name] for name in SECRETS[:2]}, root / "pairs", seed=1)
    return root


@pytest.fixture
def study(made, tmp_path):
    return Study(shutil.copytree(made / "all", tmp_path / "study"))


@pytest.fixture
def pair_study(made, tmp_path):
    return Study(shutil.copytree(made / "pairs", tmp_path / "pairs"))


def test_nothing_that_a_rater_sees_names_a_system(study):
    for file in study.folder.rglob("*"):
        assert not any(name in file.name for name in (*SECRETS, "real"))
        if file.suffix == ".png" or file.name == "study.json":
            content = file.read_bytes()
            assert not any(name.encode() in content for name in SECRETS), file
    pairs = [name for name, item in study.items.items() if item["kind"] == "pair"]
    first = [study.key["items"][name][0] for name in pairs if name not in study.key["expected"]]
    assert 10 < first.count(SECRETS[0]) < 30  # of 40: the order of an item's images reveals nothing


def test_a_rater_gets_balanced_sides_checks_and_repeats(study):
    trials = study.trials("r1")
    assert trials == study.trials("r1")
    kinds = [t.kind for t in trials]  # a pair tells that both are drawn, a rating which are real
    assert "real" not in kinds[kinds.count("real") :]
    assert [t.item for t in trials] != [t.item for t in study.trials("r2")]
    seen, sides = collections.Counter(t.item for t in trials), collections.Counter()
    checks = [t for t in trials if t.item in study.key["expected"]]
    assert 0.08 <= len(checks) / len(trials) <= 0.12
    assert {study.key["expected"][t.item] for t in checks} == {"same", "right"}
    repeated = [name for name, count in seen.items() if count == 2]
    pairs = [t for t in trials if t.kind == "pair" and t not in checks]
    assert 0.05 <= len(repeated) / len(pairs) <= 0.10 and max(seen.values()) == 2
    for name in repeated:
        first, again = (t for t in trials if t.item == name)
        assert first.shown == again.shown[::-1] and again.number > len(trials) // 2
    for t in pairs:
        who = study.key["items"][t.item]
        left = who if list(t.shown) == study.items[t.item][IMAGES] else who[::-1]
        if t.item not in repeated:
            sides[left[0], left[1]] += 1
    for one in SECRETS:
        for other in SECRETS:
            if one < other:
                assert abs(sides[one, other] - sides[other, one]) <= 1 + len(repeated)


def test_real_and_generated_are_equally_many_and_of_one_size(study):
    who = [study.key["items"][n][0] for n, item in study.items.items() if item["kind"] == "real"]
    assert who.count(REAL) == len(who) / 2
    sizes = {Image.open(file).size for file in (study.folder / IMAGES).iterdir()}
    assert sizes == {(24, 24)}
    rated = [item for item in study.items.values() if item["kind"] == "rating"]
    assert all(len(item["references"]) == 3 for item in rated) and len(rated) == 4 * len(PROMPTS)
    assert not any(item[IMAGES][0] in item["references"] for item in rated)


def test_a_limit_opening_again_and_another_study(folders, tmp_path):
    two = {name: folders[name] for name in SECRETS[:2]}
    small = make_study(two, tmp_path / "s", per_rater=8, seed=1)
    assert len(small.trials("a")) == 8 + 2 + 1
    assert make_study(two, tmp_path / "s", per_rater=8, seed=1).hash == small.hash
    with refused("another-request"):
        make_study(two, tmp_path / "s", per_rater=9, seed=1)
    drawn = [make_study(two, tmp_path / f"d{i}") for i in range(2)]  # no seed: another salt each
    assert drawn[0].key["salt"] != drawn[1].key["salt"] and drawn[0].hash != drawn[1].hash
    key = json.loads((tmp_path / "s" / "key.json").read_text())
    key["primary"] = key["primary"][::-1]
    (tmp_path / "s" / "key.json").write_text(json.dumps(key))
    with refused("another-key"):
        Study(tmp_path / "s")


def test_what_cannot_be_a_study(folders, tmp_path):
    one, two = folders[SECRETS[0]], folders[SECRETS[1]]
    with refused("too-few-systems"):
        make_study({"a": one}, tmp_path / "x")
    with refused("too-few-images"):
        make_study({"a": one, "b": two}, tmp_path / "x", tasks=["real"])
    other = tmp_path / "other"
    other.mkdir()
    rows = (two / "records.jsonl").read_text().splitlines(True)
    for file in two.glob("*.png"):
        (other / file.name).write_bytes(file.read_bytes())
    (other / "records.jsonl").write_text("".join(rows[:-2]))
    with refused("unpaired-images"):
        make_study({"a": one, "b": other}, tmp_path / "x")
    (other / "records.jsonl").unlink()
    with refused("not-a-gallery"):
        make_study({"a": one, "b": other}, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_size_of_an_image_does_not_tell_which_system_made_it(folders, tmp_path):
    large = Path(shutil.copytree(folders[SECRETS[1]], tmp_path / "large"))
    for file in large.glob("*.png"):
        Image.open(file).resize((48, 48)).save(file)
    study = make_study({"a": folders[SECRETS[0]], "b": large}, tmp_path / "s")
    sizes = {Image.open(file).size for file in (study.folder / IMAGES).iterdir()}
    assert sizes == {(24, 24)}


def test_a_vote_is_kept_once_and_for_all(pair_study):
    box, trial = VoteBox(pair_study), pair_study.trials("r1")[0]
    vote = vote_of("r1", trial, "left", 2.0, "app")
    assert box.cast([vote]) == 1 and box.cast([vote]) == 0 and box.done("r1") == {0}
    with refused("vote-differs"):
        box.cast([vote_of("r1", trial, "right", 2.0, "app")])
    with refused("unknown-choice"):
        vote_of("r1", trial, "both", 2.0, "app")
    with sqlite3.connect(box.path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        for change in ("UPDATE votes SET answer = 'right'", "DELETE FROM votes"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                db.execute(change)
    for code in ("", "a b", "../x", "<b>", "x" * 33):
        with refused("bad-name"):
            pair_study.trials(code)


def test_votes_of_another_study_are_refused(pair_study, study):
    VoteBox(pair_study)
    (study.folder / "votes.sqlite").write_bytes((pair_study.folder / "votes.sqlite").read_bytes())
    with refused("another-study"):
        VoteBox(study)
    (study.folder / "votes.sqlite").write_bytes(b"no database" * 99)
    with refused("votes-unreadable"):
        VoteBox(study)


def _vote_all(folder: Path, rater: str) -> None:
    study = Study(folder)
    for trial in study.trials(rater):
        VoteBox(study).cast([vote_of(rater, trial, "left", 1.0, "app")])


def test_processes_that_vote_at_once_lose_and_double_nothing(pair_study):
    context = multiprocessing.get_context("spawn")
    work = [(pair_study.folder, f"r{i % 3}") for i in range(4)]
    jobs = [context.Process(target=_vote_all, args=args) for args in work]
    for job in jobs:
        job.start()
    jobs[1].kill()  # at whatever it is doing
    for job in jobs:
        job.join(120)
    _vote_all(pair_study.folder, "r1")
    kept = VoteBox(pair_study).votes()
    wanted = {(f"r{i}", t.number) for i in range(3) for t in pair_study.trials(f"r{i}")}
    assert {(v.rater, v.trial) for v in kept} == wanted and len(kept) == len(wanted)


def answers_file(made, code, path, **changes):
    rows = [{"trial": t.number, "item": t.item, "answer": t.answers[0], "seconds": 2.5, "at": NOW}
            for t in made.trials(code)]  # fmt: skip
    content = {"study": made.hash, "rater": code, "token": made.token(code), "votes": rows}
    content |= changes
    path.write_text(json.dumps(content))
    return path


def test_import_checks_and_doubles_nothing(pair_study, tmp_path):
    file = answers_file(pair_study, "r5", tmp_path / "a.json")
    total = len(pair_study.trials("r5"))
    rows = json.loads(file.read_text())["votes"]
    part = answers_file(pair_study, "r5", tmp_path / "part.json", votes=rows[:4])
    assert import_votes(pair_study, part)["new"] == 4
    assert import_votes(pair_study, file)["new"] == total - 4
    assert import_votes(pair_study, file)["new"] == 0
    for changes, code in [
        ({"study": "0"}, "another-study"),
        ({"votes": [{**rows[0], "item": "i99999"}]}, "vote-unfit"),
        ({"votes": [{**rows[0], "trial": 10_000}]}, "vote-unfit"),
        ({"votes": [{**rows[0], "answer": "both"}]}, "unknown-choice"),
        ({"votes": [{**rows[0], "answer": "right"}]}, "vote-differs"),
        ({"votes": [rows[0], rows[0]]}, "duplicate-vote"),
        ({"votes": [{"trial": 0}]}, "not-votes"),
        ({"votes": 7}, "not-votes"),
        ({"rater": "a b"}, "bad-name"),
        ({"rater": "r6"}, "vote-unfit"),  # with the token of r5's page
        ({"token": None}, "vote-unfit"),
        ({"votes": [{**rows[0], "at": "=cmd|' /C calc'!A0"}]}, "vote-unfit"),
        ({"votes": [{**rows[0], "seconds": 1e9}]}, "vote-unfit"),
    ]:
        with refused(code):
            import_votes(pair_study, answers_file(pair_study, "r5", tmp_path / "b.json", **changes))
    assert len(VoteBox(pair_study).votes()) == total


def test_the_better_system_is_found_and_the_careless_excluded(study, tmp_path):
    quality = dict(zip(SECRETS, (0.0, 1.5, 0.0), strict=True))
    for i in range(5):
        simulate_rater(study, f"r{i}", quality)
    simulate_rater(study, "careless", quality, attentive=0.0)
    votes = VoteBox(study).votes()
    result = analyse(study, votes)
    out = [row["rater"] for row in result["raters"] if row["excluded"]]
    assert out == ["careless"] and result["raters_kept"] == 5 and result["simulated"]
    primary, *others = result["contrasts"]
    assert primary["primary"] and (primary["first"], primary["second"]) == SECRETS[:2]
    assert primary["share"] < primary["ci"][1] < 0.5 and primary["p"] < 0.05
    assert primary["wins"] + primary["ties"] + primary["losses"] == primary["n"] == 5 * len(PROMPTS)
    assert all(row["p_holm"] >= row["p"] for row in others)
    assert result["preference_scores"]["systems"][0]["system"] == SECRETS[1]
    rated = {(row["scale"], row["system"]): row for row in result["ratings"]}
    assert len(rated) == 12 and rated["style", SECRETS[0]]["difference_from_real_ci"][1] < 0
    assert rated["style", SECRETS[0]]["mean"] < rated["style", SECRETS[1]]["mean"]
    taken = result["real"]["taken_for_real"]
    assert taken[SECRETS[0]]["value"] < taken[SECRETS[1]]["value"] < taken[REAL]["value"]
    assert result["repeats"]["same"] > result["repeats"]["n"] / 2
    assert all(0 < row["alpha"] < 1 for row in result["agreement"].values())
    json.dumps(result)
    write_csv(study, votes, tmp_path / "votes.csv")
    lines = (tmp_path / "votes.csv").read_text().splitlines()
    assert len(lines) == len(votes) + 1 and lines[0].startswith("rater,trial,item,task,prompt")


def cast_by(study, rater, choose, seconds=2.0):
    """Cast a rater's votes on pairs by choose(answer) -> "left", "same" or "right"."""
    blank = [vote_of(rater, t, "left", seconds, "app") for t in study.trials(rater)]
    known = answers_of(study, blank)
    votes = [vote_of(rater, a.trial, choose(a), seconds, "app") for a in known]
    VoteBox(study).cast(votes)


def careful(answer, otherwise):
    if answer.expected == "right":
        return ("left", "right")[answer.systems.index("right")]
    return "same" if answer.expected == "same" else otherwise(answer)


def test_votes_are_counted_for_the_system_that_was_chosen_on_either_side(pair_study):
    def second(a):
        return ("left", "right")[a.systems.index(SECRETS[1])]

    cast_by(pair_study, "r1", lambda a: careful(a, second))
    cast_by(pair_study, "hasty", lambda a: careful(a, second), seconds=0.4)
    result = analyse(pair_study, VoteBox(pair_study).votes())
    assert [row["excluded"] for row in result["raters"]] == ["median_seconds", ""]
    (row,) = result["contrasts"]
    assert (row["wins"], row["ties"], row["losses"]) == (0, 0, len(PROMPTS)) and row["share"] == 0
    assert result["repeats"]["same"] == result["repeats"]["n"]
    assert result["sides"]["all"]["p"] > 0.3 and "raters (1)" in result["warnings"][0]
    assert "no interval can be given" in result["warnings"][-1]


def test_a_rater_who_always_says_left_is_seen(pair_study):
    for rater in ("r1", "r2"):
        cast_by(pair_study, rater, lambda a: careful(a, lambda _: "left"))
    result = analyse(pair_study, VoteBox(pair_study).votes())
    assert result["sides"]["all"]["p"] < 1e-6 and result["sides"]["raters"]["r1"]["p_holm"] < 1e-4
    assert result["contrasts"][0]["share"] == 0.5 and result["repeats"]["same"] == 0
    cast_by(pair_study, "r3", lambda a: "left")
    with refused("no-raters"):
        only = [v for v in VoteBox(pair_study).votes() if v.rater == "r3"]
        analyse(pair_study, only)
