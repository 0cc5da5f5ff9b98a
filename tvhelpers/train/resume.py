"""With which settings does a training go on in a folder that it was begun in?

Whether the folder is this training's own is told by `records.check_claim`; MAY_DIFFER names what
that passes over.

Loads no torch: the command line asks before anything else.
"""

import dataclasses
from pathlib import Path

from tvhelpers.config import TrainConfig, build_config, preset_row, typed_settings

HERE = ("device", "mirror", "memory_gb")  # of the machine and the call, not of the training
BY_DIGEST = ("data", "base", "captions", "text_encoder")  # paths: digests tell what they hold
COST = ("gradient_checkpointing", "channels_last", "compile")  # not what is trained
COST += ("checkpoint_minutes", "checkpoint_steps", "keep_checkpoints")
MAY_DIFFER = ("preset", *HERE, *BY_DIGEST, *COST)  # between two calls of one training


def run_config(run_dir: Path, preset: str = "", **given) -> TrainConfig:
    """Return the settings of a training in `run_dir`: those given, then those that it was begun
    with there (or in its mirror), then the preset's ("" = none was named: "default").

    So neither a changed default nor a changed row of `PRESETS` makes a begun training another one;
    naming another preset than it was begun with does.  Where a folder does not say its preset, the
    row of the one that is named counts as given.  Raises InputError as `build_config` does.
    """
    begun = _begun(Path(run_dir), given.get("mirror", ""))
    known = begun.get("preset", "")
    asked = preset_row(preset, **given) if preset and not known else given
    asked = typed_settings(TrainConfig, asked)
    same = {key: value for key, value in begun.items() if key not in HERE}
    other = any(asked[key] != same[key] for key in {*asked} & {*same} - {*MAY_DIFFER})
    if not begun or other or (preset and known and preset != known):
        return build_config(preset or "default", **given)  # anew, or refused by the folder's claim
    return TrainConfig(**typed_settings(TrainConfig, same) | asked)


def _begun(run_dir: Path, mirror: str) -> dict:
    """Return the settings in the config.json of a folder, else of its mirror, that holds more than
    this file; {} where there is none."""
    for folder in (run_dir, *([Path(mirror) / run_dir.name] if mirror else [])):
        names = _visible(folder)
        if "config.json" in names and len(names) > 1:
            from tvhelpers.records import read_record  # here: a refused setting needs none

            record = read_record(folder / "config.json", "training")
            fields = {field.name for field in dataclasses.fields(TrainConfig)}
            return {key: value for key, value in record.items() if key in fields}
    return {}


def _visible(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError:  # not there, or a Drive that is gone
        return set()
