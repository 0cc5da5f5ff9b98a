"""Which images does the verb `generate` make, and where does it write them?"""

import logging
import re
from pathlib import Path

from tvhelpers.cli.options import (
    BASE_TEXT,
    CONFIG,
    DEVICE,
    LORA_SCALE,
    REQUIRED,
    add_options,
    option,
)
from tvhelpers.config import check_range
from tvhelpers.errors import InputError

# fields of a Request
SETTINGS = ("steps", "guidance", "lora_scale", "negative_prompt")
SIDES = ("width", "height")
log = logging.getLogger(__name__)
OPTIONS = (
    option("prompts PROMPT", nargs="*", text='what to generate, each in quotes: "a red dress"'),
    option("--prompts SUITE", dest="suite", text="a prompt suite, a fixed list of prompts: paper-8 "
           "(the eight of the paper), fb138 (138 prompts), fb1000 (1000), fb138:SEED (another "
           "138), or a file that `prompts` wrote; prompts with words that the base does not know "
           "are skipped"),
    option("--like PNG", Path, None, "draw the image of a PNG again, from the record in it"),
    option("--negative PROMPT", str, "", "a negative prompt: what the images move away from, as "
           "in \"belt, hood\"", dest="negative_prompt"),
    option("--out DIR", Path, REQUIRED, "folder for images and records; the same command resumes"),
    option("--base", str, None, BASE_TEXT, "mini, or with --like that of the image"),
    CONFIG,
    option("--adapter", str, None, "a LoRA file, the folder of a training, shipped (the one that "
           "comes with mini), or none", "shipped for mini, else none"),
    option("--text-encoder DIR", str, "", "a folder that `clip tune` wrote; its text encoder "
           "encodes the prompts", "the one that the adapter was trained with"),
    option("--embedding FILE", Path, [], "a textual inversion (.safetensors); write its word into "
           "the prompt; can be repeated", action="append"),
    option("--count N", int, 1, "images for each prompt"),
    option("--seed N", int, None, "seed of each prompt's first image; the next has seed + 1", "0"),
    option("--steps N", int, None, "denoising steps; more are finer but slower", "20, or 8 with "
           "--fast"),
    option("--fast", bool, False, "add the adapter of the base that draws in few steps without "
           "guidance"),
    option("--guidance X", float, None, "how strongly the image follows the prompt; 1 is without "
           "classifier-free guidance", "2.5 for mini, 7.5 for Stable Diffusion, 1 with --fast"),
    option("--size PX", str, "", "side of square images, or width and height, as in 832x1216; "
           "multiples of 8", "the base's own"),
    option("--width PX", int, 0, "width of images that are not square", "the base's own"),
    option("--height PX", int, 0, "height of images that are not square", "the base's own"),
    option("--aspect W:H", str, "", "width to height, as in 2:3: the aspect bucket of the base "
           "that is nearest to it", "1:1"),
    LORA_SCALE,
    DEVICE,
    option("--batch-size N", int, 8, "images generated at once; fewer take less memory"),
)  # fmt: skip


