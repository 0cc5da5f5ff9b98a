"""Run an older tree beside this one and compare what both make, to the last bit.

    python tests/goldens.py OLD_CHECKOUT [--only NAME,...] [--json FILE] [--work DIR]

Both run the same commands on the same inputs on this CPU, one thread each, side by side.  What one
tree makes differently is printed: item, place, both values; the exit code is 1 then.  Versions,
dates, speeds and memory are ignored (`golden_reading.IGNORED`); what was renamed since is compared
under its new name (`golden_names`).  Where both give an object of JSON,
the new one may have more keys, never fewer and no other value.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from golden_items import ITEMS  # noqa: E402
from golden_reading import digest  # noqa: E402
from golden_sides import Broken, Side  # noqa: E402

PLACES = {"TV_DATA_DIR": "inputs", "TV_MANIFEST": "inputs/manifest.yaml"}
SHOWN = 8  # differences of an item that are printed


def main() -> int:
    """Compare, and return 0 where all is equal, else 1."""
    options = _options()
    names = options.only.split(",") if options.only else list(ITEMS)
    if unknown := set(names) - set(ITEMS):
        sys.exit(f"no item {min(unknown)!r}; there are {', '.join(ITEMS)}")
    work = Path(options.work or tempfile.mkdtemp(prefix="goldens-"))
    began = time.monotonic()
    sides = _start(options.old, options.new, work)
    try:
        rows = [compare_item(name, sides) for name in names]
    finally:
        for side in sides:
            side.close()
        if not options.work:
            shutil.rmtree(work)
    wrong = [row["name"] for row in rows if not row["equal"]]
    seconds = time.monotonic() - began
    print(f"{len(rows) - len(wrong)} of {len(rows)} items equal, {seconds:.0f} s", *wrong)
    if options.json:
        trees = {"old": _commit(options.old), "new": _commit(options.new)}
        summary = {**trees, "seconds": round(seconds, 1), "items": rows}
        Path(options.json).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return int(bool(wrong))


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("--new", type=Path, default=HERE.parent, help="default: this tree")
    parser.add_argument("--only", default="", metavar="NAME,...", help=", ".join(ITEMS))
    parser.add_argument("--json", metavar="FILE", help="write a summary")
    parser.add_argument("--work", metavar="DIR", help="keep what was made, in a new folder")
    return parser.parse_args()


def _start(old: Path, new: Path, work: Path) -> list[Side]:
    """Return both sides at work, each with the inputs that the old tree wrote."""
    with ThreadPoolExecutor(2) as threads:
        pairs = ("old", old, work / "old"), ("new", new, work / "new")
        sides = list(threads.map(lambda pair: Side(*pair, **PLACES), pairs))
    sides[0].script(HERE / "golden_inputs.py", "inputs")
    shutil.copytree(sides[0].path("inputs"), sides[1].path("inputs"))
    return sides


def _commit(checkout: Path) -> str:
    """Return the commit of a checkout, with a + where files differ from it."""
    git = ["git", "-C", checkout]
    command = [*git, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def compare_item(name: str, sides: list[Side]) -> dict:
    """Run an item on both sides at once, print how it went, and return the row of the summary."""
    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(ITEMS[name], side) for side in sides]
        found = [_result(future) for future in futures]
    broken = [error for error in found if isinstance(error, Broken)]
    differences = [("", str(error), "") for error in broken]
    if not broken:
        differences = list(differing(*found))
    seconds = time.monotonic() - began
    verdict = "DIFFERENT" if differences else "equal"
    print(f"{name:22} {verdict:9} {count(found[0]):6} values {seconds:6.1f} s", flush=True)
    for where, old, new in differences[:SHOWN]:
        print(f"    {where}\n        old {old}\n        new {new}", flush=True)
    if len(differences) > SHOWN:
        print(f"    and {len(differences) - SHOWN} more", flush=True)
    rows = [dict(zip(("where", "old", "new"), row)) for row in differences]
    return {"name": name, "equal": not rows, "seconds": round(seconds, 1), "differences": rows}


def _result(future):
    try:
        return future.result()
    except Broken as error:
        return error
    except Exception as error:  # a file that was not written, say
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Broken(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")


def count(found) -> int:
    """Return how many values were compared."""
    if isinstance(found, dict):
        return sum(map(count, found.values()))
    return sum(map(count, found)) if isinstance(found, list) else 1


def differing(old, new, where: str = ""):
    """Yield (where, old, new) of each place in which two findings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key in new:
                yield from differing(value, new[key], f"{where} > {key}" if where else key)
            else:
                yield f"{where} > {key}", said(value), "missing"
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield where, f"{len(old)} rows", f"{len(new)} rows"
        for number, pair in enumerate(zip(old, new)):
            yield from differing(*pair, f"{where} [{number}]")
    elif isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            yield where, f"{old.dtype} {old.shape}", f"{new.dtype} {new.shape}"
        elif old.tobytes() != new.tobytes():
            yield where, *_furthest(old, new)
    elif type(old) is not type(new) or not _same(old, new):
        yield where, said(old), said(new)


def _same(old, new) -> bool:
    both_nan = isinstance(old, float) and math.isnan(old) and math.isnan(new)
    return both_nan or old == new


def _furthest(old: np.ndarray, new: np.ndarray) -> tuple[str, str]:
    """Return the two values that are furthest apart, in words."""
    gap = np.abs(old.astype(np.float64) - new.astype(np.float64))
    place = np.unravel_index(np.argmax(np.nan_to_num(gap, nan=np.inf)), gap.shape)
    at = f"at {tuple(int(i) for i in place)}, {int((gap > 0).sum())} of {gap.size} differ"
    return f"{old[place]!r} {at}", f"{new[place]!r}"


def said(value) -> str:
    """Return a value in few words."""
    return digest(value) if isinstance(value, bytes) else repr(value)[:300]


if __name__ == "__main__":
    sys.exit(main())
