"""The prompt studio in a real browser: JupyterLab and Debian's Chromium, no network.

With TV_FRONT_END=notebook the same in the classic notebook, for ipywidgets 7 (make test-widgets7).
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
CLASSIC = os.environ.get("TV_FRONT_END") == "notebook"
SERVER = "nbclassic" if CLASSIC else "jupyterlab"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# without awaiting the kernel's info, the command is lost without a word
RUN_LAB = """async () => {
  const app = window.jupyterapp; await app.restored;
  const panel = app.shell.currentWidget; await panel.revealed; await panel.context.ready;
  await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells'); return null; }"""
READY_CLASSIC = """() => window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel
  && Jupyter.notebook.kernel.is_connected() && Jupyter.notebook.kernel.widget_manager"""
CELL = """
import sys, time; sys.path.insert(0, {repo!r})
from tvhelpers.sample.sampler import Sampler
from tvhelpers.show.prompt_studio import PromptStudio
studio = PromptStudio(Sampler({base!r}, "none", device="cpu"), {folder!r},
                      categories=("dress", "coat"), colours=("red", "blue"))
after_step = studio._after_step
studio._after_step = lambda step: (time.sleep(0.05), after_step(step))  # time to press Cancel
studio.controls["steps"].value = 4
studio.box
"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]
playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip(SERVER)


@pytest.fixture(scope="module")
def page(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    cell = CELL.format(repo=str(REPO), base=str(tiny_base), folder=str(folder / "saved"))
    write_notebook(folder / "studio.ipynb", cell)
    with server(folder) as address, playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 1000},
        )
        page = context.pages[0]
        open_and_run(page, address)
        yield page
        context.close()


def write_notebook(path, source):
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": []}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}}
    path.write_text(json.dumps({**notebook, "cells": [{**cell, "source": source}]}))


@contextlib.contextmanager
def server(folder):
    """Start a Jupyter server of its own in `folder`; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    homes = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = {**os.environ, **{name: str(folder / name) for name in homes}}
    news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (folder / homes[0] / "labconfig").mkdir(parents=True)
    (folder / homes[0] / "labconfig" / "page_config.json").write_text(json.dumps(news))
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    options += ["--ServerApp.token=" if CLASSIC else "--IdentityProvider.token="]
    options += [f"--ServerApp.root_dir={folder}"]
    if not CLASSIC:
        options += [
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",
        ]
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", SERVER, *options],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api", folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def wait_for(address, log):
    for _ in range(240):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=1)
            return
        time.sleep(0.25)
    raise AssertionError(log.read_text()[-2000:])


def open_and_run(page, address, name="studio.ipynb", button="Generate"):
    place = "notebooks" if CLASSIC else "lab/tree"
    page.goto(f"{address}/{place}/{name}{'' if CLASSIC else '?reset'}")
    if CLASSIC:
        page.wait_for_function(READY_CLASSIC, timeout=60_000)
        page.wait_for_timeout(1500)
        page.evaluate("() => { Jupyter.notebook.execute_all_cells(); }")
    else:
        ready = "() => window.jupyterapp && document.querySelector('.jp-NotebookPanel .jp-Cell')"
        page.wait_for_function(ready, timeout=60_000)
        page.evaluate(RUN_LAB)
    playwright.expect(page.get_by_role("button", name=button, exact=True)).to_be_visible(
        timeout=120_000
    )


def say(page, text, timeout=60_000):
    playwright.expect(page.get_by_text(text).last).to_be_visible(timeout=timeout)


def prompt(page):
    return page.locator(".widget-text input[type=text]").first


def generate(page):
    page.get_by_role("button", name="Generate", exact=True).click()


def picture(page):
    """The large picture as the browser shows it."""
    image = page.locator("img.widget-image, .widget-image img, .jupyter-widgets img").first
    playwright.expect(image).to_be_visible(timeout=60_000)
    page.wait_for_function("() => [...document.images].every((image) => image.naturalWidth)")
    return image.screenshot()


def test_a_prompt_and_a_menu_become_new_pixels(page):
    prompt(page).fill("a long dress")
    prompt(page).press("Tab")
    page.locator(".widget-dropdown select").nth(1).select_option("blue")
    playwright.expect(prompt(page)).to_have_value("a blue long dress")
    generate(page)
    say(page, "Done.")
    first = picture(page)
    generate(page)
    say(page, "Drawing")
    say(page, "Done.")
    assert picture(page) != first
    assert page.get_by_text("a blue long dress").count() >= 2  # under the picture, in the gallery


def test_cancel_stops_and_an_error_is_shown(page):
    steps = page.locator(".widget-readout").first
    steps.click()
    steps.fill("50")
    steps.press("Enter")
    generate(page)
    say(page, "Drawing")
    page.get_by_role("button", name="Cancel", exact=True).click()
    say(page, "Cancelled.")
    steps.click()
    steps.fill("3")
    steps.press("Enter")
    prompt(page).fill("   ")
    prompt(page).press("Tab")
    generate(page)
    say(page, "a prompt is empty")


def test_what_is_typed_is_inert(page):
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    prompt(page).fill("<img src=x onerror=alert(1)>")
    prompt(page).press("Tab")
    generate(page)
    say(page, "<img src=x onerror=alert(1)>")
    say(page, "Done.")
    assert not alerts and page.locator("img[src=x]").count() == 0
