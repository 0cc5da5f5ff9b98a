"""Which files of a folder are found, and that no name or link leads out of it."""

import os
import socket
import unicodedata

import pytest

from tests.helpers import refused
from tvhelpers import paths
from tvhelpers.paths import inside, is_there, walk

CLOTHES = "Größe é/Kleid Über.JPG"
SERVICE = """.ipynb_checkpoints/a-checkpoint.jpg .Trash-1000/files/a.jpg .thumbnails/a.png ._a.jpg
__MACOSX/a.jpg @eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg lost+found/a.jpg _thumbs/a.jpg b/thumbs_128/1.png
a.jpg~ a.PNG.bak a.jpeg_original""".split()


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(folder, **more):
    return [path.relative_to(folder).as_posix() for path in walk(folder, **more)]


def test_hidden_and_service_files_are_counted_but_not_found(tmp_path):
    make(
        tmp_path,
        "b/2.jpg",
        "b/10.jpg",
        "a.txt",
        "thumb-1.jpg",
        "Thumbs.db",
        ".DS_Store",
        ".git/config",
        *SERVICE,
    )
    skipped = {}
    assert names(tmp_path, skipped=skipped) == ["a.txt", "b/10.jpg", "b/2.jpg", "thumb-1.jpg"]
    assert sorted(skipped.pop(paths.HIDDEN)) == sorted(SERVICE) and not skipped
    assert names(tmp_path / ".thumbnails") == ["a.png"]  # a hidden folder that is meant


def test_links_stay_in_the_folder(tmp_path):
    photos, private = tmp_path / "photos", tmp_path / "private"
    make(photos, "a.jpg", "sub/b.jpg")
    make(private, "passport.png")
    (photos / "again.jpg").symlink_to("a.jpg")
    (photos / "out.png").symlink_to(private / "passport.png")
    (photos / "nowhere.png").symlink_to("nothing")
    (photos / "sub" / "up").symlink_to(photos)
    (photos / "other").symlink_to(private)
    skipped = {}
    assert names(photos, skipped=skipped) == ["a.jpg", "again.jpg", "sub/b.jpg"]
    assert skipped == {paths.LEADS_OUT: ["nowhere.png", "other", "out.png"]}
    for name in ("out.png", "other/passport.png", "sub/up/other/passport.png"):
        with refused("outside-folder"):
            inside(photos, name)
    assert not paths.is_listed(photos, photos / "out.png")


def test_what_is_named_as_an_image_but_no_file_is_counted(tmp_path):
    make(tmp_path, "full.jpg/a.jpg")
    (tmp_path / "empty.jpg").mkdir()
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.jpg").symlink_to("full.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "socket.jpg"))
    skipped = {}
    assert names(tmp_path, skipped=skipped) == ["full.jpg/a.jpg"]
    assert sorted(skipped.pop(paths.NO_FILE)) == ["empty.jpg", "pipe.png", "socket.jpg"]
    assert not skipped and not walk(tmp_path / "empty.jpg", skipped) and not skipped


def test_a_snapshot_of_the_hub_is_read_through_its_links(tmp_path):
    snapshot = tmp_path / "datasets--ana--dresses" / "snapshots" / "0f3c"
    make(tmp_path / "datasets--ana--dresses", "blobs/9a1b", "refs/main")
    (snapshot / "train").mkdir(parents=True)
    (snapshot / "train" / "a.jpg").symlink_to("../../../blobs/9a1b")
    (snapshot / "config").symlink_to("../../refs/main")
    assert names(snapshot) == ["train/a.jpg"] and names(snapshot / "train") == ["a.jpg"]
    assert is_there(inside(snapshot, "train/a.jpg"))
    with refused("outside-folder"):
        inside(snapshot, "config")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\photos\\x.jpg",
                                  "c:/x.jpg", "\\\\server\\x.jpg", "a\\..\\..\\x"])  # fmt: skip
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    make(tmp_path, "x", "in/a/b")
    with refused("outside-folder"):
        inside(tmp_path / "in", name)


def test_a_file_is_found_by_the_names_that_other_systems_give(tmp_path, monkeypatch):
    make(tmp_path / "in", unicodedata.normalize("NFD", CLOTHES), "a/1.jpg", "b.jpg", "B.JPG")
    wanted = tmp_path / "in" / "a" / "1.jpg"
    monkeypatch.chdir(tmp_path / "in")
    for name in ("a/1.jpg", "./a/1.jpg", "a\\1.jpg", "A/1.JPG", "b/../a/1.jpg", str(wanted)):
        assert inside(tmp_path / "in", name) == wanted
    assert is_there(inside(tmp_path / "in", CLOTHES))
    assert is_there(inside(tmp_path / "in", CLOTHES.upper().replace("/", "\\")))
    assert inside(tmp_path / "in", "B.JPG").name == "B.JPG"
    assert not is_there(inside(tmp_path / "in", "B.jpg"))  # either could be meant
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert is_there(inside(tmp_path / "link", str(wanted)))
    for impossible in ("", ".", "a\0b", "x" * 5000, "\ud800", "\udcff"):
        assert not is_there(inside(tmp_path / "in", impossible))


def test_names_that_are_not_utf8_are_counted(tmp_path):
    make(tmp_path, "a.jpg")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):
        pass
    skipped = {}
    assert names(tmp_path, skipped=skipped) == ["a.jpg"]
    assert skipped == {paths.NOT_UTF8: ["caf\\udce9.jpg"]}
