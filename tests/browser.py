"""A Jupyter server and a browser that tests drive: Debian's Chromium, no network.

With TV_FRONT_END=notebook the classic notebook, for ipywidgets 7 (make test-widgets7).
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

playwright = pytest.importorskip("playwright.sync_api")
REPO = Path(__file__).resolve().parents[1]
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


def write_notebook(path, *sources):
    """Write a notebook of code cells."""
    cell = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}}
    cells = [{**cell, "id": f"c{i}", "source": source} for i, source in enumerate(sources)]
    path.write_text(json.dumps({**notebook, "cells": cells}))


@contextlib.contextmanager
def server(folder, subshells=True):
    """Start a Jupyter server in `folder`; yield its address.

    Without `subshells`, as in Colab, widgets' messages are handled by the kernel's main thread,
    which an interrupt reaches.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    homes = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = {**os.environ, **{name: str(folder / name) for name in homes}}
    news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (folder / homes[0] / "labconfig").mkdir(parents=True)
    (folder / homes[0] / "labconfig" / "page_config.json").write_text(json.dumps(news))
    if not subshells:
        settings = folder / homes[0] / "lab" / "user-settings" / "@jupyterlab/apputils-extension"
        settings.mkdir(parents=True)
        kernels = json.dumps({"commsOverSubshells": "disabled"})
        (settings / "kernels-settings.jupyterlab-settings").write_text(kernels)
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    options += ["--ServerApp.token=" if CLASSIC else "--IdentityProvider.token="]
    # a test interrupts and restarts kernels by requests of its own
    options += [f"--ServerApp.root_dir={folder}", "--ServerApp.disable_check_xsrf=True"]
    if not CLASSIC:
        options += [
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",
        ]
    with open(folder / "server.log", "w", encoding="utf-8") as log:
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
    for _ in range(720):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=1)
            return
        time.sleep(0.25)
    raise AssertionError(log.read_text()[-2000:])


def open_and_run(page, address, name, button):
    """Open a notebook, run its cells, and wait for a button of its widget."""
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
    """Wait until the page shows a text."""
    playwright.expect(page.get_by_text(text).last).to_be_visible(timeout=timeout)


def launch(driver, profile):
    """Open the browser with what it kept when it was closed."""
    return driver.chromium.launch_persistent_context(
        str(profile),
        executable_path=CHROMIUM,
        headless=True,
        args=FLAGS,
        viewport={"width": 1280, "height": 1000},
    )