def declare(parser) -> None:
    """Give `generate` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> list[dict]:
    """Generate, and return the records."""
    if options.like:
        return _like(options)
    from tvhelpers.sample.request import FAST_STEPS, Request

    base = options.base or "mini"
    rows, prompts, suite = [], tuple(options.prompts), {}
    if options.suite:
        from tvhelpers.score import suite as suites

        if prompts or options.seed is not None:
            raise InputError("not-with-suite")
        rows = suites.covered(suites.open_suite(options.suite), base)
        prompts, suite = tuple(row["prompt"] for row in rows), suites.request_of(rows)
    how = {name: getattr(options, name) for name in SETTINGS} | _sides(options, base)
    if options.steps is None:
        how["steps"] = FAST_STEPS if options.fast else Request.steps
    request = Request(prompts, options.count, options.seed or 0, **how, **suite)
    check_range("batch-size", options.batch_size, 1, 2**31)
    from tvhelpers.sample.gallery import generate
    from tvhelpers.sample.sampler import Sampler  # loads torch, which takes seconds

    sampler = Sampler(
        base,
        options.adapter,
        options.device,
        text_encoder=options.text_encoder,
        fast=options.fast,
        embeddings=options.embedding,
    )
    if options.adapter is None and sampler.adapter:
        log.info(f"with the adapter that {base} comes with; --adapter none goes without")
    records = generate(sampler, request, options.out, batch_size=options.batch_size)
    if rows:
        suites.write(rows, options.out / suites.FILE)
    return records


def _sides(options, base: str) -> dict[str, int]:
    """Return the width and height that are asked for, 0 = the base's own."""
    given = bool(options.size), bool(options.aspect), bool(options.width or options.height)
    if sum(given) > 1:
        raise InputError("given-twice.size")
    if options.aspect:
        return dict(zip(SIDES, _nearest_bucket(options.aspect, base), strict=True))
    if not options.size:
        return {name: getattr(options, name) for name in SIDES}
    if not (found := re.fullmatch("([0-9]{1,9})(?:[xX×]([0-9]{1,9}))?", options.size)):
        raise InputError("usage.size", text=options.size)
    return {"width": int(found[1]), "height": int(found[2] or found[1])}


def _nearest_bucket(aspect: str, base: str) -> tuple[int, int]:
    """Return the width and height of a base's aspect bucket for an aspect such as "2:3"."""
    from tvhelpers.data.buckets import WIDEST, bucket_shapes, nearest
    from tvhelpers.models.base import find_base, own_resolution, side_multiple

    found = re.fullmatch("([1-9][0-9]{0,8}):([1-9][0-9]{0,8})", aspect)
    if not found or not 1 / WIDEST <= int(found[1]) / int(found[2]) <= WIDEST:
        raise InputError("out-of-range.aspect", aspect=aspect)
    where = find_base(base)
    shapes = bucket_shapes(own_resolution(where), side_multiple(where))
    return shapes[nearest([[int(found[2]), int(found[1])]], shapes)[0]][::-1]


def _like(options) -> list[dict]:
    """Draw the image of a PNG again, and return its record."""
    from tvhelpers.lora.find import adapter_with
    from tvhelpers.models.base import find_base
    from tvhelpers.models.identity import FILES, place_of
    from tvhelpers.runtime import root_dir
    from tvhelpers.sample.parameters import read_drawn, request_of
    from tvhelpers.sample.request import Request

    usual = {"prompts": [], "suite": None, "seed": None, "count": 1}
    usual |= {name: getattr(Request, name) for name in SETTINGS + SIDES}
    usual |= {"steps": None, "fast": False, "size": "", "aspect": ""}
    if names := [name for name, value in usual.items() if getattr(options, name) != value]:
        raise InputError("not-with-like", names=[name.replace("_", "-") for name in names])
    record = read_drawn(options.like)
    request = request_of(record)
    base = options.base or place_of(record.get("base", "mini"), record.get(FILES))
    if not base:
        raise InputError("base-moved", path=options.like, name=record["base"])
    adapter = options.adapter
    if adapter is None and "adapter_sha256" in record:
        adapter = adapter_with(record["adapter_sha256"], find_base(base), root_dir() / "runs")
    from tvhelpers.sample.gallery import generate
    from tvhelpers.sample.sampler import Sampler

    fast = "fast_sha256" in record
    how = {"text_encoder": options.text_encoder, "fast": fast, "embeddings": options.embedding}
    sampler = Sampler(base, adapter, options.device, **how)
    keys = ("base_revision", FILES, "adapter_sha256", "fast_sha256", "text_encoder", "embeddings")
    keys = [key for key in keys if key in record or key != FILES]  # which older ones lack
    other = [key for key in keys if record.get(key) != sampler.identity.get(key)]
    if other and "base_revision" in record:
        raise InputError("another-model.like", path=options.like, names=other, base=base)
    return generate(sampler, request, options.out)
