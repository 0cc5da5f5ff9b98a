"""The prompt studio's widget without a browser: what is clicked and typed, and what it shows."""

import html
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ipywidgets")

from tests.show.studio_helpers import FakeSampler
from tvhelpers.sample.sampler import Sampler
from tvhelpers.show import prompt_studio, studio_controls
from tvhelpers.show.prompt_studio import PromptStudio
from tvhelpers.show.studio_controls import CONTROLS, Control, Values

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def studio(tmp_path):
    studio = PromptStudio(FakeSampler("shipped"), tmp_path / "saved", adapters={}, threaded=False)
    studio.controls["steps"].value = 2
    return studio


def press(studio, name):
    studio.buttons[name].click()


def all_text(studio):
    from ipywidgets import HTML

    found, boxes = [], [studio.box]
    while boxes:
        box = boxes.pop()
        boxes += getattr(box, "children", ())
        found += [box.value] if isinstance(box, HTML) else []
    return "".join(found)


def test_menus_write_into_the_prompt_and_read_back(studio):
    studio.controls["category"].value, studio.controls["colour"].value = "bomber jacket", "blue"
    assert studio.controls["prompt"].value == "a blue bomber jacket"
    studio.controls["prompt"].value = "an orange V-neck dress, striped"
    shown = {name: studio.controls[name].value for name in ("category", "colour", "neckline")}
    assert shown == {"category": "dress", "colour": "orange", "neckline": "V-neck"}
    studio.controls["colour"].value = ""
    assert studio.controls["prompt"].value == "a V-neck dress, striped"
    assert studio.session.panel.values["prompt"] == "a V-neck dress, striped"


def test_a_click_draws_shows_and_saves(studio, tmp_path):
    studio.controls["count"].value = 4
    press(studio, "generate")
    assert studio.progress.value == studio.progress.max == 8 and "Done" in studio.status.value
    assert "data:image/png" in studio.stage.value and len(studio.gallery.children) == 4
    assert len([*(tmp_path / "saved").glob("*.png")]) == 4 and studio.buttons["save"].disabled
    assert studio.buttons["use"].disabled  # four images: none of them is chosen
    studio.gallery.children[2].children[1].click()
    assert (
        studio.session.stage.single is studio.session.entries[2]
        and not studio.buttons["use"].disabled
    )
    studio.controls["prompt"].value = "a coat"
    press(studio, "use")
    assert studio.controls["prompt"].value == "a red dress" and studio.controls["seed"].value == 2
    press(studio, "favourite")
    assert "★" in studio.gallery.children[2].children[1].description
    assert "★" in studio.caption.value and studio.buttons["favourite"].description == "★ Unmark"
    deleted = studio.session.stage.single
    press(studio, "delete")
    assert len(studio.gallery.children) == 3 and not studio.buttons["undo"].disabled
    press(studio, "undo")
    assert len(studio.gallery.children) == 4 and studio.buttons["undo"].disabled
    assert studio.session.stage.single is deleted


def test_enter_draws(studio):
    for widget in (studio.controls["prompt"], studio.controls["negative_prompt"]):
        before = len(studio.session.entries)
        widget._handle_string_msg(None, {"event": "submit"}, []) if hasattr(
            widget, "_handle_string_msg"
        ) else widget._submission_callbacks(widget)
        assert len(studio.session.entries) == before + 1


def test_compare_and_grid_show_a_sheet_with_labels(studio):
    press(studio, "compare")
    assert studio.session.stage.entries[0].label == "base alone"
    first, second = studio.axes
    first.menu.value, second.menu.value = "guidance", "colour"
    assert first.text.value == "2.5, 5, 9.5, 15" and second.text.value.startswith("beige, ")
    first.text.value, second.text.value = "1, 4", "red, blue, pink"
    press(studio, "grid")
    assert len(studio.session.stage.entries) == 6 and studio.session.stage.columns == 3
    assert "Colour pink" in studio.gallery.children[0].children[0].value
    second.text.value = "mauve"
    press(studio, "grid")
    assert "mauve" in studio.status.value and len(studio.session.entries) == 8


