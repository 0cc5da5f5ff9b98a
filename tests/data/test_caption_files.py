"""Files of new captions are written once, compared, and used in place of a source's own."""

import json

import pytest

from tests.helpers import refused
from tvhelpers.cli import main
from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.data.caption_files import caption_report, with_captions, write_captions
from tvhelpers.data.sources import open_source


def test_report_counts():
    class Tokenizer:
        def __call__(self, texts):
            return {"input_ids": [[0] * (100 if text == "long" else 5) for text in texts]}

    texts = ["a red tee", "a red tee", "a striped tee", "long"]
    report = caption_report(texts, Tokenizer())
    assert (report["n"], report["distinct"], report["words_max"]) == (4, 3, 3)
    assert report["states"]["colour"] == 0.5 and report["states"]["category"] == 0.75
    assert report["words_of"]["pattern"] == report["words_of"]["any"] == 0.25
    assert report["tokens"] == {"mean": (3 * 5 + 100) / 4, "max": 100, "over_77_share": 0.25}
    json.dumps(report)
    with refused("no-caption"):
        caption_report([])


@pytest.fixture()
def language(tmp_path):
    """A small language_original.mat."""
    path = tmp_path / "language.mat"
    old = [
        "this lady wore a bright red sleeveless dress.",
        "the man wore a gray tee with letters.",
        "a lady in a junpsuit",
    ]
    codebook.write_language(
        path,
        codebook.encode(
            3,
            old,
            ["dress", "tee", "jumpsuit"],
            ["red", "gray", 17],
            ["sleeveless", 2, 4],
            ["female", "male", "female"],
            ["Lace_A-Line_Dress", "Boxy_Striped_Blue_Tee", "Belted_Jumpsuit"],
        ),
    )
    return path


def test_command_writes_captions_that_a_source_takes(language, tmp_path, capsys):
    out = tmp_path / "new.jsonl"
    command = ["data", "captions", str(language), "--out", str(out), "--json"]
    assert main([*command, "--variants", "4"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["before"]["words_of"]["any"] == 0
    assert result["after"]["words_of"]["any"] == pytest.approx(2 / 3)  # belted is a detail
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [len(row["captions"]) for row in rows] == [4, 4, 3]  # of the last little is known

    source = open_source(language)
    new = with_captions(source, out)
    assert [text in row["captions"] for text, row in zip(new.captions, rows)] == [True] * 3
    assert new.fingerprint != source.fingerprint and source.captions[1].startswith("the man")
    assert with_captions(source, out).captions == new.captions
    before = out.read_bytes()
    assert main([*command, "--variants", "4"]) == 0  # again: the same bytes
    assert main([*command, "--seed", "5"]) == 2  # other captions: nothing is overwritten
    assert "choose another name" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*command[:-1], "--variants", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said[1:3]] == [["before", "after"], ["n", "3", "3"]]


def test_captions_by_hand_stay_and_a_smaller_vocabulary_is_said(photo_folder, tmp_path, caplog):
    source = open_source(photo_folder)
    own = ["burgundy quilted coat with hood", "teal corduroy dungarees", "a rust velvet gown"]
    source.captions = [own[i % 3] for i in range(len(source))]
    source.attributes = [{"category": "coat"}] * len(source)
    caplog.set_level("INFO", "tvhelpers")
    report = write_captions(source, tmp_path / "a.jsonl")
    assert report["after"]["vocabulary"] >= report["before"]["vocabulary"]
    assert "burgundy quilted coat with hood -> burgundy" in caplog.text
    assert "fewer different words" not in caplog.text
    source.captions = [f"a woman wearing {text}" for text in source.captions]
    write_captions(source, tmp_path / "b.jsonl")
    assert "fewer different words" in caplog.text


def test_captions_of_another_source_are_refused(language, tmp_path, photo_folder):
    out = tmp_path / "new.jsonl"
    photos = open_source(photo_folder)
    write_captions(open_source(language), out)
    with refused("file-differs"):
        with_captions(photos, out)
    rows = [{"item": item, "captions": []} for item in photos.item_ids]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with refused("file-damaged"):
        with_captions(photos, out)


def test_labelled_photos_get_templates(photo_folder, tmp_path):
    folder = tmp_path / "sorted"
    for i, path in enumerate(sorted(photo_folder.glob("*.png"))[:6]):
        place = folder / ("dress" if i % 2 else "pants") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    source = open_source(folder)
    write_captions(source, tmp_path / "new.jsonl")
    new = with_captions(source, tmp_path / "new.jsonl")
    assert {"a photo of pants", "pants"} & set(new.captions)
    assert new[0].pixels.shape == source[0].pixels.shape
