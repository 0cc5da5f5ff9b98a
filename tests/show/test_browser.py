"""The prompt studio in a real browser: JupyterLab, and a front end where threads are not shown."""

import pytest

pytest.importorskip("playwright.sync_api")

from tests.browser import CHROMIUM, REPO, launch, open_and_run, say, write_notebook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]
LIKE_COLAB = """
import sys; sys.path.insert(0, {repo!r})
from tests.thread_filter import install
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


def test_what_a_thread_shows_is_lost_as_in_colab(lab, driver):
    folder, address = lab
    write_notebook(folder / "lost.ipynb", LIKE_COLAB.format(repo=str(REPO)), THREADED)
    context = launch(driver, folder / "lost")
    page = context.pages[0]
    open_and_run(page, address, "lost.ipynb", "Thread")
    page.get_by_role("button", name="Thread", exact=True).click()
    page.wait_for_timeout(1500)
    say(page, "nothing yet")
    page.get_by_role("button", name="Callback", exact=True).click()
    say(page, "by the callback, 1 lost")
    context.close()
