"""The front ends that show the prompt studio, driven in a browser by roles and labels.

The studio draws with a `FakeSampler`, whose images are a function of their records.
"""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from tests.browser import REPO, launch, open_and_run, playwright, wait_for, write_notebook

# By the names of their files: a kernel may know another `tests`.
SAMPLER = """
import sys, time; sys.path[:0] = [{repo!r}, {repo!r} + "/tests/show"]
from pathlib import Path
from studio_helpers import FakeSampler
sampler = FakeSampler("shipped", lambda sampler, step: time.sleep(0.02))
"""
STUDIO = (
    SAMPLER
    + """
from tvhelpers.show.prompt_studio import PromptStudio
studio = PromptStudio(sampler, Path({folder!r}), adapters={{}})
studio.box
"""
)
PAGE = (
    SAMPLER
    + """
import threading
from tvhelpers.show.studio_page import launch
from tvhelpers.show.studio_session import Session
launch(Session(sampler, Path({folder!r}), adapters={{}}), {port})
threading.Event().wait()
"""
)
LIKE_COLAB = """
import sys; sys.path.insert(0, {repo!r} + "/tests")
from pathlib import Path
import pytest
from colab import install as made_up_colab
from thread_filter import install
made_up_colab(Path({folder!r}).with_name("colab"), pytest.MonkeyPatch())
lost = install()
"""
WAIT = 120  # seconds, for a busy machine


class Front:
    """A page with the studio, whose designs are in `folder`."""

    def __init__(self, page, folder):
        self.page, self.folder = page, folder
        self.dialogs, self.outside = [], []
        page.set_default_timeout(1000 * WAIT)
        page.on("dialog", self._answer)
        page.on("request", self._note)
        self.open()

    def _answer(self, dialog) -> None:
        """Leave a notebook that is not saved; note every other question."""
        if dialog.type == "beforeunload":
            dialog.accept()
        else:
            self.dialogs.append(dialog.message)
            dialog.dismiss()

    def _note(self, request) -> None:
        if not re.match(r"(data|blob|about):|(http|ws)://127\.0\.0\.1:", request.url):
            self.outside.append(request.url)

    def field(self, label):
        """Return the input with a label; a slider of Gradio has a number beside it."""
        found = self.page.get_by_label(label, exact=True)
        found = found.or_(self.page.get_by_label(f"number input for {label}", exact=True))
        return found.locator("visible=true").first

    def write(self, label, text):
        field, text = self.field(label), str(text)
        # an answer of the server, as it comes, takes away what `fill` has selected
        self.until(lambda: field.fill(text) or field.input_value() == text)
        field.press("Tab")

    def shows(self, label, text):
        playwright.expect(self.field(label)).to_have_value(text, timeout=1000 * WAIT)

    def choose(self, label, option):
        menu = self.field(label)
        if menu.evaluate("menu => menu.tagName") == "SELECT":
            menu.select_option(option)
            return
        menu.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def places(self, *names):
        """Return {name of a button: (x, y) in pixels, beside the first one}."""
        boxes = {name: self.button(name).bounding_box() for name in names}
        first = boxes[names[0]]
        return {
            name: (round(box["x"] - first["x"]), round(box["y"] - first["y"]))
            for name, box in boxes.items()
        }

    def press(self, name):
        self.button(name).click()

    def says(self, text):
        found = self.page.get_by_text(text).locator("visible=true").first
        playwright.expect(found).to_be_visible(timeout=1000 * WAIT)

    def until(self, true):
        end = time.monotonic() + WAIT
        while not true():
            assert time.monotonic() < end, "it does not happen"
            self.page.wait_for_timeout(100)

    def records(self):
        """Return the lines of the designs that are saved, oldest first."""
        file = self.folder / "records.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def idle(self):
        """Wait until nothing is drawn, and the page shows that."""
        playwright.expect(self.button("Cancel")).to_be_disabled(timeout=1000 * WAIT)
        playwright.expect(self.button("Generate")).to_be_enabled(timeout=1000 * WAIT)

    def draw(self, name="Generate", count=1):
        """Press a button; return the records of the images that it draws."""
        before = len(self.records())
        self.press(name)
        self.until(lambda: len(self.records()) >= before + count)
        self.idle()
        return self.records()[before:]

    def image(self, text):
        """Wait for an image with such an alternative text."""
        found = self.page.get_by_alt_text(re.compile(f"^{re.escape(text)}")).locator("visible=true")
        self.until(lambda: found.count() and found.first.evaluate("image => image.naturalWidth"))

    def cancel(self):
        self.press("Cancel")

    def open_grid(self):
        """Show the form of the grid."""

    def click_link(self):
        """Click the link to the zip."""


