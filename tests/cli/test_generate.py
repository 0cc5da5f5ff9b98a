"""The verb `generate`: what cannot be drawn is refused before anything is written."""

import json

from PIL import Image


def test_generate_refuses_what_cannot_be_drawn(refuse, tiny_base, tmp_path):
    here = ["--base", tiny_base, "--out", tmp_path / "out"]
    refuse("no-prompt", "generate", "", *here)
    refuse("out-of-range", "generate", "a", "--steps", "-5", *here)
    refuse("usage", "generate", "a", "--steps", "ten", *here)
    refuse("out-of-range", "generate", "a", "--batch-size", "0", *here)
    refuse("unknown-choice", "generate", "a", "--device", "tpu", *here)
    refuse("given-twice", "generate", "a", "--size", "64", "--height", "96", *here)
    refuse("out-of-range", "generate", "a", "--width", "100", *here)
    refuse("file-missing", "generate", "a", "--adapter", tmp_path / "no.safetensors", *here)
    said = refuse("unknown-model", "generate", "a", "--base", "sd99", "--out", tmp_path)
    assert "'sd99'" in said and "sd15" in said
    refuse("no-prompt", "generate", "--out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_an_image_may_be_taller_than_wide(run, tiny_base, tmp_path):
    sides = ["--width", 64, "--height", 96]
    words = ["generate", "a", "--base", tiny_base, "--steps", 1, *sides, "--out", tmp_path / "out"]
    code, out, _ = run(*words, "--json")
    assert code == 0 and json.loads(out)[0]["height"] == 96
    with Image.open(tmp_path / "out" / "0000_0.png") as image:
        assert image.size == (64, 96)


def test_a_suite_goes_with_no_prompts_or_seeds_of_ones_own(refuse, tmp_path):
    suite = ["generate", "--prompts", "paper-8", "--out", tmp_path / "out"]
    refuse("not-with-suite", *suite, "--seed", 3)
    refuse("not-with-suite", *suite, "a dress")
    refuse("out-of-range", *suite, "--count", 5)
    refuse("unknown-choice", "generate", "--prompts", "fb99", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
