"""Downloads from a server of our own: whole, cut off, changed, wrong; then unpacked, once."""

import contextlib
import hashlib
import http.server
import io
import json
import os
import shutil
import socket
import threading
import time
import zipfile

import pytest
import yaml

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data import download
from tvhelpers.data.download import obtain

BODY = os.urandom(300_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve server.files with ranges; cut every answer after server.cut bytes where it is set."""

    def do_GET(self):
        server, start = self.server, 0
        server.asked.append(self.headers.get("Range"))
        if server.page:
            return self.answer(200, b"<html>log in</html>", {"Content-Type": "text/html"})
        data = server.files.get(self.path.split("?")[0])
        if data is None:
            return self.answer(404, b"")
        tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") in (None, tag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.answer(416, b"")
            span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", "ETag": tag}
            return self.answer(206, data[start:], span)
        return self.answer(200, data, {"ETag": tag})

    def answer(self, code, data, headers=()):
        self.send_response(code)
        for name, value in {**dict(headers), "Content-Length": len(data)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data[: self.server.cut])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server, and a manifest whose rows are of it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.cut, server.ranges, server.page, server.asked = {}, None, True, False, []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    server.at = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(download, "PAUSE", 0)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def row(server, tmp_path, monkeypatch):
    """Return a function that writes the row `mine` into a manifest of its own."""
    numbers = iter(range(99))

    def write(*files, **more):
        row = {"kind": "images", "licence": "CC0", "obtain": "get it"}
        row |= {"files": list(files)} if files else {}
        path = tmp_path / f"{next(numbers)}.yaml"
        path.write_text(yaml.safe_dump({"mine": {**row, **more}}))
        monkeypatch.setenv("TV_MANIFEST", str(path))

    return write


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return out.getvalue()


def test_download_verify_unpack_and_then_nothing(server, row, tmp_path, caplog, capsys):
    server.files = {"/d/a.zip": zipped({"top/a/1.txt": "one"}), "/labels.csv": b"a,b\n"}
    digest = hashlib.sha256(server.files["/d/a.zip"]).hexdigest()
    row({"url": f"{server.at}/d/a.zip?x=1", "sha256": digest, "unpack": True, "strip": 1},
        {"url": f"{server.at}/labels.csv", "size": 4})  # fmt: skip
    place = obtain("mine")
    assert place == tmp_path / "data" / "mine"
    assert (place / "a" / "1.txt").read_text() == "one" and (place / "labels.csv").is_file()
    assert caplog.messages[0] == "mine: CC0" and "a.zip: 100%" in capsys.readouterr().err
    assert not list(place.parent.glob(".mine.partial*"))
    before = len(server.asked)
    assert obtain("mine") == place and len(server.asked) == before == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_is_cut_goes_on(server, row, ranges):
    """In one command where the server knows ranges; a server that does not is given up on."""
    server.files, server.cut, server.ranges = {"/a.bin": BODY}, 120_000, ranges
    row({"url": f"{server.at}/a.bin", "sha256": hashlib.sha256(BODY).hexdigest()})
    if ranges:
        assert (obtain("mine") / "a.bin").read_bytes() == BODY
        assert server.asked == [None, "bytes=120000-", "bytes=240000-"]
    else:
        with refused("download-failed"):
            obtain("mine")
        server.cut = None
        assert (obtain("mine") / "a.bin").read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_begun_again(server, row, monkeypatch):
    """No digest is known, so only the server can tell."""
    server.files, server.cut = {"/a.bin": BODY}, 120_000
    row({"url": f"{server.at}/a.bin"})
    monkeypatch.setattr(download, "ATTEMPTS", 0)
    with refused("download-failed") as caught:
        obtain("mine")
    assert "120000 of 300000 bytes" in str(caught.value)
    server.files, server.cut = {"/a.bin": BODY[::-1]}, None
    assert (obtain("mine") / "a.bin").read_bytes() == BODY[::-1]
    assert server.asked[-1] == "bytes=120000-"


def test_a_wrong_digest_or_size_is_refused_and_nothing_stays(server, row, tmp_path):
    server.files = {"/a.bin": BODY}
    row({"url": f"{server.at}/a.bin", "sha256": "0" * 64})
    for _ in range(2):
        with refused("wrong-digest"):
            obtain("mine")
    assert not (tmp_path / "data" / "mine").exists()
    assert not [path for path in tmp_path.rglob("a.bin*") if path.is_file()]
    row({"url": f"{server.at}/a.bin", "size": 5})
    with refused("wrong-size"):
        obtain("mine")


def test_pages_and_missing_files_are_said_at_once(server, row):
    row({"url": f"{server.at}/none.bin"})
    with refused("download-failed"):
        obtain("mine")
    assert len(server.asked) == 1
    server.page = True
    with refused("download-failed"):
        obtain("mine")


def test_no_server_and_a_full_disk_are_one_sentence(server, row, monkeypatch):
    row({"url": "http://127.0.0.1:9/a.bin"})
    with refused("download-failed"):
        obtain("mine")
    server.files = {"/a.bin": BODY}
    row({"url": f"{server.at}/a.bin"})
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with refused("disk-full"):
        obtain("mine")
    monkeypatch.undo()


def test_a_disk_that_fills_on_the_way(server, row, monkeypatch):
    server.files = {"/a.bin": BODY}
    row({"url": f"{server.at}/a.bin"})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_copy", full)
    with refused("disk-full"):
        obtain("mine")


def test_unpacking_that_was_killed_begins_again(server, row, monkeypatch):
    server.files = {"/a.zip": zipped({"a.txt": "a", "b.txt": "b"})}
    row({"url": f"{server.at}/a.zip", "unpack": True})

    def killed(archive, folder, **options):
        (folder / "a.txt").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "unpack", killed)
        with pytest.raises(KeyboardInterrupt):
            obtain("mine")
    assert (obtain("mine") / "a.txt").read_text() == "a"
    assert len(server.asked) == 1  # what was downloaded is not downloaded again


def test_gated_data_by_hand(row, tmp_path, capsys):
    """Licence and steps first; then the archive that was got manually, beside what is there."""
    digest = hashlib.sha256(b"pixels").hexdigest()
    row(gate="write a letter", sha256={"Img/G2.h5": digest})
    assert cli.main(["data", "get", "mine"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == ["mine: CC0", "mine is gated: write a letter"]
    assert "get it" in err
    (tmp_path / "hand.zip").write_bytes(zipped({"Img/G2.h5": "pixels"}))
    (tmp_path / "data" / "mine").mkdir()
    (tmp_path / "data" / "mine" / "note.txt").write_text("my own")
    command = ["data", "get", "mine", "--archive", str(tmp_path / "hand.zip"), "--json"]
    for _ in range(2):
        assert cli.main(command) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["path"] == str(tmp_path / "data" / "mine")
    assert "unpacked already" in err
    place = tmp_path / "data" / "mine"
    assert (place / "Img" / "G2.h5").read_text() == "pixels"
    assert (place / "note.txt").read_text() == "my own"
    (tmp_path / "other.zip").write_bytes(zipped({"Img/G2.h5": "others"}))
    assert cli.main([*command[:4], str(tmp_path / "other.zip")]) == 2
    assert "already exists with other contents" in capsys.readouterr().err
    (place / "Img" / "G2.h5").write_text("broken")
    assert cli.main(["data", "get", "mine"]) == 2
    assert "not the file it should be" in capsys.readouterr().err


def test_what_needs_no_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path))
    for name in ("flats", "sd15", "fashion-product-images-small"):
        with refused("no-download"):
            obtain(name)
    assert (obtain("mini") / "unet").is_dir()


@pytest.fixture
def raw(row):
    """Return a function that starts a server which sends `answers`, one for each connection."""
    sockets, threads = [], []

    def serve(*answers, **file):
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        heads = []

        def run():
            for answer in answers:
                with contextlib.suppress(OSError), listener.accept()[0] as one:
                    heads.append(one.recv(65536))
                    for piece in [answer] if isinstance(answer, bytes) else answer:
                        one.sendall(piece)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.bin"
        row({"url": url, **file})
        return heads

    yield serve
    for one in sockets:
        one.close()


def head(code=200, **headers):
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join([f"HTTP/1.1 {code} x", *lines]) + "\r\n\r\n").encode("latin-1")


def chunks(data, count=1):
    yield head(Transfer_Encoding="chunked")
    for _ in range(count):
        yield b"%x\r\n%s\r\n" % (len(data), data)
    yield b"0\r\n\r\n"


PART = head(200, Content_Length=9, ETag='"1"') + b"abcd"  # cut off
REST = "bytes 4-8/9"
CHUNKED = b"5\r\nefghi\r\n0\r\n\r\n"
ANSWERS = [  # what one connection after the other sends, and the code, or None where all is well
    ([head(Content_Length="\xb2") + b"abcdefghi"], {}, None),
    ([head(Content_Length="9" * 99) + b"abcdefghi"], {}, "disk-full"),
    ([PART, head(206, Content_Range=REST, Transfer_Encoding="chunked") + CHUNKED], {}, None),
    ([PART, head(206, Content_Range="bytes 4-8/*") + b"efghi"], {}, None),
    ([PART, head(206, Content_Range="bytes 0-8/9") + b"abcdefghi", PART + b"efghi"], {}, None),
    ([PART, head(206, Content_Range="bytes x") + b"efghi", PART + b"efghi"], {}, None),
    ([PART, head(206) + b"efghi", PART + b"efghi"], {}, None),
    ([PART, head(200, Content_Length=9) + b"abcdefghi"], {}, None),
    ([PART, head(416), PART + b"efghi"], {}, None),
    ([head() + b"abcd", head(416)] * 5, {"size": 9}, "download-failed"),
    ([head() + b"abcdefghi" * 9], {"size": 9}, "wrong-size"),
    ([chunks(bytes(1 << 20), 300)], {"size": 1000}, "wrong-size"),
    ([head(Content_Length=10)], {"size": 9}, "wrong-size"),
    ([head(Content_Encoding="gzip") + b"abcdefghi"], {}, "download-failed"),
    ([head(Content_Type="text/html") + b"abcdefghi"], {}, "download-failed"),
    ([head(Content_Type="application/x") + b" \n<!DOCTYPE html><html>"], {}, "download-failed"),
    ([head(302, Location="file:///etc/passwd")], {}, "download-failed"),
    ([head(301, Location="ftp://127.0.0.1/x")], {}, "download-failed"),
    ([head(302, Location="data:,x")], {}, "download-failed"),
    ([head(302, Location="http://[x/")], {}, "download-failed"),
    ([head(302, Location="http://a..b/")], {}, "download-failed"),
    ([b"\0" * 99] * 9, {}, "download-failed"),
    ([b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999] * 9, {}, "download-failed"),
]


@pytest.mark.parametrize(("answers", "file", "code"), ANSWERS, ids=range(len(ANSWERS)))
def test_servers_that_answer_otherwise(raw, tmp_path, answers, file, code):
    raw(*answers, **file)
    if code is None:
        assert (obtain("mine") / "a.bin").read_bytes() == b"abcdefghi"
        return
    with refused(code):
        obtain("mine")
    left = [path for path in (tmp_path / "data").rglob("*a.bin*") if path.is_file()]
    assert all(path.stat().st_size < 999 for path in left)


def test_a_server_that_trickles_is_given_up_on(raw, monkeypatch):
    monkeypatch.setattr(download, "WINDOW", 0.2)

    def trickle():
        yield head(Content_Length=999)
        for _ in range(999):
            time.sleep(0.05)
            yield b"x"

    raw(*(trickle() for _ in range(9)))
    with refused("download-failed"):
        obtain("mine")


def test_a_file_that_is_there_is_checked_too(server, row, tmp_path):
    """It may be of an older row, or damaged."""
    server.files = {"/a.bin": BODY}
    aside = tmp_path / "data" / ".mine.partial" / "downloads"
    aside.mkdir(parents=True)
    for file in ({"size": len(BODY)}, {"sha256": hashlib.sha256(BODY).hexdigest()}):
        (aside / "a.bin").write_bytes(b"another")
        row({"url": f"{server.at}/a.bin", **file})
        assert download.fetch({"url": f"{server.at}/a.bin", **file}, aside).read_bytes() == BODY