class Jupyter(Front):
    """A notebook of JupyterLab, or of the classic front end; `colab`: threads are not shown."""

    def __init__(self, driver, lab, name, colab=False):
        root, self.address = lab
        self.name, folder = f"{name}.ipynb", root / name / "designs"
        folder.parent.mkdir()
        what = {"repo": str(REPO), "folder": str(folder)}
        cells = [LIKE_COLAB.format(**what)] if colab else []
        write_notebook(root / self.name, *cells, STUDIO.format(**what))
        self.colab, self.context = colab, launch(driver, root / f"{name}-profile")
        super().__init__(self.context.pages[0], folder)

    def open(self):
        open_and_run(self.page, self.address, self.name, "Generate")

    def kernel(self, verb):
        """Interrupt or restart the kernel of this notebook."""
        with urllib.request.urlopen(f"{self.address}/api/sessions") as answer:
            found = [one for one in json.load(answer) if one["path"] == self.name]
        path = f"{self.address}/api/kernels/{found[0]['kernel']['id']}/{verb}"
        urllib.request.urlopen(urllib.request.Request(path, b"", method="POST")).close()

    def cancel(self):
        """Press Cancel; the kernel is interrupted where no click gets through while it draws."""
        if self.colab:
            self.kernel("interrupt")
        else:
            super().cancel()

    def restart(self):
        self.kernel("restart")
        self.open()

    def thumbnails(self):
        return self.page.get_by_role("button", name=re.compile(r"^(★ )?Open \d+$")).count()

    def show(self, record):
        """Open a design of the gallery."""
        self.press(f"Open {int(record['file'].partition('_')[0])}")

    def click_link(self):
        self.page.get_by_role("link", name=re.compile("designs.zip")).click()

    def close(self):
        self.context.close()


class Page(Front):
    """The page of `tvhelpers studio`."""

    def __init__(self, driver, root):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.root, self.context = root, launch(driver, root / "profile")
        self.serve(root / "designs")
        super().__init__(self.context.pages[0], root / "designs")

    def serve(self, folder):
        code = PAGE.format(repo=str(REPO), folder=str(folder), port=self.port)
        with open(self.root / "server.log", "a", encoding="utf-8") as log:
            command = [sys.executable, "-c", code]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(f"http://127.0.0.1:{self.port}/", self.root / "server.log")

    def open(self):
        self.page.goto(f"http://127.0.0.1:{self.port}/")
        self.button("Generate").wait_for()
        self.page.get_by_role("status").locator("visible=true").first.wait_for()

    def restart(self):
        self.process.kill()
        self.process.wait(20)
        self.serve(self.folder)
        self.open()

    def thumbnails(self):
        return self.page.get_by_role("button", name=re.compile(r"^Thumbnail \d+ of")).count()

    def show(self, record):
        text = f"{record['prompt']}, seed {record['seed']}"
        self.page.get_by_alt_text(text, exact=True).first.click()

    def open_grid(self):
        form = self.page.get_by_role("button", name=re.compile("^Grid: one image"))
        if not self.button("Draw the grid").is_visible():
            form.click()

    def close(self):
        self.context.close()
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
