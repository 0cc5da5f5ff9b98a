"""Score folders of pictures and write metrics.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.data.photos import IMAGE_ENDINGS, read_photo
from tvhelpers.runtime import (
    choose_device,
    content_key,
    file_sha256,
    read_json,
    read_jsonl,
    versions,
    write_json,
)
from tvhelpers.score.features import BATCH_SIZE, choose_classifier
from tvhelpers.score.metrics import inception_score


@dataclass(frozen=True)
class PictureFolder:
    """Pictures to score; prompts (N,) are None where nobody wrote them down."""

    path: Path
    files: list[Path]
    prompts: list[str] | None

    def digest(self) -> str:
        """Return 16 hex digits of all pictures' bytes and prompts."""
        return content_key([[file_sha256(file) for file in self.files], self.prompts])


def score_folders(dirs, out_path: Path, classifier="auto", device: str = "auto") -> dict:
    """Write, and return, the Inception Score of each folder with its metric card.

    `classifier` is a name for `choose_classifier`, or an object with name, digest and probs.
    Pictures of one prompt count as one block wherever a prompt repeats.
    Raises InputError for a folder without whole pictures, and where `out_path` holds anything else.
    """
    if Path(out_path).exists() and not Path(out_path).is_file():
        raise InputError(f"{out_path} is no regular file; give the name of one for the metrics")
    folders = [open_folder(Path(folder)) for folder in dirs]
    device = choose_device(device)
    if isinstance(classifier, str):
        classifier, reason = choose_classifier(classifier, device)
    else:
        reason = "handed in"
    card = {"classifier": classifier.name, "classifier_digest": classifier.digest, "chosen": reason}
    scored = [{**_score(folder, classifier), **card} for folder in folders]
    result = json.loads(json.dumps({"folders": scored, "versions": versions()}))
    _write_once(Path(out_path), result)
    return result


def open_folder(path: Path) -> PictureFolder:
    """Return the pictures of a folder: those of records.jsonl, or all where there is none."""
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give one that `generate` wrote, or of pictures")
    if (path / "records.jsonl").exists():
        return _recorded_pictures(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise InputError(f"{path} holds no pictures; give a folder that `generate` wrote")
    return PictureFolder(path, files, None)


def _recorded_pictures(path: Path) -> PictureFolder:
    """Return the pictures that records.jsonl names, and no other: grid.png is none of them."""
    try:
        records = read_jsonl(path / "records.jsonl")
        files = [path / record["file"] for record in records]
        prompts = [str(record["prompt"]) for record in records]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}/records.jsonl is broken ({type(error).__name__}: {error}); draw it anew"
        ) from None
    if not files:
        raise InputError(f"{path}/records.jsonl names no picture; run `generate` to its end")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{path}: {missing[0]} is in records.jsonl but not there; draw it anew")
    if len(set(files)) < len(files):
        raise InputError(f"{path}/records.jsonl names a picture twice; draw it anew")
    return PictureFolder(path, files, prompts)


def format_table(result: dict) -> str:
    """Return a line a folder, with its warnings below."""
    lines = []
    for folder in result["folders"]:
        score = next(m for m in folder["metrics"] if m["name"] == "inception_score")
        interval = (
            "no interval" if score["ci"] is None else "95 % {:.2f} to {:.2f}".format(*score["ci"])
        )
        lines.append(
            f"{folder['dir']}: Inception Score {score['value']:.2f} ({interval}), "
            f"{score['n']} images, cap {score['details']['cap']}, on {folder['classifier']}"
        )
        lines += [f"  note: {warning}" for warning in score["warnings"]]
    return "\n".join(lines)


def _score(folder: PictureFolder, classifier) -> dict:
    probs = np.concatenate([classifier.probs(batch) for batch in _batches(folder.files)])
    repeated = folder.prompts and len(set(folder.prompts)) < len(folder.prompts)
    score = inception_score(probs, folder.prompts if repeated else None)
    return {
        "dir": str(folder.path),
        "n": len(folder.files),
        "digest": folder.digest(),
        "files": [file.name for file in folder.files],
        "metrics": [score.to_dict()],
    }


def _batches(files: list[Path]) -> Iterator[np.ndarray]:
    """Yield pixels uint8 (n, H, W, 3) of up to BATCH_SIZE pictures in a row that have one size."""
    batch: list[np.ndarray] = []
    for file in files:
        pixels = read_photo(file)
        if batch and (len(batch) == BATCH_SIZE or pixels.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(pixels)
    yield np.stack(batch)


def _write_once(path: Path, result: dict) -> None:
    if path.exists():
        if read_json(path) != result:
            raise InputError(
                f"{path} holds other results, and nothing is overwritten; choose another name"
            )
        return
    write_json(path, result)
