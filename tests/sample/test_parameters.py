"""What a PNG says of how it was drawn: our record, and A1111's text as its reader takes it."""

import json
import re

import pytest
from PIL import Image

from tests.helpers import refused
from tvhelpers.sample.parameters import (
    parameters,
    read_drawn,
    read_parameters,
    request_of,
    save_drawn,
)
from tvhelpers.sample.request import Request

RECORD = {
    "prompt": "a red dress", "seed": 7, "steps": 20, "guidance": 2.5, "size": 128,
    "strength": 1.0,  # stable name
    "base": "mini", "scheduler": "DPMSolverMultistepScheduler",
}  # fmt: skip
HARD = [
    "a red dress, long: 'silk', \"V-neck\"",
    "two\nlines",
    "Steps: 3",
    "Steps: 3, Sampler: x, Seed: 9, Size: 8x8\nand more",
    "ein grünes Kleid, 红色裙子 👗",
    "a \\ b, Negative prompt: none",
]


def theirs(text):
    """What A1111's infotext reader makes of a text, by its documented form."""
    field = r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'
    *lines, last = text.strip().split("\n")
    assert len(re.findall(field, last)) >= 3
    at = next((i for i, line in enumerate(lines) if line.startswith("Negative prompt:")), None)
    negative = [] if at is None else [lines[at][16:].strip(), *lines[at + 1 :]]
    fields = {key: json.loads(x) if x[:1] == '"' else x for key, x in re.findall(field, last)}
    return {"prompt": "\n".join(lines[:at]), "negative": "\n".join(negative), **fields}


@pytest.mark.parametrize("negative", ["", *HARD])
@pytest.mark.parametrize("prompt", HARD)
def test_both_texts_give_back_what_was_drawn(tmp_path, prompt, negative):
    record = {**RECORD, "prompt": prompt, "base": "runs/a, b: c/pipeline"}
    record |= {"negative_prompt": negative} if negative else {}
    save_drawn(Image.new("RGB", (8, 8)), tmp_path / "a.png", record)
    again = read_drawn(tmp_path / "a.png")
    old = "strength"  # stable name
    kept = {key: value for key, value in record.items() if key != old}
    assert again == {**kept, "lora_scale": 1.0}
    wanted = Request((prompt,), seed=7, guidance=2.5, size=128, negative_prompt=negative)
    assert request_of(again) == wanted
    with Image.open(tmp_path / "a.png") as image:
        text = image.info["parameters"]
    seen, ours = theirs(text), read_parameters(text)
    assert (seen["prompt"], seen["negative"]) == (prompt, negative)
    assert (seen["Steps"], seen["Seed"], seen["Size"]) == ("20", "7", "128x128")
    assert (seen["Sampler"], seen["Model"]) == ("DPM++ 2M", "runs/a, b: c/pipeline")
    assert request_of(ours) == wanted


def test_the_text_has_the_documented_form():
    assert parameters({**RECORD, "negative_prompt": "belt"}) == (
        "a red dress\nNegative prompt: belt\n"
        "Steps: 20, Sampler: DPM++ 2M, CFG scale: 2.5, Seed: 7, Size: 128x128, Model: mini"
    )
    assert "Sampler: Euler," in parameters({**RECORD, "scheduler": "EulerDiscreteScheduler"})
    assert "Size: 64x96" in parameters({**RECORD, "width": 64, "height": 96})
    assert read_parameters("only a prompt") == {"prompt": "only a prompt", "negative_prompt": ""}


def test_equal_images_and_records_give_equal_bytes_and_others_are_refused(tmp_path):
    image = Image.new("RGB", (8, 8))
    for name in "ab":
        save_drawn(image, tmp_path / f"{name}.png", RECORD)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image.save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    for name, code in {"plain": "no-record", "text": "not-an-image"}.items():
        with refused(code):
            read_drawn(tmp_path / f"{name}.png")
    with refused("not-an-image", "no-record"):
        read_drawn(tmp_path / "broken.png")
    save_drawn(image, tmp_path / "c.png", {**RECORD, "seed": "seven"})
    with refused("wrong-type"):
        read_drawn(tmp_path / "c.png")
    with refused("out-of-range"):
        request_of({**RECORD, "steps": 10**9})
