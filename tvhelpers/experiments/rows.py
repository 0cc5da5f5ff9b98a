"""Which experiments are there: what is claimed, which settings are compared, and how much is run?

rows.yaml is the table; it says what its keys mean.
"""

from dataclasses import dataclass, field

from tvhelpers.config import TrainConfig, build_config, check_choice
from tvhelpers.files import read_tables

PLAIN = {"keep": "last", "flip": False, "held_out": 0.1, "warmup_steps": -1}  # of every training


@dataclass(frozen=True)
class Arm:
    """One of the compared settings, as its differences from the others."""

    name: str
    train: dict | None = field(default_factory=dict)  # settings of TrainConfig; None: no training
    clip: dict | None = None  # settings of ClipTuning; None: the base's own text encoder
    items: dict = field(default_factory=dict)  # of `items.Items`
    text: bool = True  # whether images are drawn from prompts

    @property
    def method(self) -> str:
        """Return the method of its training."""
        return (self.train or {}).get("method", "lora")


@dataclass(frozen=True)
class Experiment:
    """A question, the claim that it tests, and its arms."""

    name: str
    title: str
    claim: str
    against: str  # the arm that the others are compared with
    figures: tuple[str, ...]
    arms: tuple[Arm, ...]


@dataclass(frozen=True)
class Scale:
    """How much is run: numbers of items, images and seeds, and what all trainings share."""

    name: str
    test: int  # items that no training and no selection sees
    selection: int  # items that a search selects by
    images: int  # that are drawn for each arm and seed
    seeds: tuple[int, ...]
    steps: int  # inference steps
    image_steps: int  # limit of a run, in steps x images a step
    most_items: int  # training items of an arm that asks for more, or all; 0 = no limit
    most_epochs: int  # of an arm that asks for more; 0 = no limit
    train: dict
    clip: dict

    def config(self, arm: Arm, **given) -> TrainConfig:
        """Return the settings of an arm's training; `given`: base, data, seed and text_encoder.

        A training with `image_steps: same` draws as many images in all as the others do.
        """
        own = {**PLAIN, **self.train, **(arm.train or {})}
        if own.pop("image_steps", ""):
            own["steps"] = max(1, own["steps"] // own["accumulate"])
        if own.get("epochs") and self.most_epochs:
            own["epochs"] = min(own["epochs"], self.most_epochs)
        return build_config("default", **{"method": arm.method, **own, **given})


def experiments() -> dict[str, Experiment]:
    """Return {name: experiment} of the table."""
    table = read_tables(__file__, "rows.yaml")["experiments"]
    found = {}
    for name, row in table.items():
        arms = tuple(Arm(arm, **how) for arm, how in row["arms"].items())
        found[name] = Experiment(name, **{**row, "figures": tuple(row["figures"]), "arms": arms})
    return found


def find_experiment(name: str) -> Experiment:
    """Return an experiment; raises InputError for an unknown name."""
    table = experiments()
    check_choice("experiment", name, table)
    return table[name]


def find_scale(name: str) -> Scale:
    """Return a scale; raises InputError for an unknown name."""
    table = read_tables(__file__, "rows.yaml")["scales"]
    check_choice("scale", name, table)
    row = {**table[name], "seeds": tuple(table[name]["seeds"])}
    return Scale(name, **row)
