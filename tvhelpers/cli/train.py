"""How is `train` called, and with which settings?"""

import os
from pathlib import Path

from tvhelpers.cli.options import CONFIG, REQUIRED, SET, SOURCE, add_options, option
from tvhelpers.cli.settings import settings_help
from tvhelpers.config import (
    CHOICES,
    COMMON,
    TrainConfig,
    check_range,
    parse_settings,
    typed_settings,
)
from tvhelpers.errors import InputError
from tvhelpers.output import say
from tvhelpers.presets import PRESETS, PRESETS_FOR
from tvhelpers.progress import Interrupted
from tvhelpers.records import read_record
from tvhelpers.train.resume import resumes_at, run_config

MOST_PREVIEWS = 8
ARGUMENTS = ("data", "method", "preset")  # settings that have an argument of their own
PREVIEW_STEPS = 10  # of their inference: on a laptop, previews take a tenth of a training's time
OPTIONS = (
    option("method METHOD", text="lora (an adapter: a small file; the usual choice), full (the "
           "whole UNet), baseline (the whole UNet without captions)"),
    option("--data SOURCE", str, REQUIRED, f"what to train on: {SOURCE}; several are joined"),
    option("--out RUN", Path, REQUIRED, "folder for the training: adapter, checkpoints, curves"),
    option("--preset NAME", str, "", "settings for your machine: " + ", ".join(PRESETS) + "; they "
           "are explained at the end; or a JSON file, as `experiment search` writes it", "default"),
    option("--dry-run", bool, False, "print what the training would do and cost, such as steps, "
           "minutes, memory and disk, without training or writing anything"),
    option("--previews N", int, 2, "generate images of N captions at each validation loss, into "
           "RUN/previews (0 = none); the preset smoke and baselines have none"),
    option("--finish", bool, False, "end a stopped training with its best adapter so far, without "
           "another step"),
    CONFIG,
    SET,
)  # fmt: skip


def declare(parser) -> None:
    """Add the options of `train`, and the settings to its help."""
    add_options(parser, run, *OPTIONS)
    parser.several = ("--data", CHOICES["method"])
    parser.appendix = lambda: settings_help(
        TrainConfig, CHOICES, COMMON, {name: (PRESETS_FOR[name], PRESETS[name]) for name in PRESETS}
    )


def run(options) -> dict:
    """Train, and return the result; or, for a dry run, what the training would cost."""
    try:
        return _run(options)
    except Interrupted:
        raise
    except KeyboardInterrupt:  # not between two steps
        step = resumes_at(options.out)
        if step:
            raise Interrupted("stopped", {f"to resume at step {step}": ()}) from None
        nothing = "stopped before the first checkpoint: nothing has been trained yet"
        raise Interrupted(nothing, {"to begin again": ()}) from None


def _run(options) -> dict:
    settings = parse_settings(options.set)
    for key in ARGUMENTS:
        if key in settings:
            raise InputError("given-twice.argument", key=key)
    if options.finish and options.dry_run:
        raise InputError("usage.finish")
    preset, own = options.preset, {}
    if preset.endswith(".json"):
        preset, own = "", read_preset(Path(preset))
    given = {**own, "method": options.method, "data": options.data, **settings}
    config = run_config(options.out, preset, **given)
    first = int(os.environ.get("RANK", 0)) == 0  # of the processes of `accelerate launch`
    options.json = options.json and first
    if options.dry_run:
        from tvhelpers.train.dry_run import dry_run, in_lines  # loads torch, which takes seconds

        found = dry_run(config, options.out)
        say(*in_lines(found) if first else ())
        return found
    from tvhelpers.sample.own_images import draw_own
    from tvhelpers.train.trainer import train

    how = {"finish": options.finish, "preview": _previews(config, options)}
    result = train(config, options.out, draw_own=draw_own, **how)
    if first:
        from tvhelpers.show.training import training_curves

        training_curves(options.out)
        say(f"curves: {options.out / 'figures' / 'training.png'}")
    return result


def read_preset(path: Path) -> dict:
    """Return the settings in a JSON file, which stand above the preset "default".

    Raises InputError for a file that holds anything else, and for keys that are no settings.
    """
    row = read_record(path, "preset")
    for key in (key for key in ARGUMENTS if key in row):
        raise InputError("given-twice.preset", key=key, path=path)
    return typed_settings(TrainConfig, row)


def _previews(config: TrainConfig, options):
    """Return what draws captions of the data while it is trained, None if nothing does."""
    check_range("--previews", options.previews, 0, MOST_PREVIEWS)
    if not options.previews or config.preset == "smoke" or config.method == "baseline":
        return None
    from tvhelpers.sample.preview import Previews
    from tvhelpers.train.trainer import open_data

    def captions() -> list[str]:
        """Return captions that are trained, from all parts of the data."""
        found = [*filter(str.strip, dict.fromkeys(open_data(config).captions))] or ["a garment"]
        return found[:: max(1, len(found) // options.previews)][: options.previews]

    folder, how = options.out / "previews", {"text_encoder": config.text_encoder}
    return Previews(config.base, captions, folder, steps=PREVIEW_STEPS, **how)
