"""The verb `generate`: what cannot be drawn is refused before anything is written."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tvhelpers.runtime import root_dir


def test_generate_refuses_what_cannot_be_drawn(refuse, tiny_base, tmp_path):
    here = ["--base", tiny_base, "--out", tmp_path / "out"]
    refuse("no-prompt", "generate", "", *here)
    refuse("out-of-range", "generate", "a", "--steps", "-5", *here)
    refuse("usage", "generate", "a", "--steps", "ten", *here)
    refuse("out-of-range", "generate", "a", "--batch-size", "0", *here)
    refuse("unknown-choice", "generate", "a", "--device", "tpu", *here)
    refuse("given-twice", "generate", "a", "--size", "64", "--height", "96", *here)
    refuse("given-twice", "generate", "a", "--size", "64", "--aspect", "2:3", *here)
    refuse("usage", "generate", "a", "--size", "64by96", *here)
    refuse("out-of-range", "generate", "a", "--size", "64x100", *here)
    for aspect in ("2", "0:1", "2.0:3", "1:3", "5:2"):
        refuse("out-of-range", "generate", "a", "--aspect", aspect, *here)
    refuse("out-of-range", "generate", "a", "--width", "100", *here)
    refuse("file-missing", "generate", "a", "--adapter", tmp_path / "no.safetensors", *here)
    said = refuse("unknown-model", "generate", "a", "--base", "sd99", "--out", tmp_path)
    assert "'sd99'" in said and "sd15" in said
    refuse("no-prompt", "generate", "--out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_adapter_and_words_that_nobody_asked_for_are_said(run, tmp_path):
    words = ["generate", "a teal blazer", "--steps", 1, "--size", 32, "--out", tmp_path / "out"]
    code, out, err = run(*words, "--device", "cpu")
    assert code == 0 and "with the adapter that mini comes with" in out
    assert "has never seen" in err and "'blazer'" in err


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        (["--width", 64, "--height", 96], (64, 96)),
        (["--size", "64x96"], (64, 96)),
        (["--aspect", "2:3"], (48, 80)),
    ],
)
def test_an_image_may_be_taller_than_wide(run, tiny_base, tmp_path, sides, size):
    words = ["generate", "a", "--base", tiny_base, "--steps", 1, *sides, "--out", tmp_path / "out"]
    code, out, _ = run(*words, "--json")
    assert code == 0 and json.loads(out)[0]["height"] == size[1]
    with Image.open(tmp_path / "out" / "0000_0.png") as image:
        assert image.size == size


def test_a_suite_goes_with_no_prompts_or_seeds_of_ones_own(refuse, tmp_path):
    suite = ["generate", "--prompts", "paper-8", "--out", tmp_path / "out"]
    refuse("not-with-suite", *suite, "--seed", 3)
    refuse("not-with-suite", *suite, "a dress")
    refuse("out-of-range", *suite, "--count", 5)
    refuse("unknown-choice", "generate", "--prompts", "fb99", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_is_drawn_again_from_its_file(run, refuse, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--base", tiny_base, "--negative", "a belt", "--steps", 2, "--seed", 5]
    assert run("generate", "a red\ndress", *words, "--width", 64, "--out", "a")[0] == 0
    assert run("generate", "--like", "a/0000_5.png", "--out", "b")[0] == 0
    first, again = (tmp_path / name / "0000_5.png" for name in "ab")
    assert first.read_bytes() == again.read_bytes()
    assert str(tiny_base) not in str(Image.open(first).info)
    refuse("not-with-like", "generate", "a", "--like", first, "--out", "c")
    refuse("not-with-like", "generate", "--like", first, "--steps", 3, "--out", "c")
    refuse("another-model", "generate", "--like", first, "--base", copied(tiny_base), "--out", "c")
    refuse("another-model", "generate", "--like", first, "--base", "mini", "--out", "c")
    (root_dir() / "artifacts" / "bases.json").unlink()
    refuse("base-moved", "generate", "--like", first, "--out", "c")
    assert not (tmp_path / "c").exists()


def copied(base):
    """A copy of a base with other weights."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(base, "other"))
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file({name: torch.zeros_like(weight) for name, weight in weights.items()}, path)
    return folder
