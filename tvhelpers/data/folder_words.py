"""Which words of a photo's path say what it shows, and which only say where it is stored?"""

import functools
import re
from dataclasses import dataclass

from tvhelpers.data.lexicon import WORDS
from tvhelpers.data.rows import SPLITS
from tvhelpers.paths import folded

SPLIT_WORDS = SPLITS | {"training": "train", "testing": "test", "dev": "val", "eval": "val"}
CAMERA = re.compile(r"[1-9]\d\d[A-Z0-9][A-Z0-9_]{4}|\d{6}_[a-z_]")  # 100CANON, 202405_a
# Hexadecimal ids and their parts; "beaded" and "faded 12" are words.
CODE = re.compile(r"(?=.*\d)[0-9a-f]{6,}|[0-9a-f]{8,}")
ID = re.compile(r"(?=.*(\d[a-f]|[a-f]\d))(?=.{8})[0-9a-f]{2,}([-_][0-9a-f]{2,})*")
REPEATS = re.compile(r"(\d{1,3})_(?=.*[^\W\d_])")  # kohya's "10_dress": each photo ten times


@dataclass(frozen=True)
class Place:
    """What the names of the folders above a file say; "" where they say nothing."""

    category: str = ""
    split: str = ""  # "train", "val" or "test"
    repeats: str = ""  # a folder's name with kohya's repeats (ignored)
    kind: str = ""  # "captions" or "side": a folder of caption files, or of masks or small copies
    key: tuple[str, ...] = ()  # equal for a photo and its caption or mask in other folders


@functools.lru_cache(4096)
def place_of(folders: tuple[str, ...]) -> Place:
    """Return what the names of folders say, the outermost first.

    The category is the innermost name, without splits (train), containers (images, Bilder,
    100CANON) and numbers.
    """
    category, split, repeats, kind, key = "", "", "", "", []
    for folder in folders:
        what = _kind(folder)
        if what in SPLITS.values():
            split = split or what
            key.append(split)
        elif what == "name":
            found = REPEATS.match(folder)
            category, repeats = (folder[found.end() :], folder) if found else (folder, repeats)
            key.append(folded(folder))
        elif what != "container":
            category, kind = folder, what
    return Place(category, split, repeats, kind, tuple(key))


def _kind(folder: str) -> str:
    """Return "container", a split, "captions", "side", or "name" for a folder's name."""
    if CAMERA.fullmatch(folder):
        return "container"
    words = set(re.findall(r"[^\W\d_]+", folded(folder)))
    found = [SPLIT_WORDS[word] for word in SPLIT_WORDS if word in words]
    words -= {*WORDS["camera_words"], *WORDS["container_words"], *SPLIT_WORDS}
    if not words:
        return found[0] if found else "container"
    kinds = {"captions": WORDS["caption_folders"], "side": WORDS["side_folders"]}
    return next((kind for kind, known in kinds.items() if words <= {*known}), "name")


def words_of_name(stem: str) -> str:
    """Return the words of a file's name; "" for one without meaning: IMG_0042, Foto 12, or an id
    such as 3f9a-bcde."""
    stem = re.sub(r"\s*\(\d+\)$", "", stem)  # a second photo: "red dress (2)"
    if ID.fullmatch(stem.lower()):
        return ""
    parts = re.split(r"[\s_]+" if re.search(r"[\s_]", stem) else r"-+", stem)
    parts = [part for part in parts if not CODE.fullmatch(part.lower())]
    parts = [part.rstrip("0123456789").strip("-.,()") for part in parts]
    words = [part for part in parts if part and not re.search(r"\d", part)]
    words = [word for word in words if word.lower() not in WORDS["camera_words"]]
    said = [word for word in words if folded(word) not in WORDS["container_words"]]
    return " ".join(words) if any(re.search(r"[^\W\d_]{3}", word) for word in said) else ""
