"""Claims: mini's CLIP, tuned on 2,000 real photos, names and finds held-out photos far better than
before, and forgets nothing of flats; the naive recipe beside it.  Tuning with an effective batch of
1,024 needs hardly more memory than with 64.

python benchmarks/clip_tuning.py WORK_DIR [--seeds 3]      writes results/clip_tuning.json

Captions are "a photo of a COLOUR CATEGORY".  Held out: the validation photos less those that are
nearly the same as a training photo.  Tuned: every caption that is true of a photo counts, flats
among the photos so that they are not forgotten, early stop, and a share of the way from the
pretrained weights: of those at which flats kept for this choice are named at most a hundredth
worse, the one with the least loss on photos kept for it.  Naive: one positive, batches of 8, photos
alone, as many pictures seen, the largest of the paper's learning rates, no early stop.  Both tune
all weights.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from common import REPO, shared_folder, write_result

from tvhelpers.config import ClipTuning
from tvhelpers.data import flats
from tvhelpers.data.leakage import near_duplicates, thumbnails
from tvhelpers.data.sources import open_source
from tvhelpers.models.clip import Clip
from tvhelpers.models.clip_checks import attribute_codes, fitting, hits_at, zero_shot
from tvhelpers.train.clip_tuning import Pairs, interpolate, trade_off, tune_clip

PHOTOS, FLATS = 2000, 2500
FORGOTTEN = 0.01  # the most of the flats kept for the choice of the share that may be lost
LAST = PHOTOS + 300  # of the training photos in random order; those after PHOTOS choose the share
FLAT_PHRASE, SHARES = "a {} {}", tuple(i / 10 for i in range(11))
TUNED = ClipTuning(
    method="full", steps=120, batch_size=128, micro_batch=128, learning_rate=1e-3, eval_steps=20
)
NAIVE = ClipTuning(
    method="full", positives="own", batch_size=8, micro_batch=8, learning_rate=5e-5,
    steps=120 * 128 // 8, eval_steps=10_000, patience=0,
)  # fmt: skip


class Probe:
    """Pictures with labels, to be named and found."""

    def __init__(self, pixels, captions, rows, phrase="a photo of a {} {}"):
        self.pixels, self.captions, self.rows = pixels, captions, rows
        colours = sorted({row["colour"] for row in rows})
        words = sorted({row["category"] for row in rows})
        self.texts = {w: [phrase.format(c, w) for c in colours] for w in words}
        self.fits = fitting(*attribute_codes(captions, rows))

    def figures(self, clip: Clip) -> dict[str, np.ndarray]:
        """Return whether each picture is named right, and each caption's picture found."""
        images, texts = clip.images(self.pixels), clip.texts(self.captions)
        seen = zero_shot(clip, images, self.texts)
        named = np.array([word == row["category"] for word, row in zip(seen, self.rows)])
        found = hits_at(texts @ images.T, self.fits, 5)
        return {"category_zero_shot": named * 1.0, "aware_recall_at_5": found * 1.0}


def photos():
    """Return (the photos, rows to train on or to choose by, held-out rows, how many of these were
    left out as near-duplicates of others)."""
    source = open_source(shared_folder() / "data" / "clothing")
    held = np.array([split == "val" for split in source.splits])
    pairs = near_duplicates(thumbnails(source))
    across = pairs[held[pairs[:, 0]] != held[pairs[:, 1]]]
    twins = {int(i) for i in across.ravel() if held[i]}
    left = [int(i) for i in np.flatnonzero(held) if int(i) not in twins]
    return source, np.flatnonzero(~held), left, len(twins)


def of_photos(source, rows, **more) -> tuple:
    return (
        [source.pixels(int(i)) for i in rows],
        [source.captions[i] for i in rows],
        [{**source.attributes[i], **more} for i in rows],
    )


def of_flats(seed: int, count: int) -> tuple:
    specs = [flats.random_spec(seed, i, season="base") for i in range(count)]
    rows = [{"category": s.category, "colour": s.colour, "drawn": "yes"} for s in specs]
    captions = [f"a {s.colour} {s.category}" for s in specs]
    return [flats.render(s, seed, i) for i, s in enumerate(specs)], captions, rows


