"""What is claimed of training on a GPU, from the rows of gpu.py; and which of it does
docs/measured.md show for each results/gpu_CARD.json?"""

import json
from pathlib import Path

import numpy as np
from measured_words import percent

UNKNOWN = "not measured"
TOTAL = {"images": 10_000, "image_steps": 50_000}  # five epochs of the paper's largest set
LARGE, CHECKPOINTING = "captured, batch 64", "captured, batch {}, checkpointing"
SDXL, SDXL_SIZES = "SDXL, batch {}, checkpointing", (1, 4, 16)
LOSSES, NORMS, WEIGHTS = DIFFERENCES = (
    "losses_differ_at_most", "grad_norms_differ_at_most", "weights_differ",
)  # fmt: skip
CLAIMS = {  # {number at the top of the result: (+1 at least, -1 at most; bound)}
    "times_peer_batch_8": (+1, 2.5),
    "share_of_peak_batch_8": (+1, 0.25),
    "share_of_peak_batch_64": (+1, 0.40),
    "minutes_of_50000_image_steps": (-1, 6),
    "gb_reserved_batch_8_checkpointing": (-1, 8),
    "gb_reserved_batch_64_checkpointing": (-1, 22),
    "sdxl_gb_reserved_batch_1_checkpointing": (-1, 15),  # a T4
    "sdxl_gb_reserved_batch_4_checkpointing": (-1, 22),  # an L4
    "losses_differ_bfloat16": (-1, 2e-2),
    "losses_differ_float32": (-1, 1e-5),
    "losses_differ_after_resuming": (-1, 2e-2),
    "grad_norms_differ_bfloat16": (-1, 2e-2),
    "grad_norms_differ_float32": (-1, 1e-3),
    "grad_norms_differ_after_resuming": (-1, 1e-1),
    # 1 if one of the two has not moved, 0.5 if at half the rate.  Adam makes whole steps of
    # gradients near zero, whose sign is rounding: random errors of 5 % of a gradient give 0.08
    # after 20 steps, of 0.1 % 0.003 (tiny model on a CPU)
    "weights_differ_bfloat16": (-1, 0.1),
    "weights_differ_float32": (-1, 0.03),
    "weights_differ_after_resuming": (-1, 0.25),
}


def differences(one: dict, other: dict) -> dict[str, float]:
    """Return how far apart two trainings from the same state are: of their "losses" and
    "grad_norms" the largest relative difference of a step, and of their "moves" (what was added to
    all weights by the last step) the distance relative to the longer of the two.

    Weights that have not moved at all differ by 1: equal losses do not show that they are trained.
    """
    pairs = [(np.asarray(run["losses"]), np.asarray(run["grad_norms"])) for run in (one, other)]
    (losses, norms), (wanted_losses, wanted_norms) = pairs
    length = max(np.linalg.norm(run["moves"]) for run in (one, other))
    distance = np.linalg.norm(np.subtract(one["moves"], other["moves"]))
    return {
        LOSSES: float(np.max(np.abs(losses - wanted_losses) / np.abs(wanted_losses))),
        NORMS: float(np.max(np.abs(norms - wanted_norms) / np.abs(wanted_norms))),
        WEIGHTS: float(distance / length) if length else 1.0,
    }


def minutes_of_total(cache_seconds: float, images_per_second: float) -> float:
    """Return the minutes of the paper's training, computed: its cache at so many seconds an image,
    then all image-steps at one rate."""
    seconds = TOTAL["images"] * cache_seconds + TOTAL["image_steps"] / images_per_second
    return seconds / 60


def eager_ones(rows: dict[str, dict]) -> list[str]:
    """Return the rows of captured steps whose steps were not captured after all."""
    return [name for name, row in rows.items()
            if name.startswith("captured, ") and not row.get("captured")]  # fmt: skip


def summary(rows: dict[str, dict]) -> dict:
    """Return {number: its value}, and "claims" with what holds.

    A value is None where a row is missing, or should have captured its steps and has not.
    """
    eager = eager_ones(rows)

    def value(name: str, key: str) -> float | None:
        """Return a number of a row, None where nothing can be said of it."""
        return None if name in eager else rows.get(name, {}).get(key)

    ours, peer, large = (
        value(name, "images_per_second") for name in ("captured, batch 8", "peer, batch 8", LARGE)
    )
    cache = value("cache", "wall_seconds")
    found = {
        "tflops_peak": value("matrix peak", "tflops"),
        "times_peer_batch_8": ours / peer if ours and peer else None,
        "times_peer_are_of": "median images a second; our cache is made before and not counted, "
        "the other script encodes in every step",
        "captured": rows.get("captured, batch 8", {}).get("captured"),
        "eager_instead": eager,
        "share_of_peak_batch_8": value("captured, batch 8", "share_of_peak"),
        "share_of_peak_batch_64": value(LARGE, "share_of_peak"),
        "minutes_of_50000_image_steps": minutes_of_total(cache, large) if cache and large else None,
        "minutes_are_computed": "from the rates of the cache, which is counted, and of batch 64; "
        "not run",
    }
    for size in (8, 64):  # reserved: what torch's pool takes of the GPU, as nvidia-smi shows it
        row = CHECKPOINTING.format(size)
        found[f"gb_reserved_batch_{size}_checkpointing"] = value(row, "gb_reserved")
        found[f"gb_allocated_batch_{size}_checkpointing"] = value(row, "gb")
    for size in SDXL_SIZES:
        found[f"sdxl_gb_reserved_batch_{size}_checkpointing"] = value(
            SDXL.format(size), "gb_reserved"
        )
        found[f"sdxl_share_of_peak_batch_{size}"] = value(SDXL.format(size), "share_of_peak")
    found |= _differ("after_resuming", rows.get("killed and resumed", {}))
    for dtype in ("bfloat16", "float32"):
        row = value("captured against eager", dtype) or {}
        found |= _differ(dtype, row if row.get("captured") else {})
    return {**found, "claims": {name: judged(found[name], *CLAIMS[name]) for name in CLAIMS}}


