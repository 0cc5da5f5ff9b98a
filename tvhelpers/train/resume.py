"""With which settings does a training resume in its run folder?

`records.check_claim`, called with CLAIM, checks that the folder is of the same training.

Loads no torch: the command line calls it before anything else.
"""

import dataclasses
from pathlib import Path

from tvhelpers.config import TrainConfig, build_config, preset_row, to_dict, typed_settings
from tvhelpers.presets import FITS
from tvhelpers.records import check_claim, read_record
from tvhelpers.train.step_files import newest_first, step_of

HERE = (
    "device",
    "mirror",
    "memory_gb",
    "trackers",
)  # of the machine and the call, not of the training
# paths; their content has a digest
BY_DIGEST = ("data", "base", "captions", "text_encoder", "regularization")
COST = ("gradient_checkpointing", "channels_last", "compile")  # time and memory, not the result
COST += ("capture", "checkpoint_minutes", "checkpoint_steps", "keep_checkpoints", "keep_snapshots")
MAY_DIFFER = ("preset", *HERE, *BY_DIGEST, *COST)  # between two calls of one training
CLAIM = {  # arguments of `check_claim` for the folder of a training
    "what": "training", "marker": "config.json", "ignore": MAY_DIFFER,
    "scratch": ("held_out.json",),
}  # fmt: skip


def run_config(run_dir: Path, preset: str = "", **given) -> TrainConfig:
    """Return the settings of a training in `run_dir`: those given, then those that it began with
    there (or in its mirror), then the preset's ("" = "default").

    So a training resumes after a default or a preset has changed, but is refused if another preset
    is named than it began with.  If the folder does not name its preset, the settings of the named
    one count as given.  A value that means "fits the data" is what the folder has.  Raises
    InputError as `build_config` does, and TakenError that names what was given and differs.
    """
    folder, begun = begun_settings(run_dir, given.get("mirror", ""))
    known = begun.get("preset", "")
    asked = preset_row(preset, **given) if preset and not known else given
    asked = typed_settings(TrainConfig, asked)
    chosen = {key for key in {*FITS} & {*asked} if asked[key] == FITS[key]}
    chosen -= {"keep"} & {*given}
    asked = {key: value for key, value in asked.items() if key not in chosen}
    same = {key: value for key, value in begun.items() if key not in HERE}
    other = _different(asked, same)
    another = bool(begun and preset and known and preset != known)
    if begun and not (other or another):
        return TrainConfig(**typed_settings(TrainConfig, same) | asked)
    config = build_config(preset or "default", **given)  # a value that is wrong is said first
    if another and not other and _different(to_dict(config), same):
        other = {"preset": preset}
    _check_given(folder, {key: other[key] for key in given if key in other} or other)
    return config  # the folder has no work yet, or fits


def _different(settings: dict, begun: dict) -> dict:
    """Return the settings that are another training than one that began with `begun`; a value that
    means "fits the data" is not."""
    keys = [key for key in settings if key in begun and key not in MAY_DIFFER]
    return {
        key: settings[key]
        for key in keys
        if settings[key] != begun[key] and (key == "keep" or settings[key] != FITS.get(key))
    }


def _check_given(folder: Path, other: dict) -> None:
    """Raise TakenError that names the settings `other`, not those that follow from them, if a
    folder has work of a training."""
    if other:
        claim = {**CLAIM, "ignore": {*MAY_DIFFER} - {*other}}
        check_claim(folder, read_record(folder / "config.json", "training") | other, **claim)


def begun_settings(run_dir: Path, mirror: str = "") -> tuple[Path, dict]:
    """Return (folder, settings in its config.json) of the folder, or else of its mirror, if that
    holds the work of steps too; otherwise {}."""
    run_dir = Path(run_dir)
    for folder in (run_dir, *([Path(mirror) / run_dir.name] if mirror else [])):
        names = _visible(folder)
        if "config.json" in names and names - {"config.json", "held_out.json"}:
            record = read_record(folder / "config.json", "training")
            fields = {field.name for field in dataclasses.fields(TrainConfig)}
            return folder, {key: value for key, value in record.items() if key in fields}
    return run_dir, {}


def is_finished(run_dir: Path, method: str) -> bool:
    """Return whether a run has its result, and its adapter or pipeline is still there."""
    trained = "adapter.safetensors" if method == "lora" else "pipeline"
    return (run_dir / "result.json").exists() and (run_dir / trained).exists()


def resumes_at(run_dir: Path) -> int:
    """Return the step of the newest checkpoint in a folder, 0 if it has none."""
    return max(map(step_of, newest_first(Path(run_dir, "checkpoints"))), default=0)


def _visible(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError:  # missing, or a Drive that was disconnected
        return set()
