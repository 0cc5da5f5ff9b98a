"""Claim: how much each wrong decoding of photos costs a CLIP, pretrained and tuned, with intervals.

python benchmarks/clip_decoding.py WORK_DIR [--tuned CLIP]      writes results/clip_decoding.json

Images: the validation photos whose kind is in the benchmark's codebook, written as Img/G2.h5 in
the benchmark's format.  Each is decoded correctly and wrongly (data/example.py).  Measured are
zero-shot category and colour, caption-aware recall at 5 in both directions, and captions with one
word changed.  A cost is the paired difference to the correct decoding, its interval over groups of
photos with one caption.  `--tuned`: the CLIP that clip_tuning.py wrote, by default
WORK_DIR/seed-0/tuned; without it only mini's own is measured.
"""

import argparse
from pathlib import Path

from common import shared_folder, write_result

from tvhelpers.data import example
from tvhelpers.data.example import write_g2
from tvhelpers.data.sources import open_source
from tvhelpers.image import resize
from tvhelpers.models.clip import Clip
from tvhelpers.models.clip_checks import answers
from tvhelpers.score.metrics import compare, mean_score

CODEBOOK = {
    "t-shirt": "tee", "longsleeve": "sweater", "shirt": "blouse", "outwear": "jacket",
    "dress": "dress",
}  # fmt: skip
COLOURS = {"navy": "blue"}


def written(work: Path):
    """Return (stored images, captions, attributes) of the validation photos as Img/G2.h5."""
    source = open_source(shared_folder() / "data" / "clothing")
    rows = [
        i
        for i, split in enumerate(source.splits)
        if split == "val" and source.attributes[i]["category"] in CODEBOOK
    ]
    labels = [source.attributes[i] for i in rows]
    path = work / "g2" / "Img" / "G2.h5"
    if not path.exists():
        write_g2(
            work / "g2",
            (resize(source.pixels(i), 128) for i in rows),
            [source.captions[i] for i in rows],
            [CODEBOOK[row["category"]] for row in labels],
            [COLOURS.get(row["colour"], row["colour"]) for row in labels],
        )
    return open_source(path).images, [source.captions[i] for i in rows], labels


def costs(clip: Clip, variants: list[dict], captions, labels) -> dict:
    """Return {decoding: {check: share, and cost against the right decoding with its interval}}."""
    found, right = {}, None
    images = {name: [variant[name] for variant in variants] for name in variants[0]}
    for name, seen in answers(clip, images, captions, labels).items():
        results = {check: mean_score(check, *hits) for check, hits in seen.items()}
        right = right or results
        found[name] = {}
        for check, result in results.items():
            lost = compare(right[check], result)
            found[name][check] = {"share": result.value, "cost": lost.value, "cost_95": lost.ci}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--tuned", type=Path)
    options = parser.parse_args()
    tuned = options.tuned or options.work_dir / "seed-0" / "tuned"
    images, captions, labels = written(options.work_dir)
    variants = [example.decodings(images, i) for i in range(len(captions))]
    names = {"pretrained": "mini"} | ({"tuned": str(tuned)} if tuned.is_dir() else {})
    result = {
        name: costs(Clip(path, "cpu"), variants, captions, labels) for name, path in names.items()
    }
    write_result("clip_decoding", {"photos": len(captions), **result})


if __name__ == "__main__":
    main()
