"""How do the verbs of `study` ask people, and what did they say?"""

from pathlib import Path

from tvhelpers.cli.options import REQUIRED, add_verbs, option
from tvhelpers.config import check_choice, check_range
from tvhelpers.errors import InputError

STUDY = option("study STUDY", Path)
OUT = option("--out DIR", Path, REQUIRED)
MAKE = (
    option("systems NAME=DIR", nargs="+", text="folders of `generate`"),
    option("--out STUDY", Path, REQUIRED),
    option("--real SOURCE", text="real pictures, as `train --data`"),
    option("--tasks", str, "pair", "pair,rating,real; the last two need --real"),
    option("--primary A,B", str, "", "the contrast that counts", "first two"),
    option("--per-rater N", int, 0, "most trials of a task", "all"),
    option("--title", str, "Which design is better?", "what raters read first"),
)
RATERS = option("--raters CODE", str, REQUIRED, "a page for each", nargs="+")
FILES = option("files FILE", Path, nargs="+")
POWER = (
    option("--raters", int, REQUIRED),
    option("--prompts", int, REQUIRED),
    option("--effect", float, REQUIRED, "share of decided votes for the better system"),
    option("--ties", float, 0.0, "share of ties"),
)


def declare(parser) -> None:
    """Add the verbs of `study`."""
    add = add_verbs(parser)
    text = "Make a study of systems' pictures of the same prompts and seeds."
    add("make", run_make, text, *MAKE)
    add("html", run_html, "Write a page for each rater without Jupyter.", STUDY, RATERS, OUT)
    add("import", run_import, "Bring back files of answers that pages gave.", STUDY, FILES)
    add("analyse", run_analyse, "Analyse the votes: figures, table, report.", STUDY, OUT)
    text = "Say how often a study of this size would find an effect."
    add("power", run_power, text, *POWER)


def run_make(options) -> dict:
    """Make a study, and say what is in it."""
    from tvhelpers.data.sources import open_source
    from tvhelpers.study.make import make_study
    from tvhelpers.study.model import KINDS

    systems = {}
    for text in options.systems:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder) or name in systems:
            raise InputError("usage.systems", text=text)
        systems[name] = Path(folder)
    tasks = options.tasks.split(",")
    for task in tasks:
        check_choice("task", task, KINDS)
    study = make_study(
        systems,
        options.out,
        real=open_source(options.real) if options.real else None,
        tasks=tasks,
        primary=options.primary.split(",") if options.primary else (),
        per_rater=options.per_rater,
        title=options.title,
    )
    trials = len(study.trials("example"))
    print(f"study {study.hash} in {options.out}: {trials} trials a rater; keep key*.json from them")
    return {"study": study.hash, "trials_a_rater": trials, "primary": study.key["primary"]}


def run_html(options) -> list[str]:
    """Write the pages, and say where they are."""
    from tvhelpers.study.model import Study
    from tvhelpers.study.page import write_pages

    pages = write_pages(Study(options.study), options.out, options.raters)
    print(f"{len(pages)} pages in {options.out}: give a rater the page and the folder pictures")
    return [str(page) for page in pages]


def run_import(options) -> list[dict]:
    """Import the files, and say what was new."""
    from tvhelpers.study.model import Study
    from tvhelpers.study.votes import import_votes

    study, rows = Study(options.study), []
    for file in options.files:
        row = import_votes(study, file)
        rows.append(row)
        print(f"{file}: rater {row['rater']}, {row['new']} new of {row['votes']} votes")
    return rows


def run_analyse(options) -> dict:
    """Write analysis.json, votes.csv and report.html, and print what was found."""
    from tvhelpers.records import write_json
    from tvhelpers.study.analysis import analyse, write_csv
    from tvhelpers.study.model import Study
    from tvhelpers.study.report import quality, summary, write_report
    from tvhelpers.study.votes import VoteBox

    study = Study(options.study)
    votes = VoteBox(study).votes()
    result = analyse(study, votes)
    write_json(options.out / "analysis.json", result)
    write_csv(study, votes, options.out / "votes.csv")
    report = write_report(result, options.out / "report.html")
    print("\n".join([*summary(result), *quality(result), f"the report is {report}"]))
    return result


def run_power(options) -> dict:
    """Simulate studies, and say how often the effect is found."""
    from tvhelpers.study.simulation import simulated_studies

    limits = {"raters": (1, 2000), "prompts": (1, 2000), "effect": (0.5, 0.999), "ties": (0, 0.999)}
    for name, (low, high) in limits.items():
        check_range(name, getattr(options, name), low, high)
    size = options.raters, options.prompts
    row = simulated_studies(*size, options.effect, 300, ties=options.ties)
    print(
        f"{options.raters} raters, {options.prompts} prompts: a share of {options.effect:g} is "
        f"found in {100 * row['found']:.0f} of 100 studies; interval +- {row['half_width']:.3f}"
    )
    return row
