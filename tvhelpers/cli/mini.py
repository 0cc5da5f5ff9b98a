"""How does the verb `mini train` make the embedded base anew?"""

import sys
from importlib import import_module
from pathlib import Path

from tvhelpers.cli.options import DEVICE, REQUIRED, add_verbs, option
from tvhelpers.errors import InputError

TRAIN = (
    option("--work DIR", Path, REQUIRED, "folder for checkpoints and caches"),
    option("--scale", float, 1.0, "multiply all step counts"),
    DEVICE,
)


def declare(parser) -> None:
    """Add the verb of `mini`."""
    text = "Train mini from nothing; the same command goes on where it stopped."
    add_verbs(parser)("train", run_train, text, *TRAIN)


def run_train(options) -> dict:
    """Run the recipe of mini, which a checkout has beside the package, and say where its weights
    are; raises InputError where there is no checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "recipes" / "mini").is_dir():
        raise InputError("no-checkout")
    sys.path.insert(0, str(checkout))
    recipe = import_module("recipes.mini.train")
    return recipe.train_mini(options.work, scale=options.scale, device=options.device)
