"""One word a thing, and that the field's: docs/glossary.md has them, here are those not used.

python tests/test_vocabulary.py [PATH ...]      lists what is found, with its line
"""

import re
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
LOOKED_AT = (
    "tvhelpers/**/*.py tvhelpers/messages.txt tvhelpers/**/*.yaml tvhelpers/**/*.html"
    " recipes/**/*.py notebooks/source/* benchmarks/*.py tests/**/*.py"
    " tvhelpers/**/*.md recipes/**/*.md README.md CONTRIBUTING.md SECURITY.md docs/*.md"
).split()
# {what is written: what is said instead}; a pattern is looked for in names, comments and text.
INSTEAD = {
    r"(?<![a-z])pictures?(?![a-z])": "image; photo, flat",
    r"held[ _-]?out|\bhold(?:s|ing)? out\b": "validation items, validation loss",
    r"(?<![a-z])(?:told|tells? it|hears?|heard|deaf|forgetful|without language)(?![a-z])":
        "text conditioning, class conditioning, unconditional",
    r"\b(?:go|goes|going|gone|went) (?:on|back)\b|\blets go\b": "resume, continue, roll back",
    r"\b(?:leave|leaves|leaving|left) out\b|(?<![a-z])left_out(?![a-z])": "skip, reject, ignore",
    r"(?<![a-z])(?:anew|mend|mends|mended)(?![a-z])": "again, fix",
    r"(?<![a-z])averages(?![a-z])": "EMA weights",
    r"(?<![a-z])accumulates?(?![a-z])": "gradient accumulation",
    r"(?<![a-z])strengths?(?![a-z])|\btimes the adapter\b": "LoRA scale",
    r"(?<![a-z])faults?(?![a-z])": "image quality issue, problem, error",
    r"\bwhat (?:a|the) networks? (?:gave|gives?)\b": "embedding, features",
    r"(?<![a-z])at hand(?![a-z])": "available",
    r"(?<![a-z])atoms?(?![a-z])": "attribute",
}  # fmt: skip
# Names that files and scripts of users hold, and words that are meant otherwise.
STABLE = (
    r"[\"'`.]held_out(?:_loss|\.json)?[\"'`]?|config\.held_out|held_out(?:=0|: float)|\"faults\""
    r"|num_held_out|held_out_loss_base|held_out\.json|accumulate(?:=\d|: int)|[\"`]accumulate[\"`]"
    r"|--picture look"
)
HERE = (  # words of captions, and what the hash of a study is over
    "tests/test_vocabulary.py", "tests/golden_names.py", "docs/glossary.md",
    "tvhelpers/data/lexicon.yaml", "tvhelpers/flats/shop_words.yaml", "tvhelpers/study/model.yaml",
)  # fmt: skip


def found(path: Path) -> list[tuple[int, str, str]]:
    """Return (line, what is written there, what is said instead)."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "stable name" in line:  # a comment that says so
            continue
        for pattern, word in INSTEAD.items():
            hits = re.finditer(pattern, re.sub(STABLE, "", line), re.IGNORECASE)
            rows += [(number, hit.group(), word) for hit in hits]
    return rows


def test_words_are_those_of_the_field():
    found_here = {str(path.relative_to(REPO)): found(path) for path in files([""])}
    assert {path: rows for path, rows in found_here.items() if rows and path not in HERE} == {}


def test_a_word_that_is_not_used_is_found(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("num_pictures = 1  # goes on\nheld_out = 2  # stable name\nimage_copies = 1\n")
    assert [seen for _, seen, _ in found(path)] == ["pictures", "goes on"]


def files(names=()) -> list[Path]:
    paths = {path for pattern in LOOKED_AT for path in REPO.glob(pattern)}
    return sorted(path for path in paths if str(path.relative_to(REPO)).startswith(tuple(names)))


if __name__ == "__main__":
    for path in files(sys.argv[1:] or [""]):
        for number, seen, word in found(path):
            print(f"{path.relative_to(REPO)}:{number}: {seen} -> {word}")
