"""How is `report` called: one page from folders of trainings?"""

from pathlib import Path

from tvhelpers.cli.options import REQUIRED, add_options, option
from tvhelpers.output import say
from tvhelpers.words import counted

OPTIONS = (
    option("dirs DIR", Path, nargs="+", text="folders of trainings, of generated images or of "
           "experiments, or folders with some in them"),
    option("--out FILE.HTML", Path, REQUIRED, "page to write; it needs no network"),
    option("--title TEXT", str, "Trainings", "its headline"),
)  # fmt: skip


def declare(parser) -> None:
    """Give `report` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> dict:
    """Write the page, and return what is on it."""
    from tvhelpers.experiments.report import write_report

    found = write_report(options.dirs, options.out, options.title)
    kinds = {"runs": "training", "galleries": "gallery", "experiments": "experiment"}
    plurals = {"galleries": "galleries"}
    shown = ", ".join(counted(found[key], one, plurals.get(key, "")) for key, one in kinds.items())
    say(f"{options.out}: {shown}")
    return found
