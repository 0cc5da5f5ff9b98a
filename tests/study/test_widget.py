"""The study's widget without a browser, and the report."""

import json
import re

import pytest
from PIL import Image

pytest.importorskip("ipywidgets")

from tvhelpers.cli import main
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.study.analysis import analyse
from tvhelpers.study.make import make_study
from tvhelpers.study.model import IMAGES, KINDS, Study
from tvhelpers.study.page import write_pages
from tvhelpers.study.report import examples, study_figures, write_report
from tvhelpers.study.simulation import simulate_rater
from tvhelpers.study.votes import VoteBox
from tvhelpers.study.widget import StudyApp

EVIL = "a <img src=x onerror=alert(1)> red</script> coat"


@pytest.fixture
def study(tmp_path):
    systems = {}
    for shade, name in enumerate(("secret-one", "secret-two")):
        folder = tmp_path / name
        folder.mkdir()
        rows = []
        for i, prompt in enumerate([EVIL, "a blue dress", "a green skirt", "a black hoodie"]):
            Image.new("RGB", (32, 32), (90 * shade, 40 * i, 99)).save(folder / f"{i}.png")
            rows.append(json.dumps({"file": f"{i}.png", "prompt": prompt, "seed": 0}) + "\n")
        (folder / "records.jsonl").write_text("".join(rows))
        systems[name] = folder
    return make_study(systems, tmp_path / "study", real=FlatsSource(1, 9), tasks=KINDS, seed=2)


def widgets(box):
    yield box
    for child in getattr(box, "children", ()):
        yield from widgets(child)


def buttons(app):
    return {w.description: w for w in widgets(app.box) if type(w).__name__ == "Button"}


def enter(study, rater="r1"):
    app = StudyApp(study)
    app.code.value = rater
    app.begin.click()
    return app


def answer(app):
    """Answer the trial that is shown, by its buttons."""
    for row in (w for w in widgets(app.box) if type(w).__name__ == "ToggleButtons"):
        row.value = "4"
    found = buttons(app)
    (found.get("Left") or found.get("Generated") or found["Next"]).click()


def text_of(app):
    return "".join(str(w.value) for w in widgets(app.box) if type(w).__name__ == "HTML")


def test_a_rater_stops_resumes_and_finishes(study):
    app, total = enter(study), len(study.trials("r1"))
    for _ in range(5):
        answer(app)
    assert VoteBox(study).done("r1") == set(range(5))
    again = enter(study)
    assert "5 answers are saved" in again.status.value and again.progress.value == 5
    stale = list(buttons(again).values())
    answer(again)
    [button.click() for button in stale]  # a second click on what was shown before
    assert len(VoteBox(study).votes()) == 6
    for _ in range(total - 6):
        answer(again)
    assert "Thank you" in text_of(again) and len(VoteBox(study).votes()) == total
    answer(app) if buttons(app) else None  # the other window, left at trial 6
    assert len(VoteBox(study).votes()) == total


def test_no_system_is_named_and_prompts_are_escaped(study):
    app = enter(study)
    while app.todo:
        said = text_of(app)
        assert "secret" not in said and "<img" not in said
        answer(app)
    answer_texts = [v.answer for v in VoteBox(study).votes()]
    assert {"left", "generated", "444"} == set(answer_texts)


def test_errors_are_shown_and_a_rating_waits_for_all_rows(study):
    app = enter(study, "a b")
    assert "not a code" in app.status.value and not app.todo
    app = enter(study)
    while app.todo[0].kind != "rating":
        answer(app)
    assert buttons(app)["Next"].disabled
    study.folder.joinpath("votes.sqlite").rename(study.folder / "away")
    study.folder.joinpath("votes.sqlite").mkdir()
    trial = app.todo[0]
    answer(app)
    assert "#b00020" in app.status.value and app.todo[0] is trial  # nothing is skipped


def test_the_page_is_blind_and_whole(study, tmp_path):
    (page,) = write_pages(study, tmp_path / "pages", ["r1"])
    text = page.read_text()
    assert "secret" not in text and "<img" not in text and text.count("</script>") == 2
    start = text.index('id="study">') + len('id="study">')
    content = json.loads(text[start : text.index("</script>", start)])
    assert [t["item"] for t in content["trials"]] == [t.item for t in study.trials("r1")]
    assert "expected" not in text and EVIL in {t["prompt"] for t in content["trials"]}
    shown = {n for t in content["trials"] for n in (*t["shown"], *t["references"])}
    assert shown == {file.name for file in (tmp_path / "pages" / IMAGES).iterdir()}


def test_the_report_has_figures_and_says_that_raters_were_simulated(study, tmp_path):
    for i in range(3):
        simulate_rater(study, f"r{i}", {"secret-one": 0.0, "secret-two": 1.0})
    result = analyse(study, VoteBox(study).votes())
    assert set(study_figures(result)) == {"contrasts", "ratings", "real"}
    shown = examples(study, VoteBox(study).votes(), result)
    page = write_report(result, tmp_path / "report.html", shown).read_text()
    assert "were simulated" in page and page.count("data:image/png") == 3
    assert 2 <= page.count("data:image/jpeg") <= 6 and EVIL not in page
    assert re.search("<figcaption>.*&#x27; \\(left\\) [0-9] and .* of [0-9] vote", page)
    assert "&#x27;secret-one&#x27; preferred to &#x27;secret-two&#x27;" in page
    assert "at least 70% of" in page


def test_the_command_line_from_images_to_a_report(study, tmp_path, capsys):
    out = tmp_path / "made"
    systems = [f"{name}={tmp_path / f'secret-{name}'}" for name in ("one", "two")]
    assert main(["study", "make", *systems, "--out", str(out), "--primary", "two,one"]) == 0
    assert main(["study", "html", str(out), "--raters", "r1", "--out", str(tmp_path / "p")]) == 0
    made = Study(out)
    vote = {"answer": "same", "seconds": 0.1, "at": "2026-01-02"}
    rows = [{"trial": t.number, "item": t.item, **vote} for t in made.trials("r1")]
    file = tmp_path / "votes.json"
    who = {"study": made.hash, "rater": "r1", "token": made.token("r1")}
    file.write_text(json.dumps({**who, "votes": rows}))
    assert main(["study", "import", str(out), str(file)]) == 0
    capsys.readouterr()
    assert main(["study", "analyse", str(out), "--out", str(tmp_path / "r")]) == 2
    assert "exclude every rater" in capsys.readouterr().err  # nobody looks that fast
    for rater in ("r2", "r3", "r4"):  # the study's salt is random: one may fail its only check
        simulate_rater(made, rater, {"one": 0.0, "two": 9.0}, attentive=1.0)
    assert main(["study", "analyse", str(out), "--out", str(tmp_path / "r")]) == 0
    assert "Primary comparison: 'two' preferred to 'one' in " in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "r").iterdir()} == {
        "analysis.json",
        "report.html",
        "votes.csv",
    }
    sizes = ["--raters", "3", "--prompts", "5"]
    assert main(["study", "power", *sizes, "--effect", "0.9"]) == 0
    for bad in (["make", "one", "--out", "x"], ["power", *sizes, "--effect", "2"],
                ["make", *systems, "--out", "x", "--tasks", "guess"]):  # fmt: skip
        assert main(["study", *bad]) == 2
