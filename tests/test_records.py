"""Files that outlive a process: written whole, claimed, and read after the program has changed."""

import ast
import json
from pathlib import Path

import pytest

from tests.helpers import refused
from tvhelpers import records
from tvhelpers.record_kinds import KINDS, Kind
from tvhelpers.records import (
    claim_dir,
    read_json,
    read_record,
    read_records,
    read_rows,
)

PACKAGE = Path(records.__file__).parent
READERS = {"read_json", "parse"}


@pytest.fixture
def toy(monkeypatch):
    """A kind of record of which a key and a value were renamed, and a key came later."""
    kind = Kind({"bars": "steps"}, {"way": {"fast": "quick"}}, {"start": "base"})
    monkeypatch.setitem(KINDS, "toy", kind)


def test_a_record_of_an_older_version_is_upgraded(toy, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"bars": 3, "way": "fast"}')
    assert read_record(path, "toy") == {"steps": 3, "way": "quick", "start": "base"}
    path.write_text('{"steps": 3, "way": "slow", "start": "late"}')
    assert read_record(path, "toy") == {"steps": 3, "way": "slow", "start": "late"}
    path.write_text('{"way": ["fast"]}')  # a value that is no name stays
    assert read_record(path, "toy") == {"way": ["fast"], "start": "base"}
    with pytest.raises(KeyError):
        read_record(path, "another kind")


def test_the_lines_of_an_older_version_are_upgraded(toy, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"bars": 1}\n{"steps": 2}\n{"bars": 3')  # half a line
    assert read_records(path, "toy") == [{"steps": n, "start": "base"} for n in (1, 2)]
    assert read_records(tmp_path / "none.jsonl", "toy") == []


def test_a_folder_of_an_older_version_is_gone_on_with(toy, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "request.json").write_text('{"bars": 3, "way": "fast"}')
    (folder / "made.txt").touch()
    request = {"steps": 3, "way": "quick", "start": "base"}
    assert claim_dir(folder, request, "toy") == folder
    with refused("another-request") as caught:
        claim_dir(folder, request | {"steps": 4}, "toy")
    assert "steps" in str(caught.value)
    for other in ({"steps": 4, "way": "slow"}, {"way": "slow"}):  # what followed from it is last
        with refused("another-request") as caught:
            claim_dir(folder, request | other, "toy", chosen=("way",))
        assert ("way" in str(caught.value)) is ("steps" not in other)
    assert claim_dir(folder, request | {"steps": 4}, "toy", ignore=("steps",)) == folder


def test_a_folder_with_others_files_is_not_taken(tmp_path):
    (tmp_path / "mine.txt").touch()
    with refused("folder-taken"):
        claim_dir(tmp_path, {}, "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_request_that_came_to_nothing_gives_way(tmp_path):
    for request in ({"steps": 1}, {"steps": 2}):
        claim_dir(tmp_path, request, "toy")
    assert json.loads((tmp_path / "request.json").read_text()) == {"steps": 2}


def test_what_is_no_record_is_refused(tmp_path):
    path = tmp_path / "a.json"
    with refused("file-missing"):
        read_json(path)
    path.write_text("{")
    with refused("not-json"):
        read_record(path, "toy")
    path.write_text("[1]")
    with refused("not-a-record"):
        read_record(path, "toy")
    path.write_text("{\n{}\n")
    with refused("not-json") as caught:
        read_records(path, "toy")
    assert "line 1" in str(caught.value)


def test_a_table_of_json_may_begin_with_a_byte_order_mark(tmp_path):
    """Notepad and PowerShell write one."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "x"}\r\n\r\n{"a": "y"}', encoding="utf-8-sig")
    assert read_rows(path) == [{"a": "x"}, {"a": "y"}]
    path.write_text('[{"a": "x"}]', encoding="utf-8-sig")
    assert read_rows(path, whole=True) == [{"a": "x"}]


def test_what_outlives_a_process_is_read_as_a_kind_of_record():
    """A plain reader is for a number, a study, whose hash is of the file as it is, a line, the
    metadata of adapters, the text in a PNG, and whether a key is missing."""
    plain = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "tvhelpers.records":
                names = {alias.name for alias in node.names}
                plain |= {path.relative_to(PACKAGE).as_posix()} if names & READERS else set()
    train, drawn = {"train/fit.py", "train/log.py"}, {"sample/parameters.py"}
    lines = {"data/convert.py", "study/model.py", "show/studio_folder.py"}
    assert plain == {"lora/metadata.py"} | lines | train | drawn


def test_each_kind_is_read_somewhere():
    text = "".join(
        path.read_text() for path in PACKAGE.rglob("*.py") if not path.stem.startswith("record")
    )
    for kind in KINDS:
        assert f'"{kind}"' in text, kind
