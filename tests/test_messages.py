"""Every refusal names a message of messages.txt and fills all of its braces."""

import ast
import pickle
import re
import string
from pathlib import Path

import numpy as np
import pytest

from tvhelpers.errors import Choice, InputError, in_words

PACKAGE = Path(__file__).resolve().parents[1] / "tvhelpers"
LINES = (PACKAGE / "messages.txt").read_text().splitlines()
KEY = r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)?"
MESSAGES = dict(line.split(": ", 1) for line in LINES)
PATH = Path("/content/drive/MyDrive/textile-vision/data/photos/summer-26")
PATHS = ("path", "folder", "file", "archive")
NUMBERS = """number count row low high value line size most seed step images texts samples needed
width height resolution fewest total""".split()

LISTS = "names missing different held keys known".split()
LONG_LIST = [f"a column named {number}" for number in range(99)]


def refusals():
    """Yield (place, key, names of the values) of every InputError of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if called in ("InputError", "TakenError"):
                key, *rest = node.args
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                assert not rest, f"{place}: words stand in messages.txt"
                names = {keyword.arg for keyword in node.keywords}
                yield place, getattr(key, "value", None), names


def fields(message):
    """Return {name: how it is formatted} of a message's braces."""
    return {name: spec for _, name, spec, _ in string.Formatter().parse(message) if name}


def sample(name, spec):
    """Return a usual value of a message's field: long where it may be long."""
    some = {
        "choice": Choice("zzz", [f"name-{number}" for number in range(40)]),
        "error": ValueError("[Errno 5]\nInput/output error, \x1b[31munable to open it"),
        "where": f"row 'name' of '{PATH}'",
        "shape": (128, 128, 3),
        "wanted": int,
        "known": ["one", "of", "a", "few"],
        "given": "12345",
        "keys": ["id", "prompt"],
        "digest": "0123456789abcdef",
        "made_for_digest": "0123456789abcdef",
        "flag": "decode",
        "what": "encoding",
    }
    if name in PATHS:
        return PATH
    if "|" in spec or spec.endswith(("f", "e")) or name in NUMBERS:
        return 12345
    if spec in ("and", "or") and name not in some:
        return [f"column {number}" for number in range(40)]
    return some.get(name, "a usual\nname")


@pytest.mark.parametrize("key", MESSAGES)
def test_a_message_is_short_and_quotes_what_it_names(key):
    values = {name: sample(name, spec) for name, spec in fields(MESSAGES[key]).items()}
    text = str(InputError(key, **values))
    assert text.isprintable() and len(text) <= 200, text
    ones = {name: 1 if value == 12345 else value for name, value in values.items()}
    assert not re.search(r"\b1 (?!is|has|was|process)\w+s\b", str(InputError(key, **ones)))


@pytest.mark.parametrize("key", MESSAGES)
def test_a_message_with_long_values_is_short(key):
    specs = fields(MESSAGES[key])
    values = {name: sample(name, spec) for name, spec in specs.items()}
    for name, value in values.items():
        if value == "a usual\nname" and specs[name] != "text":  # a text is a part of the message
            values[name] = LONG_LIST if name in LISTS else "a usual name " * 99
    assert len(str(InputError(key, **values))) <= 200, InputError(key, **values)


def test_every_refusal_names_its_kind_and_fills_its_message():
    for place, key, names in refusals():
        assert key, f"{place}: its message is not written there"
        assert re.fullmatch(KEY, key), f"{place}: {key!r} is no kind of problem"
        assert key in MESSAGES, f"{place}: messages.txt has no {key!r}"
        assert fields(MESSAGES[key]).keys() == names, f"{place}: {key}"


def test_messages_are_sorted_and_each_is_used():
    assert sorted(LINES) == LINES and len(MESSAGES) == len(LINES)
    assert set(MESSAGES) <= {key for _, key, _ in refusals()}
    assert all(re.fullmatch(KEY, key) for key in MESSAGES)


def test_a_refusal_says_its_message_and_survives_a_process():
    error = InputError("not-json", where="'a.json'", error=ValueError("no brace"))
    assert error.code == "not-json" and str(error).startswith("'a.json' is not")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, str(again)) == (error.code, str(error))
    with pytest.raises(KeyError):
        InputError("no-such-message")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Path("a\x1b[1mb"), "'a\\x1b[1mb'"),
        ("red\ndress", "'red\\ndress'"),
        (2**31, "2147483648"),
        (0.5, "0.5"),
        (1e9, "1000000000"),
        (True, "true"),
        (np.bool_(True), "true"),
        (np.array(3.0), "3"),
        (1.0000001, "1.0000001"),
        (b"a\0", "b'a\\x00'"),
        ({"a": 1}, "{'a': 1}"),
        (int, "a whole number"),
        (["a", "b"], "'a', 'b'"),
        ([], "nothing"),
        (None, "nothing"),
        ((3, 4), "(3, 4)"),
        (Choice("stesp", ["steps", "seed"]), "did you mean 'steps'?"),
        (Choice("x", ["steps", "seed"]), "choose 'steps' or 'seed'"),
    ],
)
def test_a_value_in_words(value, words):
    assert in_words(value) == words


def test_what_is_long_is_cut():
    names = in_words([f"name {number}" for number in range(40)])
    assert names.startswith("'name 0', 'name 1', ") and names.endswith(", … and 34 more")
    assert len(in_words("x" * 999)) < 100 and len(in_words(ValueError("x" * 999))) < 100
    assert len(in_words(Path("x" * 999))) > 999


def test_a_path_stays_whole_and_a_long_list_is_cut_later():
    for path in ("/home/" + "a b" * 99, "~/" + "x" * 99, "runs/" + "x" * 99, "../" + "a b" * 99):
        assert in_words(path) == f"'{path}'"
    for prompt in ("a red/blue dress ", "/imagine a dress "):
        assert len(in_words(prompt * 9)) < 100
    assert len(in_words("/" + "x" * 9999)) < 100
    names = [f"name {number}" for number in range(40)]
    assert in_words(names, "long").endswith(", … and 25 more")
