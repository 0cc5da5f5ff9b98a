"""Claims about the real annotations: the benchmark's split leaks, one by product does not; items,
new captions, split and reports together take seconds.

python benchmarks/leakage.py WORK_DIR      writes results/leakage.json
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from common import shared_folder, write_result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("work_dir", type=Path)
work_dir = parser.parse_args().work_dir
work_dir.mkdir(parents=True, exist_ok=True)
began = time.monotonic()

from tvhelpers.data.caption_files import write_captions  # noqa: E402
from tvhelpers.data.coverage import coverage  # noqa: E402
from tvhelpers.data.leakage import leakage  # noqa: E402
from tvhelpers.data.sources import open_source  # noqa: E402
from tvhelpers.data.split import split_by_product  # noqa: E402

file = shared_folder() / "data" / "deepfashion_annotations" / "language_original.mat"
source = open_source(file)
(work_dir / "captions.jsonl").unlink(missing_ok=True)
write_captions(source, work_dir / "captions.jsonl")
own = np.array(source.splits) == "test"
splits = {"own": own, "by_product": split_by_product(source.product_ids, float(own.mean()), 0)}
report = {name: leakage(source, is_validation) for name, is_validation in splits.items()}
for row in report.values():
    row["held_out"] = row.pop("validation")  # stable name
gaps = coverage(source.attributes, ("gender", "category", "colour"))["gaps"]
write_result(
    "leakage",
    {
        "rows": len(source),
        "seconds_items_captions_split_reports": round(time.monotonic() - began, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        **report,
        "gaps": gaps,
    },
)
