"""What benchmarks/gpu.py says at the top of its result: the claims, computed from its rows."""

TOTAL = {"images": 10_000, "image_steps": 50_000}  # five epochs of the paper's largest set
LARGE, CHECKPOINTING = "captured, batch 64", "captured, batch {}, checkpointing"
CLAIMS = {  # {number at the top of the result: (+1 at least, -1 at most; bound)}
    "times_peer_batch_8": (+1, 2.5),
    "share_of_peak_batch_8": (+1, 0.25),
    "share_of_peak_batch_64": (+1, 0.40),
    "minutes_of_50000_image_steps": (-1, 6),
    "gb_batch_8_checkpointing": (-1, 8),
    "gb_batch_64_checkpointing": (-1, 22),
    "losses_differ_bfloat16": (-1, 2e-2),
    "losses_differ_float32": (-1, 1e-5),
    "losses_differ_after_resuming": (-1, 2e-2),
}


def minutes_of_total(cache_seconds: float, images_per_second: float) -> float:
    """Return the minutes of the paper's training, computed: its cache at so many seconds an image,
    then all image-steps at one rate."""
    seconds = TOTAL["images"] * cache_seconds + TOTAL["image_steps"] / images_per_second
    return seconds / 60


def summary(rows: dict[str, dict]) -> dict:
    """Return {number: its value, None where a row is missing}, and "claims" with what holds."""

    def value(name: str, key: str) -> float | None:
        return rows.get(name, {}).get(key)

    rates = {name: value(name, "images_per_second") for name in rows}
    ours, peer, large = (rates.get(x) for x in ("captured, batch 8", "peer, batch 8", LARGE))
    cache = value("cache", "wall_seconds")
    found = {
        "tflops_peak": value("matrix peak", "tflops"),
        "times_peer_batch_8": ours / peer if ours and peer else None,
        "captured": value("captured, batch 8", "captured"),
        "share_of_peak_batch_8": value("captured, batch 8", "share_of_peak"),
        "share_of_peak_batch_64": value(LARGE, "share_of_peak"),
        "minutes_of_50000_image_steps": minutes_of_total(cache, large) if cache and large else None,
        "minutes_are_computed": "from the rates of the cache and of batch 64; not run",
        "gb_batch_8_checkpointing": value(CHECKPOINTING.format(8), "gb"),
        "gb_batch_64_checkpointing": value(CHECKPOINTING.format(64), "gb"),
        "losses_differ_bfloat16": value("captured against eager", "bfloat16"),
        "losses_differ_float32": value("captured against eager", "float32"),
        "losses_differ_after_resuming": value("killed and resumed", "losses_differ_at_most"),
    }
    return {**found, "claims": {name: judged(found[name], *CLAIMS[name]) for name in CLAIMS}}


def judged(value: float | None, sign: int, bound: float) -> dict:
    """Return a value, its claim in words, and whether it holds (None where nothing is known)."""
    holds = None if value is None else sign * (value - bound) >= 0
    return {"value": value, "claim": f"{'at least' if sign > 0 else 'at most'} {bound:g}",
            "holds": holds}  # fmt: skip
