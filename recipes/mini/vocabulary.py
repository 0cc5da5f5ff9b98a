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
FUNCTION_WORDS = "a an pair of in with on without flat drawing fashion design pattern".split()


def write_vocabulary(folder: Path) -> None:
    """Write vocabulary.json of the captions that the base and its adapter are trained on."""
    trainings = (SETTINGS["trainings"][name] for name in ("unet", "adapter"))
    sources = [open_source(row["data"]) for row in trainings]
    seen = [count_terms(source.captions) for source in sources]
    known = {term for kinds in seen for terms in kinds.values() for term in terms}
    pairs = [(word, to) for to, words in NEAREST.items() for word in words]
    nearest = {word: to for word, to in pairs if to in known and word not in known}
    record = {"words": seen[0], "adapter_words": seen[1], "ignored": [*flats.FILLERS]}
    write_json(folder / FILE, record | {"nearest": nearest})


def count_terms(captions: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return {kind: {term: how many captions have it}}, the most frequent first.

    Strange words, which are drawn at random so that they change nothing, are not counted.
    """
    kinds = kinds_of_terms()
    spelt = {" ".join(words_in(term)): term for term in kinds}
    counts = Counter(term for text in captions for term in {*terms_in(text, spelt)})
    found: dict[str, dict[str, int]] = {kind: {} for kind in dict.fromkeys(kinds.values())}
    for term, count in counts.most_common():
        if term in spelt:
            found[kinds[spelt[term]]][spelt[term]] = count
    return {kind: terms for kind, terms in found.items() if terms}


def kinds_of_terms() -> dict[str, str]:
    """Return {term of a caption: attribute, cloth, style or filler}, of a term that has several
    kinds the first."""
    shop, terms = flats.SHOP_WORDS, []
    for name in ("category", "colour", "pattern"):
        terms += [(word, name) for word in flats.words_of(name)]
    terms += [(noun, "category") for nouns in shop["nouns"].values() for noun in nouns]
    named = [*flats.SHADE_NAMES.values(), *shop["colours"].values()]
    terms += [(word, "colour") for words in named for word in words]
    for place in ("before", "after"):
        for name, values in shop[place].items():
            terms += [(word, name) for words in values.values() for word in words]
    terms += [(flats.cloth_of(category), "cloth") for category in flats.CATEGORIES]
    terms += [(word, "style") for word in flats.STYLES]
    terms += [(word, "filler") for words in shop["fillers"].values() for word in words]
    terms += [(word, "filler") for word in FUNCTION_WORDS]
    return {term: kind for term, kind in reversed(terms) if words_in(term)}


if __name__ == "__main__":
    write_vocabulary(WEIGHTS_DIR)
