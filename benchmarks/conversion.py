"""Claims about `data convert` on files in the benchmark's format, made of real photos.

Peak memory of converting 1 GB and 4 GB; decoding and writing compared with reading the same rows
(medians, warm page cache, in turn); rows in random order; the same bytes after 20 SIGKILLs at
random moments.

python benchmarks/conversion.py WORK_DIR      writes results/conversion.json
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import make_g2, write_result

from tvhelpers.data.sources import open_source
from tvhelpers.files import file_sha256

ROUNDS, KILLS = 5, 20
DISCARD = """
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    for start in range(0, len(file["ih"]), 64):
        file["ih"][start : start + 64]
"""


def finished(command: list[str]) -> tuple[float, int]:
    """Run a command; return (seconds of wall clock, peak resident bytes)."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.monotonic() - began, usage.ru_maxrss * 1024


def convert_command(data: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "tvhelpers", "data", "convert", str(data), "--out", str(out)]


def converted(data: Path, out: Path) -> tuple[float, int]:
    shutil.rmtree(out, ignore_errors=True)
    return finished(convert_command(data, out))


def against_discarding(data: Path, out: Path) -> dict:
    """Convert, and read and throw away, in turn; start-up of Python and libraries included."""
    h5 = data / "Img" / "G2.h5"
    size = h5.stat().st_size / 1e6
    with open(h5, "rb") as file:
        while file.read(1 << 24):
            pass
    rates, discarding, peak = [], [], 0
    for _ in range(ROUNDS):
        seconds, memory = converted(data, out)
        rates.append(size / seconds)
        peak = max(peak, memory)
        discarding.append(size / finished([sys.executable, "-c", DISCARD, str(h5)])[0])
    convert, discard = statistics.median(rates), statistics.median(discarding)
    return {
        "input_mb": round(size),
        "peak_mb": round(peak / 1e6),
        "convert_mb_per_s": round(convert),
        "discard_mb_per_s": round(discard),
        "ratio": round(convert / discard, 3),
    }


def random_rows_per_second(folder: Path, count: int = 20000) -> float:
    source = open_source(folder)
    order = np.random.default_rng(0).integers(0, len(source), count)
    rates = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        for index in order:
            source.pixels(index)
        rates.append(count / (time.monotonic() - began))
    return statistics.median(rates)


def kill_and_go_on(data: Path, out: Path, seconds: float) -> int:
    """Return how many kills met a conversion that was under way; the last run finishes it."""
    shutil.rmtree(out, ignore_errors=True)
    rng, kills = random.Random(0), 0
    for _ in range(KILLS):
        process = subprocess.Popen(convert_command(data, out), stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if (out / "pixels.h5").exists():
            shutil.rmtree(out)  # it was faster than the kill: start again
    finished(convert_command(data, out))
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    work = parser.parse_args().work_dir
    small, large = (make_g2(work / f"g2-{n}", "--repeat", str(n)) for n in (2, 8))
    result = {"1 GB": against_discarding(small, work / "out-small")}
    result["4 GB"] = against_discarding(large, work / "out-large")
    result["random_rows_per_second"] = round(random_rows_per_second(work / "out-large"))
    whole = file_sha256(work / "out-small" / "pixels.h5")
    seconds, _ = converted(small, work / "again")
    result["kills"] = kill_and_go_on(small, work / "killed", seconds)
    digests = [file_sha256(work / name / "pixels.h5") for name in ("again", "killed")]
    result["same_bytes_after_kills"] = digests == [whole, whole]
    write_result("conversion", result)


if __name__ == "__main__":
    main()
