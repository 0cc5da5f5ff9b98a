"""What is shown to a rater, in which order and on which side?  It is fixed before the first vote.

A study is a folder:

study.json   what raters may see, and the rules; the hash of this file names the study
key*.json    which system generated which image, and the answers of attention checks: not for raters
pictures/    the images, without metadata, named by a salted digest  # stable name
votes.sqlite the votes (`study.votes`)
"""

import hashlib
import hmac
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tvhelpers.errors import InputError, in_words
from tvhelpers.files import content_key, read_tables
from tvhelpers.paths import inside
from tvhelpers.records import as_record, read_json
from tvhelpers.runtime import seed_for

KINDS = ("pair", "rating", "real")
SIDES = ("left", "right")
TEXTS = read_tables(__file__, "model.yaml")
SCALES, CONSENT = TEXTS["scales"], TEXTS["consent"]
RULES = TEXTS["rules"]  # which raters are excluded
CHECKS, REPEATS = 0.10, 0.07  # as shares of a rater's trials, and of its pairs
REFERENCES = 3  # real images beside one that is rated
REAL = "real pictures"  # stable name: the "system" of a real image in key.json
TOKENS = "key-raters.json"  # secret: with it, one can write votes for any rater
IMAGE = re.compile(r"[\w-]{1,64}\.png", re.ASCII)
IMAGES = "pictures"  # stable name: the folder of images, and the key of an item's images


@dataclass(frozen=True)
class Trial:
    """One question as a rater sees it: `shown` are file names of images, from left to right."""

    number: int
    item: str
    kind: str
    prompt: str
    shown: tuple[str, ...]
    references: tuple[str, ...] = ()

    @property
    def answers(self) -> tuple[str, ...]:
        """Return the possible answers; those of a rating are three digits, one for each scale."""
        if self.kind == "rating":
            return tuple(map("".join, product("12345", repeat=len(SCALES))))
        return ("left", "same", "right") if self.kind == "pair" else ("real", "generated")


class Study:
    """A study opened from its folder; raises InputError where key.json is not the study's own, or a
    file is a link out of the folder."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        paths = [inside(self.folder, name) for name in ("study.json", "key.json")]
        if not paths[0].is_file():
            raise InputError("not-a-study.folder", folder=folder)
        about, key = map(read_json, paths)
        self.hash = content_key(about)  # of the file as it is
        self.about = as_record(about, "study", in_words(paths[0]))
        self.key = as_record(key, "study key", in_words(paths[1]))
        if self.about["key_sha256"] != content_key(key):
            raise InputError("another-key", folder=folder)
        self.items = {item["id"]: item for item in self.about["items"]}
        self.systems: list[str] = self.key["systems"]
        if not self._is_whole():
            raise InputError("not-a-study.file", folder=folder)

    def _is_whole(self) -> bool:
        """Return whether items, systems, questions and rules are consistent."""
        names, primary, about = {*self.systems}, self.key["primary"], self.about
        return (
            self.key["items"].keys() == self.items.keys() >= self.key["expected"].keys()
            and len(self.items) == len(about["items"])
            and all(map(self._fits, about["items"]))
            and len(names) == len(self.systems) > 1
            and len({*primary} & names) == len(primary) == 2
            and about["rules"].keys() == RULES.keys()
            and about["per_rater"] >= 0
        )

    def _fits(self, item: dict) -> bool:
        """Return whether an item is valid: one image, or two of different systems (of any systems
        in an attention check)."""
        kind, systems = item["kind"], self.key["items"][item["id"]]
        known = len({*systems} & {*self.systems, REAL}) == len(systems)
        return (
            (kind == "pair" if item["id"] in self.key["expected"] else known)
            and kind in {*KINDS} & {*self.about["questions"]}
            and len(systems) == len(item[IMAGES]) == 1 + (kind == "pair")
            and all(map(IMAGE.fullmatch, (*item[IMAGES], *item.get("references", ()))))
        )

    def token(self, rater: str) -> str:
        """Return the token that proves that votes come from the page of a rater; "" for studies of
        older versions, which have none."""
        path = inside(self.folder, TOKENS)
        if not path.exists():
            return ""
        secret = content_key(read_json(path))
        return hmac.new(secret.encode(), rater.encode(), hashlib.sha256).hexdigest()[:24]

    def image(self, name: str) -> bytes:
        """Return an image's PNG bytes; raises InputError where a link leads out of the folder."""
        return inside(self.folder, f"{IMAGES}/{name}").read_bytes()

    def trials(self, rater: str) -> list[Trial]:
        """Return the trials of a rater, in the rater's own order.

        Each system is on the left in half of its pairs; repeats come late, with sides exchanged.
        "Real or generated" comes first: other trials reveal which images are generated.  Raises
        InputError for an invalid code.
        """
        check_code(rater)
        rng = random.Random(seed_for(self.hash, "order", rater))
        kinds = defaultdict(list)
        for name, item in self.items.items():
            kinds["check" if name in self.key["expected"] else item["kind"]].append(name)
        chosen = []
        for kind in KINDS:
            limit = self.about["per_rater"] or len(kinds[kind])
            chosen += rng.sample(kinds[kind], min(limit, len(kinds[kind])))
        checks = min(len(kinds["check"]), max(2, round(CHECKS * len(chosen))))
        chosen += rng.sample(kinds["check"], checks)
        rng.shuffle(chosen)
        chosen.sort(key=lambda name: self.items[name]["kind"] != "real")
        flips = self._flips(rng, chosen)
        half = (len(chosen) + sum(self.items[name]["kind"] == "real" for name in chosen)) // 2
        pairs = [name for name in chosen if self.items[name]["kind"] == "pair"]
        early = {*chosen[:half]} - {*self.key["expected"]}
        early = [name for name in pairs if name in early]
        order = [(name, flips[name]) for name in chosen]
        for name in rng.sample(early, min(len(early), max(1, round(REPEATS * len(pairs))))):
            order.insert(rng.randint(half + 1, len(order)), (name, not flips[name]))
        return [self._trial(number, *row) for number, row in enumerate(order)]

    def _flips(self, rng: random.Random, names: list[str]) -> dict[str, bool]:
        """Return {item: whether its sides are exchanged}, balanced for each pair of systems and for
        the checks."""
        groups = defaultdict(list)
        for name in names:
            groups[tuple(sorted(self.key["items"][name]))].append(name)
        flips = {}
        for systems, members in sorted(groups.items()):
            members = rng.sample(members, len(members))
            start = rng.randrange(2)
            for i, name in enumerate(members):
                first_is_left = self.key["items"][name][0] == systems[0]
                flips[name] = ((i + start) % 2 == 0) != first_is_left
        return flips

    def _trial(self, number: int, name: str, flip: bool) -> Trial:
        item = self.items[name]
        shown = item[IMAGES][::-1] if flip else item[IMAGES]
        references = tuple(item.get("references", ()))
        return Trial(number, name, item["kind"], item["prompt"], tuple(shown), references)


def check_code(rater: str) -> str:
    """Return a rater's code; raises InputError where it is no code."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", rater):
        raise InputError("bad-name.rater", rater=rater)
    return rater
