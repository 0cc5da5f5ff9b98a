"""data_manifest.yaml: complete rows, and one sentence where something is missing."""

import re

import pytest

from tvhelpers import manifest
from tvhelpers.config import InputError

ROW = "a: {kind: images, licence: x, obtain: y, "


def test_rows_are_complete_and_revisions_are_commits():
    rows = manifest.entries()
    assert {"fashion-synthesis", "clothing-small", "flats", "mini", "sd15", "inception"} <= set(
        rows
    )
    for row in rows.values():
        assert {"kind", "licence", "obtain", "size", "sha256"} <= set(row)
        if row.get("hub"):
            assert row["revision"] is None or re.fullmatch(r"[0-9a-f]{40}", row["revision"])


def test_unknown_name_lists_the_names():
    with pytest.raises(InputError, match="sd15"):
        manifest.entry("sd99")


def test_local_path(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="to obtain it: git clone"):
        manifest.local_path("clothing-small")
    (tmp_path / "clothing-small").mkdir()
    assert manifest.local_path("clothing-small") == tmp_path / "clothing-small"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- a", "no rows by name"),
        ("a: {kind: images}", "lacks licence, obtain"),
        ("a: {kind: sound, licence: x, obtain: y}", "of kind 'sound'"),
        (ROW + "colour: red}", r"row 'a' has an unknown key 'colour'; it may have kind, "),
        (ROW + "hub: 3}", "hub is of type int, but str is needed"),
        (ROW + "revision: [x]}", "revision is of type list, but str or null is needed"),
        (ROW + "reader: excel}", "of reader 'excel'; choose photos, table, h5, huggingface"),
        (ROW + "params: {}}", "unknown key 'params'"),  # of flats, not of images
        (ROW + "columns: {caption: 3}}", "columns is to hold texts by name"),
        (ROW + "files: [{sha256: null}]}", r"files\[0\] lacks url"),
        (ROW + "files: [{url: 'ftp://a/b'}]}", "give http:// or https://"),
        (ROW + "files: [{url: 'http://a/b', md5: x}]}", "unknown key 'md5'"),
        (ROW + "files: [{url: 'http://a/b', sha256: abc}]}", "sha256 is 'abc'; give its 64"),
        (ROW + "files: [{url: 'http://a/b'}, {url: 'http://c/b'}]}", "have the same name"),
        ("3: {}", "row name 3 is no text"),
        ("a: " + "[" * 2000, "not YAML"),
        ("a: 2026-99-99", "not YAML"),
    ],
)
def test_broken_manifest(tmp_path, monkeypatch, text, message):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    monkeypatch.setenv("TV_MANIFEST", str(path))
    with pytest.raises(InputError, match=message) as caught:
        manifest.entries()
    assert str(path) in str(caught.value)


def test_rows_of_ones_own_are_added_to_the_packages(tmp_path, monkeypatch):
    path = tmp_path / "m.yaml"
    path.write_text(ROW + "columns: {caption: name}}\nflats: {kind: flats, licence: x, obtain: y}")
    monkeypatch.setenv("TV_MANIFEST", str(path))
    assert manifest.entry("a")["columns"] == {"caption": "name"}
    assert manifest.entry("flats")["licence"] == "x" and manifest.entry("mini")["path"]


def test_no_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="TV_MANIFEST"):
        manifest.entries()
