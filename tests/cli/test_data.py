"""The verbs of `data`: files that are no images are refused, latents are what a training opens."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize("verb", ["inspect", "convert"])
def test_data_refuses_files_that_are_no_images(refuse, g2, tmp_path, verb):
    end = ["--out", tmp_path / "out"] if verb == "convert" else []
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("hello " * 1000)
    data = (g2 / "Img" / "G2.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with h5py.File(tmp_path / "tables.h5", "w") as file:
        file["prices"] = np.arange(10)
    for name in ("none", "empty", "text", "cut"):
        assert f"{name}.h5" in refuse(
            "file-missing file-damaged another-format", "data", verb, tmp_path / f"{name}.h5", *end
        )
    assert "prices" in refuse("no-images", "data", verb, tmp_path / "tables.h5", *end)


def test_latents_are_what_a_training_opens(run, refuse, tiny_base, photo_folder, tmp_path):
    refuse("usage", "data", "convert", photo_folder)
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


@pytest.fixture
def tall(tmp_path):
    """A folder of photos of which some are tall."""
    (folder := tmp_path / "tall").mkdir()
    for i in range(6):
        pixels = np.full((96, 56 if i % 3 else 96, 3), 40 * i, np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("a red dress")
    return folder


def test_tall_photos_stay_tall(run, refuse, tiny_base, tall, tmp_path):
    code, out, _ = run("data", "coverage", tall, "--base", tiny_base, "--json")
    assert code == 0 and json.loads(out)["buckets"] == {"64x64": 2, "48x80": 4}
    words = ["data", "convert", tall, "--size", 64]
    code, out, _ = run(*words, "--out", tmp_path / "kept", "--json")
    assert code == 0 and json.loads(out)["shape"] is None
    code, out, _ = run("data", "coverage", tmp_path / "kept", "--base", tiny_base, "--json")
    assert json.loads(out)["buckets"] == {"64x64": 2, "48x80": 4}
    look = tmp_path / "look.png"
    code, out, _ = run("data", "inspect", tmp_path / "kept", "--image", look, "--json")
    seen = json.loads(out)
    assert code == 0 and seen["images"]["range"] == [0, 200] and look.exists()
    assert seen["keys"]["sizes"]["shape"] == [6, 2] and "(flat)" in seen["faults"][0]
    assert run("data", "inspect", tmp_path / "kept")[0] == 0
    code, out, _ = run(*words, "--fit", "pad", "--out", tmp_path / "padded", "--json")
    assert code == 0 and json.loads(out)["shape"] == [6, 64, 64, 3]
    latents = [*words, "--to", "latents", "--base", tiny_base]
    code, out, _ = run(*latents, "--fit", "bucket", "--json")
    made = Path(json.loads(out)["out"])
    assert {path.name for path in made.glob("moments*")} == {
        "moments-64x64.npy",
        "moments-48x80.npy",
    }
    refuse("unknown-choice", *words, "--fit", "crop", "--out", tmp_path / "no")
    refuse("unknown-choice", *words, "--fit", "bucket", "--out", tmp_path / "no")
    refuse("unknown-choice", *latents, "--fit", "keep")
    Image.fromarray(np.zeros((20, 96, 3), np.uint8)).save(tall / "6.png")
    (tall / "6.txt").write_text("a scarf")
    refuse("out-of-range", "data", "coverage", tall, "--base", tiny_base)
    refuse("out-of-range", *latents, "--fit", "bucket")
    assert not (tmp_path / "no").exists()


def test_a_missing_mean_image_is_reported_and_refused(run, refuse, g2, tmp_path):
    with h5py.File(g2 / "Img" / "G2.h5") as old, h5py.File(tmp_path / "bare.h5", "w") as new:
        new["ih"] = old["ih"][:]
    code, out, _ = run("data", "inspect", tmp_path / "bare.h5", "--json")
    report = json.loads(out)
    assert code == 0 and report["images"]["encoding"] == "mean_subtracted"
    assert any("ih_mean" in issue for issue in report["faults"])
    assert "ih_mean" in refuse(
        "mean-missing", "data", "convert", tmp_path / "bare.h5", "--out", tmp_path / "out"
    )


def test_annotations_of_another_length_are_refused(run, refuse, g2, tmp_path):
    shutil.copytree(g2, tmp_path / "g2")
    with h5py.File(tmp_path / "g2" / "Img" / "G2.h5", "r+") as file:
        rows = file["ih"][:20]
        del file["ih"], file["b_"]
        file["ih"] = rows
    said = refuse("count-differs", "data", "convert", tmp_path / "g2", "--out", tmp_path / "out")
    assert "24" in said and "20" in said


def test_data_refuses_options_that_cannot_be_used(refuse, g2, photo_folder, tmp_path):
    image = ["--image", tmp_path / "look.png"]
    refuse("unknown-choice", "data", "inspect", g2 / "Img", "--axes", "sideways", *image)
    table = tmp_path / "stock.csv"
    table.write_text("file,title\na.png,a red dress\n")
    out = ["--out", tmp_path / "out"]
    refuse("usage", "data", "convert", table, "--columns", "caption", *out)
    refuse("unknown-choice", "data", "convert", photo_folder, "--to", "gif", *out)
    refuse("unknown-name", "data", "get", "no-such-set")
    refuse("file-missing", "data", "split", "no-such-set")
    refuse("file-missing", "data", "captions", "no-such-set", "--out", tmp_path / "new.jsonl")
    refuse("not-stated", "data", "coverage", "flats-new-season", "--by", "fabric")


@pytest.mark.parametrize(
    "words",
    [
        ["data", "convert", "flats", "--out", "out", "--base", "nonsense"],
        ["data", "convert", "flats", "--out", "out", "--to", "latents"],
        ["data", "inspect", "g2", "--decode", "unit"],
        ["score", "a", "--out", "m.json", "--validation", "flats"],
        ["score", "a", "--out", "m.json", "--copies", "judge"],
    ],
)
def test_an_option_without_the_one_that_it_needs_is_refused(refuse, words):
    assert "is only for --" in refuse("usage", *words)


def test_a_chart_is_written_again_but_never_over_another_file(run, refuse, tmp_path):
    words = ["data", "coverage", "flats-new-season", "--image", tmp_path / "chart.png", "--by"]
    for _ in "ab":
        assert run(*words, "category,colour")[0] == 0
    refuse("file-exists", *words, "colour")


def test_a_split_is_written_again_but_never_over_another(run, refuse, photo_folder, tmp_path):
    words = ["data", "split", photo_folder, "--out", tmp_path / "split.json"]
    for _ in "ab":
        assert run(*words)[0] == 0
    refuse("file-exists", *words, "--seed", 5)
    assert json.loads((tmp_path / "split.json").read_text())["seed"] == 0
