"""How is a study made?  Images are paired, attention checks added, files given new names."""

import hashlib
import hmac
import random
import re
import secrets
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
from PIL import Image

from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.items import Source
from tvhelpers.errors import InputError
from tvhelpers.files import content_key, file_sha256
from tvhelpers.image import read_photo, resize, save_png
from tvhelpers.paths import inside
from tvhelpers.records import claimed, read_records, write_json
from tvhelpers.score.image_folder import open_folder
from tvhelpers.study.model import (
    CHECKS,
    CONSENT,
    IMAGES,
    KINDS,
    REAL,
    REFERENCES,
    TEXTS,
    TOKENS,
    Study,
)

SCRATCH = (IMAGES, "key.json", TOKENS)  # study.json is written last: without it, no study


def make_study(
    systems: dict[str, Path],
    out_dir: Path,
    *,
    real: Source | None = None,
    tasks: Sequence[str] = ("pair",),
    primary: Sequence[str] = (),
    per_rater: int = 0,
    title: str = "Which design is better?",
    consent: str = CONSENT,
    seed: int | None = None,
) -> Study:
    """Make a study of galleries, {system: folder with records.jsonl}, or open it if it was made.

    Images are paired by prompt and seed, and resized to the smallest generated one: sizes would
    tell systems apart.  `tasks`: "pair", "rating", "real"; the last two need `real` images.
    `primary`: the two systems of the comparison that counts, by default the first two.
    `per_rater`: the most trials of a task for each rater, 0 for all.  `seed` fixes order and salt,
    for tests and lessons; by default they are random.  Raises InputError for fewer than two
    systems, galleries that cannot be paired, or where `out_dir` holds another study.
    """
    names, primary = list(systems), list(primary or list(systems)[:2])
    tasks = [kind for kind in KINDS if kind == "pair" or kind in tasks]
    _check_request(names, primary, tasks, per_rater, real)
    generated = {name: _images_by_key(Path(folder)) for name, folder in systems.items()}
    _check_pairs(generated)
    digests = {n: [file_sha256(file) for file in files.values()] for n, files in generated.items()}
    request = {"systems": digests, "primary": primary, "tasks": tasks, "per_rater": per_rater,
               "title": title, "consent": consent, "seed": seed,
               "real": real.fingerprint if real else None}  # fmt: skip
    claim = {"what": "study request", "marker": "key-request.json", "scratch": SCRATCH}
    with claimed(Path(out_dir), request, **claim) as out_dir:
        if not (out_dir / "study.json").exists():
            _StudyWriter(out_dir, generated, real, seed).write(request)
        return Study(out_dir)


def _check_request(names, primary, tasks, per_rater, real) -> None:
    if len(names) < 2:
        raise InputError("too-few-systems")
    if REAL in names:
        raise InputError("bad-name.system", name=REAL)
    if len(set(primary)) != 2 or not {*primary} <= {*names}:
        raise InputError("unknown-choice.primary", names=list(names))
    if per_rater < 0:
        raise InputError("out-of-range.per-rater", value=per_rater)
    if len(tasks) > 1 and (real is None or len(real) < REFERENCES + 1):
        raise InputError("too-few-images", task=tasks[1], count=REFERENCES + 1)


def _images_by_key(folder: Path) -> dict[tuple[str, int], Path]:
    """Return {(prompt, seed): file} of a gallery, sorted."""
    if open_folder(folder).prompts is None:
        raise InputError("not-a-gallery", folder=folder)
    records = read_records(folder / "records.jsonl", "image")
    rows = {(r["prompt"], r.get("seed", 0)): inside(folder, r["file"]) for r in records}
    if len(rows) < len(records):
        raise InputError("duplicate-image", folder=folder)
    return dict(sorted(rows.items()))


def _check_pairs(generated: dict[str, dict]) -> None:
    keys = {name: set(files) for name, files in generated.items()}
    different = set.union(*keys.values()) - set.intersection(*keys.values())
    if different:
        prompt, seed = min(different)
        raise InputError("unpaired-images", count=len(different), prompt=prompt, seed=seed)
    if len({prompt for prompt, _ in next(iter(keys.values()))}) < 2:
        raise InputError("too-few-prompts")


