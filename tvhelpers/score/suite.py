"""Which prompts are in a suite, and how is one opened, checked, narrowed and written?

FB-138 is the start of FB-1000; paper-8 has the paper's eight prompts.  They are published: the
files in suites/ do not change.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from tvhelpers.data.items import Source
from tvhelpers.errors import Choice, InputError
from tvhelpers.files import write_once
from tvhelpers.records import read_rows
from tvhelpers.sample.prompt import is_prompt
from tvhelpers.score.draw_suite import draw_suite, with_captions

SUITES = Path(__file__).parent / "suites"  # made by recipes/prompt_suite.py of a checkout
SHA256 = {  # of the suites at seed 0, as `text_of` writes them
    "fb138": "bf17f3b9f7324a7eebabe1faa1603d59cbf222ae7cc08a79dae4929526284b0a",
    "fb1000": "e99932fa5b04953b1853eedd0bb08ed3272a4b9210ba8fde86d777166d4cbfe9",
    "paper-8": "614f8ae9c0eb370fb3bbd6bd32ef8f18018bab6140508bc0ec8128cf8ba8105d",
}
FILE = "prompts.jsonl"  # in a folder of images that were generated from a suite
VOCABULARIES = ("mini",)  # bases that know few words; all others count as knowing all


def open_suite(name: str, seed: int | None = None, captions: Source | None = None) -> list[dict]:
    """Return the rows of "fb138", "fb1000", "paper-8" ("fb138:7" is made from seed 7), or of a file
    that `text_of` wrote.

    A row has id, stratum, prompt, paraphrase, spec {wearer, garments}, a list of the prompt's
    attributes {garment, attribute, expect, q, parent}, swap_of (id of the other prompt of a binding
    pair), tuple_key, token_len, seeds (4), covered_by (bases that know its words) and unseen_by
    (bases that were never trained on its category, colour and pattern together).  `captions`: a
    source whose validation captions are the last stratum, instead of captions of flats.  Raises
    InputError for other names.
    """
    kind, _, redraw = str(name).lower().partition(":")
    if kind in SHA256 and (not redraw or (redraw.isdecimal() and seed is None)):
        if kind == "paper-8":
            if redraw or seed or captions:
                raise InputError("fixed-suite")
            return read_rows(SUITES / "paper-8.jsonl")
        seed = int(redraw or seed or 0)
        rows = draw_suite(seed) if seed else read_rows(SUITES / "fb1000.jsonl")
        rows = rows[:138] if kind == "fb138" else rows
        return with_captions(rows, captions) if captions else rows
    if Path(name).is_file():
        return _checked(Path(name), read_rows(Path(name), "suite"))
    raise InputError("unknown-choice.suite", name=name, choice=Choice(name, SHA256))


def text_of(rows: Iterable[dict]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def digest(rows: Iterable[dict]) -> str:
    """Return the SHA-256 of the rows' text."""
    return hashlib.sha256(text_of(rows).encode()).hexdigest()


def write(rows: list[dict], path: Path) -> None:
    """Write rows as JSON lines; raises InputError where the file has other content."""
    write_once(path, text_of(rows).encode())


def request_of(rows: list[dict]) -> dict:
    """Return the settings of a Request for rows, without their prompts."""
    ids, seeds = zip(*((row["id"], tuple(row["seeds"])) for row in rows), strict=True)
    return {"ids": ids, "seeds": seeds}


def covered(rows: list[dict], base: str) -> list[dict]:
    """Return the rows whose words a base knows; bases that are not in VOCABULARIES know all.

    Raises InputError where there is none.
    """
    kept = [row for row in rows if base not in VOCABULARIES or base in row["covered_by"]]
    if not kept:
        raise InputError("nothing-left", count=len(rows), base=base)
    return kept


def _checked(path: Path, rows: list[dict]) -> list[dict]:
    """Return the rows of a file; raises InputError where they are not those of a suite."""
    for number, row in enumerate(rows, 1):
        if not is_prompt(row["prompt"]):
            raise InputError("not-a-suite.row", row=number, path=path)
    if len({row["id"] for row in rows}) < len(rows):
        raise InputError("not-a-suite.ids", path=path)
    return rows
