"""Which texts in a PNG say how its image was drawn?

Two: "parameters", as A1111 writes it and many programs read it, and "tvhelpers", our record as
JSON, from which the image is drawn again.  A1111's text has the lines of the prompt, those of
"Negative prompt: ...", and a last line "Steps: 20, Sampler: DPM++ 2M, CFG scale: 2.5, Seed: 7,
Size: 128x128"; in it, a value with a comma, a colon or a line break is a JSON string.
"""

import json
import re
from pathlib import Path

from PIL import Image, PngImagePlugin

from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_path
from tvhelpers.image import encoded, open_image
from tvhelpers.records import as_record, parse
from tvhelpers.sample.request import Request

THEIRS, OURS = "parameters", "tvhelpers"  # keys of the texts
NEGATIVE = "Negative prompt:"
# {scheduler: its name in A1111}
SAMPLERS = {"DPMSolverMultistepScheduler": "DPM++ 2M", "EulerDiscreteScheduler": "Euler"}
FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
LEAST = 3  # fields that make the last line one of settings, for A1111 too
NUMBERS = {"Steps": ("steps", int), "CFG scale": ("guidance", float), "Seed": ("seed", int)}
SETTINGS = "seed steps guidance size width height lora_scale negative_prompt".split()


def parameters(record: dict) -> str:
    """Return A1111's text of a record of records.jsonl."""
    width = record.get("width", record.get("size"))
    fields = {
        "Steps": record["steps"],
        "Sampler": SAMPLERS.get(record.get("scheduler"), record.get("scheduler", "")),
        "CFG scale": record["guidance"],
        "Seed": record["seed"],
        "Size": f"{width}x{record.get('height', width)}",
        "Model": record.get("base", ""),
    }
    lines = [record["prompt"]]
    if negative := record.get("negative_prompt"):
        lines.append(f"{NEGATIVE} {negative}")
    return "\n".join(
        [*lines, ", ".join(f"{key}: {_quoted(x)}" for key, x in fields.items() if x != "")]
    )


def _quoted(value) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def read_parameters(text: str) -> dict:
    """Return what a text of A1111 says, under our names: prompt, negative_prompt, steps, guidance,
    seed, width, height; only prompts where the last line is not one of settings."""
    *lines, last = text.strip().split("\n")
    fields = dict(FIELD.findall(last))
    if len(fields) < LEAST:
        lines, fields = [*lines, last], {}
    prompt, negative = [], None
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            negative = negative or []
            line = line.removeprefix(NEGATIVE).strip()
        (prompt if negative is None else negative).append(line)
    found = {"prompt": "\n".join(prompt), "negative_prompt": "\n".join(negative or ())}
    for key, (name, kind) in NUMBERS.items():
        if re.fullmatch(r"\d+(\.\d+)?", fields.get(key, "")):
            found[name] = kind(float(fields[key]))
    if size := re.fullmatch(r"(\d+)x(\d+)", fields.get("Size", "")):
        found["width"], found["height"] = map(int, size.groups())
    return found


def save_drawn(image: Image.Image, path: Path, record: dict) -> None:
    """Write a drawn image as PNG with both texts, atomically; equal arguments give equal bytes."""
    with atomic_path(path) as aside:
        aside.write_bytes(drawn_png(image, record))


def drawn_png(image: Image.Image, record: dict) -> bytes:
    """Return the bytes that `save_drawn` writes."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text(THEIRS, parameters(record))
    texts.add_text(OURS, json.dumps(record))
    return encoded(image, pnginfo=texts)


def read_drawn(path: Path) -> dict:
    """Return the record that a PNG holds, under today's names of keys; of an image of another
    program, what its A1111 text says.

    Raises InputError for a file that is no image, and for one without either text.
    """
    try:
        with open_image(Path(path)) as image:
            texts = {key: text for key, text in image.info.items() if isinstance(text, str)}
    except InputError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise InputError("not-an-image", name=path, error=error) from None
    where = f"the record in {in_words(Path(path))}"
    if OURS in texts:
        return as_record(parse(texts[OURS], where), "drawn image", where)
    if THEIRS not in texts:
        raise InputError("no-record", path=path)
    return as_record(read_parameters(texts[THEIRS]), "drawn image", where)


def request_of(record: dict) -> Request:
    """Return the request of one image, from its record under today's names of keys.

    Raises InputError for values out of range.
    """
    named = {name: record[name] for name in SETTINGS if name in record}
    return Request((record["prompt"],), **named)
