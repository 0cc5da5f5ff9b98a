"""The prompt studio in a kernel where callbacks draw: clicks arrive as a browser sends them."""

import importlib.util
import time
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("ipywidgets")
client = pytest.importorskip("jupyter_client.manager")
pytestmark = pytest.mark.slow
POLLS = importlib.util.find_spec("jupyter_ui_poll") and version("ipykernel").startswith("6.")
REPO = Path(__file__).resolve().parents[2]
CELL = """
import os, sys, time
sys.path[:0] = [{repo!r}, os.path.join({repo!r}, "tests", "show")]
from studio_helpers import FakeSampler
from tvhelpers.show import prompt_studio
if not {poll}: sys.modules["jupyter_ui_poll"] = None
studio = prompt_studio.PromptStudio(
    FakeSampler(at_step=lambda sampler, step: time.sleep(0.1)), {folder!r}, adapters={{}},
    threaded=False)
studio.controls["steps"].value = 50
print(studio.buttons["generate"].model_id, studio.buttons["cancel"].model_id)
"""


class Kernel:
    """A kernel, and a browser's messages to it."""

    def __init__(self, folder, poll):
        self.manager, self.client = client.start_new_kernel(startup_timeout=120)
        said = self.run(CELL.format(repo=str(REPO), folder=str(folder), poll=poll))
        self.ids = said.split()
        assert len(self.ids) == 2, said

    def run(self, code):
        """Run a cell; return what it prints."""
        said = []

        def hook(message):
            content = message["content"]
            said.append(content.get("text", "") + "\n".join(content.get("traceback", ())))

        self.client.execute_interactive(code, timeout=180, output_hook=hook)
        return "".join(said)

    def click(self, number):
        """Click Generate (0) or Cancel (1)."""
        data = {"method": "custom", "content": {"event": "click"}}
        content = {"comm_id": self.ids[number], "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def wait_until_drawing(self):
        """Wait until the progress has moved."""
        for _ in range(600):
            content = self.client.get_iopub_msg(timeout=60)["content"]
            if content.get("data", {}).get("state", {}).get("value") == 2:
                return
        raise AssertionError("nothing was drawn")


@pytest.fixture
def kernel(tmp_path, request):
    made = Kernel(tmp_path / "saved", request.param)
    yield made
    made.manager.shutdown_kernel(now=True)


def is_cancelled(kernel):
    state = kernel.run("print(studio.status.value, studio.session.busy, studio.progress.value)")
    assert "Cancelled." in state and " False " in state, state
    assert kernel.run("print(6 * 7)").strip() == "42"  # cells run as before


@pytest.mark.parametrize("kernel", [False], indirect=True)
def test_the_kernels_interrupt_cancels(kernel):
    kernel.click(0)
    kernel.wait_until_drawing()
    kernel.manager.interrupt_kernel()
    time.sleep(0.2)
    is_cancelled(kernel)


@pytest.mark.skipif(not POLLS, reason="needs jupyter-ui-poll, and ipykernel 6, as Colab has")
@pytest.mark.parametrize("kernel", [True], indirect=True)
def test_cancel_is_taken_while_a_callback_draws(kernel):
    kernel.click(0)
    kernel.wait_until_drawing()
    kernel.click(0)  # a second click on Generate draws nothing
    kernel.click(1)
    is_cancelled(kernel)
    assert kernel.run("print(len(studio.session.entries))").strip() == "0"
