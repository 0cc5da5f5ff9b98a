"""Claims: mini's CLIP, tuned on 2,000 photos, is far better on validation photos than before and
no worse on flats; a simple recipe beside it.  Tuning with an effective batch size of 1,024 needs
hardly more memory than with 64.

python benchmarks/clip_tuning.py WORK_DIR [--seeds 3]      writes results/clip_tuning.json

Captions are "a photo of a COLOUR CATEGORY".  Validation: the validation photos without near-
duplicates of a training photo.  Both recipes tune all weights by the function behind `clip tune`.
Tuned: every caption that is true of a photo counts, flats are trained on too (--keep), early stop
and interpolation with the pretrained weights are chosen on other photos and flats.  Naive: one
positive, batches of 8, photos alone, as many images seen, the largest of the paper's learning
rates, no early stop, no interpolation.  Intervals are over groups of one caption.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from common import REPO, shared_folder, write_result

from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.items import Source
from tvhelpers.data.leakage import near_duplicates, thumbnails
from tvhelpers.data.sources import open_source
from tvhelpers.models.clip import Clip
from tvhelpers.models.clip_checks import attribute_codes, fitting, hits_at, zero_shot
from tvhelpers.score.metrics import compare, mean_score
from tvhelpers.train.clip_settings import ClipTuning
from tvhelpers.train.clip_tuning import tune_on_source

PHOTOS, FLATS = 2000, 2500
LAST = PHOTOS + 300  # of the training photos in random order; those after PHOTOS are for choices
FLAT_PHRASE = "a {} {}"
TUNED = ClipTuning(
    method="full", steps=120, batch_size=128, micro_batch=128, learning_rate=1e-3, eval_steps=20
)
NAIVE = ClipTuning(
    method="full", positives="own", batch_size=8, micro_batch=8, learning_rate=5e-5,
    steps=120 * 128 // 8, eval_steps=10_000, patience=0, share=1.0,
)  # fmt: skip


class Part(Source):
    """Some items of sources, under the splits that they have here."""

    def __init__(self, *parts):
        self.items = [(source, int(i)) for source, rows, _ in parts for i in rows]
        splits = [split for _, rows, split in parts for _ in rows]
        names = ("captions", "item_ids", "product_ids", "attributes")
        columns = [[getattr(source, name)[i] for source, i in self.items] for name in names]
        super().__init__("part", "", *columns, splits)

    def pixels(self, index):
        source, row = self.items[index]
        return source.pixels(row)


class Probe:
    """Images with labels, to be named and found."""

    def __init__(self, source, rows, phrase="a photo of a {} {}"):
        self.pixels = [source.pixels(int(i)) for i in rows]
        self.captions = [source.captions[i] for i in rows]
        self.rows = [source.attributes[i] for i in rows]
        colours = sorted({row["colour"] for row in self.rows})
        words = sorted({row["category"] for row in self.rows})
        self.texts = {w: [phrase.format(c, w) for c in colours] for w in words}
        self.fits = fitting(*attribute_codes(self.captions, self.rows))

    def figures(self, clip: Clip) -> dict[str, np.ndarray]:
        """Return whether each image is named correctly, and each caption's image found."""
        images, texts = clip.encode_images(self.pixels), clip.encode_texts(self.captions)
        seen = zero_shot(clip, images, self.texts)
        named = np.array([word == row["category"] for word, row in zip(seen, self.rows)])
        found = hits_at(texts @ images.T, self.fits, 5)
        return {"category_zero_shot": named * 1.0, "aware_recall_at_5": found * 1.0}


def photos():
    """Return (photos, rows to train on or to choose by, validation rows, number of near-duplicates
    that were removed from these)."""
    source = open_source(shared_folder() / "data" / "clothing")
    held = np.array([split == "val" for split in source.splits])
    pairs = near_duplicates(thumbnails(source))
    across = pairs[held[pairs[:, 0]] != held[pairs[:, 1]]]
    twins = {int(i) for i in across.ravel() if held[i]}
    left = [int(i) for i in np.flatnonzero(held) if int(i) not in twins]
    return source, np.flatnonzero(~held), left, len(twins)


def drawings(seed: int, count: int) -> FlatsSource:
    """Return flats whose captions state category and colour, as those of the photos do."""
    source = FlatsSource(seed, count, season="base")
    source.captions = [f"a {spec.colour} {spec.category}" for spec in source.specs]
    source.attributes = [{"category": s.category, "colour": s.colour} for s in source.specs]
    return source


def one_seed(seed: int, source, rows, probes: dict[str, Probe], work: Path) -> dict:
    order = np.random.default_rng(seed).permutation(rows)
    shown = Part((source, order[:PHOTOS], "train"), (source, order[PHOTOS:LAST], "val"))
    drawn, choice = drawings(1000 + seed, FLATS), drawings(3000, 400)
    keep = Part((drawn, range(FLATS), "train"), (choice, range(400), "val"))
    found, results = {}, {}
    for name, config, kept in (("pretrained", None, None), ("tuned", TUNED, keep),
                               ("naive", NAIVE, None)):  # fmt: skip
        clip = Clip("mini", "cpu")
        if config:
            config = ClipTuning(**{**vars(config), "seed": seed})
            results[name] = tune_on_source(shown, config, work / name, clip, kept)
            del results[name]["clip"]
        found[name] = {where: probe.figures(clip) for where, probe in probes.items()}
    return {**results, "figures": found}


def summary(rows: list[dict], probes: dict[str, Probe]) -> dict:
    """Return means over seeds, and gains over the pretrained CLIP with 95 % intervals over groups
    of images of one caption (their mean over seeds)."""
    table = {}
    for recipe in ("pretrained", "tuned", "naive"):
        table[recipe] = {}
        for where, probe in probes.items():
            for name in rows[0]["figures"][recipe][where]:
                each = np.stack([row["figures"][recipe][where][name] for row in rows])
                base = mean_score(
                    name, rows[0]["figures"]["pretrained"][where][name], probe.captions
                )
                gain = compare(mean_score(name, each.mean(0), probe.captions), base)
                table[recipe][f"{where}, {name}"] = {
                    "share": float(each.mean()),
                    "by_seed": each.mean(1).tolist(),
                    "gain": gain.value,
                    "gain_95": gain.ci,
                    "groups": gain.details["num_groups"],
                }
    return table


MEMORY = """
import sys
import numpy as np
from tvhelpers.train.clip_settings import ClipTuning
from tvhelpers.models.clip import Clip
from tvhelpers.runtime import peak_memory
from tvhelpers.train.clip_pairs import Pairs
from tvhelpers.train.clip_tuning import tune_clip
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
    flat = Probe(drawings(2000, 400), range(400), FLAT_PHRASE)
    probes, found = {"photos": Probe(source, held), "flats": flat}, []
    for seed in range(options.seeds):
        found.append(one_seed(seed, source, rows, probes, options.work_dir / f"seed-{seed}"))
        print(json.dumps(summary(found, probes), indent=1), flush=True)
    kept = [{k: v for k, v in row.items() if k != "figures"} for row in found]
    result = {
        "held_out_photos": len(held),  # stable name
        "near_duplicates_left_out": twins,  # stable name
    }
    result |= {"seeds": kept, "recipes": {"tuned": vars(TUNED), "naive": vars(NAIVE)}}
    result |= {"peak_mb": memory(options.work_dir), **summary(found, probes)}
    write_result("clip_tuning", result)


if __name__ == "__main__":
    main()
