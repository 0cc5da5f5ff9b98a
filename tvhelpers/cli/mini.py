"""How does `mini train` train the embedded base again?"""

import sys
from importlib import import_module
from pathlib import Path

from tvhelpers.cli.options import DEVICE, REQUIRED, add_verbs, option
from tvhelpers.errors import InputError

TRAIN = (
    option("--work DIR", Path, REQUIRED, "folder for checkpoints, caches and the weights"),
    option("--scale", float, 1.0, "factor on the number of steps and images"),
    DEVICE,
    option("--minutes M", float, 0, "stop after M minutes, with a checkpoint; the same command "
           "resumes", "until all is trained"),
)  # fmt: skip


def declare(parser) -> None:
    """Add `mini train`."""
    text = "Rebuild mini from nothing, to reproduce it; the same command resumes."
    add_verbs(parser)("train", run_train, text, *TRAIN)


def run_train(options) -> dict:
    """Run the recipe of mini, which is in a checkout beside the package, and return where its
    weights are; raises InputError without a checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "recipes" / "mini").is_dir():
        raise InputError("no-checkout")
    sys.path.insert(0, str(checkout))
    recipe = import_module("recipes.mini.train")
    how = {"scale": options.scale, "device": options.device, "minutes": options.minutes}
    return recipe.train_mini(options.work, **how)
