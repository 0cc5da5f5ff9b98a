"""Score folders of pictures, one by one and in pairs, and write metrics.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.sources import open_source
from tvhelpers.models.base import unet_digest
from tvhelpers.models.clip import Clip
from tvhelpers.records import TakenError, read_json, write_json
from tvhelpers.runtime import choose_device, versions
from tvhelpers.score import colour
from tvhelpers.score.alignment import clip_score, refuse_own_clip
from tvhelpers.score.attributes import AttributeJudge, ClipReader, atom_results, binding_results
from tvhelpers.score.cache import RowCache
from tvhelpers.score.cards import card_of
from tvhelpers.score.copying import CopyCheck
from tvhelpers.score.distances import kernel_distance, neighbour_scores, vendi_score
from tvhelpers.score.features import choose_classifier, choose_extractor
from tvhelpers.score.metrics import Result, compare, inception_score, mean_score
from tvhelpers.score.pictures import TOGETHER, PictureFolder, batches, open_folder, read_all
from tvhelpers.score.request import ScoreRequest


class Measures:
    """The networks that folders are scored on, each picture's rows kept in `cache`.

    `extractor` None leaves the figures on features out, `clip` None the CLIPScore, `reader` None
    the atoms of a suite's prompts.  `known` pictures tell how often the reader errs.
    """

    def __init__(self, classifier, extractor=None, clip=None, cache=None, reader=None, known=None):
        self.classifier, self.extractor, self.clip = classifier, extractor, clip
        self.reader, self.errors = reader, None
        if reader:
            self.readings = RowCache(cache, ["words", reader.name, reader.digest, reader.heads])
            self.errors = self._errors(known)
        self.probs = RowCache(cache, ["probs", classifier.name, classifier.digest])
        self.colours = RowCache(cache, ["colour", colour.RULES])
        self.embeddings = clip and RowCache(
            cache, ["clip, padded", clip.name, unet_digest(clip.model)]
        )
        self.features = extractor and RowCache(
            cache, ["features", extractor.name, extractor.digest]
        )

    def results(self, folder: PictureFolder, real: np.ndarray | None = None) -> list[Result]:
        """Return the figures of a folder; those against `real` features (M, D) where given."""
        probs = _rows(folder, self.probs, self.classifier.probs)
        found = [inception_score(probs, folder.groups())]
        found += self._colour(folder)
        drawn = [i for i, row in enumerate(folder.rows) if row]
        rows = [folder.rows[i] for i in drawn]
        if self.reader and drawn:
            seen = self._words(_rows(folder, self.readings, self._word_numbers))
            found += atom_results(rows, [seen[i] for i in drawn], self.reader.heads, self.errors)
        if self.clip and folder.prompts:
            images = _rows(folder, self.embeddings, self._embedded)
            texts = self.clip.texts(folder.prompts).double().numpy()
            found.append(clip_score(images, texts, folder.groups()))
            seeds = [folder.seeds[i] for i in drawn]
            found += binding_results(rows, seeds, images[drawn], texts[drawn])
        if self.features is not None:
            features = self.features_of(folder)
            found.append(vendi_score(features))
            if real is not None:
                neighbours = neighbour_scores(real, features)
                found += [kernel_distance(features, real), *neighbours.values()]
        return found

    def features_of(self, folder: PictureFolder) -> np.ndarray:
        """Return the features (N, D) of a folder's pictures."""
        return _rows(folder, self.features, self.extractor.features)

    def _errors(self, known) -> tuple[list, list]:
        """Return true and read words of pictures with known attributes."""
        numbers = getattr(self.reader, "rest", range(len(known)))
        digests = [f"{known.fingerprint}-{i}" for i in numbers]
        read = self.readings.of(
            digests, lambda some: self._read_known(known, [numbers[i] for i in some])
        )
        return [known.attributes[i] for i in numbers], self._words(read)

    def _read_known(self, known, items: list[int]) -> np.ndarray:
        pictures = batches(known.pixels(i) for i in items)
        return np.concatenate([*map(self._word_numbers, pictures)])

    def _word_numbers(self, pixels: np.ndarray) -> np.ndarray:
        """Return the number of each attribute's word (N, attributes)."""
        heads = self.reader.heads
        words = self.reader.words(pixels)
        return np.array([[heads[name].index(row[name]) for name in heads] for row in words])

    def _words(self, numbers: np.ndarray) -> list[dict[str, str]]:
        heads = self.reader.heads
        return [{name: heads[name][int(n)] for name, n in zip(heads, row)} for row in numbers]

    def _embedded(self, pixels: np.ndarray) -> np.ndarray:
        """Return embeddings (N, D), from a full batch: with fewer, kernels add in another order."""
        full = [*pixels, *[pixels[0]] * (TOGETHER - len(pixels))]
        return self.clip.images(full, batch_size=TOGETHER)[: len(pixels)].double().numpy()

    def _colour(self, folder: PictureFolder) -> list[Result]:
        """Return the share of pictures that have the colour of their prompt, where any names one
        that can be measured."""
        asked = [parse_caption(prompt).get("colour") for prompt in folder.prompts or []]
        names = list(colour.EXAMPLES)
        kept = [i for i, word in enumerate(asked) if word in names]
        if not kept:
            return []
        seen = _rows(folder, self.colours, _colour_numbers)[kept, 0]
        right = seen == [names.index(asked[i]) for i in kept]
        result = mean_score("colour", right, [folder.groups()[i] for i in kept], "CIELAB, 12 names")
        named = seen >= 0
        result.details["abstained"] = float(1 - named.mean())
        result.details["right_where_named"] = float(right[named].mean()) if named.any() else None
        return [result]


