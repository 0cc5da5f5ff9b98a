"""Work that an older commit left behind (tests/saved) resumes as it did with that commit."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.golden_names import today
from tests.saved_helpers import MADE, SAVED, holds, lines, ours, run, state, work  # noqa: F401
from tvhelpers import flats

COMMANDS, STEPS, TRAIN = (MADE[name] for name in ("COMMANDS", "STEPS", "TRAIN"))
EXPECTED = today(json.loads((SAVED / "expected.json").read_text()))
RECORD = {
    "index", "file", "prompt", "seed", "steps", "guidance", "scheduler", "base", "base_revision",
    "adapter_sha256",
}  # fmt: skip
RESULT = {"steps", "num_items", "num_held_out", "held_out_loss_base", "held_out_loss"}


@pytest.mark.parametrize("name", [name for name in TRAIN if name.startswith("half")])
def test_a_half_training_is_finished(work, run, name):  # noqa: F811
    caches, folder = state("root/artifacts"), Path("runs") / name
    log = (folder / "log.jsonl").read_text().replace('{"step": 1,', '{"step": 1, "mark": 42,')
    (folder / "log.jsonl").write_text(log)
    result = run(*COMMANDS[name])
    expected = EXPECTED["finished"][name]
    assert result["steps"] == STEPS and {*result} >= RESULT
    assert expected["result"]["validation_loss"] != pytest.approx(
        expected["eval"][1]["validation_loss"], rel=1e-3
    ), "these steps must matter, or nothing is held here"
    holds(today(result), expected["result"], "result", rel=1e-5)
    holds(today(lines(folder / "eval.jsonl")), expected["eval"], "eval", rel=1e-5)
    rows = lines(folder / "log.jsonl")
    assert rows[0].get("mark") == 42, "it started again"
    assert [row["step"] for row in rows if "loss" in row] == [*range(1, STEPS + 1)]
    assert state("root/artifacts") == caches, "the cache was made again"
    config = json.loads((folder / "config.json").read_text())
    holds(config, json.loads((SAVED / "work" / folder / "config.json").read_text()))
    assert json.loads((folder / "result.json").read_text()) == result
    assert not (folder / "checkpoints").exists()


def test_a_finished_training_is_opened(work, run):  # noqa: F811
    before = state("runs/done")
    said = run(*COMMANDS["done"])
    holds(today(said), EXPECTED["said"]["done"])
    assert said["kept_step"] == said["steps"]  # its file does not say so
    assert state("runs/done") == before


def test_a_half_gallery_is_completed(work, run):  # noqa: F811
    before, text = state("out/half"), Path("out/half/records.jsonl").read_text(encoding="utf-8")
    records = run(*COMMANDS["half-gallery"])
    holds(today(records), EXPECTED["finished"]["half-gallery"])
    assert len(records) == 6 and all({*record} >= RECORD for record in records)
    assert Path("out/half/records.jsonl").read_text(encoding="utf-8").startswith(text), (
        "old records were changed"
    )
    after = state("out/half")
    assert all(after[name] == before[name] for name in before if "records" not in name)
    assert all(Path("out/half", record["file"]).exists() for record in records)


def test_a_gallery_is_opened_and_its_adapter_draws_the_same(work, run):  # noqa: F811
    before = state("out/adapted")
    old = lines("out/adapted/records.jsonl")
    holds(run(*COMMANDS["adapted"]), old)
    after = state("out/adapted")
    assert all(after[name][0] == data for name, (data, _) in before.items()), "drawn again"
    lost = Path("out/adapted", old[0]["file"])
    pixels = np.asarray(Image.open(lost)).astype(int)
    plain = np.asarray(Image.open(Path("out/plain", old[0]["file"]))).astype(int)
    assert np.abs(plain - pixels).max() > 8, "the adapter must show, or nothing is held here"
    lost.unlink()
    run(*COMMANDS["adapted"])
    assert np.abs(np.asarray(Image.open(lost)).astype(int) - pixels).max() <= 2


def test_an_adapter_is_shown(work, run):  # noqa: F811
    shown = run(*COMMANDS["show"])
    holds(shown, EXPECTED["said"]["show"], rel=1e-5)
    assert {"base", "base_digest", "data_digest", "steps", "rank"} <= {*shown["about"]}


def test_a_study_is_opened_and_its_votes_count(work, run):  # noqa: F811
    votes = EXPECTED["said"]["study"]
    before = Path("study/votes.sqlite").read_bytes()
    made = run(*COMMANDS["study"])
    assert (made["study"], made["trials_a_rater"]) == (votes["study"], votes["trials_a_rater"])
    assert Path("study/votes.sqlite").read_bytes() == before
    [brought] = run("study", "import", "study", "votes-r2.json")
    holds(brought, EXPECTED["finished"]["import"][0])
    assert 0 < brought["new"] < brought["votes"]
    found = run("study", "analyse", "study", "--out", "analysis")
    assert found["votes"] == sum(votes["trials"].values())
    holds(today(found), EXPECTED["finished"]["analyse"], rel=1e-9)


def test_a_studio_keeps_its_images(work):  # noqa: F811
    pytest.importorskip("ipywidgets")
    before, text = state("studio"), Path("studio/records.jsonl").read_text(encoding="utf-8")
    studio = ours("PromptStudio")(ours("Sampler")("base", "runs/done"), Path("studio"))
    assert [entry.file for entry in studio.session.entries] == ["0000_5.png"]
    studio.controls["seed"].value = 6
    studio.draw()
    assert Path(studio.save()).name == "0001_6.png"
    after = Path("studio/records.jsonl").read_text(encoding="utf-8")
    assert after.startswith(text) and {*json.loads(text)} <= {*lines("studio/records.jsonl")[1]}
    assert state("studio")["studio/0000_5.png"] == before["studio/0000_5.png"]


def test_a_conversion_is_opened(work, run):  # noqa: F811
    before = state("converted")
    assert run(*COMMANDS["convert"]) == {**EXPECTED["said"]["convert"], "was_done": True}
    assert state("converted") == before
    holds(today(run(*COMMANDS["inspect"])), EXPECTED["said"]["inspect"])
    run("data", "convert", "photos", "--out", "again")
    with h5py.File("again/pixels.h5") as new, h5py.File("converted/pixels.h5") as old:
        assert [*new] == [*old] == ["pixels"] and np.array_equal(new["pixels"], old["pixels"])
    holds(lines("again/items.jsonl"), lines("converted/items.jsonl"))


def test_a_latent_cache_is_opened(work, run):  # noqa: F811
    before = state("root/artifacts")
    said = run("data", "convert", "converted", "--to", "latents", "--base", "base")
    assert said["items"] == 12 and said["out"] in {str(Path(name).parent) for name in before}
    assert state("root/artifacts") == before


def test_captions_are_known_again(work, run):  # noqa: F811
    before = state("captions.jsonl")
    holds(today(run(*COMMANDS["captions"])), EXPECTED["said"]["captions"])
    assert state("captions.jsonl") == before


def keys(value):
    """Return the nested keys of JSON, of a list those of its first row."""
    if isinstance(value, dict):
        return {key: keys(one) for key, one in value.items() if key != "versions"}
    return [keys(value[0])] if isinstance(value, list) and value else None


def test_metrics_have_their_keys(work, run):  # noqa: F811
    for number, path in enumerate(sorted(Path("out/plain").glob("0*.png"))):
        Image.fromarray(flats.render(flats.random_spec(0, number), 0, number)).save(path)
    words = ["out/new.json" if word == "out/plain.json" else word for word in COMMANDS["score"]]
    run(*words)
    new, old = (ours("read_metrics")(Path(f"out/{name}.json")) for name in ("new", "plain"))
    holds(keys(new), keys(old))
    names, kept = ([row["name"] for row in one["folders"][0]["metrics"]] for one in (new, old))
    assert [name for name in names if name in kept] == kept
