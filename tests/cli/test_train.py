"""The verb `train`: which settings it takes, and what its help says of them."""

import argparse
import dataclasses
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.train.helpers import command
from tvhelpers import cli
from tvhelpers.cli.train import _previews
from tvhelpers.config import CHOICES, COMMON, TrainConfig, build_config
from tvhelpers.data.sources import open_source
from tvhelpers.presets import PRESETS, PRESETS_FOR
from tvhelpers.runtime import root_dir
from tvhelpers.train.clip_settings import CLIP_CHOICES, ClipTuning

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"


@pytest.mark.parametrize(
    "words", ["lora --data a b/c --out r", "--data a b/c lora --out r", "lora --out r --data a b/c"]
)
def test_several_sources_are_joined(words):
    options = cli.build_parser().parse_args(["train", *words.split()])
    assert (options.method, options.data, str(options.out)) == ("lora", "a + b/c", "r")


@pytest.mark.parametrize("extra", [[], ["--dry-run"]], ids=["train", "dry run"])
def test_train_refuses_what_cannot_be_trained(refuse, photo_folder, tmp_path, extra):
    start = ["train", "lora", "--data", photo_folder, "--out", tmp_path / "run", *extra]
    said = refuse("unknown-choice", "train", "lara", *start[2:])
    assert "'lara'" in said and "'lora'" in said
    refuse("unknown-choice", *start, "--preset", "h200")
    refuse("unknown-key", *start, "--set", "step=5")
    refuse("usage", *start, "--set", "step")
    assert "or 0 for one that fits" in refuse("out-of-range", *start, "--set", "steps=-5")
    assert "write --set before each" in refuse("usage", *start, "--set", "steps=5", "rank=4")
    refuse("unknown-model", *start, "--set", "base=sd99")
    for key in ("data=flats", "method=full", "preset=cpu"):
        refuse("given-twice", *start, "--set", key)
    assert "no-such" in refuse("file-missing", "train", "lora", "--data", "no-such", *start[4:])
    refuse("not-at-hand", "train", "lora", "--data", "fashion-synthesis", *start[4:])
    refuse("nothing-to-finish usage", *start, "--finish")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_what_a_training_costs(
    run, photo_folder, tiny_base, tmp_path, monkeypatch
):
    words = ["train", "lora", "--data", photo_folder, "--out", tmp_path / "run", "--dry-run"]
    words += ["--preset", "smoke", "--set", f"base={tiny_base}", "--set", "device=cpu"]
    code, out, _ = run(*words)
    assert code == 0 and "20 steps of 4 images" in out and out.endswith("written\n")
    code, out, _ = run(*words, "--json")
    found = json.loads(out)
    assert code == 0 and found["steps"] == 20 and found["shapes"][0]["batch"] == 4
    assert not (tmp_path / "run").exists() and not (root_dir() / "artifacts").exists()
    monkeypatch.setenv("RANK", "1")  # as `accelerate launch` sets it in the second process
    assert "items" not in run(*words)[1] and run(*words, "--json")[:2] == (0, "")


def test_a_training_draws_captions_and_its_figure_ends_with_them(
    run, photo_folder, tiny_base, tmp_path
):
    settings = {
        "base": tiny_base, "data": str(photo_folder), "device": "cpu", "steps": 4, "rank": 2,
        "eval_steps": 2, "batch_size": 4, "held_out": 0.2, "flip": "false",
    }  # fmt: skip
    heights = []
    for count, drawn in ((0, 0), (2, 3)):
        folder = tmp_path / f"run-{count}"
        assert run(*command(settings, folder), "--previews", count)[0] == 0
        strips = [*(folder / "previews").glob("*.png")]
        assert len(strips) == drawn and all(Image.open(path).width == 128 for path in strips)
        heights.append(Image.open(folder / "figures" / "training.png").height)
    assert heights[1] > heights[0] + 100
    runs = [(tmp_path / f"run-{count}" / "adapter.safetensors").read_bytes() for count in (0, 2)]
    assert runs[0] == runs[1]


