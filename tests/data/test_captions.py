"""Captions: what they state, their repair, and new ones; on the real files where present."""

import json
import random

import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.cli import main
from tvhelpers.config import InputError
from tvhelpers.data import fashion_synthesis as codebook
from tvhelpers.data.caption_files import caption_report, with_captions, write_captions
from tvhelpers.data.caption_parsing import contradictions, parse_caption, repair_caption
from tvhelpers.data.captioner import caption_images
from tvhelpers.data.captions import recaption, template_captions
from tvhelpers.data.drawn import FlatsSource
from tvhelpers.data.lexicon import product_words
from tvhelpers.data.sources import open_source


@pytest.fixture(scope="module")
def real(shared):
    return open_source(shared / "data" / "deepfashion_annotations" / "language_original.mat")


@pytest.mark.parametrize(
    ("caption", "stated"),
    [
        ("the lady wore a black long-sleeved jacker.", "jacket black long female"),
        ("a man in a khaki sleeveless caot", "coat khaki sleeveless male"),
        ("1. the lady is wearing a red short-sleeved junpsuit.", "jumpsuit red short female"),
        ("the girl wore a long blouse of olives.", "blouse olive - female"),
        ("ms. wearing a plain gray long-sleeved tee.", "tee gray long female"),
        ("a long-sleeved blazer khaki", "blazer khaki long -"),
        ("a tee with black letters", "tee - - -"),
        ("a white tee with black letters", "tee white - -"),
        ("the girl wore a blouse with a multicolor long sleeve.", "blouse multicolour long female"),
        ("a tank with white letters and sleeveless letters", "tank white sleeveless -"),
        ("a man wearing a gray tee with a black owl", "tee gray - male"),
        ("a woman in a dress in floral jersey", "dress - - female"),
        ("men's navy bomber jacket, long-sleeved", "bomber blue long male"),
        ("a black sweater dress with long bell sleeves", "dress black long -"),
        ("a coat of arms", "coat - - -"),
        ("a photo of the sea", "- - - -"),
        ("a long coat with short sleeves", "coat - short -"),
        ("a men's t-shirt, grey", "tee gray - male"),
        ("the black man wore a green tank top", "tank green - male"),
    ],
)
def test_what_a_caption_states(caption, stated):
    words = dict(zip(("category", "colour", "sleeve", "gender"), stated.split(), strict=True))
    assert parse_caption(caption) == {key: word for key, word in words.items() if word != "-"}


def test_odd_captions_are_repaired_and_good_ones_left_alone():
    for odd, mended in (
        (
            "her friend wore a blue short-sleeved blosue.",
            "her friend wore a blue short-sleeved blouse.",
        ),
        ("a blouse with a multicolor long sleeve.", "a multicolor long-sleeved blouse."),
        ("a tee with black letters and letters", "a tee with black letters"),
        ("a tee with a black short-sleeved owl.", "a black short-sleeved tee with an owl."),
        ("the man wore a orange coat", "the man wore an orange coat"),
        ("a blouse of olives", "an olive blouse"),
    ):
        assert repair_caption(odd) == mended
        assert repair_caption(mended) == mended
    for good in (
        "A woman in an ultra-light one-shoulder dress, photographed in an hourglass pose.",
        "a white dress with long sleeves and a bow",
        "a boat, a racket and a packet",  # near to coat and jacket
        "Women's black T-shirt with an X-ray print in a European cut",
    ):
        assert repair_caption(good) == good


def test_words_of_a_name():
    assert product_words("Striped_A-Line_Coat") == {"pattern": ["striped"], "cut": ["A-line"]}
    assert product_words("There's_A_Will_Tee") == {}
    fuzzy = product_words("Boxy_Fuzzy_Knit__Poncho")
    assert fuzzy == {"cut": ["boxy"], "fabric": ["fuzzy", "knit"]}
    # a part is not the whole, a compound not its pieces, and labels' own words are left to them
    assert product_words("Lace-Paneled_Tee") == {"detail": ["lace panels"]}
    assert product_words("Striped_Pocket_Coat") == {"pattern": ["striped"], "detail": ["a pocket"]}
    assert product_words("Stripe-Pocket_Coat") == {"detail": ["a striped pocket"]}
    assert product_words("Bell_Sleeve_Red_Sleeveless_Coat") == {"sleeve": ["bell"]}
    assert product_words("Velvet-Hammer_Tee") == {}


LABELS = {"category": "dress", "colour": "black", "sleeve": "long", "gender": "female"}


def test_new_captions_say_labels_first_and_never_against_them():
    every = {
        text
        for seed in range(40)
        for text in recaption(LABELS, "Floral_Chiffon_Dress", "", seed=seed, index=0)
    }
    assert {
        "a black floral chiffon dress with long sleeves",
        "women's black floral chiffon dress, long-sleeved",
        "a black dress in floral chiffon with long sleeves",
    } <= every
    for name in ("Sleeveless_Red_Cami_Dress", "Strapless_Halter_Dress", "Cap_Sleeve_Dress"):
        for text in recaption(LABELS, name, "a red sleeveless coat", seed=1, index=2):
            assert contradictions(LABELS, text) == {}
            assert not {"red", "cami", "strapless", "halter", "cap"} & set(text.split())