def test_the_zip_is_a_link_and_on_colab_a_download(studio, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(prompt_studio.colab, "download", seen.append)
    press(studio, "generate")
    press(studio, "zip")
    assert seen == [tmp_path / "saved" / "designs.zip"]
    assert "download='designs.zip' href='data:application/zip;base64,UEsD" in studio.link.value


def test_cancel_within_a_callback_and_the_kernels_interrupt(studio, monkeypatch):
    studio.controls["steps"].value = 50
    polled = []
    monkeypatch.setattr(prompt_studio, "clicks_let_through", lambda: _Polls(polled, studio))
    press(studio, "generate")
    assert studio.status.value.count("Cancelled.") and len(polled) == 3
    assert not studio.session.entries and studio.buttons["cancel"].disabled

    def interrupted(sampler, step):
        raise KeyboardInterrupt

    studio.session.sampler.at_step = interrupted
    press(studio, "generate")
    assert "Cancelled." in studio.status.value and not studio.buttons["generate"].disabled


class _Polls:
    """Stands in for jupyter-ui-poll: the third time, a click on Cancel waits."""

    def __init__(self, polled, studio):
        self.polled, self.studio = polled, studio

    def __enter__(self):
        return self.poll

    def __exit__(self, *error):
        """Nothing is held."""

    def poll(self):
        self.polled.append(1)
        assert self.studio.buttons["generate"].disabled
        if len(self.polled) == 3:
            self.studio.buttons["cancel"].click()


def test_without_ui_poll_drawing_goes_its_way(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jupyter_ui_poll", None)
    with prompt_studio.clicks_let_through() as poll:
        poll()


def test_errors_are_shown_and_what_is_typed_is_inert(studio):
    studio.controls["prompt"].value = "   "
    press(studio, "generate")
    assert "A prompt is empty" in studio.status.value and "⚠" in studio.status.value
    studio.controls["prompt"].value = f"{EVIL} ' onclick='x"
    studio.controls["negative_prompt"].value = EVIL
    press(studio, "generate")
    press(studio, "compare")
    text = all_text(studio)
    assert EVIL not in text and "&lt;img" in text and "' onclick='" not in text
    studio.controls["seed"].value = -5
    press(studio, "generate")
    assert "Seed is -5" in studio.status.value


def test_nothing_moves_and_long_texts_are_clipped_with_a_title(studio):
    studio.controls["prompt"].value = "a red dress " * 40
    press(studio, "generate")
    for widget, lines in ((studio.status, 2), (studio.remarks, 2), (studio.caption, 3)):
        assert f"tv-clip tv-lines{lines}' title='" in widget.value
    title = html.unescape(re.search("title='(.*?)'", studio.caption.value)[1])
    assert title.startswith("a red dress " * 39)
    assert all(
        f".tv-lines{n} {{ -webkit-line-clamp: {n}; height:" in prompt_studio.CSS for n in (2, 3)
    )


def test_unseen_words_are_named_as_they_are_typed(studio):
    studio.controls["prompt"].value = "a raincoatt"
    assert "never seen &#x27;raincoatt&#x27;" in studio.remarks.value
    studio.controls["prompt"].value = "a red dress"
    assert "never seen" not in studio.remarks.value


def test_every_control_has_a_label_and_a_hint(studio):
    widgets = [*studio.controls.values(), *studio.buttons.values()]
    assert all(widget.description for widget in widgets)
    for widget in widgets:
        assert getattr(widget, "tooltip", "") or widget.description_tooltip


def test_the_box_of_the_fast_adapter_sets_steps_and_guidance(tmp_path, monkeypatch):
    monkeypatch.setattr(studio_controls, "has_fast", lambda base: True)
    studio = PromptStudio(FakeSampler(), tmp_path, adapters={}, threaded=False)
    shown = [studio.controls[name] for name in ("fast", "steps", "guidance")]
    assert [widget.value for widget in shown] == [False, 20, 2.5]
    studio.controls["fast"].value = True
    assert [widget.value for widget in shown] == [True, 8, 1.0]
    studio.session.sampler.at_step = lambda sampler, step: disabled.append(shown[0].disabled)
    disabled = []
    press(studio, "generate")
    assert all(disabled) and not shown[0].disabled
    assert studio.session.entries[0].record["fast_sha256"]


def test_many_images_are_shown_in_pages_and_are_there_again(studio, tmp_path):
    studio.controls["count"].value = 8
    for _ in range(4):
        press(studio, "generate")
    assert len(studio.gallery.children) == 24 and "1 to 24 of 32" in studio.place.value
    press(studio, "older")
    assert len(studio.gallery.children) == 8 and studio.buttons["older"].disabled
    again = PromptStudio(FakeSampler(), tmp_path / "saved", adapters={}, threaded=False)
    assert len(again.session.entries) == 32 and "32 designs of before" in again.status.value
    assert "data:image/png" in again.stage.value and "Open 31" in str(
        again.gallery.children[0].children[1].description
    )


def test_a_control_of_ones_own_is_one_row(tiny_base, tmp_path):
    own = [row for row in CONTROLS if row.name != "size"]
    tall = Control("height", "Height", "number", lambda offer: Values(96, 8, 4096, 8))
    sampler = Sampler(str(tiny_base), "none", device="cpu")
    studio = PromptStudio(sampler, tmp_path, adapters={}, controls=[*own, tall], threaded=True)
    studio.controls["steps"].value = 1
    image = studio.draw()
    assert studio.session.entries[0].record["height"] == 96 and image.height == 512
    assert studio.session.folder.image(studio.session.entries[0]).size == (64, 96)


AGAIN = """
import sys
from tvhelpers.cli import main
for number, path in enumerate(sys.argv[2:]):
    out = f"{sys.argv[1]}/{number}"
    assert not main(["generate", "--like", path, "--device", "cpu", "--out", out])
"""


def test_every_saved_image_is_drawn_again_to_the_same_pixels(tiny_base, tmp_path, monkeypatch):
    import subprocess
    import sys

    from tests.sample.test_sampler import random_adapter

    monkeypatch.setenv("PYTHONPATH", str(prompt_studio.Path(__file__).parents[2]))
    monkeypatch.setenv("TV_ROOT", str(tmp_path))
    adapter = tmp_path / "runs" / "mine" / "adapter.safetensors"
    adapter.parent.mkdir(parents=True)
    random_adapter(tiny_base, adapter, 0)
    adapter.with_name("result.json").write_text("{}")
    studio = PromptStudio(Sampler(str(tiny_base), str(adapter), "cpu"), tmp_path / "a")
    for name, value in {"steps": 3, "count": 2, "negative_prompt": "a belt, 'hood'"}.items():
        studio.controls[name].value = value
    for kind in ("generate", "compare", "vary"):
        studio.start(kind)
        studio.session.wait()
    studio.controls["prompt"].value = 'un été, "bleu"'
    studio.session.start("grid", [("size", "64 x 64, 48 x 64"), ("lora_scale", "0.4, 1.2")])
    studio.session.wait()
    paths = [tmp_path / "a" / entry.file for entry in studio.session.entries]
    assert len(paths) == 2 + 4 + 2 + 4
    subprocess.run([sys.executable, "-c", AGAIN, str(tmp_path / "b"), *map(str, paths)], check=True)
    for number, path in enumerate(paths):
        (again,) = (tmp_path / "b" / str(number)).glob("0000_*.png")
        assert np.array_equal(Image.open(again), Image.open(path)), path
