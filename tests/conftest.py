"""What tests share: the folder of real data, a tiny pipeline in the stock layout, a root of their
own, a browser."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.colab import colab  # noqa: F401 - a fixture that all may take

os.environ["HF_HUB_OFFLINE"] = "1"  # huggingface_hub reads it when it is imported
# One thread: on more, MKL divides its sums by who is idle, and equal bytes cannot be asked for.
os.environ["OMP_NUM_THREADS"] = "1"

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared real data ($TV_SHARED); tests that need it are skipped without it."""
    folder = Path(os.environ.get("TV_SHARED", REPO / ".." / "shared")).resolve()
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared real data: set TV_SHARED to its folder (looked in {folder})")
    return folder


@pytest.fixture(autouse=True)
def own_root(tmp_path_factory, monkeypatch):
    """Keep artifacts/ and runs/ of every test out of the work tree."""
    monkeypatch.setenv("TV_ROOT", str(tmp_path_factory.mktemp("root")))


@pytest.fixture(autouse=True)
def on_the_cpu(request):
    """Hide a GPU from all tests but those marked `gpu`, which are skipped without one."""
    import torch

    with pytest.MonkeyPatch.context() as patch:  # its own: a test may undo the common one
        if not request.node.get_closest_marker("gpu"):
            patch.setattr(torch.cuda, "is_available", lambda: False)
            patch.setenv("CUDA_VISIBLE_DEVICES", "")  # for the processes that a test starts
        elif not torch.cuda.is_available():
            pytest.skip("no CUDA GPU")
        yield


@pytest.fixture(autouse=True)
def own_log():
    """Leave no log handler of one test to the next, and log what `caplog` wants to see."""
    package = logging.getLogger("tvhelpers")
    package.setLevel(logging.INFO)
    yield
    package.handlers.clear()
    package.propagate = True


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A Stable Diffusion pipeline of a few thousand random weights (not mini's sizes), saved in the
    stock layout."""
    from tests.golden_inputs import write_base

    folder = tmp_path_factory.mktemp("tiny") / "base"
    write_base(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory) -> Path:
    """A Stable Diffusion XL pipeline of random weights, saved in the stock layout."""
    from tests.tiny_sdxl import write_sdxl

    folder = tmp_path_factory.mktemp("tiny_sdxl") / "base"
    write_sdxl(folder)
    return folder


@pytest.fixture(scope="module")
def driver():
    """Playwright, which drives the browser."""
    from tests.browser import playwright

    with playwright.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The folder and the address of a Jupyter server."""
    from tests.browser import SERVER, server

    pytest.importorskip(SERVER)
    folder = tmp_path_factory.mktemp("lab")
    with server(folder) as address:
        yield folder, address


@pytest.fixture(scope="session")
def tiny_clip():
    """A function that writes a CLIP or SigLIP of a few thousand random weights."""

    def tiny(folder, kind, text_width=24, image_width=24):
        """Write a CLIP or SigLIP of random weights with a tokenizer and return its folder."""
        import torch
        import transformers as t

        from recipes.mini.build import build_tokenizer

        words = build_tokenizer(["a red dress", "a blue skirt"], folder / "words")
        torch.manual_seed(0)
        sides = dict(intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
        ids = dict(bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id)
        ids["pad_token_id"] = words.pad_token_id
        text = dict(sides, vocab_size=len(words), hidden_size=16, max_position_embeddings=20, **ids)
        vision = dict(sides, hidden_size=image_width, image_size=32, patch_size=16)
        if kind == "siglip":
            text |= {"projection_size": text_width}
            model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision))
        else:
            config = t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=text_width)
            model = t.CLIPModel(config)
        model.save_pretrained(folder / "model")
        words.save_pretrained(folder / "model")
        return folder / "model"

    return tiny


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory) -> Path:
    """24 small images of 12 products with captions, as a photo folder with metadata.csv."""
    import csv

    from PIL import Image

    from tvhelpers import flats

    folder = tmp_path_factory.mktemp("photos")
    with open(folder / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "caption", "product"])
        for i in range(24):
            spec = flats.random_spec(3, i)
            Image.fromarray(flats.render(spec, 3, i, 64)).save(folder / f"{i:03d}.png")
            rows.writerow([f"{i:03d}.png", flats.caption(spec, 3, i), f"product-{i // 2}"])
    return folder
