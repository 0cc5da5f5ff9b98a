"""Which attributes a picture shows, and how often they are the ones asked for.

What a prompt of a suite asks for is in its atoms; readers say what a picture shows: mini's judge,
or a CLIP by calibrated zero-shot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from tvhelpers.data.items import Source
from tvhelpers.data.sources import FlatsSource
from tvhelpers.data.split import split_by_product
from tvhelpers.files import content_key
from tvhelpers.image import resize
from tvhelpers.models.base import unet_digest
from tvhelpers.models.clip import Clip
from tvhelpers.score.alignment import ZeroShotReader, binding, corrected_rate
from tvhelpers.score.features import checked_pixels
from tvhelpers.score.garment_words import FACTORS, SAID
from tvhelpers.score.metrics import Result, mean_score

CORE = ("category", "colour", "pattern")


class AttributeJudge:
    """mini's judge as a reader: pixels in, the word of every attribute out."""

    def __init__(self, device: str = "cpu"):
        from tvhelpers.models.mini import RESOLUTION, load_judge

        judge, self.digest = load_judge()
        self.judge, self.device, self.size = judge.to(device), device, RESOLUTION
        self.name, self.heads = "mini judge", judge.heads

    def known(self) -> Source:
        """Return pictures whose attributes are known: flats that no training has seen."""
        return FlatsSource(204, 600, name="flats drawn anew")

    @torch.no_grad()
    def words(self, pixels: np.ndarray, batch_size: int = 64) -> list[dict[str, str]]:
        """Return {attribute: word} of each of pixels uint8 (N, H, W, 3); "none" if it has none."""
        found = []
        pixels = checked_pixels(pixels)
        for start in range(0, len(pixels), batch_size):
            small = np.stack([resize(one, self.size) for one in pixels[start : start + batch_size]])
            images = torch.from_numpy(small).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            best = {head: rows.argmax(1).tolist() for head, rows in self.judge(images).items()}
            rows = zip(*best.values(), strict=True)
            heads = self.judge.heads
            found += [{h: heads[h][i] for h, i in zip(best, row, strict=True)} for row in rows]
        return found


def agreement(wanted: list[dict], seen: list[dict]) -> dict[str, np.ndarray]:
    """Return {attribute: bool (N,)}: whether picture i shows what was asked of it, and "all".

    An attribute that `wanted[i]` does not name counts as right.  Raises ValueError for different
    lengths.
    """
    names = sorted({name for row in wanted for name in row})
    pairs = list(zip(wanted, seen, strict=True))
    right = {name: np.array([s[name] == w.get(name, s[name]) for w, s in pairs]) for name in names}
    right["all"] = np.all(list(right.values()), axis=0)
    return right


