"""data_manifest.yaml: complete rows, and one sentence where something is missing."""

import re

import pytest

from tvhelpers import manifest
from tvhelpers.config import InputError


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
    ],
)
def test_broken_manifest(tmp_path, monkeypatch, text, message):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    monkeypatch.setenv("TV_MANIFEST", str(path))
    with pytest.raises(InputError, match=message):
        manifest.entries()


def test_no_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="TV_MANIFEST"):
        manifest.entries()
