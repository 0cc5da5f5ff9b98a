"""Which photos show the same garment, by the names of their files?"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from tvhelpers.data.lexicon import WORDS
from tvhelpers.paths import folded

MOST_VIEWS = 8  # of one garment; a name that more photos share is that of a collection
# The end of a name that only counts or says the view: "coat-2", "coat (3)", "coat_back", "A17_b"
VIEW = re.compile(
    r"[\s_.-]*\(\d{1,2}\)$|[\s_.-]+(\d{1,2}|[a-f]|front|back|side|left|right|detail|close[- ]?up"
    r"|rear|worn|model|flat|vorne?|hinten|seite)$",
    re.I,
)
DATE = re.compile(r"(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d([-_. ]?\d{6,9})?")  # and the time


def products_of(names: Sequence[str]) -> list[str]:
    """Return a product for each file name, "" where its name says none.

    Photos of one folder are of one product if their names differ by a number or a view at the end:
    coat-1.jpg, coat-2.jpg, coat_back.jpg.  Names of cameras (IMG_1234), dates and numbers alone are
    no products, nor is what more than 8 photos are called.
    """
    keys = [_key(name) for name in names]
    members = defaultdict(list)
    for number, key in enumerate(keys):
        members[re.sub(r"[\s_-]+", " ", folded(key))].append(number)
    products = [""] * len(names)
    for key, numbers in members.items():
        if key and 1 < len(numbers) <= MOST_VIEWS:
            for number in numbers:
                products[number] = keys[numbers[0]]
    return products


def _key(name: str) -> str:
    """Return a file's folder and name without ending and view; "" if that names no garment."""
    path = PurePosixPath(name)
    stem, shorter = path.stem, VIEW.sub("", path.stem)
    while shorter != stem:
        stem, shorter = shorter, VIEW.sub("", shorter)
    words = {*re.findall(r"[^\W\d_]+", folded(DATE.sub("", stem)))}
    numbers = re.findall(r"\d{5,}", DATE.sub("", stem))  # article numbers
    known = {*WORDS["camera_words"], *WORDS["container_words"]}
    if not words - known and (words or not numbers):
        return ""
    return (path.parent / stem).as_posix()
