"""The verbs of `python -m tvhelpers clip`: each is thin over one function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tvhelpers.config import DEVICES, ClipTuning, from_settings, parse_settings


def add_verbs(add: Callable) -> None:
    """Add the verbs of `clip`; `add(name, run, text)` returns the parser of one."""
    tune = add(
        "tune", run_tune, "Fine-tune a CLIP on captioned pictures; the same command goes on."
    )
    tune.add_argument("--data", required=True, metavar="SOURCE")
    tune.add_argument("--out", required=True, type=Path, metavar="DIR")
    tune.add_argument("--clip", default="mini", help="mini, a folder or a hub id (default: mini)")
    tune.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    tune.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")


def run_tune(options) -> dict:
    """Tune, say where the CLIP is, and return the result."""
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.clip import Clip
    from tvhelpers.train.clip_tuning import tune_on_source

    config = from_settings(ClipTuning, parse_settings(options.set))
    source = open_source(options.data)
    result = tune_on_source(source, config, options.out, Clip(options.clip, options.device))
    first, best = (row["held_out_loss"] for row in (result["curve"][0], _best(result)))
    print(f"held-out loss {first:.3f} before, {best:.3f} at step {result['best_step']}")
    print(f"the tuned CLIP is {result['clip']}")
    return result


def _best(result: dict) -> dict:
    return next(row for row in result["curve"] if row["step"] == result["best_step"])
