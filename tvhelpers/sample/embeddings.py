"""Which word does a textual inversion add to prompts, and what does the text encoder see for it?

A file holds vectors (n, d) that stand for n tokens: {"<word>": vectors} as diffusers writes it,
{"emb_params": vectors} as A1111 does, whose word is the file's name, or {"clip_l", "clip_g"} for
Stable Diffusion XL.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tvhelpers.errors import InputError
from tvhelpers.files import file_sha256
from tvhelpers.models.architecture import Architecture
from tvhelpers.sample.prompt import check_prompt
from tvhelpers.tensors import read_contents, read_tensors

ONE, TWO = ("emb_params",), ("clip_l", "clip_g")  # names of the vectors in A1111's files
MAX_VECTORS = 75  # tokens of a prompt


@dataclass(frozen=True)
class Embedding:
    """The word of a textual inversion, its vectors (n, d), fp32, for each text encoder, and the n
    tokens that have them."""

    path: Path
    word: str
    vectors: tuple[torch.Tensor, ...]
    tokens: tuple[str, ...]


def read_embeddings(paths: Sequence[str | Path]) -> list[Embedding]:
    """Return the textual inversions of files.

    Raises InputError for a file that holds something else, and for a word of two files.
    """
    found = [_read(number, Path(path)) for number, path in enumerate(paths)]
    words = [one.word.lower() for one in found]
    if len({*words}) < len(words):
        raise InputError("given-twice.embedding", names=words)
    return found


def _read(number: int, path: Path) -> Embedding:
    contents = read_contents(path)
    names = tuple(sorted(contents.shapes, reverse=True))
    sizes = {shape[0] if len(shape) == 2 else 1 for shape in contents.shapes.values()}
    flat = all(len(shape) in (1, 2) for shape in contents.shapes.values())
    fits = flat and len(sizes) == 1 and 0 < max(sizes) <= MAX_VECTORS
    if not fits or (names != TWO and len(names) > 1):
        raise InputError("no-embedding", path=path)
    word = path.stem if names in (ONE, TWO) else names[0]
    tensors = read_tensors(contents, list(names))
    vectors = tuple(torch.atleast_2d(tensors[name]) for name in names)
    tokens = tuple(f"<vector-{number}-{place}>" for place in range(len(vectors[0])))
    return Embedding(path, check_prompt(word), vectors, tokens)


def add_embeddings(pipe, family: Architecture, embeddings: Sequence[Embedding]) -> None:
    """Add tokens to the tokenizers and text encoders of a pipeline.

    Raises InputError for vectors of another base.
    """
    for one in embeddings:
        parts = list(zip(family.tokenizers, family.text_encoders, strict=True))
        if len(parts) != len(one.vectors):
            raise InputError("another-base.embedding", path=one.path, family=family.name)
        for (tokenizer, encoder), vectors in zip(parts, one.vectors, strict=True):
            tokenizer, encoder = getattr(pipe, tokenizer), getattr(pipe, encoder)
            if vectors.shape[1] != encoder.config.hidden_size:
                raise InputError("another-base.embedding", path=one.path, family=family.name)
            pairs = [{token: row} for token, row in zip(one.tokens, vectors, strict=True)]
            pipe.load_textual_inversion(pairs, tokenizer=tokenizer, text_encoder=encoder)


def with_tokens(text: str, embeddings: Sequence[Embedding]) -> str:
    """Return a prompt with tokens in place of the words, in capitals or not.

    diffusers' own way takes words in lower case alone, and no word that its tokenizer has.
    """
    tokens = {one.word.lower(): " ".join(one.tokens) for one in embeddings}
    words = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
    pattern = rf"(?<!\w)(?:{words})(?!\w)"
    return re.sub(pattern, lambda x: tokens[x[0].lower()], text, flags=re.I) if tokens else text


def digests(embeddings: Sequence[Embedding]) -> dict[str, str]:
    """Return {word: SHA-256 of its file}."""
    return {one.word: file_sha256(one.path) for one in embeddings}
