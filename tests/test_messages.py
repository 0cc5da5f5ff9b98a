"""Every refusal names a message of messages.txt and fills all of its braces."""

import ast
import pickle
import re
import string
from pathlib import Path

import pytest

from tvhelpers.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1] / "tvhelpers"
LINES = (PACKAGE / "messages.txt").read_text().splitlines()
KEY = r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)?"
MESSAGES = dict(line.split(": ", 1) for line in LINES)


def refusals():
    """Yield (place, key, names of the values) of every InputError of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "InputError",
                "TakenError",
            ):
                key, *rest = node.args
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                names = None if rest else {keyword.arg for keyword in node.keywords}
                yield place, getattr(key, "value", None), names


def fields(message):
    names = [name for _, name, _, _ in string.Formatter().parse(message) if name]
    return {re.split(r"[.\[]", name)[0] for name in names}


def test_every_refusal_names_its_kind_and_fills_its_message():
    passes_on = []
    for place, key, names in refusals():
        if key is None:
            passes_on.append(place.partition(":")[0])
            continue
        assert re.fullmatch(KEY, key), f"{place}: {key!r} is no kind of fault"
        if names is not None:
            assert key in MESSAGES, f"{place}: messages.txt has no {key!r}"
            assert fields(MESSAGES[key]) == names, f"{place}: {key}"
    assert passes_on == ["score/report.py"]  # the code of another error


def test_messages_are_sorted_and_each_is_used():
    assert sorted(LINES) == LINES and len(MESSAGES) == len(LINES)
    assert set(MESSAGES) <= {key for _, key, _ in refusals()}
    assert all(re.fullmatch(KEY, key) for key in MESSAGES)


def test_a_refusal_says_its_message_and_survives_a_process():
    error = InputError("not-json.file", path=Path("a.json"), error=ValueError("no brace"))
    assert error.code == "not-json" and str(error).startswith("'a.json' is not")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, str(again)) == (error.code, str(error))
    with pytest.raises(KeyError):
        InputError("no-such-message")
