"""The prompt studio without a browser: menus write the prompt, threads draw, errors are shown."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ipywidgets")

from tvhelpers.models.vocabulary import Vocabulary
from tvhelpers.sample.sampler import Sampler
from tvhelpers.show.prompt_studio import CONTROLS, Control, PromptStudio, with_word

COLOURS, CATEGORIES = ("red", "blue", "orange"), ("t-shirt", "dress", "jacket", "bomber jacket")


@pytest.fixture
def studio(tiny_base, tmp_path):
    sampler = Sampler(str(tiny_base), "none", device="cpu")
    studio = PromptStudio(sampler, tmp_path / "saved", categories=CATEGORIES, colours=COLOURS)
    studio.controls["steps"].value = 2
    return studio


@pytest.mark.parametrize(
    ("prompt", "words", "word", "first", "after"),
    [
        ("a red dress", COLOURS, "blue", True, "a blue dress"),
        ("a red dress", COLOURS, "orange", True, "an orange dress"),
        ("an orange dress", COLOURS, "", True, "a dress"),
        ("a dress", COLOURS, "orange", True, "an orange dress"),
        ("dress with a bow", COLOURS, "red", True, "red dress with a bow"),
        ("a tired blueish dress", COLOURS, "red", True, "a red tired blueish dress"),
        ("a red dress", CATEGORIES, "bomber jacket", False, "a red bomber jacket"),
        ("a red bomber jacket", CATEGORIES, "t-shirt", False, "a red t-shirt"),
        ("something red", CATEGORIES, "dress", False, "something red dress"),
        ("", CATEGORIES, "dress", False, "dress"),
        ("RED Dress", COLOURS, "blue", True, "blue Dress"),
    ],
)
def test_menus_write_into_the_prompt(prompt, words, word, first, after):
    assert with_word(prompt, words, word, first=first) == after


def test_menus_generate_gallery_and_save(studio, tmp_path):
    studio.menus["category"].value, studio.menus["colour"].value = "bomber jacket", "blue"
    assert studio.prompt.value == "a blue bomber jacket"
    studio.start()
    studio.wait(120)
    assert studio.progress.value == 2 and "Done" in studio.status.value
    assert bytes(studio.image.value[:4]) == b"\x89PNG" and len(studio.gallery.children) == 1
    studio._guarded(studio.save)
    (row,) = [
        json.loads(line) for line in open(tmp_path / "saved" / "records.jsonl", encoding="utf-8")
    ]
    assert row["prompt"] == "a blue bomber jacket" and row["seed"] == 1
    saved = np.asarray(Image.open(tmp_path / "saved" / row["file"]))
    assert np.array_equal(saved, np.asarray(studio.history[0]["image"]))
    assert (row["size"], row["size"]) == saved.shape[:2] and row["steps"] == 2


def test_what_was_saved_is_never_overwritten(studio, tmp_path):
    studio.keep_seed.value = True
    for prompt in ("a red dress", "a blue dress"):
        studio.prompt.value = prompt
        studio.draw()
        kept = studio.save()
    before = kept.read_bytes()
    (tmp_path / "saved" / "0000_1.png").unlink()  # somebody tidies up
    assert studio.save().name == "0002_1.png" and kept.read_bytes() == before
    for path in (tmp_path / "saved").glob("*.png"):
        path.unlink()
    assert studio.save().name == "0003_1.png"  # nor do two records name one image


def test_a_locked_seed_draws_the_same_and_a_free_one_another(studio):
    studio.keep_seed.value = True
    first, again = np.asarray(studio.draw()), np.asarray(studio.draw())
    assert np.array_equal(first, again)
    studio.keep_seed.value = False
    assert not np.array_equal(first, np.asarray(studio.draw())) and studio.seed.value != 1
    studio.seed.value = 1  # typed: it is used
    assert np.array_equal(first, np.asarray(studio.draw()))


def test_a_control_of_ones_own_is_one_row(tiny_base, tmp_path, monkeypatch):
    import ipywidgets as W

    tall = Control("height", lambda sampler: W.IntText(96))
    monkeypatch.setattr("tvhelpers.show.prompt_studio.CONTROLS", [*CONTROLS, tall])
    sampler = Sampler(str(tiny_base), "none", device="cpu")
    studio = PromptStudio(sampler, tmp_path, categories=CATEGORIES, colours=COLOURS)
    studio.controls["steps"].value = 1
    assert studio.draw().size == (64, 96) and studio.history[0]["record"]["height"] == 96


def test_cancel_ends_the_drawing_and_leaves_the_studio_usable(studio):
    studio.controls["steps"].value = 50
    after_step = studio._after_step

    def cancel_at_3(step):
        if step == 3:
            studio.cancel_button.click()
        after_step(step)

    studio._after_step = cancel_at_3
    studio.start()
    assert studio.generate_button.disabled and not studio.cancel_button.disabled
    studio.wait(120)
    assert "Cancelled" in studio.status.value and studio.progress.value == 3
    assert not studio.history and studio.cancel_button.disabled
    assert not studio.generate_button.disabled
    studio._after_step, studio.controls["steps"].value = after_step, 2
    studio.start()
    studio.wait(120)
    assert len(studio.history) == 1


def test_words_that_the_base_has_never_seen_are_named(studio):
    studio.sampler.vocabulary = Vocabulary(frozenset(["a", "red"]), {"raincoat": "raincoat"})
    studio.prompt.value = "a red raincoatt"
    studio.draw()
    assert "never seen &#x27;raincoatt&#x27;; nearest: &#x27;raincoat&#x27;" in studio.status.value


def test_errors_are_shown_and_what_is_typed_is_escaped(studio):
    studio.prompt.value = "   "
    studio.start()
    studio.wait(60)
    assert "a prompt is empty" in studio.status.value and "#b00020" in studio.status.value
    evil = "<img src=x onerror=alert(1)>"
    studio.prompt.value = evil
    studio.start()
    studio.wait(120)
    assert evil not in studio.caption.value and "&lt;img" in studio.caption.value
    shown = studio.gallery.children[0].children[1].value
    assert evil not in shown and "&lt;img" in shown
    studio.prompt.value, seed = "   ", studio.seed.value
    studio.start()
    studio.wait(60)
    assert studio.seed.value == seed  # that of the image shown
    studio.prompt.value = "a dress"
    studio.seed.value, studio.keep_seed.value = -5, True
    studio.start()
    studio.wait(60)
    assert "seed is -5" in studio.status.value
