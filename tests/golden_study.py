"""What is compared of a study, and what does a rater's page give at its end?"""

from __future__ import annotations

import json
from pathlib import Path

from golden_commands import item
from golden_galleries import make_galleries
from golden_reading import plain, read_folder, read_json


@item
def study(side):
    """A study from its making to its report."""
    side.once(make_galleries)
    words = ["base=out/plain", "mine=out/adapted", "--real", "inputs/photos"]
    words += ["--tasks", "pair,rating,real", "--primary", "mine,base", "--out", "made/study"]
    found = {"make": side.json("study", "make", *words)}
    raters = ["r1", "r2", "r3"]
    found["html"] = side.json(
        "study", "html", "made/study", "--raters", *raters, "--out", "made/pages"
    )
    found["files"] = read_folder(side, "made/study", ("key-raters.json",))
    found["pages"] = read_folder(side, "made/pages", ("*.html",))
    found["trials"] = [_page_content(side.path(f"made/pages/{rater}.html")) for rater in raters]
    for page in found["trials"]:
        page.pop("token", "")
    files = [_answers(side, rater, number) for number, rater in enumerate(raters)]
    found["import"] = side.json("study", "import", "made/study", *files)
    found["again"] = side.json("study", "import", "made/study", files[0])
    found["analyse"] = plain(side.json("study", "analyse", "made/study", "--out", "made/analysis"))
    found["analysis"] = read_json(side, "made/analysis/analysis.json")
    found["votes.csv"] = read_folder(side, "made/analysis", ("*.json", "*.html"))
    power = "--raters", 4, "--prompts", 12, "--effect", 0.7, "--ties", 0.1
    found["power"] = side.json("study", "power", *power)
    return found


def _answers(side, rater: str, number: int) -> str:
    """Write a file as the page of a rater gives it, and return its name."""
    content = answers(side.path("made/study"), side.path(f"made/pages/{rater}.html"), number)
    name = f"made/votes-{rater}.json"
    side.path(name).write_text(json.dumps(content))
    return name


def answers(study: Path, page: Path, number: int) -> dict:
    """Return what a rater's page gives at its end, attention checks answered right."""
    content = _page_content(page)
    key, about = (json.loads((study / f"{name}.json").read_text()) for name in ("key", "study"))
    orders = {item["id"]: item["pictures"] for item in about["items"]}  # stable name
    votes = []
    for trial in content["trials"]:
        answer = _answer(trial, trial["number"] + number, key, orders)
        row = {"trial": trial["number"], "item": trial["item"], "answer": answer, "seconds": 2.5}
        votes.append({**row, "at": "2026-01-01T00:00:00+00:00"})
    about = {name: content[name] for name in ("study", "rater", "token") if name in content}
    return {**about, "votes": votes}


def _page_content(page: Path) -> dict:
    """Return what a rater's page holds, without the words around it."""
    text = page.read_text(encoding="utf-8").split('<script type="application/json" id="study">')[1]
    return json.loads(text.split("</script>")[0])


def _answer(trial: dict, turn: int, key: dict, orders: dict) -> str:
    expected = key["expected"].get(trial["item"])
    if expected:
        systems = key["items"][trial["item"]]
        flip = trial["shown"] != orders[trial["item"]]
        systems = systems[::-1] if flip else systems
        return "same" if expected == "same" else ("left", "right")[systems.index(expected)]
    if trial["kind"] == "rating":
        return "".join(str(1 + (turn + k) % 5) for k in range(3))
    return ("left", "right", "same")[turn % 3] if trial["kind"] == "pair" else (
        ("real", "generated")[turn % 2])  # fmt: skip
