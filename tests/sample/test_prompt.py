"""What a prompt may be, and what is said of signs that have no effect here."""

import time

import pytest

from tests.helpers import refused
from tvhelpers.sample.prompt import is_prompt, remarks
from tvhelpers.sample.request import Request

SYNTAX = """
(red:1.3) (red:-0.5) ((red)) [red] [red:blue:0.5] {red|blue} {red$$blue} __colour__ red++ red--
<lora:x:0.8> <hypernet:a> embedding:x AND BREAK --ar
""".split()
USUAL = """
a dress (red)
A RED DRESS AND A HAT
a t-shirt -- no sleeves
size 40+, 3:4, up-to-date
été, 红色裙子, 👩‍🎨 dress
50 % cotton & 50 % wool, a <3 heart
""".strip().splitlines()


@pytest.mark.parametrize("signs", SYNTAX)
def test_signs_of_other_programs_are_said_once_to_have_no_effect(signs):
    (said,) = remarks([f"a dress, {signs}", "a red skirt", f"a {signs} hat"])
    assert f"{signs}'" in said and "--lora-scale" in said


def test_several_lines_are_one_prompt():
    (said,) = remarks(["a dress\n", "a dress\na hat"])
    assert "a hat' has several lines" in said and "\n" not in said


@pytest.mark.parametrize("prompt", USUAL)
def test_usual_prompts_are_drawn_without_a_remark(prompt):
    assert Request((prompt,)).prompts == (prompt,) and not remarks([prompt])


def test_a_long_prompt_takes_no_long_time():
    runs = [sign * 200_000 for sign in ("a", "(", "{|", "(: ", "<a:", "((a)", "(:1")]
    start = time.process_time()
    assert not remarks([f"{run} a dress" for run in runs])
    assert time.process_time() - start < 10


@pytest.mark.parametrize("letter", "\0\x1b\x7f\x9b\ud800\udcff\u202e\u2066\ufeff")
def test_letters_that_no_text_has_are_refused(letter):
    with refused("prompt-letter") as caught:
        Request(("a dress", f"a {letter} hat"))
    assert str(caught.value).isprintable() and not is_prompt(letter + "a")


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u200b", "\u3000"])
def test_a_prompt_has_a_visible_letter(blank):
    with refused("no-prompt"):
        Request(("a dress", blank))