def test_previews_draw_the_captions_that_are_trained(photo_folder, tmp_path):
    ids, path = open_source(str(photo_folder)).item_ids, tmp_path / "new.jsonl"
    rows = [{"index": i, "item": name, "captions": [f"new {i}"]} for i, name in enumerate(ids)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = build_config(data=str(photo_folder), captions=str(path))
    drawn = _previews(config, argparse.Namespace(previews=2, out=tmp_path)).prompts()
    assert drawn == ["new 0", f"new {len(ids) // 2}"]


def test_stopped_between_two_steps_it_says_what_is_there_to_resume(run, tmp_path, monkeypatch):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("tvhelpers.cli.train.run_config", stop)
    words = ["train", "lora", "--data", "flats", "--out", tmp_path]
    code, _, err = run(*words)
    first, second = err.splitlines()
    assert code == 130 and "nothing has been trained" in first and "to begin again: " in second
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-0000007-0123456789ab.pt").touch()
    assert "to resume at step 7: python" in run(*words)[2]


@pytest.mark.parametrize(
    ("words", "kind", "choices"),
    [(["train"], TrainConfig, CHOICES), (["clip", "tune"], ClipTuning, CLIP_CHOICES)],
    ids=["train", "clip tune"],
)
def test_help_says_default_choices_and_meaning_of_every_setting(
    words, kind, choices, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    lines = (out := capsys.readouterr().out).splitlines()
    assert not re.search(r"PRESETS|CHOICES|TrainConfig|ClipTuning", out)
    for field in dataclasses.fields(kind):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {field.name}="))
        row = lines[at] + lines[at + 1]
        default = field.default
        default = str(default).lower() if isinstance(default, bool) else default
        assert row.split()[0].startswith(f"{field.name}={str(default).removesuffix('.0')}")
        assert len(row.split()) > 2, f"{field.name} has no comment"
        assert all(word in row for word in choices.get(field.name, ()))
    if kind is TrainConfig:
        heading = lines.index("Settings that most people change:")
        assert all(lines[heading + 1 + i].startswith(f"  {key}=") for i, key in enumerate(COMMON))
        assert {"For specialists: what is trained:", "For specialists: optimizer:"} <= set(lines)
        assert {*PRESETS_FOR} == {*PRESETS}
        for name, changes in PRESETS.items():
            row = next(line for line in reversed(lines) if line.startswith(f"  {name} "))
            assert PRESETS_FOR[name] in row
            assert all(f"{key}=" in row for key in changes if key not in ("lora", "sdxl"))
            assert ("with sdxl: resolution=1024" in row) == ("sdxl" in changes) or name == "h100"


def test_the_document_has_the_presets():
    names = [name for name in PRESETS if name not in ("smoke", "paper")]
    configs = [build_config(name) for name in names]
    changed = {key for name in names for key in (*PRESETS[name], *PRESETS[name].get("lora", ()))}
    keys = [field.name for field in dataclasses.fields(TrainConfig) if field.name in changed]
    rows = [["setting", *names], ["---"] * (1 + len(names))]
    rows += [[f"`{key}`", *(getattr(config, key) for config in configs)] for key in keys]
    full = [build_config(name, method="full").learning_rate for name in names]
    rows.append(["`learning_rate` of `full`", *full])
    names = [name for name in names if "sdxl" in PRESETS[name]]
    configs = [build_config(name, base="sdxl") for name in names]
    keys = ("resolution", "batch_size", "accumulate", "gradient_checkpointing", "dtype")
    larger = [["setting with `base=sdxl`", *names], ["---"] * (1 + len(names))]
    larger += [[f"`{key}`", *(getattr(config, key) for config in configs)] for key in keys]
    for part in (rows, larger):
        table = "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in part)
        assert table in DOCUMENT.read_text(), table


def _cell(value) -> str:
    return f"{value:g}" if isinstance(value, float) else "auto" if value is None else str(value)