def test_nothing_is_invented():
    for text in recaption({"category": "coat"}, "A_Coat", "", seed=3, index=4):
        assert text in ("a coat", "coat", "a photo of a coat")
    kept = recaption({}, "Lace_Thing", "A landscape at dusk", seed=0, index=0)
    assert kept == ["A landscape at dusk"]
    with refused("out-of-range"):
        recaption(LABELS, "", "", seed=0, index=0, variants=9)


def test_a_caption_alone_gives_labels_and_details():
    texts = recaption({}, "", "the man wore a tee with a white short-sleeved owl.", seed=0, index=0)
    assert texts[0] == "the man wore a white short-sleeved tee with an owl."  # may say more
    assert len(texts) == 3
    for text in texts[1:]:
        assert parse_caption(text).items() >= {"category": "tee", "colour": "white"}.items()
        assert "owl-print" in text and parse_caption(text)["sleeve"] == "short"


def test_no_real_recaption_contradicts_or_stammers(real):
    rows = random.Random(0).sample(range(len(real)), 4_000)
    new = {}
    for i in rows:
        labels, name, old = real.attributes[i], real.product_ids[i], real.captions[i]
        new[i] = recaption(labels, name, old, seed=0, index=i)
        assert len(set(new[i])) == 3
        assert new[i] == recaption(labels, name, old, seed=0, index=i)
        for text in new[i]:
            assert contradictions(labels, text) == {}, (labels, text)
            words = [w for w in text.replace(",", "").split() if w not in ("a", "an", "in", "with")]
            assert len(words) == len(set(words)), text
            assert len(words) < 20 and "  " not in text and " a a" not in text
    firsts = [texts[0] for texts in new.values()]
    report = caption_report(firsts)
    assert report["words_of"]["any"] > 0.75
    assert report["states"]["category"] == 1
    assert report["distinct"] > 3_000  # of 4,000; the originals have fewer than 900


def test_real_captions_agree_with_their_labels(real):
    """The parser against labels that others wrote."""
    wrong, stated = 0, 0
    for labels, text in zip(real.attributes, real.captions, strict=True):
        wrong += bool(contradictions(labels, text))
        stated += parse_caption(text).keys() >= {"category", "gender"}
    assert wrong / len(real) < 0.002
    assert stated / len(real) > 0.999


def test_templates_for_labels_alone():
    labels = {"category": "pants", "colour": "black", "pattern": "striped", "neckline": "crew"}
    texts = template_captions(labels, seed=0, index=0)
    assert texts[0] == "a photo of black striped pants"
    assert len(set(texts)) == 3 and not any(text.startswith("a black") for text in texts)
    assert "with a crew neck" in texts[1]
    long = {"category": "coat", "length": "long", "sleeve": "long"}
    assert not any("long long" in text for text in template_captions(long, seed=0, index=0))
    with refused("not-stated"):
        template_captions({"colour": "red"}, seed=0, index=0)


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


@pytest.fixture(scope="module")
def tiny_blip(tmp_path_factory):
    """BLIP of a few thousand random weights, saved in the stock layout."""
    import torch
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipProcessor,
    )
    from transformers.models.blip import BlipImageProcessor

    folder = tmp_path_factory.mktemp("blip")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] [DEC] a red black dress shirt coat".split()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    special = dict(bos_token_id=5, eos_token_id=3, sep_token_id=3, pad_token_id=0)
    text = dict(vocab_size=len(words), encoder_hidden_size=16, max_position_embeddings=64)
    config = BlipConfig(
        text_config={**sizes, **special, **text, "projection_dim": 16},
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_pictures_are_captioned_and_a_stopped_run_goes_on(tiny_blip, tmp_path, monkeypatch):
    source = FlatsSource(1, 5, size=32)
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    options = {"batch_size": 2, "max_new_tokens": 4, "device": "cpu"}
    texts = caption_images(source, tiny_blip, whole, **options)
    assert len(texts) == 5 and all(isinstance(text, str) and text for text in texts)
    lines = whole.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:3]) + lines[3][:9])  # stopped in the middle of a line
    read = []
    monkeypatch.setattr(source, "pixels", lambda i: read.append(i) or FlatsSource.pixels(source, i))
    assert caption_images(source, tiny_blip, part, **options) == texts
    assert read == [2, 3, 4] and part.read_text() == whole.read_text()
    with refused("another-request"):
        caption_images(FlatsSource(2, 5, size=32), tiny_blip, whole, **options)
    with refused("captioner-unreadable"):
        caption_images(source, str(tmp_path / "none"), tmp_path / "new.jsonl", **options)


def test_photos_without_captions_get_them_and_open_with_them(tiny_blip, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "new.jsonl"
    folder.mkdir()
    for i in range(3):
        pixels = FlatsSource(1, 3, size=32).pixels(i)
        Image.fromarray(pixels).save(folder / f"IMG_{i:04d}.png")
    with pytest.raises(InputError, match="data captions --captioner"):
        open_source(folder)
    source = open_source(folder, bare=True)
    options = {"captioner": str(tiny_blip)}
    assert write_captions(source, out, **options)["items"] == 3
    captions = with_captions(open_source(folder, bare=True), out).captions
    assert len(captions) == 3 and "a garment" not in captions