def _differ(what: str, row: dict) -> dict[str, float | None]:
    """Return the differences of a row under their names at the top of the result."""
    names = ("losses_differ", "grad_norms_differ", "weights_differ")
    return {f"{name}_{what}": row.get(key) for name, key in zip(names, DIFFERENCES, strict=True)}


def judged(value: float | None, sign: int, bound: float) -> dict:
    """Return a value, its claim in words, and whether it holds (None where nothing is known)."""
    holds = None if value is None else sign * (value - bound) >= 0
    return {"value": value, "claim": f"{'at least' if sign > 0 else 'at most'} {bound:g}",
            "holds": holds}  # fmt: skip


def rows(results: Path) -> list[tuple]:
    """Return the rows (result file, claim, text of the result) of every card."""
    table = []
    for path in sorted(results.glob("gpu_*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))["card"]
        table += [(path.stem, claim.format(card), figure) for claim, figure in FIGURES.items()]
    return table


def rate(result: dict, row: str) -> str:
    """Return the images a second of a row and their range, and whether it should have captured its
    steps and has not."""
    found = result["rows"].get(row)
    if not found:
        return UNKNOWN
    speed, low, high = (found[f"images_per_second{end}"] for end in ("", "_lowest", "_highest"))
    instead = ", steps not captured" if row in result["eager_instead"] else ""
    return f"{speed:.1f} ({low:.1f} to {high:.1f}{instead})"


def said(result: dict, *keys: str, form="{}".format) -> str:
    """Return numbers of the top of a result, as text."""
    values = [result[key] for key in keys]
    return ", ".join(UNKNOWN if value is None else form(value) for value in values)


def said_of_both(result: dict, name: str, form) -> str:
    """Return a number of the top of a result at batch size 8 and at 64, as text."""
    return said(result, *(name.format(size) for size in (8, 64)), form=form)


def said_of_sdxl(result: dict) -> str:
    """Return rate, share of the peak and memory of Stable Diffusion XL by batch size, as text."""
    rows = []
    for size in SDXL_SIZES:
        share = said(result, f"sdxl_share_of_peak_batch_{size}", form=percent)
        key = f"sdxl_gb_reserved_batch_{size}_checkpointing"
        memory = said(result, key, form="{:.1f} GB".format)
        rows.append(f"{rate(result, SDXL.format(size))}, {share}, {memory}")
    return "; ".join(rows)


def said_differences(result: dict, what: str) -> str:
    """Return how far apart losses, norms and weights of two trainings are, as text."""
    return said(result, *_differ(what, {}), form="{:.0e}".format)


FIGURES = {  # {claim: text of the result}; {} is the card
    "{}: Stable Diffusion 1.5, 512 pixels, bfloat16, LoRA, batch size 8: images in a second, "
    "median and range of five parts of the steps, and times those of diffusers' script, which "
    "encodes in every step (our cache is made before and not counted)": lambda r: (
        f"{rate(r, 'captured, batch 8')}; "
        + said(r, "times_peer_batch_8", form="{:.2f} times".format)
    ),
    "The same: without captured steps; compiled": lambda r: (
        f"{rate(r, 'eager, batch 8')}; {rate(r, 'compiled, batch 8')}"
    ),
    "The same: share of the matrix peak measured there, batch sizes 8 and 64": lambda r: (
        said_of_both(r, "share_of_peak_batch_{}", percent)
    ),
    "The same: memory reserved with gradient checkpointing and evaluations, batch sizes 8 and 64": (
        lambda r: said_of_both(r, "gb_reserved_batch_{}_checkpointing", "{:.1f} GB".format)
    ),
    "The same: 50,000 image-steps of 10,000 images with their cache, computed from the rates of "
    "the cache and of batch size 64": lambda r: said(
        r, "minutes_of_50000_image_steps", form="{:.1f} minutes".format
    ),
    "The same: captured steps compared with eager ones: largest relative difference of losses and "
    "of gradient norms, and distance of the adapters relative to their move; bfloat16; float32; "
    "after SIGKILL and resuming": lambda r: "; ".join(
        said_differences(r, x) for x in ("bfloat16", "float32", "after_resuming")
    ),
    "The same: Stable Diffusion XL, 1024 pixels, gradient checkpointing, batch sizes 1, 4 and 16: "
    "images in a second, share of the matrix peak, memory reserved": said_of_sdxl,
}
