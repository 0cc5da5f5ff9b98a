"""data_manifest.yaml: complete rows, and one sentence where something is missing."""

import re

import pytest

from tests.helpers import refused
from tvhelpers import manifest

ROW = "a: {kind: images, licence: x, obtain: y, "


def bomb(value):
    """Return YAML whose aliases stand for 9 ** 8 values."""
    lines = [f"{b}: &{b} " + value.format(f"*{a}, " * 9) for a, b in zip("abcdefgh", "bcdefghi")]
    return "\n".join(["a: &a {x: 1}", *lines])


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
    with refused("unknown-name") as caught:
        manifest.entry("sd16")
    assert "sd15" in str(caught.value)


def test_local_path(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path))
    with refused("not-at-hand") as caught:
        manifest.local_path("clothing-small")
    assert "git clone" in str(caught.value)
    (tmp_path / "clothing-small").mkdir()
    assert manifest.local_path("clothing-small") == tmp_path / "clothing-small"


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("a: [", "not-yaml", ""),
        ("a: " + "[" * 2000, "not-yaml", ""),
        ("a: 2026-99-99", "not-yaml", ""),
        ("a: " + "x" * 2**18, "too-large", ""),
        (bomb("[{}]"), "too-large", "aliases"),
        (bomb("{{<<: [{}]}}"), "too-large", "aliases"),
        ("a: &a {kind: images, columns: {caption: *a}}", "too-large", "aliases"),
        ("a: {kind: base, licence: x, obtain: y}", "missing-key", "'hub'"),
        ("a: {kind: base, licence: x, obtain: y, hub: a/b, clip: {path: 3}}", "wrong-type", "clip"),
        (ROW + "table: {train: [3]}}", "wrong-type", "table"),
        ("- a", "wrong-type", ""),
        ("3: {}", "wrong-type", "row 3"),
        ("../../evil: {kind: images, licence: x, obtain: y}", "bad-name", "../../evil"),
        ("/etc: {kind: images, licence: x, obtain: y}", "bad-name", "/etc"),
        ("'': {kind: images, licence: x, obtain: y}", "bad-name", ""),
        ("..: {kind: images, licence: x, obtain: y}", "bad-name", ".."),
        ("a: {kind: base, licence: x, obtain: y, path: ../../b}", "outside-folder", "../../b"),
        (ROW + "sha256: {../../b: '12345678'}}", "outside-folder", "../../b"),
        ("a: {kind: images}", "missing-key", "'licence', 'obtain'"),
        ("a: {kind: sound, licence: x, obtain: y}", "unknown-choice", "'sound'"),
        (ROW + "colour: red}", "unknown-key", "no key 'colour'"),
        (ROW + "params: {}}", "unknown-key", "'params'"),  # of flats, not of images
        (ROW + "hub: 3}", "wrong-type", "'hub' must be text"),
        (ROW + "revision: [x]}", "wrong-type", "'revision' must be text or empty"),
        (ROW + "columns: {caption: 3}}", "wrong-type", "columns"),
        (ROW + "files: [{sha256: null}]}", "missing-key", "file 1 of row 'a'"),
        (ROW + "files: [{url: 'ftp://a/b'}]}", "not-a-url", "ftp://a/b"),
        (ROW + "files: [{url: 'http://a/b', md5: x}]}", "unknown-key", "'md5'"),
        (ROW + "files: [{url: 'http://a/b', sha256: abc}]}", "not-a-digest", "'abc'"),
        (ROW + "sha256: {a: xyz}}", "not-a-digest", "'xyz'"),
        (ROW + "files: [{url: 'http://a/b', size: -1}]}", "out-of-range", "size"),
        (ROW + "files: [{url: 'file:///etc/passwd'}]}", "not-a-url", "file:"),
        (ROW + "files: [{url: 'http://u:p@a/b'}]}", "not-a-url", "http:"),
        (ROW + "files: [{url: 'http://a/b c'}]}", "not-a-url", "http:"),
        (ROW + "files: [{url: 'http://a/\u00e9'}]}", "not-a-url", "http:"),
        (
            ROW + "files: [{url: 'http://a/b.zip?v=1'}, {url: 'http://a/B.zip?v=2'}]}",
            "given-twice",
            "of the same name",
        ),
        (
            ROW + "files: [{url: 'http://a/b'}, {url: 'http://c/b'}]}",
            "given-twice",
            "of the same name",
        ),
    ],
    ids=lambda value: value[:60],
)
def test_broken_manifest(tmp_path, monkeypatch, text, code, named):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    monkeypatch.setenv("TV_MANIFEST", str(path))
    with refused(code) as caught:
        manifest.entries()
    assert str(path) in str(caught.value) and named in str(caught.value)


def test_rows_of_ones_own_are_added_to_the_packages(tmp_path, monkeypatch):
    path = tmp_path / "m.yaml"
    path.write_text(ROW + "columns: {caption: name}}\nflats: {kind: flats, licence: x, obtain: y}")
    monkeypatch.setenv("TV_MANIFEST", str(path))
    assert manifest.entry("a")["columns"] == {"caption": "name"}
    assert manifest.entry("flats")["licence"] == "x" and manifest.entry("mini")["path"]


def test_no_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_MANIFEST", str(tmp_path / "none.yaml"))
    with refused("no-manifest"):
        manifest.entries()
