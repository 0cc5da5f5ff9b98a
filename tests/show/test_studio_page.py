"""The studio's web page without a browser: who reaches its server, and what a click does."""

import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="no gradio: make test-gradio")

from tests.helpers import refused
from tests.show.studio_helpers import FakeSampler
from tvhelpers.show import studio_page
from tvhelpers.show.studio_session import Session


@pytest.fixture
def session(tmp_path):
    return Session(FakeSampler("shipped"), tmp_path / "designs", adapters={})


@pytest.fixture
def page(session):
    return studio_page.StudioPage(session)


def values(page, **changed):
    """What the browser sends with a click: the values of the controls, and no grid."""
    own = {name: page.panel.value(name) for name in page._typed()}
    return [*{**own, **changed}.values(), "", "", "", ""]


def test_the_server_answers_this_machine_alone_and_calls_no_other(session, tmp_path, monkeypatch):
    called, connect = [], socket.socket.connect

    def noted(self, address):
        called.append(address[0] if isinstance(address, tuple) else "127.0.0.1")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    page, address = studio_page.launch(session)
    try:
        (tmp_path / "0001_7.png").write_bytes(b"a design")
        copied = page.parts.gallery.move_resource_to_block_cache(tmp_path / "0001_7.png")
        assert Path(copied).parent != tmp_path and Path(copied).is_file()
        assert address.startswith("http://127.0.0.1:")
        assert page.blocks.share_url is None
        with urllib.request.urlopen(address) as answer:
            text = answer.read().decode()
        assert "fonts.googleapis" not in text and "cdnjs" not in text
        foreign = urllib.request.Request(address, headers={"Host": "designs.example"})
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(foreign)
        assert refusal.value.code == 400
        port = int(address.strip("/").rpartition(":")[2])
        with refused("port-taken"):
            studio_page.launch(session, port)
    finally:
        page.blocks.close(verbose=False)
    assert {*called} <= {"127.0.0.1", "localhost"}
    assert not Path(copied).exists()  # Gradio would keep a copy of what the user deletes


def test_a_click_draws_what_the_browser_shows_and_the_page_follows(page, session):
    begun = page._starter("generate")(*values(page, prompt="a blue coat", count=2, steps=3))
    shown = [begun, *page.follow()]
    assert not session.busy and session.status.startswith("Done: 2 images")
    assert {one.record["prompt"] for one in session.entries} == {"a blue coat"}
    use = page.parts.actions["Use again"]
    last = {part: update for views in shown for part, update in views.items()}
    assert len(last[page.parts.gallery]["value"]) == 2 and last[page.parts.generate]["interactive"]
    assert last[page.parts.controls["colour"]]["value"] == "blue"
    assert "2 images" in last[page.parts.caption] and not last[use]["interactive"]
    session.open(session.entries[0])
    assert "seed 2" in page._stage()[page.parts.caption] and page._stage()[use]["interactive"]
    session.favourite(session.entries[0])
    assert page._stage()[page.parts.actions["Favourite"]]["value"] == "★ Unmark"


def test_an_image_of_a_comparison_is_named_by_what_is_special_in_it(page, session):
    page._starter("compare")(*values(page, steps=1))
    session.wait(20)
    tiles = page._gallery()[page.parts.gallery]["value"]
    assert [text.partition(" · ")[0] for _, text in tiles] == [one.label for one in session.entries]


def test_an_emptied_slider_is_one_sentence_and_shows_its_value_again(page, session):
    part, own = page.parts.controls["guidance"], page.panel.value("guidance")
    page._views(-1)
    found = page._setter("guidance")(part.preprocess(None))
    assert found[part]["value"] == own == page.panel.value("guidance")
    assert str(own) in session.status and not session.wrong


def test_a_second_click_is_refused_and_an_emptied_number_changes_nothing(page, session):
    held = threading.Event()
    session.sampler.at_step = lambda sampler, step: held.wait(20)
    page._starter("generate")(*values(page, seed=None))
    news = page._starter("generate")(*values(page))
    assert "⚠" in news[page.parts.status] and session.busy
    held.set()
    session.wait(20)
    assert [one.record["seed"] for one in session.entries] == [1]


def test_a_fraction_where_whole_numbers_are_taken_is_shown_as_what_is_drawn(page, session):
    for name in ("seed", "steps"):
        own = page._setter(name)(3.7)[page.parts.controls[name]]["value"]
        assert own == session.panel.value(name) == 3
        assert page.parts.controls[name] not in page._setter(name)(3)


def test_prompts_are_escaped_and_a_zip_is_a_link(page, session):
    evil = "<img src=x onerror=alert(1)>"
    page._starter("generate")(*values(page, prompt=evil))
    views = [*page.follow()][-1]
    assert evil not in page._stage()[page.parts.caption]
    assert evil not in views[page.parts.status] and evil not in page._controls()[page.parts.remarks]
    link = page._zip()[page.parts.link]
    assert "designs.zip" in link and (session.folder.path / "designs.zip").is_file()
