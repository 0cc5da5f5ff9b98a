"""benchmarks/gpu.py measures what it can, names the rest, and keeps what it has if it is stopped.

The rows themselves run here on a CPU with tiny models.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import benchmark

REPO = Path(__file__).resolve().parents[1]
ENDS = ("rows", "failed", "skipped", "waiting")
SCRIPT = """
import sys, time, torch
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
weight = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([weight], lr=0.1)
assert int(words["--train_batch_size"]) == 2, "too large for this script"
for _ in range(int(words["--max_train_steps"])):
    until = time.process_time() + 0.1
    while time.process_time() < until:
        (weight * 2).sum().backward()
    optimizer.step()
sys.exit("reached what comes after the last mark")
"""


def command(work: Path, *more: str) -> list[str]:
    return [sys.executable, str(REPO / "benchmarks" / "gpu.py"), str(work), "--dry-run", *more]


def read(work: Path) -> dict:
    return json.loads((work / "gpu_cpu.json").read_text(encoding="utf-8"))


def names(result: dict, *ends: str) -> set[str]:
    return {name for end in ends for name in result[end]}


def test_rows_that_raise_or_do_not_fit_are_named(tmp_path):
    bench = benchmark("gpu_bench")
    options = bench.Options(tmp_path, 60, tmp_path)
    rows = bench.Bench(options, ["good", "bad", "long", "next"])

    def bad(limit):
        raise ValueError("no such thing")

    rows.take("good", 1, lambda limit: {"images_per_second": 2.0})
    assert names(read(tmp_path), "waiting") == {"bad", "long", "next"}  # a stopped run keeps this
    rows.take("bad", 1, bad)
    rows.take("long", 36000, bad)
    rows.take("next", 1, lambda limit: {"limit": limit})
    result = read(tmp_path)
    assert [list(result[end]) for end in ENDS] == [["good", "next"], ["bad"], ["long"], []]
    assert "no such thing" in result["failed"]["bad"] and "36000 s" in result["skipped"]["long"]
    assert result["rows"]["next"]["limit"] == 3  # a row that hangs does not take all minutes


def test_claims_are_computed_from_rows_and_unknown_without_them():
    summary = benchmark("gpu_claims").summary
    assert {row["holds"] for row in summary({})["claims"].values()} == {None}
    rows = {"captured, batch 8": {"images_per_second": 90.0, "share_of_peak": 0.2},
            "peer, batch 8": {"images_per_second": 30.0}, "cache": {"wall_seconds": 0.012},
            "captured, batch 64": {"images_per_second": 250.0, "share_of_peak": 0.5}}  # fmt: skip
    found = summary(rows)
    assert found["times_peer_batch_8"] == 3 and found["minutes_of_50000_image_steps"] < 5.4
    held = {name: row["holds"] for name, row in found["claims"].items()}
    assert held["times_peer_batch_8"] and held["share_of_peak_batch_64"]
    assert held["share_of_peak_batch_8"] is False and held["gb_batch_8_checkpointing"] is None


@pytest.mark.slow
def test_without_minutes_everything_is_named_as_skipped(tmp_path):
    subprocess.run(command(tmp_path / "work", "--minutes", "0"), check=True, timeout=200)
    result = read(tmp_path / "work")
    assert names(result, "rows", "failed", "waiting") == set()
    assert {"models and data", "captured, batch 8", "sampling"} <= names(result, "skipped")


@pytest.mark.slow
def test_every_row_runs_on_a_cpu(tmp_path):
    """The other script is one that fails on the large batch."""
    script, work = tmp_path / "script.py", tmp_path / "work"
    script.write_text(SCRIPT, encoding="utf-8")
    before = sorted((REPO / "benchmarks" / "results").iterdir())
    subprocess.run(command(work, "--minutes", "60", "--peer", str(script)), check=True)
    result = read(work)
    assert names(result, "failed") == {"peer, batch 64"}
    assert "too large for this script" in result["failed"]["peer, batch 64"]
    assert names(result, "skipped", "waiting") == set()
    plan, checks = benchmark("gpu_rows").PLAN, benchmark("gpu_checks").CHECKS
    assert names(result, "rows") == {*plan, *checks} - {"peer, batch 64"}
    known = {name for name, row in result["claims"].items() if row["value"] is not None}
    assert {*result["claims"]} - known == {"losses_differ_bfloat16"}  # a CPU trains in float32
    compared = result["rows"]["captured against eager"]
    assert compared["float32"] == 0 and len(compared["float32_losses"]["captured"]) == 3
    assert result["rows"]["killed and resumed"]["losses_differ_at_most"] == 0
    assert sorted((REPO / "benchmarks" / "results").iterdir()) == before


@pytest.mark.slow
def test_a_program_that_is_killed_keeps_its_rows(tmp_path):
    work = tmp_path / "work"
    program = subprocess.Popen(command(work), start_new_session=True)
    try:
        while not (work / "gpu_cpu.json").exists() or not read(work)["rows"]:
            assert program.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    result = read(work)
    assert result["rows"] and "sampling" in result["waiting"]
    assert result["times_peer_batch_8"] is None


def test_a_result_is_shown_by_its_card(tmp_path):
    rows = {"captured, batch 8": {"images_per_second": 90.0, "share_of_peak": 0.2},
            "peer, batch 8": {"images_per_second": 30.0}}  # fmt: skip
    result = {"card": "NVIDIA X1", **benchmark("gpu_claims").summary(rows), "rows": rows}
    (tmp_path / "gpu_x1.json").write_text(json.dumps(result), encoding="utf-8")
    table = benchmark("measured_gpu").rows(tmp_path)
    shown = [figure(result) for _, _, figure in table]
    assert shown[0] == "90.0; 3.00 times" and shown[2] == "20.0 %, not measured"
    assert table[0][:1] == ("gpu_x1",) and table[0][1].startswith("NVIDIA X1")
