"""The command line as a user meets it: exit codes, one sentence for bad input, clean JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tvhelpers import cli
from tvhelpers.data.g2_file import write_g2
from tvhelpers.data.sources import FlatsSource
from tvhelpers.flats import random_spec, render


@pytest.fixture
def run(capsys):
    """Return a function that runs a command in this process: (exit code, stdout, stderr)."""

    def run(*words):
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def g2(tmp_path_factory):
    """A small file set in the layout of the Fashion Synthesis benchmark."""
    folder = tmp_path_factory.mktemp("g2")
    pixels = np.stack([render(random_spec(4, i), 4, i) for i in range(24)])
    write_g2(folder, pixels, [f"the lady wore a blue tee {i}." for i in range(24)], categories=["tee"] * 24, colours=["blue"] * 24)  # noqa: E501  # fmt: skip
    return folder


def refused(result, *parts):
    """Hold that a command ended with code 2 and one sentence that has all `parts`."""
    code, out, err = result
    assert code == 2 and not out
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    for part in parts:
        assert part in err, err


def test_from_the_benchmarks_files_to_pictures_and_a_score(run, g2, tiny_base, tmp_path):
    code, out, _ = run("data", "inspect", g2 / "Img" / "G2.h5", "--json")
    assert code == 0 and json.loads(out)["images"]["encoding"] == "mean_subtracted"
    assert run("data", "convert", g2, "--out", tmp_path / "data", "--size", "64")[0] == 0
    train = ["train", "lora", "--data", tmp_path / "data", "--out", tmp_path / "run", "--preset"]
    train += ["smoke", "--set", f"base={tiny_base}", "--set", "steps=2", "--json"]
    code, out, _ = run(*train)
    assert code == 0 and json.loads(out)["steps"] == 2
    adapter = tmp_path / "run" / "adapter.safetensors"
    generate = ["generate", "a blue tee", "--base", tiny_base, "--adapter", adapter, "--count", 3]
    code, out, _ = run(*generate, "--steps", 2, "--out", tmp_path / "pictures", "--json")
    assert code == 0 and len(json.loads(out)) == 3
    code, _, _ = run("score", tmp_path / "pictures", "--out", tmp_path / "metrics.json")
    assert code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())


def test_generate_refuses_what_cannot_be_drawn(run, tiny_base, tmp_path):
    here = ["--base", tiny_base, "--out", tmp_path / "out"]
    refused(run("generate", "", *here), "a prompt is empty")
    refused(run("generate", "a", "--steps", "-5", *here), "steps is -5")
    refused(run("generate", "a", "--steps", "ten", *here), "'ten'")
    refused(run("generate", "a", "--device", "tpu", *here), "unknown device 'tpu'")
    refused(run("generate", "a", "--adapter", tmp_path / "no.safetensors", *here), "does not exist")
    refused(
        run("generate", "a", "--base", "sd99", "--out", tmp_path), "unknown base 'sd99'", "sd15"
    )
    refused(run("generate", "--out", tmp_path), "no prompt was given")
    refused(run("generates"), "invalid choice")
    assert not (tmp_path / "out").exists()


def test_a_suite_is_written_drawn_and_scored(run, tiny_base, tmp_path, monkeypatch):
    few = FlatsSource(204, 60)
    monkeypatch.setattr("tvhelpers.score.attributes.AttributeJudge.known", lambda judge: few)
    suite = tmp_path / "suite.jsonl"
    code, out, _ = run("prompts", "paper-8", "--out", suite, "--json")
    assert code == 0 and json.loads(out)["rows"] == 8 == len(suite.read_text().splitlines())
    suite.write_text("".join(suite.read_text().splitlines(True)[:3]))
    rows = [json.loads(line) for line in suite.read_text().splitlines()]
    draw = ["generate", "--base", tiny_base, "--prompts", suite, "--steps", 1, "--out"]
    out = tmp_path / "pictures"
    for _ in range(2):  # the second time nothing is left to do
        code, said, _ = run(*draw, out, "--count", 2, "--json")
        assert code == 0
    records = json.loads(said)
    assert [record["prompt_id"] for record in records] == [r["id"] for r in rows for _ in "ab"]
    assert [record["seed"] for record in records] == [s for r in rows for s in r["seeds"][:2]]
    metrics = tmp_path / "metrics.json"
    code, said, _ = run(
        "score", out, "--out", metrics, "--classifier", "judge", "--reader", "judge"
    )
    assert code == 0 and "atom:category" in said
    figures = {path.stem for path in (tmp_path / "metrics-figures").iterdir()}
    assert {"atom", "inception_score", "stratum"} <= figures
    refused(run(*draw, tmp_path / "o", "--seed", 3), "seeds of its own")
    refused(run(*draw, tmp_path / "o", "--count", 5), "4 seeds a prompt")
    refused(run("generate", "--prompts", "fb99", "--out", tmp_path / "o"), "no prompt suite 'fb99'")
    refused(run("prompts", "paper-8", "--base", "mini", "--out", suite), "nothing is overwritten")


def test_train_refuses_what_cannot_be_trained(run, tiny_base, photo_folder, tmp_path):
    start = ["train", "lora", "--data", photo_folder, "--out", tmp_path / "run"]
    refused(run("train", "lara", *start[2:]), "unknown method 'lara'", "lora, baseline, full")
    refused(run(*start, "--preset", "h200"), "unknown preset 'h200'")
    refused(run(*start, "--set", "step=5"), "unknown key 'step'")
    refused(run(*start, "--set", "steps=-5"), "steps is -5")
    refused(run(*start, "--set", "base=sd99"), "unknown base 'sd99'")
    refused(run(*start, "--set", "data=flats"), "argument of its own")
    refused(run("train", "lora", "--data", "no-such", "--out", tmp_path / "run"), "no-such")
    refused(run("train", "lora", "--data", "fashion-synthesis", "--out", tmp_path / "r"), "MMLab")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["inspect", "convert"])
def test_data_refuses_files_that_are_no_images(run, g2, tmp_path, verb):
    end = ["--out", tmp_path / "out"] if verb == "convert" else []
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("hello " * 1000)
    data = (g2 / "Img" / "G2.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with h5py.File(tmp_path / "tables.h5", "w") as file:
        file["prices"] = np.arange(10)
    refused(run("data", verb, tmp_path / "none.h5", *end), "none.h5")
    refused(run("data", verb, tmp_path / "empty.h5", *end), "empty")
    refused(run("data", verb, tmp_path / "text.h5", *end), "not an HDF5 file")
    refused(run("data", verb, tmp_path / "cut.h5", *end), "cut off")
    refused(run("data", verb, tmp_path / "tables.h5", *end), "holds no images", "prices")


def test_latents_are_what_a_training_opens(run, tiny_base, photo_folder, tmp_path):
    refused(run("data", "convert", photo_folder), "--out")
    code, out, _ = run(
        "data", "convert", photo_folder, "--to", "latents", "--base", tiny_base, "--json"
    )
    assert code == 0
    made = Path(json.loads(out)["out"])
    before = (made / "moments.npy").stat().st_mtime_ns
    settings = ["--set", f"base={tiny_base}", "--set", "steps=1", "--set", "eval_steps=0"]
    code, *_ = run("train", "lora", "--data", photo_folder, "--out", tmp_path / "run", *settings)
    assert code == 0 and list(made.parent.glob("cache-*")) == [made]
    assert (made / "moments.npy").stat().st_mtime_ns == before


def test_a_missing_mean_image_is_reported_and_refused(run, g2, tmp_path):
    with h5py.File(g2 / "Img" / "G2.h5") as old, h5py.File(tmp_path / "bare.h5", "w") as new:
        new["ih"] = old["ih"][:]
    code, out, _ = run("data", "inspect", tmp_path / "bare.h5", "--json")
    report = json.loads(out)
    assert code == 0 and report["images"]["encoding"] == "mean_subtracted"
    assert any("ih_mean" in fault for fault in report["faults"])
    refused(run("data", "convert", tmp_path / "bare.h5", "--out", tmp_path / "out"), "ih_mean")


def test_annotations_of_another_length_are_refused(run, g2, tmp_path):
    import shutil

    shutil.copytree(g2, tmp_path / "g2")
    with h5py.File(tmp_path / "g2" / "Img" / "G2.h5", "r+") as file:
        rows = file["ih"][:20]
        del file["ih"], file["b_"]
        file["ih"] = rows
    refused(run("data", "convert", tmp_path / "g2", "--out", tmp_path / "out"), "24", "20")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_said(run, tiny_base, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    out = tmp_path / "locked" / "out"
    refused(run("generate", "a", "--base", tiny_base, "--out", out), "no permission")


def test_a_file_in_the_place_of_the_folder_is_said(run, tiny_base, tmp_path):
    (tmp_path / "out").write_text("mine")
    refused(run("generate", "a", "--base", tiny_base, "--out", tmp_path / "out"), "a file has")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_full_disk_is_one_sentence(run, tiny_base, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "picture.png")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    words = ["generate", "a", "--base", tiny_base, "--steps", 1, "--out", tmp_path / "out"]
    code, _, err = run(*words)
    assert code == 2 and "No space left on device (picture.png)" in err and "Traceback" not in err
    monkeypatch.undo()
    assert run(*words)[0] == 0


def test_help_names_every_verb():
    said = subprocess.run(
        [sys.executable, "-m", "tvhelpers", "--help"], capture_output=True, text=True
    )
    assert said.returncode == 0
    assert all(verb in said.stdout for verb in ("generate", "data", "train", "score", "mini"))
