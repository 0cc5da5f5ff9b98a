"""How do the verbs of `study` make a study, collect its votes and analyse them?"""

from pathlib import Path

from tvhelpers.cli.options import REQUIRED, SOURCE, add_verbs, option
from tvhelpers.config import check_choice, check_range
from tvhelpers.errors import InputError
from tvhelpers.output import say
from tvhelpers.words import counted

STUDY = option("study STUDY", Path, text="the folder that `study make` wrote")
OUT = option("--out DIR", Path, REQUIRED, "new folder to write")
MAKE = (
    option("systems NAME=DIR", nargs="+", text="folders that `generate` wrote, each with a name"),
    option("--out STUDY", Path, REQUIRED, "new folder to write"),
    option("--real SOURCE", text=f"real images: {SOURCE}"),
    option("--tasks NAMES", str, "pair", "what raters are asked: always which of two images is "
           "better (pair); also a grade of 1 to 5 for each image (rating), whether it is real "
           "(real), or both (rating,real); these need --real"),
    option("--primary A,B", str, "", "names of two systems: the comparison that the study is about",
           "the first two"),
    option("--per-rater N", int, 0, "maximum number of questions of a task for each rater", "all"),
    option("--title TEXT", str, "Which design is better?", "the headline that raters read"),
)  # fmt: skip
RATERS = option("--raters CODE", str, REQUIRED, "a name or code that you invent for each person, "
                "such as anna ben (letters, digits, - and _)", nargs="+")  # fmt: skip
FILES = option("files FILE", Path, text="file that a rater's page wrote at its end", nargs="+")
POWER = (
    option("--raters N", int, REQUIRED, "number of people who vote"),
    option("--prompts N", int, REQUIRED, "number of prompts that each of them judges"),
    option("--effect SHARE", float, REQUIRED, "share of votes that you expect for the better one, "
           "0.5..1, ties not counted"),
    option("--ties SHARE", float, 0.0, "share of votes that say no difference, 0..1"),
)  # fmt: skip


def declare(parser) -> None:
    """Add the verbs of `study`."""
    add = add_verbs(parser)
    text = "Make a blind study of folders of images with the same prompts and seeds."
    add("make", run_make, text, *MAKE)
    text = "Write a page for each rater, to vote in any browser."
    add("html", run_html, text, STUDY, RATERS, OUT)
    add("import", run_import, "Add the votes of files that raters sent back.", STUDY, FILES)
    text = "Analyse the votes; write a report, a table and the numbers."
    add("analyse", run_analyse, text, STUDY, OUT)
    text = "Estimate, before a study, the chance that it finds the better model."
    add("power", run_power, text, *POWER)


def run_make(options) -> dict:
    """Make a study, and print its hash and length."""
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
    say(f"study {study.hash} in {options.out}: {counted(trials, 'question')} for each rater")
    say("keep all key*.json secret: they name the systems, and hold the secret of the pages")
    return {"study": study.hash, "trials_a_rater": trials, "primary": study.key["primary"]}


def run_html(options) -> list[str]:
    """Write the pages, and print where they are."""
    from tvhelpers.study.model import IMAGES, Study
    from tvhelpers.study.page import write_pages

    pages = write_pages(Study(options.study), options.out, options.raters)
    count = counted(len(pages), "page")
    say(f"{count} in {options.out}; send a rater the page and the folder {IMAGES}")
    return [str(page) for page in pages]


def run_import(options) -> list[dict]:
    """Import the files, and print how many votes were new."""
    from tvhelpers.study.model import Study
    from tvhelpers.study.votes import import_votes

    study, rows = Study(options.study), []
    for file in options.files:
        row = import_votes(study, file)
        rows.append(row)
        votes = counted(row["votes"], "vote")
        say(f"{file}: rater {row['rater']}, {votes}, {row['new']} of them new")
    return rows


def run_analyse(options) -> dict:
    """Write analysis.json, votes.csv and report.html, and print the findings."""
    import json

    from tvhelpers.files import write_all_once
    from tvhelpers.study.analysis import analyse, votes_as_csv
    from tvhelpers.study.model import Study
    from tvhelpers.study.report import examples, quality, report_page, summary
    from tvhelpers.study.votes import VoteBox

    study = Study(options.study)
    votes = VoteBox(study).votes()
    result = analyse(study, votes)
    report = options.out / "report.html"
    texts = {"analysis.json": json.dumps(result, indent=1) + "\n"}
    page = report_page(result, examples(study, votes, result))
    texts |= {"votes.csv": votes_as_csv(study, votes), report.name: page}
    write_all_once({options.out / name: text.encode() for name, text in texts.items()})
    say(*summary(result), *quality(result), f"report: {report}")
    return result


def run_power(options) -> dict:
    """Simulate studies, and print how often they find the preference."""
    from tvhelpers.study.simulation import simulated_studies

    limits = {"raters": (1, 2000), "prompts": (1, 2000), "effect": (0.5, 0.999), "ties": (0, 0.999)}
    for name, (low, high) in limits.items():
        check_range(name, getattr(options, name), low, high)
    size = options.raters, options.prompts
    row = simulated_studies(*size, options.effect, 300, ties=options.ties)
    say(
        f"power {100 * row['found']:.0f} %: {100 * row['found']:.0f} of 100 simulated studies with "
        f"{counted(options.raters, 'rater')} and {counted(options.prompts, 'prompt')} find a win "
        f"rate of {options.effect:g} (95 % interval of the win rate: ± {row['half_width']:.3f})"
    )
    return row
