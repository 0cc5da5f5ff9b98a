"""A study, gallery or file of votes that somebody else made: it leads nowhere and runs nothing."""

import csv
import json
import shutil
import sqlite3
import zipfile
from dataclasses import astuple, replace

import numpy as np
import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.files import content_key
from tvhelpers.sample.request import Request
from tvhelpers.study.analysis import analyse, write_csv
from tvhelpers.study.make import make_study
from tvhelpers.study.model import IMAGES, TOKENS, Study
from tvhelpers.study.page import write_pages, zip_pages
from tvhelpers.study.report import write_report
from tvhelpers.study.votes import VoteBox, import_votes, vote_of

EVIL = "</script><script>alert(1)</script><!--\u2028"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two galleries of two prompts, and their study."""
    root = tmp_path_factory.mktemp("made")
    for number, name in enumerate("ab"):
        gallery(root / name, [40 * number, 90 + number])
    make_study({name: root / name for name in "ab"}, root / "study", title=EVIL)
    return root


def gallery(folder, shades, names=("0.png", "1.png")):
    folder.mkdir()
    rows = []
    for shade, name, prompt in zip(shades, names, ("a red dress", EVIL), strict=True):
        if ".." not in name:
            Image.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(folder / name)
        rows.append(json.dumps({"file": name, "prompt": prompt, "seed": 0}) + "\n")
    (folder / "records.jsonl").write_text("".join(rows))


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made / "study", tmp_path / "study")


def rewritten(folder, change):
    """Change study.json as its author can, who knows how both files belong together."""
    about, key = (json.loads((folder / f"{name}.json").read_text()) for name in ("study", "key"))
    change(about, key)
    about["key_sha256"] = content_key(key)
    for name, content in (("study", about), ("key", key)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda about, key: about["items"][0][IMAGES].__setitem__(0, "../../payload/x.png"),
        lambda about, key: about["items"][0][IMAGES].__setitem__(0, "/etc/passwd"),
        lambda about, key: about["items"][0][IMAGES].__setitem__(0, "a b\n.png"),
        lambda about, key: about["items"][0].__setitem__("references", ["..\\x.png"]),
        lambda about, key: about["items"][0].__setitem__("references", 7),
        lambda about, key: about["rules"].__setitem__("<script>", 0.5),
        lambda about, key: about["rules"].__setitem__("share_done", "<script>"),
        lambda about, key: about["rules"].pop("share_done"),
        lambda about, key: about["items"][0].__setitem__("kind", "__proto__"),
        lambda about, key: about["items"][0].__setitem__("prompt", {"a": 1}),
        lambda about, key: about.__setitem__("title", ["<b>"]),
        lambda about, key: about.__setitem__("questions", {"pair": 7}),
        lambda about, key: about.__setitem__("items", {"a": 1}),
        lambda about, key: about.__setitem__("per_rater", "8"),
        lambda about, key: key.__setitem__("items", {}),
        lambda about, key: key.__setitem__("systems", [1, 2]),
        lambda about, key: key.__setitem__("expected", {"other": "same"}),
    ],
)
def test_what_make_never_writes_is_no_study(folder, change):
    with refused("not-a-study", "wrong-type"):
        Study(rewritten(folder, change))


def test_a_link_among_the_images_leads_nowhere(folder, tmp_path):
    (tmp_path / "passport.png").write_bytes(b"private")
    study = Study(folder)
    name = study.trials("r1")[0].shown[0]
    (folder / IMAGES / name).unlink()
    (folder / IMAGES / name).symlink_to(tmp_path / "passport.png")
    with refused("outside-folder"):
        write_pages(study, tmp_path / "pages", ["r1"])
    with refused("outside-folder"):
        study.image(name)
    assert not (tmp_path / "pages" / IMAGES / name).exists()
    (folder / "votes.sqlite").symlink_to(tmp_path / "mine.sqlite")
    with refused("outside-folder"):
        VoteBox(study)


@pytest.mark.parametrize("name", ["study.json", "key.json", TOKENS])
def test_a_study_whose_files_are_links_out_is_not_read(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "private.json")
    (folder / name).symlink_to(tmp_path / "private.json")
    with refused("outside-folder"):
        write_pages(Study(folder), tmp_path / "pages", ["r1"])


def test_why_no_rater_is_counted_is_said_in_words(folder):
    study = Study(folder)
    with refused("no-raters") as caught:
        analyse(study, VoteBox(study).votes())
    assert "no votes yet" in str(caught.value)
    trial = next(trial for trial in study.trials("r1") if trial.item not in study.key["expected"])
    votes = [vote_of("r1", trial, trial.answers[0], 0.1, "page")]
    with refused("no-raters") as caught:
        analyse(study, votes)
    assert "'r1: answered too fast, answered too few questions'" in str(caught.value)


@pytest.mark.parametrize("name", ["../passport.png", "sub/../../passport.png", "link.png"])
def test_a_gallery_whose_records_lead_out_is_in_no_study(made, tmp_path, name):
    Image.new("RGB", (16, 16)).save(tmp_path / "passport.png")
    gallery(tmp_path / "evil", [3, 4], ("0.png", name if ".." in name else "1.png"))
    if ".." not in name:
        (tmp_path / "evil" / "1.png").unlink()
        (tmp_path / "evil" / "1.png").symlink_to(tmp_path / "passport.png")
    with refused("outside-folder"):
        make_study({"a": made / "a", "b": tmp_path / "evil"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_page_from_an_older_template_is_kept_and_another_one_refused(folder, tmp_path):
    study = Study(folder)
    (page,) = write_pages(study, tmp_path, ["r1"])
    older = page.read_text(encoding="utf-8").replace("One last step", "A last step")
    page.write_text(older, encoding="utf-8")
    assert write_pages(study, tmp_path, ["r1"]) == [page]
    assert page.read_text(encoding="utf-8") == older
    page.write_text(older.replace('"rater": "r1"', '"rater": "r2"'), encoding="utf-8")
    with refused("file-exists"):
        write_pages(study, tmp_path, ["r1"])


def test_pages_and_images_come_as_one_zip(folder, tmp_path):
    pages = write_pages(Study(folder), tmp_path / "pages", ["r1", "r2"])
    first = zip_pages(pages).read_bytes()
    with zipfile.ZipFile(zip_pages(pages)) as archive:
        names = {*archive.namelist()}
        archive.extractall(tmp_path / "sent")
    assert {f"pages/r{i}.html" for i in (1, 2)} < names and not any("key" in n for n in names)
    for file in (tmp_path / "sent").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / file.relative_to(tmp_path / "sent")).read_bytes()
    assert len(names) > 2 and (tmp_path / "pages.zip").read_bytes() == first


def test_texts_end_no_script_and_become_no_element(folder, tmp_path):
    study = Study(folder)
    (page,) = write_pages(study, tmp_path / "pages", ["r1"])
    text = page.read_text(encoding="utf-8")
    assert EVIL[:20] not in text and "<!--" not in text and "\u2028" not in text
    assert text.count("</script>") == 2
    result = {"title": EVIL, "study": EVIL, "simulated": False, "raters": [], "raters_kept": 0}
    result |= {"rules": study.about["rules"], "ratings": [], "real": None, "warnings": [EVIL]}
    report = write_report({**result, "repeats": None, "agreement": {}}, tmp_path / "report.html")
    assert "<script" not in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["", "pages", IMAGES, "../study", "pages/../deeper/pages"])
def test_pages_are_not_put_beside_the_key(folder, place):
    with refused("pages-beside-key"):
        write_pages(Study(folder), folder / place, ["r1"])


def test_no_cell_of_the_table_is_a_formula(folder, tmp_path):
    study = Study(rewritten(folder, lambda about, key: None))
    trial = study.trials("r1")[0]
    votes = [replace(vote_of("r1", trial, "left", 1.0, "app"), at="=cmd|' /C calc'!A0")]
    votes.append(vote_of("-r2", study.trials("-r2")[0], "left", 1.0, "@app", "+1"))
    write_csv(study, votes, tmp_path / "votes.csv")
    for row in csv.DictReader(open(tmp_path / "votes.csv", encoding="utf-8")):
        assert not any(cell.startswith(tuple("=+-@\t\r")) for cell in row.values())


def test_votes_of_another_type_are_refused(folder):
    study = Study(folder)
    box, vote = VoteBox(study), vote_of("r1", study.trials("r1")[0], "left", 1.0, "app")
    with sqlite3.connect(box.path) as db:
        row = astuple(replace(vote, rater=b"r1"))
        db.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    with refused("votes-unreadable"):
        box.votes()


def test_a_page_proves_its_rater_and_older_studies_go_on(folder, tmp_path):
    study, content = Study(folder), {}
    for page in write_pages(study, tmp_path / "pages", ["r1", "r2"]):
        text = page.read_text(encoding="utf-8").split('id="study">')[1].split("</script>")[0]
        content[page.stem] = json.loads(text)
    assert content["r1"]["token"] == study.token("r1") != content["r2"]["token"]
    trial = content["r1"]["trials"][0]
    vote = {"trial": 0, "item": trial["item"], "answer": "left", "seconds": 1, "at": "2026-01-02"}
    file, forged = tmp_path / "v.json", {"study": study.hash, "rater": "r1", "votes": [vote]}
    for token in ({}, {"token": content["r2"]["token"]}, {"token": ["x"]}):
        file.write_text(json.dumps({**forged, **token}))
        with refused("vote-unfit"):
            import_votes(study, file)
    (folder / TOKENS).unlink()  # as in a study made before there were tokens
    assert Study(folder).hash == study.hash
    assert (
        "token"
        not in write_pages(Study(folder), tmp_path / "older", ["r1"])[0]
        .read_text(encoding="utf-8")
        .split("</script>")[0]
    )
    assert import_votes(study, file)["new"] == 1


def test_a_gallery_that_is_not_ones_own_leads_nowhere(tiny_base, tmp_path):
    from tvhelpers.sample.gallery import generate
    from tvhelpers.sample.sampler import Sampler

    sampler, request = Sampler(str(tiny_base), device="cpu"), Request(("a red dress",), steps=1)
    (record,) = generate(sampler, request, tmp_path / "out")
    Image.new("RGB", (16, 16)).save(tmp_path / "passport.png")
    records = tmp_path / "out" / "records.jsonl"
    records.write_text(json.dumps({**record, "file": "../passport.png"}) + "\n")
    assert generate(sampler, request, tmp_path / "out") == [record]  # drawn again
    (tmp_path / "out" / record["file"]).unlink()
    (tmp_path / "out" / record["file"]).symlink_to(tmp_path / "passport.png")
    (tmp_path / "out" / "grid.png").unlink()
    with refused("outside-folder"):
        generate(sampler, request, tmp_path / "out")
