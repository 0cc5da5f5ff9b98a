"""The model card of an adapter, and its upload."""

import json
import re
import sys
from unittest import mock

import huggingface_hub
import pytest
import yaml
from PIL import Image

from tests.helpers import refused
from tvhelpers import cli, hub
from tvhelpers.config import build_config
from tvhelpers.lora.formats import read_adapter
from tvhelpers.show.model_card import write_card
from tvhelpers.train.trainer import train

ROW = {
    "name": "clip_score", "value": 27.31, "ci": [25.5, 29.125], "n": 40, "card": "",
    "details": {}, "warnings": [], "method": "", "notes": [],
}  # fmt: skip
METRICS = {"folders": [{"dir": "/home/anna/out", "n": 40, "metrics": [ROW], "notes": []}]}


@pytest.fixture(scope="module")
def run(tiny_base, photo_folder, tmp_path_factory):
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("runs") / "summer 26"
    config = build_config(
        base=str(tiny_base), data=str(photo_folder), steps=1, batch_size=2, rank=2, eval_items=2,
        eval_steps=0, device="cpu", held_out=0.2, keep="last", title="Summer: 26", loss="huber",
        trigger_words="loomwear", learning_rate=0.002,
    )  # fmt: skip
    train(config, folder, root=folder.parent)
    return folder


@pytest.fixture
def images(tmp_path):
    """A folder as `generate` writes it."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "images" / "grid.png")
    return tmp_path / "images"


def test_the_card_says_what_the_adapter_is(run, images, tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    words = ["adapter", "card", run, "--out", tmp_path / "card", "--images", images]
    assert cli.main(list(map(str, [*words, "--metrics", tmp_path / "metrics.json"]))) == 0
    names = sorted(file.name for file in (tmp_path / "card").iterdir())
    stem = "summer-26"
    assert names == ["README.md", "grid.png", f"{stem}.safetensors", f"{stem}_kohya.safetensors"]
    assert read_adapter(tmp_path / "card" / names[2]).layers
    text = (tmp_path / "card" / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["instance_prompt"] == "loomwear" and "lora" in header["tags"]
    assert header["license"] == "other" and "base_model" not in header
    assert body.strip().startswith("# Summer: 26") and "`loomwear`" in body
    assert "loss huber" in body and "learning_rate 0.002" in body and "rank 2" in body
    assert "| clip_score | 27.31 | 25.5 to 29.12 | 40 |" in body and "![images](grid.png)" in body
    for private in (str(run.parent), str(tmp_path), "/home", "photos"):
        assert not re.search(rf"[/\\]{private}|{private}[/\\]", text)


def test_a_card_is_not_overwritten_and_needs_a_finished_training(run, images, tmp_path):
    write_card(run, tmp_path / "card")
    assert "grid.png" not in (tmp_path / "card" / "README.md").read_text()
    with refused("file-exists"):
        write_card(run, tmp_path / "card")
    with refused("file-missing"):
        write_card(images, tmp_path / "other")
    (tmp_path / "bad.json").write_text("{}")
    with refused("missing-key", "not-a-record", "wrong-type"):
        write_card(run, tmp_path / "other", tmp_path / "bad.json")
    assert not (tmp_path / "other").exists()


def push(run, *more):
    """Return the exit status of `adapter push`."""
    return cli.main(list(map(str, ["adapter", "push", run, "hub:loom/summer", *more])))


@pytest.fixture
def api(monkeypatch):
    """The hub, which is reachable and has a token, without its network."""
    made = mock.create_autospec(huggingface_hub.HfApi, instance=True)
    made.create_repo.return_value = "https://huggingface.co/loom/summer"
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_is_reachable", lambda minute: True)
    return made


def test_a_push_asks_and_uploads_the_files_that_it_names(run, api, tmp_path, monkeypatch, capsys):
    out = ("--out", tmp_path / "card")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert push(run, *out) == 0 and not api.create_repo.called
    (tmp_path / "card" / ".secret").write_text("x")
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert push(run, *out) == 0
    api.create_repo.assert_called_once_with("loom/summer", private=True, exist_ok=True)
    sent = api.upload_folder.call_args.kwargs
    assert sent["repo_id"] == "loom/summer" and ".secret" not in sent["allow_patterns"]
    assert "README.md" in sent["allow_patterns"] and len(sent["allow_patterns"]) == 3
    assert push(run, *out, "--yes", "--public") == 0
    assert api.create_repo.call_args.kwargs["private"] is False
    capsys.readouterr()
    api.upload_folder.side_effect = RuntimeError("403 Forbidden")
    assert push(run, *out, "--yes") == 2 and "403" in capsys.readouterr().err


def test_without_network_token_or_answer_the_folder_is_written(
    run, api, tmp_path, monkeypatch, capsys
):
    assert push(run, "--out", tmp_path / "a") == 2  # stdin is no terminal
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert push(run, "--out", tmp_path / "b", "--yes") == 2
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert push(run, "--out", tmp_path / "c", "--yes") == 2
    errors = capsys.readouterr().err
    assert all(word in errors for word in ("--yes", "HF_TOKEN", "cannot be reached"))
    assert all((tmp_path / name / "README.md").is_file() for name in "abc")
    assert not api.create_repo.called
    for name in ("loom/summer", "hub:summer"):
        assert cli.main(["adapter", "push", str(run), name]) == 2
