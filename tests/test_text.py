"""Text from outside: files in any encoding, and values of cells."""

import ast
from pathlib import Path

import pytest

from tests.helpers import refused
from tvhelpers.text import clean, read_text

PACKAGE = Path(__file__).resolve().parents[1] / "tvhelpers"
WORDS = "robe d'été à carreaux, 红裙 \U0001f457\u2028\u0085\x0b\x0c.\n"


@pytest.mark.parametrize(
    "encoding", "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32-le utf-32-be".split()
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_file_is_read_by_its_mark(tmp_path, encoding, end):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    (tmp_path / "a.txt").write_bytes((mark + WORDS.replace("\n", end)).encode(encoding))
    assert read_text(tmp_path / "a.txt") == WORDS


@pytest.mark.parametrize(
    ("data", "seen"),
    {
        "latin-1": ("robe d'été".encode("latin-1"), "byte 7 is E9"),
        "cp1251": ("красное".encode("cp1251"), "byte 0 is EA"),
        "shift-jis": ("赤い服".encode("shift-jis"), "byte 0 is 90"),
        "cut": ("a dress é".encode()[:-1], "byte 8 is C3"),
        "cut UTF-16": ("\ufeffab".encode("utf-16-le")[:-1], "byte 4 is 62"),
        "half a character": (b"\xff\xfe\x3d\xd8a\0", "byte 2 is 3D"),
        "surrogate": (b"a \xed\xa0\xbd", "byte 2 is ED"),
        "no mark": ("a dress".encode("utf-16-le"), "null characters"),
        "an image": (b"\x89PNG\r\n\x1a\n", "byte 0 is 89"),
    }.values(),
)
def test_any_other_encoding_is_refused_with_its_place(tmp_path, data, seen):
    (tmp_path / "a.txt").write_bytes(data)
    with refused("file-damaged") as caught:
        read_text(tmp_path / "a.txt")
    assert seen in str(caught.value) and "a.txt" in str(caught.value)


@pytest.mark.parametrize("text", ["a dress \ud83d", "\udc57", "a\0b"])
def test_a_text_that_cannot_be_kept_is_refused(text):
    with refused("unusable-text") as caught:
        clean(text, "row 3 of 'a.csv'")
    assert "row 3" in str(caught.value) and str(caught.value).isprintable()
    assert clean(WORDS, "") == WORDS


def test_the_package_names_the_encoding_of_every_text_file():
    """ruff's PLW1514 sees only paths whose type it can infer."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "attr", "")
            if name in ("read_text", "write_text"):
                keys = [keyword.arg for keyword in node.keywords]
                assert "encoding" in keys, f"{path}:{node.lineno}"
