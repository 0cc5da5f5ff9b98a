"""Tables that would be misread are refused."""

import json
import re
import shutil

import pytest
from PIL import Image

from tests.data.helpers import photos
from tests.helpers import refused
from tvhelpers.data.convert import convert
from tvhelpers.data.sources import open_source


@pytest.mark.parametrize(
    ("table", "code", "seen"),
    [
        ("file_name,caption\n", "no-rows", "metadata.csv"),
        ("name,caption\n0.png,x\n", "column-missing", "file_name"),
        ("file_name,caption\n9.png,x\n", "file-missing", "9.png"),
        (f"file_name,caption\n{'a' * 5000},x\n", "file-missing", "^.{,400}$"),
        ("file_name,caption\n../x.png,x\n", "outside-folder", "'../x.png'"),
        ("file_name,caption\n0.png,\n", "no-caption", "row 0"),
        ("file_name,caption\n0.png,a, b\n", "ragged-row", "line 2"),
        ('file_name,caption\n0.png,"a\n1.png,b\n', "file-damaged", ""),  # one row, it would seem
        ("file_name,caption, caption\n0.png,a,b\n", "given-twice", "caption"),
        ("file_name,caption,,\n0.png,a, b,\n", "ragged-row", "line 2"),
        (",,\n\n", "no-rows", "metadata.csv"),
        ("", "no-rows", "metadata.csv"),
        ("file_name,caption\n0.png,a\0b\n", "file-damaged", "null characters"),
        ("file_name,caption,split\n0.png,a,dev\n", "unknown-choice", r"row 0 \('0.png'\) .*'dev'"),
        ("file_name,caption,weight\n0.png,a,-1\n", "out-of-range", "'-1'"),
        ("file_name,caption\n0.png,a\n1.png,\n", "no-caption", "row 1 .* of '.*/metadata.csv'"),
    ],
)
def test_broken_tables(tmp_path, table, code, seen):
    pixels = photos(tmp_path / "in")
    Image.fromarray(pixels[0]).save(tmp_path / "x.png")
    (tmp_path / "in" / "metadata.csv").write_text(table)
    with refused(code) as caught:
        open_source(tmp_path / "in")
    assert re.search(seen, str(caught.value))