def score_folders(request: ScoreRequest) -> dict:
    """Write, and return, the figures of each folder, and of each against the first in pairs.

    Pictures of one prompt count as one block.  Pictures that were drawn from a suite have their
    atoms read.  Raises InputError for a folder without whole pictures, and where `out_path` holds
    anything else.
    """
    folders = [open_folder(Path(folder)) for folder in request.dirs]
    real_folder = open_folder(Path(request.real)) if request.real else None
    device, cache = choose_device(request.device), request.cache
    classifier, reason = choose_classifier(request.classifier, device)
    features = request.features or ("judge" if request.real else "")
    extractor = choose_extractor(features, device) if features else None
    judge_clip = _open_clip(request.clip, folders, device) if request.clip else None
    reader, known = _open_reader(request.reader, request.known, judge_clip, folders, device)
    check = None
    if request.train:
        copies = choose_extractor(request.copies, device)
        check = CopyCheck(copies, request.train, request.held_out, cache)
    measures = Measures(classifier, extractor, judge_clip, cache, reader, known)
    card = _card(classifier, reason, extractor, reader, known, check)
    try:
        real_features = measures.features_of(real_folder) if real_folder else None
        results = [measures.results(folder, real_features) for folder in folders]
        for rows, copies in zip(results, _copies(check, folders, cache), strict=True):
            rows += copies
    except ValueError as error:
        raise InputError(f"the pictures cannot be scored: {error}") from None
    result = _report(folders, results, card, real_folder)
    _write_once(Path(request.out_path), result)
    return result


def _card(classifier, reason: str, extractor, reader, known, check) -> dict:
    """Return what the figures of a folder were made with."""
    card = {"classifier": classifier.name, "classifier_digest": classifier.digest, "chosen": reason}
    if extractor:
        card |= {"extractor": extractor.name, "extractor_digest": extractor.digest}
    if reader:
        card |= {"reader": reader.name, "known": known.name}
    if check:
        card |= {"train": check.train.name, "held_out": check.held_out.name}
        card |= {"copies": check.extractor.name}
    return card


def _report(folders, results: list[list[Result]], card: dict, real: PictureFolder | None) -> dict:
    """Return all figures, as they are read from JSON."""
    scored = [
        {
            **_about(folder),
            **card,
            "metrics": [with_card(row) for row in rows],
            "notes": folder.notes,
        }
        for folder, rows in zip(folders, results, strict=True)
    ]
    pairs = [
        {"dir": str(folder.path), "against": str(folders[0].path), **_compared(rows, results[0])}
        for folder, rows in zip(folders[1:], results[1:], strict=True)
    ]
    result = {"folders": scored, "pairs": pairs, "versions": versions()}
    if real:
        result["real"] = _about(real)
    return json.loads(json.dumps(result))


def _open_clip(name: str, folders: list[PictureFolder], device: str) -> Clip:
    clip = Clip(name, device)
    for base in sorted({base for folder in folders for base in folder.bases}):
        refuse_own_clip(clip, base)
    return clip


