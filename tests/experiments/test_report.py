"""The page of trainings: it shows what folders say, and nothing in them can do anything."""

import json
import re
import shutil

import pytest

from tests.browser import CHROMIUM
from tests.helpers import refused
from tests.train.conftest import cache_root, settings, whole  # noqa: F401 - fixtures
from tvhelpers import cli
from tvhelpers.experiments.report import write_report
from tvhelpers.files import write_text
from tvhelpers.image import save_png
from tvhelpers.records import write_json

EVIL = "<script>fetch('http://x.test/')</script><img src=http://x.test/a onerror=alert(1)>"


@pytest.fixture
def folder(whole, tmp_path):  # noqa: F811
    """Runs, a gallery and results with names that would be HTML."""
    from PIL import Image

    for name in ("a", "b", "<b>c"):
        shutil.copytree(whole, tmp_path / "runs" / name)
    config = json.loads((tmp_path / "runs" / "b" / "config.json").read_text())
    write_json(tmp_path / "runs" / "b" / "config.json", {**config, "rank": 7, "captions": EVIL})
    (tmp_path / "runs" / "a" / "result.json").unlink()
    strip = Image.new("RGB", (128, 64), "red")
    save_png(strip, tmp_path / "runs" / "a" / "previews" / "step-0000006.png")
    (tmp_path / "runs" / "b" / "previews").mkdir()
    (tmp_path / "runs" / "b" / "previews" / "step-0000006.png").write_text("no image")
    save_png(strip, tmp_path / "images" / "0.png")
    row = {"file": "0.png", "prompt": EVIL}
    write_text(tmp_path / "images" / "records.jsonl", json.dumps(row) + "\n")
    over = {"mean": 0.5, "ci": [0.4, 0.6], "values": [0.4, 0.5, 0.6]}
    result = {"experiment": "x", "title": EVIL, "claim": EVIL, "against": "a", "figures": ["loss"],
              "base": EVIL, "data": "d", "scale": "s", "seeds": [1, 2, 3],
              "arms": {"a": {"loss": over}, EVIL: {"loss": over}},
              "differences": {EVIL: {"loss": over}}}  # fmt: skip
    write_json(tmp_path / "x.json", result)
    return tmp_path


def test_a_page_of_runs_galleries_and_results(folder, capsys):
    out = folder / "report.html"
    found = write_report([folder], out)
    assert found == {"out": str(out), "runs": 3, "galleries": 1, "experiments": 1}
    page = out.read_text()
    assert page.count("not finished") == 1 and "<td>rank" in page and "<td>7" in page
    assert "cannot be read" in page and "&lt;b&gt;c" in page
    assert not re.search(r"<script|<img src=http|<b>c|onerror=alert\(1\)>", page)
    sources = re.findall(r'<img [^>]*src="?([^" ]{5})', page)
    assert {*sources} == {"data:"}
    before = page
    assert cli.main(["report", str(folder), "--out", str(out)]) == 0
    assert out.read_text() == before  # the same figures, to the byte


def test_what_is_no_training_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with refused("nothing-to-report"):
        write_report([tmp_path / "empty"], tmp_path / "page.html")
    with refused("nothing-to-report"):
        write_report([tmp_path / "missing"], tmp_path / "page.html")
    (folder / "runs" / "a" / "eval.jsonl").write_text("[]\n")
    with refused("not-a-record"):
        write_report([folder], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_page_opens_from_a_disk_without_a_request(folder, driver):
    write_report([folder], folder / "report.html")
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    for width in (1280, 390):
        page, asked, said = browser.new_page(viewport={"width": width, "height": 800}), [], []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("dialog", lambda dialog, said=said: said.append(dialog.message))
        page.goto((folder / "report.html").as_uri())
        assert [url for url in asked if not url.startswith("data:")] == asked[:1] and not said
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        widths = page.evaluate("[...document.images].map(x => x.naturalWidth)")
        assert widths and all(widths)
    browser.close()