@pytest.mark.parametrize(
    ("table", "captions"),
    {
        "space after the comma": ('file_name, caption\n0.png, "a, b"\n1.png,  c \n', ["a, b", "c"]),
        "a quote within": ('file_name,caption\n0.png,a "b"\n1.png, "a" b\n', ['a "b"', '"a" b']),
        "doubled quotes": ('"file_name","caption"\n"0.png","a ""b"""\n', ['a "b"']),
        "empty columns": ("file_name,caption,,\n0.png,a,,\n1.png,b,,\n", ["a", "b"]),
        "empty rows": ("\n,\nfile_name,caption\n0.png,a\n,,\n\n , \n1.png,b\n,\n", ["a", "b"]),
        "an index": (",file_name,caption\n0,0.png,a\n1,1.png,b\n", ["a", "b"]),
        "short rows": ("file_name,caption,colour,weight\n0.png,a\n1.png,b,red\n", ["a", "b"]),
        "semicolons": ("file_name;caption\n0.png;a, b\n", ["a, b"]),
        "said semicolons": ("sep=;\r\nfile_name;caption\r\n0.png;a, b\r\n", ["a, b"]),
        "tabs": ("file_name\tcaption\n0.png\ta, b; c\n", ["a, b; c"]),
        "bars": ("file_name|caption\n0.png|a, b; c\n", ["a, b; c"]),
        "a delimiter in a name": ('file_name,caption,"a;b;c;d"\n0.png,a,b\n', ["a"]),
        "old Mac": ("file_name,caption\r0.png,a\r1.png,b", ["a", "b"]),
        "lines in a cell": ('file_name,caption\r\n0.png,"a\nb"\r\n', ["a\nb"]),
        "no line ends": (
            "file_name,caption\n0.png,a\u2028b\u2029\x85\x0b\x0c\x1c.\n",
            ["a\u2028b\u2029\x85\x0b\x0c\x1c."],
        ),
        "as written": ("file_name,caption\n0.png,007\n1.png,1e5\n2.png,2024-01-05\n3.png,True\n",
                       ["007", "1e5", "2024-01-05", "True"]),
        "long": (f"file_name,caption\n0.png,{'a ' * 100_000}b\n", ["a " * 100_000 + "b"]),
    }.values(),
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_people_have_them(tmp_path, table, captions, encoding):
    photos(tmp_path / "in", len(captions))
    (tmp_path / "in" / "metadata.csv").write_bytes(table.encode(encoding))
    source = open_source(tmp_path / "in")
    assert source.captions == captions
    assert source.item_ids == [f"{number}.png" for number in range(len(captions))]
    convert(tmp_path / "in", tmp_path / "out", size=8)
    again = open_source(tmp_path / "out")
    assert again.captions == captions and again.item_ids == source.item_ids


@pytest.mark.parametrize(
    ("cell", "result"),
    {
        "object": ('{"en": "a", "fr": "b"}', "wrong-type"),
        "objects in a list": ('[{"en": "a"}]', "wrong-type"),
        "half a character": (r'"a dress \ud83d"', "unusable-text"),
        "zero byte": (r'"a\u0000"', "unusable-text"),
        "nothing": ("null", "no-caption"),
        "no number": ("NaN", "no-caption"),
        "empty list": ("[]", "no-caption"),
        "one of a list": ('["a dress"]', ["a dress"]),
        "empty texts in a list": ('["", null, "a dress"]', ["a dress"]),
        "pair": (r'"\ud83d\udc57"', ["\U0001f457"]),
        "true": ("true", "wrong-type"),
        "one text in two lists": ('[["a"]]', ["a"]),
        "whole": ("3.0", ["3"]),
        "number": ("0.5", ["0.5"]),
        "line ends": (r'"a\u2028b\u0085c"', ["a\u2028b\x85c"]),
    }.values(),
)
@pytest.mark.parametrize("column", ["caption", "title"])
def test_cells_of_json(tmp_path, cell, result, column):
    photos(tmp_path, 1)
    lines = f'{{"file_name": "0.png", "{column}": {cell}, "boxes": {{"x": [1]}}}}'
    (tmp_path / "metadata.jsonl").write_text(f"\ufeff{lines}\r\n", encoding="utf-8")
    columns = None if column == "caption" else {"caption": column}
    if isinstance(result, list):
        assert open_source(tmp_path, columns).captions == result
        return
    with refused(result) as caught:
        open_source(tmp_path, columns)
    assert re.search("row 0|line 1", str(caught.value))


@pytest.mark.parametrize("key", ["category", "split", "product", "weight", "kind"])
@pytest.mark.parametrize("cell", [["dress", "hat"], True])
def test_labels_are_one_text(tmp_path, key, cell):
    photos(tmp_path / "train", 2)
    rows = [{"file_name": f"{i}.png", "text": "x", key: ["a", cell][i]} for i in range(2)]
    rows[0] |= {"split": "train", "weight": 1}
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for folder in (tmp_path / "train", tmp_path) if key != "kind" else (tmp_path / "train",):
        with refused("wrong-type") as caught:
            open_source(folder, {"category": "kind"} if key == "kind" else None)
        assert re.search("row 1 .*of '.*/train/metadata.jsonl'", str(caught.value))


def test_one_of_several_captions_is_taken_by_the_item(tmp_path):
    photos(tmp_path, 5)
    texts = ["a red dress", "a long dress", "a dress of silk"]
    rows = [{"file_name": f"{number}.png", "caption": texts} for number in range(5)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    taken = dict(zip((source := open_source(tmp_path)).item_ids, source.captions))
    assert set(taken.values()) <= set(texts) and len(set(taken.values())) > 1
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows[::-1])))
    again = open_source(tmp_path)
    assert dict(zip(again.item_ids, again.captions)) == taken
    joined = open_source(tmp_path, {"caption": "{caption}"})
    assert joined.captions == [" ".join(texts)] * 5


def test_tables_that_would_be_misread_are_refused(photo_folder, tmp_path):
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    table = folder / "metadata.csv"
    table.write_text("file_name,caption\n000.png,a red dress, striped\n")
    with refused("ragged-row"):
        open_source(folder)
    table.write_text("filename,caption\n000.png,a red dress\n")
    with refused("column-missing") as caught:
        open_source(folder)
    assert "mean 'filename'" in str(caught.value)
    table.write_text("file_name,caption,split\n000.png,a red dress,tests\n")
    with refused("unknown-choice"):
        open_source(folder)
    table.write_text('file_name,caption\n000.png,"a red dress, striped"\n')
    with pytest.warns(UserWarning, match="23 files skipped, such as '001.png': no row"):
        assert open_source(folder).captions == ["a red dress, striped"]