def _open_reader(name: str, known: str, clip, folders: list[PictureFolder], device: str):
    """Return (reader, source of pictures with known attributes), or twice None without a suite."""
    if not any(row for folder in folders for row in folder.rows):
        return None, None
    if not name:
        mini = all(folder.bases == {"mini"} for folder in folders)
        name = "judge" if mini else "clip" if clip and known else ""
    if name == "judge":
        reader = AttributeJudge(device)
        return reader, open_source(known) if known else reader.known()
    if name == "clip" and clip and known:
        source = open_source(known)
        return ClipReader(clip, source), source
    if name:
        raise InputError(
            f"reader {name!r} cannot read: give judge, or clip with --clip and --known"
        )
    return None, None


def _copies(check, folders: list[PictureFolder], cache: Path | None) -> list[list[Result]]:
    if check is None:
        return [[] for _ in folders]
    rows = check.rows_of("drawn")
    features = [_rows(folder, rows, check.extractor.features) for folder in folders]
    groups = [folder.groups() for folder in folders]
    return [[result] for result in check.results([*zip(features, groups, strict=True)])]


def format_table(result: dict) -> str:
    """Return the figures of each folder and of each pair, with notes, and then what they count."""
    lines, names = [], []
    for folder in result["folders"]:
        lines.append(f"{folder['dir']}: {folder['n']} pictures, on {folder['classifier']}")
        lines += [f"    note: {note}" for note in folder["notes"]]
        for row in folder["metrics"]:
            lines += [_line(row), *(f"    note: {warning}" for warning in row["warnings"])]
            names += [row["name"]] if row["card"] not in map(card_of, names) else []
    for pair in result["pairs"]:
        lines.append(f"{pair['dir']} against {pair['against']}, pair by pair")
        lines += [_line(row) for row in pair["metrics"]]
        lines += [f"    note: {note}" for note in pair["notes"]]
    return "\n".join([*lines, *(f"{name.split(':')[0]}: {card_of(name)}" for name in names)])


def _line(row: dict) -> str:
    interval = "no interval" if row["ci"] is None else "95 % {:.4g} to {:.4g}".format(*row["ci"])
    cap = f", cap {row['details']['cap']}" if "cap" in row["details"] else ""
    chance = f", p {row['details']['p']:.2g}" if "p" in row["details"] else ""
    ceiling = ""
    if "ceiling" in row["details"]:
        ceiling = ", ceiling {ceiling:.4g}, corrected {corrected:.4g}".format(**row["details"])
    return f"  {row['name']} {row['value']:.4g} ({interval}), n {row['n']}{cap}{chance}{ceiling}"


def _about(folder: PictureFolder) -> dict:
    return {
        "dir": str(folder.path),
        "n": len(folder.files),
        "digest": folder.digest(),
        "files": [file.name for file in folder.files],
    }


def with_card(result: Result) -> dict:
    """Return a result as plain values, with the card that says what it counts."""
    return {**result.to_dict(), "card": card_of(result.name)}


def _compared(ours: list[Result], theirs: list[Result]) -> dict:
    """Return the paired comparisons of two folders' figures, and why others cannot be made."""
    others = {result.name: result for result in theirs}
    rows, notes = [], {}
    for result in ours:
        other = others.get(result.name)
        if other is None or result.left_out is None:
            continue
        try:
            rows.append(compare(result, other).to_dict())
        except ValueError as error:
            notes[str(error)] = None
    return {"metrics": rows, "notes": list(notes)}


def _rows(folder: PictureFolder, cache: RowCache, network: Callable) -> np.ndarray:
    """Return the rows (N, K) that `network` gives for the pixels of a folder's pictures."""
    return cache.of(
        folder.digests,
        lambda numbers: np.concatenate(
            [network(batch) for batch in read_all(folder.files[i] for i in numbers)]
        ),
    )


def _colour_numbers(pixels: np.ndarray) -> np.ndarray:
    """Return the number in EXAMPLES of each picture's colour (N, 1), -1 where it abstains."""
    names = list(colour.EXAMPLES)
    seen = [colour.name_colour(one).name for one in pixels]
    return np.array([[names.index(name) if name else -1] for name in seen])


def _write_once(path: Path, result: dict) -> None:
    if path.exists():
        if read_json(path) != result:
            raise TakenError(
                f"{path} holds other results, and nothing is overwritten; choose another name"
            )
        return
    write_json(path, result)
