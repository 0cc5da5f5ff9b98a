"""JSON of any shape, in any file that we read, is read right or refused with one sentence."""

import shutil

import pytest

from tests.helpers import benchmark, refused
from tests.saved_helpers import SAVED
from tvhelpers.errors import InputError
from tvhelpers.records import MAX_BYTES, MAX_LEVELS, as_record, parse, read_record

FEW = 4  # mutations of each file here; benchmarks/broken_inputs.py tries all


@pytest.fixture(scope="module")
def damage():
    """The module that damages JSON."""
    return benchmark("damage_json")


@pytest.fixture(scope="module")
def sound(damage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "work"
    shutil.copytree(SAVED / "work", folder)
    damage.complete(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_any_json_is_read_right_or_refused(damage, sound, tmp_path):
    for number, (name, read) in enumerate(damage.READERS.items()):
        changes = [*damage.mutations(sound / name)]
        for what, data in changes[number % 7 :: len(changes) // FEW]:
            work = tmp_path / "work"
            shutil.copytree(sound, work)
            (work / name).write_bytes(data)
            try:
                read(work / name)
            except InputError as error:
                assert str(error).isprintable(), (name, what)
            except Exception as error:
                raise AssertionError(f"{name}: {what}") from error
            shutil.rmtree(work)


def test_what_is_sound_is_read(damage, sound, tmp_path):
    for name, read in damage.READERS.items():
        if not name.endswith("request.json"):  # it is compared with another request
            shutil.copytree(sound, tmp_path / "work")
            read(tmp_path / "work" / name)
            shutil.rmtree(tmp_path / "work")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[" * 10**5, "not-json"),
        ("[" * (MAX_LEVELS + 1) + "]" * (MAX_LEVELS + 1), "not-json"),
        ("9" * 5000, "not-json"),
        (r'{"a": "\ud800"}', "unusable-text"),
        (r'{"a\u0000": 1}', "unusable-text"),
    ],
    ids=lambda text: text[:12],
)
def test_json_that_nothing_can_hold_is_refused(text, code):
    with refused(code):
        parse(text, "a line")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, ""),
        ({"more": [{}], "version": None, "total": None}, ""),
        ({"url": 3}, "wrong-type"),
        ({"total": True}, "wrong-type"),
        ({"total": 1e3}, "wrong-type"),
        ({"total": 2**63}, "wrong-type"),
    ],
)
def test_a_record_has_the_shape_of_its_kind(change, code):
    row = {"url": "http://a/b", "total": 3, **change}
    if code:
        with refused(code) as caught:
            as_record(row, "partial download", "line 3 of 'a'")
        said = "is 9223372036854775808, which" if change == {"total": 2**63} else "must be "
        assert str(caught.value).startswith(f"in line 3 of 'a', '{min(change)}' {said}")
    else:
        assert as_record(row, "partial download", "here") == row


def test_a_place_in_a_record_is_named():
    with refused("wrong-type") as caught:
        as_record({"attributes": ["a"], "words": [["x"], ["y", 3]]}, "classes", "'a'")
    assert "'words.1.1' must be text, not a whole number" in str(caught.value)
    for number in (float("nan"), 10**400, "3", None):
        with refused("wrong-type"):
            as_record({"guidance": number}, "pipeline", "'a'")


def test_a_file_that_is_too_large_is_not_parsed(tmp_path):
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with refused("too-large"):
        read_record(tmp_path / "a.json", "result")
