"""The verbs `prompts` and `score`: a suite is written, drawn and scored."""

import json
import shutil

from PIL import Image

from tvhelpers.data.flats_source import FlatsSource


def test_a_suite_is_written_drawn_and_scored(run, refuse, tiny_base, tmp_path, monkeypatch):
    few = FlatsSource(204, 60)
    monkeypatch.setattr(
        "tvhelpers.score.attributes.JudgeAttributeClassifier.calibration_set", lambda judge: few
    )
    suite = tmp_path / "suite.jsonl"
    code, out, _ = run("prompts", "paper-8", "--out", suite, "--json")
    assert code == 0 and json.loads(out)["rows"] == 8 == len(suite.read_text().splitlines())
    suite.write_text("".join(suite.read_text().splitlines(True)[:3]))
    rows = [json.loads(line) for line in suite.read_text().splitlines()]
    draw = ["generate", "--base", tiny_base, "--prompts", suite, "--steps", 1, "--out"]
    out = tmp_path / "images"
    for _ in range(2):  # the second time nothing is left to do
        code, said, _ = run(*draw, out, "--count", 2, "--json")
        assert code == 0
    records = json.loads(said)
    assert [record["prompt_id"] for record in records] == [r["id"] for r in rows for _ in "ab"]
    assert [record["seed"] for record in records] == [s for r in rows for s in r["seeds"][:2]]
    for i, record in enumerate(records):  # the judge scores drawings alone
        Image.fromarray(few.pixels(i)).save(out / record["file"])
    metrics = tmp_path / "metrics.json"
    code, said, _ = run(
        "score", out, "--out", metrics, "--classifier", "judge", "--attribute-classifier", "judge"
    )
    assert code == 0 and "attribute:category" in said
    figures = {path.stem for path in (tmp_path / "metrics-figures").iterdir()}
    assert {"attribute", "inception_score", "stratum"} <= figures
    refuse("file-exists", "prompts", "paper-8", "--base", "mini", "--out", suite)


def test_the_nearest_training_images_are_shown_of_any_folder(run, photo_folder, tmp_path):
    validation = shutil.copytree(photo_folder, tmp_path / "validation")
    (validation / "metadata.csv").unlink()  # photos alone, without captions
    sides = ["--train", photo_folder, "--validation", validation]
    words = ["--out", tmp_path / "m.json", "--classifier", "judge", *sides]
    code, said, err = run("score", photo_folder, *words)
    assert code == 0 and "copying" in said, err
    assert (tmp_path / "m-figures" / "copies-1.png").exists()


def test_a_relative_path_and_too_few_training_images_lose_no_figure(
    run, photo_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photo_folder, tmp_path / "data" / "mine")
    validation = shutil.copytree(photo_folder, tmp_path / "validation")
    table = validation / "metadata.csv"
    table.write_text(table.read_text().replace("product-", "other-"))
    words = ["score", photo_folder, "--classifier", "judge", "--train", "data/mine", "--out"]
    code, said, err = run(*words, "far/m.json", "--validation", "validation")
    assert code == 0, err
    assert (tmp_path / "far" / "m-figures" / "copies-1.png").exists()
    code, said, err = run(*words, "few.json")
    assert code == 0 and "no copying: 2 valid" in said and "1 chart in" in said, err


def test_prompts_and_score_refuse_what_is_not_there(refuse, tmp_path):
    refuse("unknown-choice", "prompts", "fb99")
    out = ["--out", tmp_path / "metrics.json"]
    refuse("usage", "score", *out)
    refuse("folder-missing", "score", tmp_path / "none", *out)
    refuse("unknown-choice", "score", tmp_path, "--classifier", "mine", *out)
