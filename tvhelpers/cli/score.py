"""The verbs `prompts` and `score`: what is asked of a system, and how well it did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from tvhelpers.config import DEVICES


def add_verbs(add: Callable) -> None:
    """Add both verbs; `add(name, run, text)` returns the parser of one."""
    _add_prompts(add)
    _add_score(add)


def _add_prompts(add: Callable) -> None:
    verb = add("prompts", run_prompts, "Print or write a suite of prompts, as JSON lines.")
    verb.add_argument("suite", metavar="SUITE", help="fb138, fb1000, paper-8")
    verb.add_argument("--out", type=Path, metavar="FILE.JSONL")
    verb.add_argument(
        "--seed", type=int, help="draw the suite anew (default: 0, the published one)"
    )
    verb.add_argument("--base", default="", help="only what this base has words for")
    verb.add_argument(
        "--captions", metavar="SOURCE", help="take held-out captions from here, not from flats"
    )


def run_prompts(options) -> dict:
    """Print or write a suite, and return its digest and how many rows each stratum has."""
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


def _add_score(add: Callable) -> None:
    verb = add("score", run_score, "Score folders of pictures.")
    verb.add_argument("dirs", nargs="+", type=Path, metavar="DIR")
    verb.add_argument("--out", required=True, type=Path, metavar="METRICS.JSON")
    verb.add_argument(
        "--classifier", default="auto", help="auto, inception or judge (default: auto)"
    )
    verb.add_argument(
        "--real", type=Path, metavar="DIR", help="real pictures to measure distances from"
    )
    verb.add_argument(
        "--features",
        default="",
        metavar="NAME",
        help="judge, or a vision model of transformers: DINOv2, CLIP, SigLIP, by folder or hub id "
        "(default: judge with --real, else none)",
    )
    verb.add_argument(
        "--clip", default="", metavar="NAME", help="CLIPScore by this CLIP, not the drawing one"
    )
    verb.add_argument("--cache", type=Path, metavar="DIR", help="keep what the networks gave")
    verb.add_argument(
        "--reader",
        default="",
        metavar="NAME",
        help="of pictures from a suite: judge, or clip for zero-shot by --clip, which --known "
        "calibrates (default: judge for what mini drew)",
    )
    verb.add_argument(
        "--known",
        default="",
        metavar="SOURCE",
        help="pictures with attributes, to tell how often the reader errs (default: flats)",
    )
    verb.add_argument(
        "--train", default="", metavar="SOURCE", help="look for copies of its training pictures"
    )
    verb.add_argument(
        "--held-out",
        default="",
        metavar="SOURCE",
        help="real pictures that no training saw (default: what a training holds out of --train)",
    )
    verb.add_argument(
        "--copies",
        default="pixels",
        metavar="NAME",
        help="what copies are looked for in: pixels, or as --features (default: pixels)",
    )
    verb.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")


def run_score(options) -> dict:
    """Score, print the table, and return the metrics."""
    from tvhelpers.score.report import format_table, score_folders
    from tvhelpers.score.request import ScoreRequest

    names = [f.name for f in fields(ScoreRequest) if hasattr(options, f.name)]
    request = {name: getattr(options, name) for name in names}
    result = score_folders(ScoreRequest(out_path=options.out, **request))
    print(format_table(result))
    from tvhelpers.show.scores import write_figures

    folder = options.out.with_name(f"{options.out.stem}-figures")
    print(f"{len(write_figures(result, folder))} figures in {folder}")
    return result