class _StudyWriter:
    """Builds the items of a study, and writes images under their new names."""

    def __init__(self, folder: Path, generated: dict[str, dict], real: Source | None, seed):
        self.folder, self.names, self.real = folder, list(generated), real
        self.generated = generated
        self.salt = secrets.token_hex(16) if seed is None else content_key(["salt", seed])
        self.rng = random.Random(self.salt)
        self.keys = list(next(iter(generated.values())))
        files = [file for files in generated.values() for file in files.values()]
        self.side = min(max(read_photo(file).shape[:2]) for file in files)
        self.rows: list[tuple[dict, list[str], str | None]] = []  # item, systems, expected

    def write(self, request: dict) -> None:
        """Write key.json, then study.json: a study with study.json is complete."""
        add = {"pair": self._pairs, "rating": self._ratings, "real": self._real_or_generated}
        for kind in request["tasks"]:
            add[kind]()
        self._checks()
        self.rng.shuffle(self.rows)
        for i, (item, _, _) in enumerate(self.rows):
            item["id"] = f"i{i:05d}"
        expected = {item["id"]: answer for item, _, answer in self.rows if answer is not None}
        key = {"salt": self.salt, "systems": self.names, "primary": request["primary"]}
        key |= {"items": {item["id"]: who for item, who, _ in self.rows}, "expected": expected}
        about = {"title": request["title"], "consent": request["consent"]}
        about |= {"questions": TEXTS["questions"], "rules": TEXTS["rules"]}
        about |= {"tasks": request["tasks"], "per_rater": request["per_rater"]}
        about |= {"key_sha256": content_key(key)}
        write_json(self.folder / TOKENS, {"secret": content_key(["raters", self.salt])})
        write_json(self.folder / "key.json", key)
        write_json(self.folder / "study.json", {**about, "items": [item for item, *_ in self.rows]})

    def _add(self, kind, prompt, images, systems, expected=None, references=()) -> None:
        """Add an item, its images in random order."""
        order = self.rng.sample(range(len(images)), len(images))
        item = {"kind": kind, "prompt": prompt, IMAGES: [images[i] for i in order]}
        if references:
            item["references"] = list(references)
        self.rows.append((item, [systems[i] for i in order], expected))

    def _image(self, pixels: np.ndarray) -> str:
        """Write pixels, and return the file's name: a digest that cannot be made without the
        salt."""
        content = str(pixels.shape).encode() + pixels.tobytes()
        name = hmac.new(self.salt.encode(), content, hashlib.sha256).hexdigest()[:24] + ".png"
        path = self.folder / IMAGES / name
        if not path.exists():
            save_png(Image.fromarray(pixels), path)  # pixels alone, no metadata
        return name

    def _generated(self, name: str, key) -> str:
        return self._image(resize(read_photo(self.generated[name][key]), self.side))

    def _real(self, index: int) -> str:
        return self._image(resize(self.real.pixels(index), self.side))

    def _pairs(self) -> None:
        for key, two in product(self.keys, combinations(self.names, 2)):
            self._add("pair", key[0], [self._generated(name, key) for name in two], two)

    def _checks(self) -> None:
        """Add pairs whose answer is known: an image twice, or beside one of the prompt that has
        least in common with its own."""
        count = max(2, round(CHECKS * len(self.rows)))
        for i in range(count):
            key, name = self.keys[i * len(self.keys) // count], self.names[i % len(self.names)]
            image = self._generated(name, key)
            if i % 2:
                self._add("pair", key[0], [image, image], ("same", "same"), "same")
                continue
            others = [other for other in self.keys if other[0] != key[0]]
            foil = min(others, key=lambda other: (_similarity(key[0], other[0]), other))
            two = [image, self._generated(name, foil)]
            self._add("pair", key[0], two, ("right", "foil"), "right")

    def _ratings(self) -> None:
        """Add each generated image, and a real one, beside the real images whose captions are most
        similar to the prompt: of its category, if there are any."""
        for key in self.keys:
            similarity = [_similarity(key[0], caption) for caption in self.real.captions]
            order = sorted(range(len(similarity)), key=lambda i: (-similarity[i], i))
            own, *references = map(self._real, order[: REFERENCES + 1])
            images = {name: self._generated(name, key) for name in self.names}
            for name, image in {**images, REAL: own}.items():
                self._add("rating", key[0], [image], [name], references=references)

    def _real_or_generated(self) -> None:
        """Add equal numbers of real images and of generated ones, from each system in turn."""
        count = min(len(self.keys), len(self.real))
        for i, key in enumerate(self.rng.sample(self.keys, count)):
            name = self.names[i % len(self.names)]
            self._add("real", "", [self._generated(name, key)], [name])
        for index in self.rng.sample(range(len(self.real)), count):
            self._add("real", "", [self._real(index)], [REAL])


def _similarity(a: str, b: str) -> float:
    """Return the share of words that two texts have in common (Jaccard), plus 1 if both name the
    same category."""
    (kind, words), (other, others) = _kind_and_words(a), _kind_and_words(b)
    same_kind = kind is not None and kind == other
    return same_kind + len(words & others) / max(1, len(words | others))


@cache
def _kind_and_words(text: str) -> tuple[str | None, frozenset[str]]:
    words = frozenset(re.findall(r"[\w-]+", text.lower())) - {"a", "an", "the", "of"}
    return parse_caption(text).get("category"), words
