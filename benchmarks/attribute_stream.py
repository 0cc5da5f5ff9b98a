"""Claim: list_attr_img.txt of the real size (289,222 rows x 1,000 attributes, 0.87 GB) is read at
several times the speed of splitting its lines, in memory that does not grow with the file.

python benchmarks/attribute_stream.py WORK_DIR      writes results/attribute_stream.json

The file is synthetic, in the published layout (names padded, values 2 wide), deleted afterwards.
Each reader runs in a process of its own, in turn; the naive one on the file's first tenth.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import write_result

ROWS, ATTRIBUTES, POSITIVE, REPEATS = 289_222, 1_000, 3.3, 5
READERS = ("stream", "stream_part", "naive_part")


def write_file(path: Path, rows: int) -> None:
    """Write `rows` rows of random labels, POSITIVE positives a row."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        file.write(f"{rows}\nimage_name  attribute_labels\n".encode())
        for row in range(rows):
            cells = np.full((ATTRIBUTES, 3), np.frombuffer(b"-1 ", np.uint8))
            positive = rng.random(ATTRIBUTES) < POSITIVE / ATTRIBUTES
            cells[positive] = np.frombuffer(b" 1 ", np.uint8)
            name = f"img/Product_Folder_{row // 20:06d}/img_{row % 20:08d}.jpg"
            file.write(f"{name:55}".encode() + cells.tobytes()[:-1] + b"\n")


def read_naive(path: Path) -> int:
    """Return the number of positives, as most code reads the file: a split and an int a cell."""
    positives = 0
    with open(path) as file:
        next(file), next(file)
        for line in file:
            values = [int(cell) for cell in line.split()[1:]]
            positives += values.count(1)
    return positives


def read_stream(path: Path) -> int:
    """Return the number of positives, by the reader of the package."""
    from tvhelpers.data.attribute_prediction import stream_attributes

    return sum(int((values == 1).sum()) for _, values in stream_attributes(path, ATTRIBUTES))


def measure(reader: str, path: Path) -> None:
    """Print seconds, positives and peak RSS of one read; runs in a process of its own."""
    import resource

    read = read_naive if reader.startswith("naive") else read_stream
    import tvhelpers.data.attribute_prediction  # noqa: F401  its import is not timed

    began = time.monotonic()
    positives = read(path)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "positives": positives, "peak_rss_mb": peak}))


def run(reader: str, path: Path) -> dict:
    """Return what `measure` prints of one reader, in a new process."""
    command = [sys.executable, __file__, "--measure", reader, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(work: Path) -> None:
    """Write the files, read them in turn, and write the result."""
    work.mkdir(parents=True, exist_ok=True)
    whole, part = work / "list_attr_img.txt", work / "list_attr_img_part.txt"
    try:
        write_file(whole, ROWS)
        write_file(part, ROWS // 10)
        paths = {"stream": whole, "stream_part": part, "naive_part": part}
        runs = {reader: [] for reader in READERS}
        for _ in range(REPEATS):
            for reader in READERS:
                runs[reader].append(run(reader, paths[reader]))
        sizes = {reader: path.stat().st_size / 1e6 for reader, path in paths.items()}
    finally:
        whole.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    report(runs, sizes)


def report(runs: dict, sizes: dict) -> None:
    """Write medians of all runs, with the least and the most."""
    result = {"rows": ROWS, "attributes": ATTRIBUTES, "repeats": REPEATS}
    for reader, some in runs.items():
        rates = [sizes[reader] / one["seconds"] for one in some]
        result[reader] = {
            "file_mb": round(sizes[reader], 1),
            "mb_per_s": round(statistics.median(rates), 1),
            "mb_per_s_least_and_most": [round(min(rates), 1), round(max(rates), 1)],
            "seconds": round(statistics.median(one["seconds"] for one in some), 2),
            "peak_rss_mb": round(statistics.median(one["peak_rss_mb"] for one in some), 1),
        }
    result["times_as_fast"] = round(
        result["stream_part"]["mb_per_s"] / result["naive_part"]["mb_per_s"], 1
    )
    found = [runs[reader][0]["positives"] for reader in ("stream_part", "naive_part")]
    result["equal_positives"] = found[0] == found[1]
    write_result("attribute_stream", result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
