"""Claim: the prompt studio shows mini's first image soon after a click, and a preview before it.

python benchmarks/studio.py            writes results/studio.json; on two idle cores
python benchmarks/studio.py --dry-run  prints it, after one click of each kind
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from common import write_result

from tvhelpers.sample.sampler import Sampler
from tvhelpers.show.studio_session import Session

CLICKS = 9


def click(session: Session, stage: str) -> dict[str, float]:
    """Press Generate; return the seconds until a preview, and until the image, were on the stage,
    ready for the browser."""
    began, seen = time.monotonic(), {}

    def tell(what: str) -> None:
        """Note when the stage first shows a preview, and an image."""
        if what == "stage" and session.stage_image():
            kind = "image" if session.stage.drawn else "preview"
            seen.setdefault(kind, time.monotonic() - began)

    session.tell = tell
    assert session.start() and not session.wrong, session.status
    return {f"{stage} {kind}": seconds for kind, seconds in seen.items()}


def main() -> None:
    """Click on a studio that has just been opened, and again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dry-run", action="store_true")
    dry = parser.parse_args().dry_run
    with tempfile.TemporaryDirectory() as folder:
        first, rows = [], []
        for number in range(1 if dry else 3):
            place = Path(folder, str(number))
            session = Session(Sampler("mini"), place, adapters={}, threaded=False)
            first.append(click(session, "first click,"))
            rows += [click(session, "next click,") for _ in range(1 if dry else CLICKS)]
    found = {
        f"{kind}, seconds": round(statistics.median(row[kind] for row in some if kind in row), 3)
        for some in (first, rows)
        for kind in some[0]
    }
    result = {**found, "clicks": len(rows), "openings": len(first)}
    print(result)
    if not dry:
        write_result("studio", result)


if __name__ == "__main__":
    main()
