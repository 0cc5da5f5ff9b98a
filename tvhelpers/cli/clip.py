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
    tune.add_argument(
        "--keep",
        metavar="SOURCE",
        help="pictures that must not be forgotten: trained on too, and forgotten=0.01 is how much "
        "worse they may be named afterwards",
    )
    tune.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any field of ClipTuning; the naive recipe is method=full positives=own batch_size=8",
    )
    tune.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")


def run_tune(options) -> dict:
    """Tune, say where the CLIP is, and return the result."""
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.clip import Clip
    from tvhelpers.train.clip_tuning import tune_on_source

    config = from_settings(ClipTuning, parse_settings(options.set))
    source, keep = open_source(options.data), options.keep and open_source(options.keep)
    clip = Clip(options.clip, options.device)
    result = tune_on_source(source, config, options.out, clip, keep)
    first, kept = (row["held_out_loss"] for row in (result["curve"][0], _kept(result)))
    print(f"held-out loss {first:.3f} before, {kept:.3f} at step {result['kept_step']}")
    for row in result["trade_off"]:
        loss, nearness = row["held_out_loss"], row["nearness"]
        kept = f", kept pictures named right {row['kept']:.1%}" if "kept" in row else ""
        print(
            f"  share {row['share']:.1f}: held-out loss {loss:.3f}, nearness {nearness:.3f}{kept}"
        )
    print(f"the tuned CLIP, {result['share']:.0%} of the way, is {result['clip']}")
    print(f"train on it: --set text_encoder={options.out}")
    return result


def _kept(result: dict) -> dict:
    return next(row for row in result["curve"] if row["step"] == result["kept_step"])
