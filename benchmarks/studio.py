"""Claim: the prompt studio shows mini's first image soon after a click, and a preview before it.

python benchmarks/studio.py            writes results/studio.json; on two idle cores
python benchmarks/studio.py --dry-run  prints it, after one click of each kind

Seconds of the clock are those of an idle machine only where the load is low; seconds of the CPU, of
all threads, say what the machine did for a click, whatever else ran on it.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from common import write_result

from tvhelpers.sample.sampler import Sampler
from tvhelpers.show.studio_session import Session

CLICKS, OPENINGS = 6, 3
CLOCKS = {"seconds": time.monotonic, "CPU seconds": time.process_time}


def click(session: Session) -> dict[str, float]:
    """Press Generate; return the seconds until a preview, and until the image, were on the stage,
    ready for the browser."""
    began, seen = {name: clock() for name, clock in CLOCKS.items()}, {}

    def tell(what: str) -> None:
        """Note when the stage first shows a preview, and an image."""
        if what == "stage" and session.stage_image():
            kind = "image" if session.stage.drawn else "preview"
            for name, clock in CLOCKS.items():
                seen.setdefault(f"{kind}, {name}", clock() - began[name])

    session.stage.entries = []
    session.tell = tell
    assert session.start() and not session.wrong, session.status
    return seen


def main() -> None:
    """Click on a studio that has just been opened, and again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dry-run", action="store_true")
    dry = parser.parse_args().dry_run
    load, first, rows = os.getloadavg()[0], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 if dry else OPENINGS):
            place = Path(folder, str(number))
            session = Session(Sampler("mini"), place, adapters={}, threaded=False)
            first.append(click(session))
            rows += [click(session) for _ in range(1 if dry else CLICKS)]
    found = {
        f"{which} click, {name}": round(statistics.median(row[name] for row in some), 3)
        for which, some in (("first", first), ("next", rows))
        for name in some[0]
    }
    result = {**found, "clicks": len(rows), "openings": len(first), "load": round(load, 1)}
    print(result)
    if not dry:
        write_result("studio", result)


if __name__ == "__main__":
    main()
