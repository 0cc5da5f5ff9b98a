"""Which words of a prompt has a base never seen, and which of its own words is nearest?

The folder of a base may hold `vocabulary.json`, and the folder of an adapter that was trained on
such a base too, with the words of the training captions:
    words          {kind, such as colour: {term: how many captions of the base have it}}
    adapter_words  the same, of the adapter that comes with the base
    ignored        words that say nothing about a garment, though no caption has them
    nearest        {term that no caption has: the term to say instead}
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tvhelpers.errors import in_words
from tvhelpers.models.base import BaseLocation
from tvhelpers.records import read_record, write_json

FILE = "vocabulary.json"
TRAINED = "caption"  # kind of the words of training captions
SAY_NOTHING = ("filler", "style", TRAINED)  # kinds of words that are no answer to "what instead?"
ALIKE = 0.84  # similarity of two spellings (0..1, difflib) from which one is the other misspelt
MOST = 6  # unseen words that are named


@dataclass(frozen=True)
class Vocabulary:
    """The words that a base has seen or ignores, in lower case, {spelling: term to say}, and the
    terms of each kind, such as colour."""

    known: frozenset[str]
    spellings: dict[str, str]
    kinds: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def unseen(self, prompt: str) -> dict[str, str]:
        """Return {word or term of a prompt that was never seen: nearest known term, "" for none}.

        A plural or a singular of a known word is known.
        """
        parts = terms_in(prompt, self.spellings)
        return {part: self._nearest(part) for part in parts if not self._knows(part)}

    def _knows(self, term: str) -> bool:
        return not any(self.known.isdisjoint(_numbers(word)) for word in words_in(term))

    def _nearest(self, part: str) -> str:
        alike = difflib.get_close_matches(part, self.spellings, 1, ALIKE)
        return self.spellings[alike[0]] if alike else ""


def words_in(text: str) -> list[str]:
    """Return the words of a text in lower case, "v" and "neck" for "V-neck"; no numbers."""
    return re.findall(r"[^\W\d_]+", text.lower())


def terms_in(text: str, terms: Iterable[str]) -> list[str]:
    """Return the words of a text, but those that make up one of `terms` together; the longest term
    first.  Terms are words in lower case with spaces between them."""
    longest = sorted(terms, key=len, reverse=True)
    pattern = "|".join([*map(re.escape, longest), r"\w+"])
    return re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", " ".join(words_in(text)))


def _numbers(word: str) -> tuple[str, ...]:
    """Return a word with its possible plural and singulars."""
    return word, f"{word}s", word.removesuffix("s"), word.removesuffix("es")


def write_words(base: BaseLocation, folder: Path, captions: Iterable[str]) -> None:
    """Write the words of the captions that an adapter in `folder` was trained on, if its base says
    which words it has seen."""
    if not (Path(base.path) / FILE).is_file():
        return
    counts = Counter(word for caption in captions for word in {*words_in(caption)})
    write_json(folder / FILE, {"words": {TRAINED: dict(sorted(counts.items()))}})


def read_vocabulary(
    base: BaseLocation, with_adapter: bool, trained: Path | None = None
) -> Vocabulary | None:
    """Return the vocabulary of a base, and of the adapter that comes with it, or of one in the
    folder `trained`; None without a file of each.

    Raises InputError for a damaged file.
    """
    files = [Path(folder) / FILE for folder in (base.path, trained) if folder]
    if not all(path.is_file() for path in files):
        return None
    record, *others = [read_record(path, "vocabulary") for path in files]
    kinds = [record["words"], record.get("adapter_words", {}) if with_adapter else {}]
    kinds += [other["words"] for other in others]
    seen = [(term, kind) for part in kinds for kind, terms in part.items() for term in terms]
    known = {word for term, _ in seen for word in words_in(term)}
    known |= {word.lower() for word in record.get("ignored", [])}
    say = [term for term, kind in seen if kind not in SAY_NOTHING]
    instead = {word: to for word, to in record.get("nearest", {}).items() if to in say}
    spellings = {" ".join(words_in(word)): to for word, to in [*instead.items(), *zip(say, say)]}
    by_kind = {kind: () for _, kind in seen}
    for term, kind in dict.fromkeys(seen):
        by_kind[kind] += (term,)
    return Vocabulary(frozenset(known), spellings, by_kind)


def remark(name: str, unseen: dict[str, str]) -> str:
    """Return "mini has never seen 'raincoatt'; nearest: 'raincoat'"; "" where all words are known.

    `unseen` is from `Vocabulary.unseen`; of more than six words the first six are named.
    """
    if not unseen:
        return ""
    words = dict([*unseen.items()][:MOST])
    near = {word: to for word, to in words.items() if to}
    more = f" (and {len(unseen) - MOST} more)" * (len(unseen) > MOST)
    said = f"{name} has never seen {in_words([*words], 'or')}{more}"
    if len(words) == 1:
        return said + "".join(f"; nearest: {in_words(to)}" for to in near.values())
    pairs = [f"{in_words(to)} for {in_words(word)}" for word, to in near.items()]
    return said + (f"; nearest: {', '.join(pairs)}" if pairs else "")
