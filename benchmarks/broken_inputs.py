"""Claim: 4,000 damaged inputs each give one named error or a right result, for every reader.

No crash, no hang over 10 s, no more than 2 GB, no other exception, and no wrong result.  Each is
read in a process apart.

python benchmarks/broken_inputs.py WORK_DIR                      writes results/broken_inputs.json
python benchmarks/broken_inputs.py WORK_DIR --kinds csv JSON     these, and keeps other results
python benchmarks/broken_inputs.py WORK_DIR --kinds csv --only 17     number 17 of a kind, here
"""

import argparse
import collections
import contextlib
import io
import json
import math
import os
import shutil
import warnings
from pathlib import Path
from unittest import mock

from bounded import FINE, run, run_all, unchanged
from broken_kinds import UNSOUND, kinds
from common import RESULTS, commit, write_result


def jobs(kind, readers, mutations, rounds):
    """Return [(number, (kind, reader, mutation))]: unchanged, then each with `rounds` seeds, or
    once where nothing in it is random."""
    listed = [] if kind in UNSOUND else [(kind, reader, unchanged) for reader in readers]
    for number in range(rounds):
        again = [one for one in mutations if number == 0 or not getattr(one, "once", False)]
        listed += [(kind, reader, mutation) for mutation in again for reader in readers]
    return [*enumerate(listed)]


def warm(kind, readers, work):
    """Read what is sound in this process once, so that its children need not import again."""
    place = work / "warm"
    for reader in readers if kind not in UNSOUND else ():
        place.mkdir()
        quiet = warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO())
        with quiet[0], quiet[1], mock.patch.dict(os.environ):  # as a reader may set variables
            warnings.simplefilter("ignore")
            run(0, (kind, reader, unchanged), place)
        shutil.rmtree(place)


def report(results):
    """Return the figures of one kind, and what went wrong in full."""
    outcomes = collections.Counter(outcome for _, _, outcome, *_ in results)
    wrong = [
        [number, reader.__name__, mutation.__name__, outcome, said]
        for number, (_, reader, mutation), outcome, said, *_ in sorted(results, key=lambda r: r[0])
        if outcome not in FINE
    ]
    return {
        "inputs": len(results),
        "mutations": len({mutation.__name__ for _, (_, _, mutation), *_ in results}),
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_seconds": math.ceil(max(result[-1] for result in results)),
        "largest_mb": max(result[-2] for result in results),
        "wrong": wrong,
    }


def total(by_kind):
    """Return the figures of all kinds."""
    rows = by_kind.values()
    outcomes = sum((collections.Counter(row["outcomes"]) for row in rows), collections.Counter())
    return {
        "inputs": sum(row["inputs"] for row in rows),
        "mutations": sum(row["mutations"] for row in rows),
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_seconds": max(row["slowest_seconds"] for row in rows),
        "largest_mb": max(row["largest_mb"] for row in rows),
        "wrong": [[kind, *one] for kind, row in by_kind.items() for one in row["wrong"]],
    }


def kept():
    """Return {kind: figures} of the last result, of kinds that there still are."""
    path = RESULTS / "broken_inputs.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["by_kind"] if path.exists() else {}
    return {kind: rows[kind] for kind in kinds() if kind in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="seeds a mutation")
    parser.add_argument("--kinds", nargs="+", default=[""], help="how their names begin")
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    work, by_kind = options.work_dir / "broken-inputs", {}
    shutil.rmtree(work, ignore_errors=True)
    for kind, (make, readers, mutations) in kinds().items():
        if not kind.startswith(tuple(options.kinds)):
            continue
        base = work / "base" / kind.replace("/", "+")
        base.mkdir(parents=True)
        make(base)
        listed = jobs(kind, readers, mutations, options.rounds)
        if options.only is not None:
            (work / "only").mkdir()
            job = listed[options.only][1]
            print(job[0], job[1].__name__, job[2].__name__, *run(options.only, job, work / "only"))
            return
        warm(kind, readers, work)
        by_kind[kind] = {**report(run_all(listed, work)), "commit": commit()}
        by_kind = {**kept(), **by_kind}
        print(kind, by_kind[kind], flush=True)
        write_result("broken_inputs", {**total(by_kind), "by_kind": by_kind}, show=False)
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
