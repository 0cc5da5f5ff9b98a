"""The notebooks as pages: small, without paths of a machine, bars and warnings, with figures."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

REPO = Path(__file__).resolve().parents[1]
PAGES = sorted((REPO / "docs" / "notebooks").glob("*.md"))
UNWANTED = r"Traceback|Warning|/tmp/|/work/|/home/|/root/|/Users/|\d+%\||\x1b|widget-view"


@pytest.fixture
def render(monkeypatch):
    monkeypatch.syspath_prepend(REPO / "notebooks")
    return __import__("render")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_small_and_clean_and_shows_figures(path):
    images = sorted(path.with_suffix("").iterdir())
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size + sum(image.stat().st_size for image in images) <= 300_000
    assert (REPO / "notebooks" / f"{path.stem}.ipynb").exists()
    shown = re.findall(r"!\[\]\((.*)\)", text)
    assert shown and sorted(shown) == sorted(f"{path.stem}/{image.name}" for image in images)
    outputs = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    assert outputs and not re.search(UNWANTED, "".join(outputs))
    assert all(Image.open(image).width <= 900 for image in images)


def test_what_a_page_cannot_show_is_removed_and_images_fit(render):
    noise = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    png = {"image/png": base64.b64encode(data.getvalue()).decode(), "text/plain": "<Image>"}
    new = nbformat.v4.new_output
    outputs = [
        new("stream", name="stdout", text="results in /tmp/x/runs\ntraining: 5%|   | 1/20\rdone\n"),
        new("stream", name="stdout", text="in two pie"),
        new("stream", name="stderr", text="/usr/lib/x.py:1: UserWarning: old\n  old()\n"),
        new("display_data", {render.WIDGET: {}, "text/plain": "  0%|  | 0/3"}),
        new("stream", name="stdout", text=f"ces\n{'word ' * 24}\n"),
        new("execute_result", {render.WIDGET: {}, "text/plain": "VBox()"}, execution_count=1),
        *(new("display_data", dict(png)) for _ in range(3)),
    ]
    cells = [
        nbformat.v4.new_markdown_cell(f"# Title\n\n![LoRA]({render.DOCS}images/lora.png?raw=true)"),
        nbformat.v4.new_code_cell("draw()", outputs=outputs),
    ]
    files = render.rendered("99", nbformat.v4.new_notebook(cells=cells), {"/tmp/x": "work"})
    assert sum(map(len, files.values())) <= render.MOST_BYTES
    words = f"{' '.join(['word'] * 19)}\n    {' '.join(['word'] * 5)}"  # no line is cut
    assert files["99.md"].decode() == (
        f"{render.NOTE.format(name='99')}\n\n# Title\n\n"
        "![LoRA](../images/lora.png)\n\n```python\ndraw()\n```\n\n"
        f"```\nresults in work/runs\ndone\nin two pieces\n{words}\n{render.INSTEAD}\n```\n\n"
        "![](99/1.jpg)\n\n![](99/2.jpg)\n\n![](99/3.jpg)\n"
    )
    assert all(files[f"99/{i}.jpg"].startswith(b"\xff\xd8") for i in (1, 2, 3))
