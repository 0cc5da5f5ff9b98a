"""What does the verb `generate` draw, and how?"""

from pathlib import Path

from tvhelpers.cli.options import BASE, DEVICE, REQUIRED, add_options, option
from tvhelpers.config import check_range
from tvhelpers.errors import InputError

OPTIONS = (
    option("prompts PROMPT", nargs="*"),
    option("--prompts SUITE", dest="suite", text="instead: fb138, fb1000, paper-8, fb138:SEED, or "
           "a file of `prompts`; what the base has words for, each prompt on its own seeds"),
    option("--out DIR", Path, REQUIRED, "folder for the pictures and their records"),
    BASE,
    option("--adapter", str, None, "shipped, none, or a file", "shipped where the base has one"),
    option("--text-encoder DIR", str, "", "a tuned CLIP", "the one the adapter was trained with"),
    option("--count", int, 1, "pictures a prompt"),
    option("--seed", int, None, "copy k of a prompt has seed + k", "0"),
    option("--steps", int, 20, "sampler steps"),
    option("--guidance", float, None, "guidance scale; 1 = none", "what suits the base"),
    option("--size PX", int, 0, "pixels a side", "the base's own"),
    option("--lora-scale/--strength", float, 1.0, "how much of the adapter: 0 = none, 1 = all"),
    DEVICE,
    option("--batch-size", int, 8, "pictures drawn at once"),
)  # fmt: skip


def declare(parser) -> None:
    """Give `generate` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> list[dict]:
    """Draw, and return the records."""
    from tvhelpers.sample.request import Request

    rows, prompts, suite = [], tuple(options.prompts), {}
    if options.suite:
        from tvhelpers.score import suite as suites

        if prompts or options.seed is not None:
            raise InputError("not-with-suite")
        rows = suites.covered(suites.open_suite(options.suite), options.base)
        prompts, suite = tuple(row["prompt"] for row in rows), suites.request_of(rows)
    how = {name: getattr(options, name) for name in ("steps", "guidance", "size", "lora_scale")}
    request = Request(prompts, options.count, options.seed or 0, **how, **suite)
    check_range("batch-size", options.batch_size, 1, 2**31)
    from tvhelpers.sample.sampler import Sampler, generate  # loads torch, which takes seconds

    sampler = Sampler(
        options.base, options.adapter, options.device, text_encoder=options.text_encoder
    )
    records = generate(sampler, request, options.out, batch_size=options.batch_size)
    if rows:
        suites.write(rows, options.out / suites.FILE)
    return records
