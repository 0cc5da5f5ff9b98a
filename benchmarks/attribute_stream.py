"""Claim: list_attr_img.txt of the real size (289,222 rows x 1,000 attributes, 0.87 GB) is read at
several times the speed of splitting its lines, in memory that does not grow with the file; all
coarse label files together become columns in seconds.

python benchmarks/attribute_stream.py WORK_DIR      writes results/attribute_stream.json

The files are synthetic, in the published layout (names padded, values 2 wide), deleted afterwards.
Each reader runs in a process of its own, in turn; the naive one and pandas, by chunks, on a tenth.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import write_result

ROWS, ATTRIBUTES, POSITIVE, REPEATS = 289_222, 1_000, 3.3, 5
READERS = ("stream", "stream_part", "naive_part", "pandas_part", "all_coarse_files")


def write_file(path: Path, rows: int) -> None:
    """Write `rows` rows of random labels, POSITIVE positives a row."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        file.write(f"{rows}\nimage_name  attribute_labels\n".encode())
        for row in range(rows):
            cells = np.full((ATTRIBUTES, 3), np.frombuffer(b"-1 ", np.uint8))
            positive = rng.random(ATTRIBUTES) < POSITIVE / ATTRIBUTES
            cells[positive] = np.frombuffer(b" 1 ", np.uint8)
            file.write(f"{name_of(row):55}".encode() + cells.tobytes()[:-1] + b"\n")


def name_of(row: int) -> str:
    """Return the name of an image, 20 a product."""
    return f"img/Product_Folder_{row // 20:06d}/img_{row % 20:08d}.jpg"


def write_tables(anno: Path) -> None:
    """Write the other files of coarse labels beside list_attr_img.txt."""
    names = [name_of(row) for row in range(ROWS)]
    tables = {
        "list_category_cloth": [(f"Category{i}", 1) for i in range(50)],
        "list_attr_cloth": [(f"attribute {i}", 1 + i % 5) for i in range(ATTRIBUTES)],
        "list_category_img": [(name, 1 + row % 50) for row, name in enumerate(names)],
        "list_bbox": [(name, "072 079 232 273") for name in names],
        "list_eval_partition": [(name, "train") for name in names],
    }
    for file, rows in tables.items():
        lines = [f"{first:55} {rest}\n" for first, rest in rows]
        (anno / f"{file}.txt").write_text(
            f"{len(rows)}\nheader\n" + "".join(lines), encoding="utf-8"
        )


def read_naive(path: Path) -> int:
    """Return the number of positives, as most code reads the file: a split and an int a cell."""
    positives = 0
    with open(path, encoding="utf-8") as file:
        next(file), next(file)
        for line in file:
            values = [int(cell) for cell in line.split()[1:]]
            positives += values.count(1)
    return positives


def read_pandas(path: Path) -> int:
    """Return the number of positives, by pandas in chunks; it names no line and takes "+1"."""
    import pandas

    columns = {0: str} | dict.fromkeys(range(1, ATTRIBUTES + 1), np.int8)
    options = {"sep": r"\s+", "header": None, "skiprows": 2, "chunksize": 4096, "dtype": columns}
    chunks = pandas.read_csv(path, **options)
    return sum(int((chunk.iloc[:, 1:].to_numpy() == 1).sum()) for chunk in chunks)


def read_stream(path: Path) -> int:
    """Return the number of positives, by the reader of the package."""
    from tvhelpers.data.list_files import stream_attributes

    return sum(int((values == 1).sum()) for _, values in stream_attributes(path, ATTRIBUTES))


def read_all(path: Path) -> int:
    """Return the number of positives, by the reader of all coarse files."""
    from tvhelpers.data.attributes import read_coarse

    return len(read_coarse(path.parent).positives)


def measure(reader: str, path: Path) -> None:
    """Print seconds, positives and peak RSS of one read; runs in a process of its own."""
    others = {"naive_part": read_naive, "pandas_part": read_pandas, "all_coarse_files": read_all}
    read = others.get(reader, read_stream)
    import tvhelpers.data.attributes  # noqa: F401  its import is not timed

    began = time.monotonic()
    positives = read(path)
    seconds = time.monotonic() - began
    # getrusage counts what the parent had, too
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
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
        write_tables(work)
        parts = dict.fromkeys(("stream_part", "naive_part", "pandas_part"), part)
        paths = {reader: parts.get(reader, whole) for reader in READERS}
        runs = {reader: [] for reader in READERS}
        for _ in range(REPEATS):
            for reader in READERS:
                runs[reader].append(run(reader, paths[reader]))
        sizes = {reader: path.stat().st_size / 1e6 for reader, path in paths.items()}
    finally:
        for path in work.glob("list_*.txt"):
            path.unlink()
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
    found = {reader: some[0]["positives"] for reader, some in runs.items()}
    result["equal_positives"] = (
        found["stream_part"] == found["naive_part"] == found["pandas_part"]
        and found["stream"] == found["all_coarse_files"]
    )
    write_result("attribute_stream", result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
