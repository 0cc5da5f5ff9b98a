"""How is `clip tune` called, and what does it print?"""

from pathlib import Path

from tvhelpers.cli.options import DEVICE, REQUIRED, SET, SOURCE, add_verbs, option
from tvhelpers.cli.settings import settings_help
from tvhelpers.config import from_settings, parse_settings
from tvhelpers.output import say
from tvhelpers.train.clip_settings import CLIP_CHOICES, ClipTuning

TUNE = (
    option("--data SOURCE", str, REQUIRED, f"what to tune on: {SOURCE}"),
    option("--out DIR", Path, REQUIRED, "folder for the tuned CLIP"),
    option("--clip", str, "mini", "CLIP to start from: mini, a folder, or hub:owner/name"),
    option("--keep SOURCE", text="data on which the CLIP must stay accurate: mixed into "
           "training; accuracy on it may drop by at most max_accuracy_drop"),
    SET,
    DEVICE,
)  # fmt: skip


def declare(parser) -> None:
    """Add `clip tune`, and the settings to its help."""
    text = "For specialists: fine-tune a CLIP on captioned images; the same command resumes it."
    tune = add_verbs(parser)("tune", run_tune, text, *TUNE)
    tune.appendix = lambda: (
        settings_help(ClipTuning, CLIP_CHOICES) + "\nPlain fine-tuning, for comparison: "
        "--set method=full --set positives=own --set batch_size=8\n"
    )


def run_tune(options) -> dict:
    """Tune, print the result, and return it."""
    from tvhelpers.data.sources import open_source
    from tvhelpers.models.clip import Clip
    from tvhelpers.train.clip_tuning import tune_on_source

    config = from_settings(ClipTuning, parse_settings(options.set))
    source, keep = open_source(options.data), options.keep and open_source(options.keep)
    clip = Clip(options.clip, options.device)
    result = tune_on_source(source, config, options.out, clip, keep)
    first, kept = (row["held_out_loss"] for row in (result["curve"][0], _kept(result)))
    say(f"validation loss {first:.3f} before, {kept:.3f} at step {result['kept_step']}")
    for row in result["trade_off"]:
        loss, nearness = row["held_out_loss"], row["nearness"]
        kept = f", accuracy on {options.keep} {row['kept']:.1%}" if "kept" in row else ""
        text = f"validation loss {loss:.3f}, cosine to the embeddings before {nearness:.3f}{kept}"
        say(f"  share {row['share']:.1f}: {text}")
    say(f"the tuned CLIP, {result['share']:.0%} of the change applied: {result['clip']}")
    say(f"to train with it: --set text_encoder={options.out}")
    return result


def _kept(result: dict) -> dict:
    return next(row for row in result["curve"] if row["step"] == result["kept_step"])
