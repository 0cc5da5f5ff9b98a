"""Claim: photos in the benchmark's format are decoded with an error of at most 1 level per pixel.

python benchmarks/decode_truth.py WORK_DIR      writes results/decode_truth.json
"""

import argparse
from pathlib import Path

import numpy as np
from common import make_g2, write_result
from PIL import Image

from tvhelpers.data.sources import open_source

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("work_dir", type=Path)
folder = make_g2(parser.parse_args().work_dir / "g2-truth", "--truth")

source = open_source(folder)
worst, off_by_one = 0, 0
for i in range(len(source)):
    truth = np.asarray(Image.open(folder / "truth" / f"{i:06d}.png").convert("RGB")).astype(int)
    difference = np.abs(truth - source.pixels(i))
    worst, off_by_one = max(worst, int(difference.max())), off_by_one + int((difference == 1).sum())
write_result(
    "decode_truth",
    {"photos": len(source), "worst_difference_in_levels": worst, "values_off_by_one": off_by_one},
)
