"""A textual inversion puts its vectors where its word stands in the prompt."""

import pytest
import torch
from safetensors.torch import save_file

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.sample.embeddings import read_embeddings, with_tokens
from tvhelpers.sample.parameters import read_drawn
from tvhelpers.sample.sampler import Sampler

VECTORS = torch.linspace(-1, 1, 64).reshape(2, 32)


@pytest.fixture
def write(tmp_path):
    """A function that writes tensors under a name and returns the path."""

    def write_file(name, tensors):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        return tmp_path / f"{name}.safetensors"

    return write_file


@torch.no_grad()
def first_states(sampler, prompt):
    """Return what enters the first layer of each text encoder for a prompt."""
    pipe, family, seen = sampler.pipe, sampler.base.architecture, []
    for part, tokenizer in zip(family.text_encoders, family.tokenizers, strict=True):
        tokenizer, encoder = getattr(pipe, tokenizer), getattr(pipe, part)
        words = pipe.maybe_convert_prompt(with_tokens(prompt, sampler.embeddings), tokenizer)
        ids = tokenizer(words, return_tensors="pt").input_ids
        seen.append(encoder.get_input_embeddings()(ids)[0])
    return seen


def test_the_vectors_of_diffusers_and_a1111_stand_for_the_word(write, tiny_base):
    plain = first_states(Sampler(str(tiny_base), device="cpu"), "a red dress")[0]
    for file, word in (
        (write("any", {"<frill>": VECTORS}), "<frill>"),
        (write("MyFrill", {"emb_params": VECTORS}), "MYFrill"),
        (write("silk", {"emb_params": VECTORS}), "silk"),
        (write("one", {"<frill>": VECTORS[0]}), "<frill>"),
    ):
        sampler = Sampler(str(tiny_base), device="cpu", embeddings=[file])
        seen = first_states(sampler, f"a red {word} dress")[0]
        vectors = VECTORS[: len(seen) - len(plain)]
        assert len(vectors) == (1 if file.stem == "one" else 2)
        start = next(i for i, row in enumerate(seen) if torch.equal(row, VECTORS[0]))
        assert torch.equal(seen[start : start + len(vectors)], vectors)
        rest = torch.cat([seen[:start], seen[start + len(vectors) :]])
        torch.testing.assert_close(rest, plain)


def test_one_for_xl_goes_to_both_text_encoders(write, tiny_sdxl, tiny_base):
    two = {"clip_l": torch.ones(1, 32), "clip_g": 2 * torch.ones(1, 48)}
    file = write("frill", two)
    seen = first_states(Sampler(str(tiny_sdxl), device="cpu", embeddings=[file]), "frill")
    assert all((rows == value).all(1).any() for rows, value in zip(seen, (1, 2), strict=True))
    for base, other in ((tiny_base, file), (tiny_sdxl, write("<a>", {"<a>": VECTORS}))):
        with refused("another-base"):
            assert Sampler(str(base), device="cpu", embeddings=[other]).pipe


def test_the_command_draws_with_it_records_it_and_draws_it_again(write, tiny_base, tmp_path):
    file, out = write("any", {"<frill>": 9 * VECTORS}), tmp_path / "out"
    common = ["--base", tiny_base, "--steps", 2, "--size", 64]
    command = ["generate", "a <frill> dress", *common, "--embedding", file, "--out", out]
    assert cli.main(list(map(str, command))) == 0
    plain = ["generate", "a <frill> dress", *common, "--out", tmp_path / "plain"]
    assert cli.main(list(map(str, plain))) == 0
    images = [next(folder.glob("0000_*.png")) for folder in (out, tmp_path / "plain")]
    records = [read_drawn(image) for image in images]
    assert list(records[0]["embeddings"]) == ["<frill>"] and "embeddings" not in records[1]
    again = ["generate", "--like", images[0], "--base", tiny_base, "--out", tmp_path / "again"]
    assert cli.main(list(map(str, again))) == 2  # without the file
    assert cli.main(list(map(str, [*again, "--embedding", file]))) == 0
    same = next((tmp_path / "again").glob("0000_*.png"))
    assert same.read_bytes() == images[0].read_bytes() != images[1].read_bytes()


def test_a_word_that_no_prompt_has_is_remarked(write, tiny_base, tmp_path, capsys):
    file = write("any", {"<frill>": VECTORS})
    command = ["generate", "a dress", "--base", tiny_base, "--steps", 1, "--embedding", file]
    assert cli.main(list(map(str, [*command, "--out", tmp_path / "out"]))) == 0
    assert "no prompt has '<frill>'" in capsys.readouterr().err


def test_other_files_are_refused(write, tmp_path):
    for tensors in (
        {"a": VECTORS, "b": VECTORS + 1},
        {"a": torch.ones(1, 2, 3)},
        {"a": torch.ones(99, 32)},
    ):
        with refused("no-embedding"):
            read_embeddings([write("it", tensors)])
    torch.save({"string_to_param": {"*": VECTORS}}, tmp_path / "it.pt")
    with refused("pickle"):
        read_embeddings([tmp_path / "it.pt"])
    with refused("file-missing"):
        read_embeddings([tmp_path / "nothing.safetensors"])
    with refused("not-finite"):
        read_embeddings([write("nan", {"<a>": VECTORS / 0})])
    with refused("given-twice"):
        read_embeddings([write("x", {"<a>": VECTORS}), write("y", {"<a>": VECTORS})])
    with refused("prompt-letter"):
        read_embeddings([write("z", {"a\x07": VECTORS})])
