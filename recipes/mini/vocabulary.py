"""Which words do mini's base and its adapter know?

python -m recipes.mini.vocabulary      writes vocabulary.json into mini's folder
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from recipes.mini import SETTINGS
from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.files import read_tables
from tvhelpers.models.mini import WEIGHTS_DIR
from tvhelpers.models.vocabulary import FILE, terms_in, words_in
from tvhelpers.records import write_json

NEAREST = read_tables(__file__, "nearest.yaml")
SAID = {"short": "short-sleeved", "long": "long-sleeved", "crew": "crew neck"}


def write_vocabulary(folder: Path) -> None:
    """Write vocabulary.json of the captions that the base and its adapter are trained on."""
    sources = [open_source(row["data"]) for row in SETTINGS["trainings"].values()]
    seen = [count_terms(source.captions) for source in sources]
    known = {term for kinds in seen for terms in kinds.values() for term in terms}
    record = {"words": seen[0], "adapter_words": seen[1], "ignored": [*flats.FILLERS]}
    nearest = {word: to for to, words in NEAREST.items() for word in words}
    write_json(
        folder / FILE, record | {"nearest": {w: to for w, to in nearest.items() if to in known}}
    )


def count_terms(captions: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return {kind: {term: how many captions have it}}, the most frequent first; words of no
    attribute are of the kind "filler"."""
    kinds = kinds_of_terms()
    spelt = {" ".join(words_in(term)): term for term in kinds}
    counts = Counter(term for text in captions for term in {*terms_in(text, spelt)})
    found: dict[str, dict[str, int]] = {kind: {} for kind in dict.fromkeys(kinds.values())}
    for term, count in counts.most_common():
        term = spelt.get(term, term)
        found.setdefault(kinds.get(term, "filler"), {})[term] = count
    return {kind: terms for kind, terms in found.items() if terms}


def kinds_of_terms() -> dict[str, str]:
    """Return {term of a caption: attribute, cloth or style}."""
    kinds = {}
    for name in flats.ATTRIBUTES:
        for word in flats.words_of(name):
            said = SAID.get(word, word) if name in ("sleeve", "neckline") else word
            kinds |= {said: name} if word not in ("none", "regular", "collar", "hood") else {}
    cloths = filter(None, map(flats.cloth_of, flats.CATEGORIES))
    return kinds | dict.fromkeys(cloths, "cloth") | dict.fromkeys(flats.STYLES, "style")


if __name__ == "__main__":
    write_vocabulary(WEIGHTS_DIR)