class ClipReader:
    """A CLIP as a reader of the attributes that pictures of `known` have, calibrated on half of
    their products; the other half tells how often it errs."""

    def __init__(self, clip: Clip, known: Source, most: int = 1000):
        self.name = f"zero-shot by {clip.name}"
        self.digest = content_key([known.fingerprint, unet_digest(clip.model)])
        numbers = range(0, len(known), -(-len(known) // most))
        held = split_by_product([known.product_ids[i] for i in numbers], 0.5, seed=0)
        self.fit, self.rest = ([i for i, h in zip(numbers, held) if h == side] for side in (0, 1))
        self.readers: dict[str, ZeroShotReader] = {}
        for name in FACTORS:
            fit = [i for i in self.fit if name in known.attributes[i]]
            words = sorted({known.attributes[i][name] for i in fit})
            if len(words) > 1:
                self.readers[name] = ZeroShotReader(clip, {w: _sentences(name, w) for w in words})
                truth = [known.attributes[i][name] for i in fit]
                self.readers[name].calibrate([known.pixels(i) for i in fit], truth)
        self.heads = {name: reader.words for name, reader in self.readers.items()}

    def words(self, pixels: Sequence[np.ndarray]) -> list[dict[str, str]]:
        """Return {attribute: word} of each picture uint8 (H, W, 3)."""
        found = {name: reader.read(list(pixels)) for name, reader in self.readers.items()}
        return [{name: found[name][i] for name in found} for i in range(len(pixels))]


def _sentences(name: str, word: str) -> list[str]:
    said = SAID.get(word, word) if name == "sleeve" else word
    thing = {
        "category": said,
        "neckline": f"garment with a {said} neckline",
        "fabric": f"garment made of {said}",
    }.get(name, f"{said} garment")
    return [f"a {thing}", f"a photo of a {thing}"]


def atom_results(
    rows: Sequence[dict], seen: Sequence[dict], heads: dict, known: tuple[list, list] | None = None
) -> list[Result]:
    """Return the share of right atoms by attribute, of pictures with all of them right, and that
    by stratum; of pictures of one garment.

    `rows` (N,) of the suite and `seen` (N,) words by attribute are of the same pictures; an atom
    whose word is none of the reader's `heads` is not asked, and a picture with none is left out.
    `known`: true and read words of pictures (M,), for the reader's own `ceiling` and for the share
    `corrected` by its errors.  Pictures of one prompt count as one.
    """
    asked = [_asked(row, heads) for row in rows]
    found = []
    for name in heads:
        kept = [i for i, want in enumerate(asked) if name in want]
        if kept:
            wanted, read = [asked[i][name] for i in kept], [seen[i][name] for i in kept]
            groups = [rows[i]["id"] for i in kept]
            found.append(_atom_result(name, wanted, read, groups, known))
    whole = [i for i, want in enumerate(asked) if want]
    right = {i: all(seen[i][name] == word for name, word in asked[i].items()) for i in whole}
    parts = {"atom:all": whole}
    for i in whole:
        parts.setdefault(f"stratum:{rows[i]['stratum']}", []).append(i)
    for name, kept in parts.items():
        if kept:
            groups = [rows[i]["id"] for i in kept]
            found.append(mean_score(name, [right[i] for i in kept], groups, "all atoms right"))
    return found


def _asked(row: dict, heads: dict) -> dict[str, str]:
    """Return {attribute: word} that a reader with `heads` can check; {} for several garments."""
    if any(atom["garment"] for atom in row["atoms"]):
        return {}
    atoms = {atom["attribute"]: atom["expect"] for atom in row["atoms"]}
    return {name: word for name, word in atoms.items() if word in heads.get(name, ())}


def _atom_result(name: str, wanted, read, groups, known) -> Result:
    right = [want == word for want, word in zip(wanted, read, strict=True)]
    result = mean_score(f"atom:{name}", right, groups, "atoms right")
    if known is None:
        return result
    pairs = [(t[name], r[name]) for t, r in zip(*known, strict=True) if name in t]
    true, words = zip(*pairs, strict=True) if pairs else ((), ())
    try:
        rate = corrected_rate(name, wanted, read, true, words, groups)
    except ValueError as error:
        return replace(result, warnings=(*result.warnings, f"not corrected: {error}"))
    corrected = {"corrected": rate.value, "corrected_ci": rate.ci, "n_known": len(pairs)}
    left_out = {"ceiling": rate.details["ceiling"], "left_out": rate.details["left_out"]}
    return replace(result, details={**corrected, **left_out})


def binding_results(rows: Sequence[dict], seeds, images: np.ndarray, texts: np.ndarray):
    """Return [the share of swap pairs that both pictures got right], [] without whole pairs.

    `rows` (N,) of the suite; `seeds` (N,) tell the copies of a prompt apart; embeddings (N, D) of
    pictures and prompts.
    """
    place = {(row["id"], row["seeds"].index(s)): i for i, (row, s) in enumerate(zip(rows, seeds))}
    pairs = [(i, place.get((rows[i]["swap_of"], copy))) for (_, copy), i in place.items()]
    pairs = sorted((i, j) for i, j in pairs if j is not None and rows[i]["id"] < rows[j]["id"])
    groups = [rows[i]["id"] for i, _ in pairs]
    return [binding(images, texts, pairs, groups)] if pairs else []
