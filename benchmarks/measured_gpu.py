"""What was measured of training on a GPU?  Rows for each results/gpu_CARD.json."""

import json
from pathlib import Path

from measured_words import percent

UNKNOWN = "not measured"


def rows(results: Path) -> list[tuple]:
    """Return the rows (result file, claim, text of the result) of every card."""
    table = []
    for path in sorted(results.glob("gpu_*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))["card"]
        table += [(path.stem, claim.format(card), figure) for claim, figure in CLAIMS.items()]
    return table


def rate(result: dict, row: str) -> str:
    """Return the images a second of a row."""
    found = result["rows"].get(row)
    return f"{found['images_per_second']:.1f}" if found else UNKNOWN


def said(result: dict, *keys: str, form: str = "{}") -> str:
    """Return numbers of the top of a result, as text."""
    values = [result[key] for key in keys]
    return ", ".join(UNKNOWN if value is None else form.format(value) for value in values)


def shares(result: dict) -> str:
    values = (result[f"share_of_peak_batch_{size}"] for size in (8, 64))
    return ", ".join(UNKNOWN if value is None else percent(value) for value in values)


CLAIMS = {  # {claim: text of the result}; {} is the card
    "{}: Stable Diffusion 1.5, 512 pixels, bfloat16, LoRA, batch size 8: images in a second, and "
    "times those of diffusers' script": lambda r: (
        f"{rate(r, 'captured, batch 8')}; {said(r, 'times_peer_batch_8', form='{:.2f} times')}"
    ),
    "The same: without captured steps; compiled": lambda r: (
        f"{rate(r, 'eager, batch 8')}; {rate(r, 'compiled, batch 8')}"
    ),
    "The same: share of the matrix peak measured there, batch sizes 8 and 64": shares,
    "The same: memory with gradient checkpointing, batch sizes 8 and 64": lambda r: said(
        r, "gb_batch_8_checkpointing", "gb_batch_64_checkpointing", form="{:.1f} GB"
    ),
    "The same: 50,000 image-steps of 10,000 images, computed from the rates of the cache and of "
    "batch size 64": lambda r: said(r, "minutes_of_50000_image_steps", form="{:.1f} minutes"),
    "The same: losses of captured steps compared with others, bfloat16 and float32; after SIGKILL "
    "and resuming: largest relative difference": lambda r: said(
        r, "losses_differ_bfloat16", "losses_differ_float32", "losses_differ_after_resuming",
        form="{:.0e}",
    ),
}  # fmt: skip
