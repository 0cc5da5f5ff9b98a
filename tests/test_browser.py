"""The prompt studio and a study in a real browser, in one Jupyter server."""

import json

import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")

from tests.browser import (
    CHROMIUM,
    REPO,
    SERVER,
    launch,
    open_and_run,
    playwright,
    say,
    server,
    write_notebook,
)
from tvhelpers.cli import main
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.study.make import make_study
from tvhelpers.study.model import KINDS, Study
from tvhelpers.study.votes import VoteBox

STUDIO = """
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


NAMES = ("secret-base", "secret-tuned")
STUDY = """
import sys; sys.path.insert(0, {repo!r})
from tvhelpers.study.model import Study
from tvhelpers.study.widget import StudyApp
app = StudyApp(Study({folder!r}))
app.box
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]
pytest.importorskip(SERVER)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root, systems = tmp_path_factory.mktemp("study"), {}
    source = FlatsSource(3, 12)
    for number, name in enumerate(NAMES):
        folder = root / name
        folder.mkdir()
        rows = []
        for i, prompt in enumerate(source.captions):
            Image.fromarray(source.pixels((i + number) % 12)).save(folder / f"{i}.png")
            rows.append(json.dumps({"file": f"{i}.png", "prompt": prompt, "seed": 0}) + "\n")
        (folder / "records.jsonl").write_text("".join(rows))
        systems[name] = folder
    return make_study(systems, root / "study", real=FlatsSource(41, 20), tasks=KINDS, per_rater=7,
                      seed=1)  # fmt: skip


@pytest.fixture(scope="module")
def driver():
    with playwright.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The folder and the address of the server."""
    folder = tmp_path_factory.mktemp("lab")
    with server(folder) as address:
        yield folder, address


@pytest.fixture(scope="module")
def page(lab, driver, tiny_base):
    folder, address = lab
    cell = STUDIO.format(repo=str(REPO), base=str(tiny_base), folder=str(folder / "saved"))
    write_notebook(folder / "studio.ipynb", cell)
    context = launch(driver, folder / "profile")
    page = context.pages[0]
    open_and_run(page, address, "studio.ipynb", "Generate")
    yield page
    context.close()


@pytest.fixture(scope="module")
def browser(driver, tmp_path_factory):
    """A function that opens the browser, with what it kept when it was closed."""
    profile = tmp_path_factory.mktemp("profile")
    return lambda: launch(driver, profile)


def hold_blind(page):
    assert not any(name in page.content() for name in NAMES)


def answer(page, number, total):
    """Answer a trial of the page by its keys, or by a click on an image."""
    page.get_by_text(f"{number} of {total}", exact=True).wait_for()
    page.wait_for_function("() => [...document.images].every((image) => image.naturalWidth)")
    hold_blind(page)
    page.wait_for_timeout(160)
    question = page.locator("h2").inner_text()
    if "compare" in question:
        for key in ("2", "3", "4", "Enter"):
            page.keyboard.press(key)
    elif "real garment" in question:
        page.keyboard.press("g")
    elif number % 2:
        page.locator("figure").nth(1).click()
    else:
        page.keyboard.press("ArrowLeft")


def test_a_rater_answers_20_trials_closes_resumes_finishes(study, browser, tmp_path):
    assert main(["study", "html", str(study.folder), "--raters", "r7", "--out", str(tmp_path)]) == 0
    address, total = (tmp_path / "r7.html").as_uri(), len(study.trials("r7"))
    assert total > 22
    context, outside = browser(), []
    page = context.pages[0]
    page.goto(address)
    page.get_by_role("button", name="I agree").click()
    for number in range(1, 21):
        answer(page, number, total)
    page.get_by_text(f"21 of {total}").wait_for()
    context.close()
    context = browser()
    page = context.pages[0]
    page.on("request", lambda request: outside.append(request.url))
    page.goto(address)
    for number in range(21, total + 1):
        answer(page, number, total)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "votes.json")
    assert all(url.startswith(("file:", "data:", "blob:")) for url in outside)
    context.close()
    bring = ["study", "import", str(study.folder), str(tmp_path / "votes.json")]
    assert main(bring) == 0 and main(bring) == 0
    kept = [vote for vote in VoteBox(study).votes() if vote.rater == "r7"]
    assert len(kept) == total and {v.answer for v in kept} == {"left", "right", "generated", "234"}
    assert all(0.1 < vote.seconds < 60 for vote in kept)
    for file in tmp_path.rglob("*"):
        assert not any(name in file.name for name in NAMES)


def grade_or_choose(page):
    """Answer the trial that the widget shows."""
    rows = page.locator(".widget-toggle-buttons")
    for i in range(rows.count()):
        rows.nth(i).get_by_role("button", name="4", exact=True).click()
    for name in ("Next", "Left", "Generated"):
        button = page.get_by_role("button", name=name, exact=True)
        if button.count():
            button.click()
            return


def begin(page, code):
    page.locator(".widget-text input[type=text]").first.fill(code)
    page.locator(".widget-text input[type=text]").first.press("Tab")
    page.get_by_role("button", name="I agree, begin", exact=True).click()


def test_the_widget_keeps_answers_is_blind_and_resumes(study, browser, lab):
    folder, address = lab
    write_notebook(folder / "study.ipynb", STUDY.format(repo=str(REPO), folder=str(study.folder)))
    total = len(study.trials("r8"))
    context = browser()
    page = context.pages[0]
    open_and_run(page, address, "study.ipynb", "I agree, begin")
    begin(page, "my name")
    say(page, "is not a code for a rater")
    begin(page, "r8")
    for number in range(1, 4):
        say(page, f"{number} of {total}")
        shown = page.locator("img.widget-image, .widget-image img, .jupyter-widgets img")
        playwright.expect(shown.first).to_be_visible()
        hold_blind(page)
        grade_or_choose(page)
    say(page, f"4 of {total}")
    page.reload()  # the page is lost; a new run of the cell resumes by the code
    open_and_run(page, address, "study.ipynb", "I agree, begin")
    begin(page, "r8")
    say(page, f"4 of {total}")
    say(page, "3 answers are saved")
    context.close()
    assert VoteBox(Study(study.folder)).done("r8") == set(range(3))


def prompt(page):
    return page.locator(".widget-text input[type=text]").first


def generate(page):
    page.get_by_role("button", name="Generate", exact=True).click()


def screenshot(page):
    """The large image as the browser shows it."""
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
    first = screenshot(page)
    generate(page)
    say(page, "Generating")
    say(page, "Done.")
    assert screenshot(page) != first
    assert page.get_by_text("a blue long dress").count() >= 2  # under the image, in the gallery


def test_cancel_stops_and_an_error_is_shown(page):
    steps = page.locator(".widget-readout").first
    steps.click()
    steps.fill("50")
    steps.press("Enter")
    generate(page)
    say(page, "Generating")
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
