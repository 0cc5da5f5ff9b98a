"""What are the options of the verb `prompts`?"""

import sys
from pathlib import Path

from tvhelpers.cli.options import add_options, option

OPTIONS = (
    option("suite SUITE", text="fb138, fb1000, paper-8, or a file of one"),
    option("--out FILE.JSONL", Path, None, "file for the prompt suite", "print it"),
    option("--seed", int, None, "make another suite of the same kind", "0, the published one"),
    option("--base", str, "", "only prompts whose words this base knows"),
    option("--captions SOURCE", text="take validation captions of these data, not of flats"),
)


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
        print(suites.text_of(rows), end="")
    strata = Counter(row["stratum"] for row in rows)
    about = {"rows": len(rows), "sha256": suites.digest(rows), "strata": dict(strata)}
    counts = ", ".join(f"{number} {stratum}" for stratum, number in strata.items())
    print(f"{len(rows)} prompts ({counts}), sha256 {about['sha256']}", file=sys.stderr)
    return about
