"""What are the options of the verb `prompts`?"""

from pathlib import Path

from tvhelpers.cli.options import SOURCE, add_options, option
from tvhelpers.output import note, say
from tvhelpers.words import counted

OPTIONS = (
    option("suite SUITE", text="paper-8 (the eight prompts of the paper), fb138 (138 prompts), "
           "fb1000 (1000), or a file that `prompts` wrote"),
    option("--out FILE.JSONL", Path, None, "file for the prompt suite", "print it"),
    option("--seed", int, None, "seed: another one makes other prompts of the same kind",
           "0, the published suite"),
    option("--base", str, "", "only prompts whose words this base knows, such as mini"),
    option("--captions SOURCE", text="replace the suite's prompts of the kind `captions` with "
           f"captions of the validation items of these data: {SOURCE}"),
)  # fmt: skip


def declare(parser) -> None:
    """Give `prompts` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> dict:
    """Print or write a suite; return its digest and the number of rows of each stratum."""
    from collections import Counter

    from tvhelpers.score import suite as suites

    source = None
    if options.captions:
        from tvhelpers.data.sources import open_source

        source = open_source(options.captions)
    rows = suites.covered(suites.open_suite(options.suite, options.seed, source), options.base)
    if options.out:
        suites.write(rows, options.out)
    else:
        say(*suites.text_of(rows).rstrip("\n").split("\n"))
    strata = Counter(row.get("stratum", "") for row in rows)
    about = {"rows": len(rows), "sha256": suites.digest(rows), "strata": dict(strata)}
    counts = ", ".join(f"{number} {stratum}" for stratum, number in strata.items())
    note(f"{counted(len(rows), 'prompt')} ({counts}), sha256 {about['sha256']}")
    return about