def one_seed(seed: int, source, rows, probes: dict[str, Probe], work: Path) -> dict:
    order = np.random.default_rng(seed).permutation(rows)
    # A caption that says "a photo of" is true of no drawing.
    train, choice = (
        of_photos(source, order[a:b], drawn="no") for a, b in ((0, PHOTOS), (PHOTOS, LAST))
    )
    drawn = of_flats(1000 + seed, FLATS)
    clip, naive = Clip("mini", "cpu"), Clip("mini", "cpu")
    held_out = Pairs(*choice, clip.size)
    found = {"pretrained": {name: probe.figures(clip) for name, probe in probes.items()}}
    both = Pairs(*([*a, *b] for a, b in zip(train, drawn, strict=True)), clip.size)
    config = ClipTuning(**{**vars(TUNED), "seed": seed})
    result, before = tune_clip(clip, both, held_out, config, work / "tuned")
    share, curve = chosen_share(clip, before, held_out, Probe(*of_flats(3000, 400), FLAT_PHRASE))
    clip.model.load_state_dict(interpolate(clip, before, share))
    clip.save(work / "clip")
    found["tuned"] = {name: probe.figures(clip) for name, probe in probes.items()}
    config = ClipTuning(**{**vars(NAIVE), "seed": seed})
    tune_clip(naive, Pairs(*train, clip.size), held_out, config, work / "naive")
    found["naive"] = {name: probe.figures(naive) for name, probe in probes.items()}
    return {"stopped": result, "share": share, "trade_off": curve, "figures": found}


def chosen_share(clip: Clip, before: dict, photos: Pairs, kept: Probe) -> tuple[float, list[dict]]:
    """Return (the share of the way from `before`, the curve); the weights are left at the end."""
    after = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
    _, curve = trade_off(clip, before, photos, SHARES)
    for row in curve:
        clip.model.load_state_dict(after)
        clip.model.load_state_dict(interpolate(clip, before, row["share"]))
        row["flats_named"] = float(kept.figures(clip)["category_zero_shot"].mean())
    clip.model.load_state_dict(after)
    least = curve[0]["flats_named"] - FORGOTTEN
    keeping = [row for row in curve if row["flats_named"] >= least]
    return min(keeping, key=lambda row: row["held_out_loss"])["share"], curve


def summary(rows: list[dict]) -> dict:
    """Return means over seeds, and gains over the pretrained CLIP with 95 % intervals over
    pictures (their mean over seeds)."""
    table = {}
    for recipe in ("pretrained", "tuned", "naive"):
        table[recipe] = {}
        for where in ("photos", "flats"):
            for name in rows[0]["figures"][recipe][where]:
                each = np.stack([row["figures"][recipe][where][name] for row in rows])
                base = np.stack([row["figures"]["pretrained"][where][name] for row in rows])
                gain = (each - base).mean(0)
                half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
                table[recipe][f"{where}, {name}"] = {
                    "share": float(each.mean()),
                    "by_seed": each.mean(1).tolist(),
                    "gain": float(gain.mean()),
                    "gain_95": [float(gain.mean() - half), float(gain.mean() + half)],
                }
    return table


MEMORY = """
import sys
import numpy as np
from tvhelpers.config import ClipTuning
from tvhelpers.models.clip import Clip
from tvhelpers.runtime import peak_memory
from tvhelpers.train.clip_tuning import Pairs, tune_clip
rng = np.random.default_rng(0)
rows = [{"category": str(i % 50)} for i in range(1100)]
pixels = rng.integers(0, 256, (1100, 128, 128, 3), dtype=np.uint8)
pairs = Pairs(pixels, [f"a thing {i % 50}" for i in range(1100)], rows, 128)
few = Pairs(pixels[:64], [f"a thing {i % 50}" for i in range(64)], rows[:64], 128)
batch = int(sys.argv[1])
config = ClipTuning(steps=1, batch_size=batch, micro_batch=64, eval_steps=9)
tune_clip(Clip("mini", "cpu"), pairs, few, config, sys.argv[2])
print(peak_memory('cpu') // 2**20)
"""


def memory(work: Path) -> dict:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    peaks = {}
    for batch in (64, 1024):
        command = [sys.executable, "-c", MEMORY, str(batch), str(work / f"memory-{batch}")]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        peaks[f"batch {batch}"] = int(done.stdout.split()[-1])
    return {**peaks, "ratio": round(peaks["batch 1024"] / peaks["batch 64"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    source, rows, held, twins = photos()
    flat = Probe(*of_flats(2000, 400), FLAT_PHRASE)
    probes, found = {"photos": Probe(*of_photos(source, held)), "flats": flat}, []
    for seed in range(options.seeds):
        found.append(one_seed(seed, source, rows, probes, options.work_dir / f"seed-{seed}"))
        print(json.dumps(summary(found), indent=1), flush=True)
    kept = [{k: v for k, v in row.items() if k != "figures"} for row in found]
    result = {"held_out_photos": len(held), "near_duplicates_left_out": twins}
    result |= {"seeds": kept, "recipes": {"tuned": vars(TUNED), "naive": vars(NAIVE)}}
    result |= {"peak_mb": memory(options.work_dir), **summary(found)}
    write_result("clip_tuning", result)


if __name__ == "__main__":
    main()
