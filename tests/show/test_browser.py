"""The prompt studio in a real browser: JupyterLab or the classic notebook, a front end where
threads are not shown, as in Colab, and the web page.  One table of scenarios for all of them."""

import contextlib
import importlib.util
import zipfile

import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")

from tests.browser import CHROMIUM, REPO, SERVER, launch, open_and_run, say, server, write_notebook
from tests.show.fronts import Jupyter, Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]
EVIL = "<img src=x onerror=alert(1)>"
FILTER = """
import sys; sys.path.insert(0, {repo!r} + "/tests")
from thread_filter import install
lost = install()
"""
THREADED = """
import threading, ipywidgets as W
status = W.HTML("nothing yet")
def show(text): status.value = text
def button(text, work):
    made = W.Button(description=text); made.on_click(work); return made
W.VBox([status,
  button("Thread", lambda _: threading.Thread(target=show, args=["by a thread"]).start()),
  button("Callback", lambda _: show(f"by the callback, {len(lost)} lost"))])
"""


@pytest.fixture(scope="module", params=["notebook", "colab", "page"])
def front(request, driver, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "page":
            if not importlib.util.find_spec("gradio"):
                pytest.skip("no gradio: make test-gradio")
            made = Page(driver, root)
        else:
            pytest.importorskip("ipywidgets")
            pytest.importorskip(SERVER)
            colab = request.param == "colab"
            address = stack.enter_context(server(root, subshells=not colab))
            made = Jupyter(driver, (root, address), request.param, colab)
        stack.callback(made.close)
        yield made


def given(front, prompt="a red dress", negative="", count=1, steps=2):
    """Give the controls values."""
    values = {"Images": count, "Inference steps": steps, "Negative prompt": negative}
    for label, value in {**values, "Prompt": prompt}.items():
        front.write(label, value)


def enter_draws(front):
    given(front, "a long dress")
    front.field("Prompt").press("Enter")
    front.until(lambda: [one["prompt"] for one in front.records()] == ["a long dress"])
    front.idle()
    front.image("a long dress")


def a_menu_writes_into_the_prompt_and_reads_it(front):
    given(front, "a long dress")
    front.choose("Colour", "blue")
    front.shows("Prompt", "a long blue dress")
    [record] = front.draw()
    assert record["prompt"] == "a long blue dress"
    front.write("Prompt", "a green skirt")
    front.shows("Colour", "green")
    front.shows("Category", "skirt")


def a_negative_prompt_is_in_the_record(front):
    given(front, negative="hood")
    [record] = front.draw()
    assert record["negative_prompt"] == "hood"


def four_images_have_four_seeds(front):
    given(front, count=4)
    front.write("Seed", 70)
    records = front.draw(count=4)
    assert [one["seed"] for one in records] == [70, 71, 72, 73]
    front.says("Done: 4 images")
    front.shows("Seed", "70")


def cancel_keeps_what_is_drawn(front):
    given(front, count=8, steps=40)
    before = len(front.records())
    front.press("Generate")
    front.until(lambda: len(front.records()) > before)
    front.cancel()
    front.says("Cancelled")
    front.idle()
    assert before < len(front.records()) < before + 8
    given(front)
    assert len(front.draw()) == 1


def an_error_is_said_and_draws_nothing(front):
    given(front, "   ")
    before = len(front.records())
    front.press("Generate")
    front.says("a prompt is empty")
    assert len(front.records()) == before


def nothing_moves_with_what_is_said(front):
    given(front)
    before = front.places("Generate", "New seed", "Use again", "Download zip")
    front.write("Prompt", "a raincoatt (red:1.3)")
    front.says("'raincoatt'")
    assert front.places(*before) == before
    front.write("Seed", -5)
    front.press("Generate")
    front.says("Seed is -5")
    assert front.places(*before) == before
    front.write("Seed", 5)
    front.draw()
    assert front.places(*before) == before


def compare_draws_base_and_adapter_from_one_seed(front):
    given(front)
    base, adapted = front.draw("Compare", 2)
    assert base["seed"] == adapted["seed"]
    assert (base["strength"], adapted["strength"]) == (0, 1)  # stable name


def a_grid_draws_each_value(front):
    given(front)
    front.open_grid()
    front.choose("Grid over", "Guidance scale")
    front.write("Its values", "2, 5.5")
    records = front.draw("Draw the grid", 2)
    assert [one["guidance"] for one in records] == [2, 5.5]


def an_image_is_drawn_again_from_its_record(front):
    given(front, "a purple coat", "hood", steps=3)
    [first] = front.draw()
    given(front, "a red dress")
    front.draw()
    front.show(first)
    front.press("Use again")
    front.shows("Prompt", "a purple coat")
    front.shows("Negative prompt", "hood")
    front.shows("Seed", str(first["seed"]))
    front.shows("Inference steps", "3")
    [again] = front.draw()
    one, other = (Image.open(front.folder / record["file"]) for record in (first, again))
    assert one.tobytes() == other.tobytes() and first["file"] != again["file"]


def what_is_typed_is_inert(front):
    given(front, EVIL, EVIL)
    front.draw()
    front.says(EVIL)
    assert not front.dialogs and front.page.locator("img[src=x]").count() == 0


def twenty_are_in_the_gallery(front):
    given(front, "a yellow scarf", count=8)
    while len(front.records()) < 20:
        front.draw(count=8)
    front.until(lambda: front.thumbnails() >= 20)


def the_zip_has_all_designs(front):
    with front.page.expect_download() as download:
        front.press("Download zip")
        front.click_link()
    with zipfile.ZipFile(download.value.path()) as file:
        names = {one["file"] for one in front.records()}
        assert {*file.namelist()} == {*names, "records.jsonl"}


def a_browser_that_leaves_loses_nothing(front):
    given(front, "a pink hat", count=4, steps=20)
    before = len(front.records())
    front.press("Generate")
    front.until(lambda: len(front.records()) > before)
    front.page.goto("about:blank")
    front.until(lambda: len(front.records()) == before + 4)
    front.open()
    front.image("a pink hat")
    assert front.thumbnails() >= min(20, len(front.records()))


def a_kernel_that_restarts_loses_nothing(front):
    front.restart()
    front.image("a pink hat")
    assert front.thumbnails() >= min(20, len(front.records()))
    given(front, "a grey shirt")
    assert [one["prompt"] for one in front.draw()] == ["a grey shirt"]


def nothing_comes_from_elsewhere(front):
    assert not front.outside


SCENARIOS = [
    enter_draws,
    a_menu_writes_into_the_prompt_and_reads_it,
    a_negative_prompt_is_in_the_record,
    four_images_have_four_seeds,
    cancel_keeps_what_is_drawn,
    an_error_is_said_and_draws_nothing,
    nothing_moves_with_what_is_said,
    compare_draws_base_and_adapter_from_one_seed,
    a_grid_draws_each_value,
    an_image_is_drawn_again_from_its_record,
    what_is_typed_is_inert,
    twenty_are_in_the_gallery,
    the_zip_has_all_designs,
    a_browser_that_leaves_loses_nothing,
    a_kernel_that_restarts_loses_nothing,
    nothing_comes_from_elsewhere,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_studio(front, scenario):
    scenario(front)


def test_what_a_thread_shows_is_lost_as_in_colab(lab, driver):
    pytest.importorskip("ipywidgets")
    folder, address = lab
    write_notebook(folder / "lost.ipynb", FILTER.format(repo=str(REPO)), THREADED)
    context = launch(driver, folder / "lost")
    page = context.pages[0]
    open_and_run(page, address, "lost.ipynb", "Thread")
    page.get_by_role("button", name="Thread", exact=True).click()
    page.wait_for_timeout(1500)
    say(page, "nothing yet")
    page.get_by_role("button", name="Callback", exact=True).click()
    say(page, "by the callback, 1 lost")
    context.close()
