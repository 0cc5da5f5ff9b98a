"""A study in a real browser: a rater's page, and the form in a notebook."""

import json

import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")

from tests.browser import (
    CHROMIUM,
    REPO,
    launch,
    open_and_run,
    playwright,
    say,
    write_notebook,
)
from tvhelpers.cli import main
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.study.make import make_study
from tvhelpers.study.model import KINDS, Study
from tvhelpers.study.votes import VoteBox

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
