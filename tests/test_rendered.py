"""The notebooks that GitHub shows: small, without paths of a machine, bars and warnings."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

REPO = Path(__file__).resolve().parents[1]
RENDERED = sorted((REPO / "docs" / "notebooks").glob("*.ipynb"))
UNWANTED = r"Traceback|Warning|/tmp/|/work/|/home/|/root/|/Users/|\d+%\||\x1b|widget-view"


@pytest.fixture
def render(monkeypatch):
    monkeypatch.syspath_prepend(REPO / "notebooks")
    return __import__("render")


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_a_rendered_notebook_is_small_and_clean_and_shows_figures(path):
    assert path.stat().st_size <= 300_000
    assert (REPO / "notebooks" / path.name).exists()
    notebook = json.loads(path.read_text())
    nbformat.validate(nbformat.from_dict(notebook))
    outputs = [one for cell in notebook["cells"] for one in cell.get("outputs", [])]
    images = [one for one in outputs if "image/jpeg" in one.get("data", {})]
    assert images and not any(one["output_type"] == "error" for one in outputs)
    rest = [one for one in outputs if one not in images]
    assert not re.search(UNWANTED, json.dumps(rest))
    for one in images:
        image = Image.open(io.BytesIO(base64.b64decode(one["data"]["image/jpeg"])))
        assert image.width <= 900


def test_what_a_page_cannot_show_is_removed_and_images_fit(render):
    noise = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    png = {"image/png": base64.b64encode(data.getvalue()).decode(), "text/plain": "<Image>"}
    new = nbformat.v4.new_output
    outputs = [
        new("stream", name="stdout", text="results in /tmp/x/runs\ntraining: 5%|   | 1/20\rdone\n"),
        new("stream", name="stderr", text="/usr/lib/x.py:1: UserWarning: old\n  old()\n"),
        new("display_data", {render.WIDGET: {}, "text/plain": "  0%|  | 0/3"}),
        new("execute_result", {render.WIDGET: {}, "text/plain": "VBox()"}, execution_count=1),
        *(new("display_data", dict(png)) for _ in range(3)),
    ]
    cell = nbformat.v4.new_code_cell("draw()", outputs=outputs)
    text = render.rendered(nbformat.v4.new_notebook(cells=[cell]), {"/tmp/x": "work"})
    assert len(text.encode()) <= render.MOST_BYTES and not re.search(UNWANTED, text)
    kept = json.loads(text)["cells"][0]["outputs"]
    assert "".join(kept[0]["text"]) == "results in work/runs\ndone\n"
    assert "".join(kept[1]["data"]["text/plain"]) == render.INSTEAD
    assert [list(one["data"]) for one in kept[2:]] == [["image/jpeg"]] * 3
