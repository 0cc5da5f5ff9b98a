"""benchmarks/gpu.py measures what it can, names the rest, and keeps what it has if it is stopped.

The rows themselves run here on a CPU with tiny models.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

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
    rows = benchmark("gpu_rows")
    bench = rows.Bench(rows.Options(tmp_path, 60, tmp_path), ["good", "bad", "long", "next"])

    def bad(limit):
        raise ValueError("no such thing")

    bench.take("good", 1, lambda limit: {"images_per_second": 2.0})
    assert names(read(tmp_path), "waiting") == {"bad", "long", "next"}  # a stopped run keeps this
    bench.take("bad", 1, bad)
    bench.take("long", 36000, bad)
    bench.take("next", 1, lambda limit: {"limit": limit})
    result = read(tmp_path)
    assert [list(result[end]) for end in ENDS] == [["good", "next"], ["bad"], ["long"], []]
    assert "no such thing" in result["failed"]["bad"] and "36000 s" in result["skipped"]["long"]
    assert result["rows"]["next"]["limit"] == 3  # a row that hangs does not take all minutes


def test_claims_are_computed_from_rows_and_unknown_without_them():
    summary = benchmark("measured_gpu").summary
    assert {row["holds"] for row in summary({})["claims"].values()} == {None}
    yes = {"captured": True}
    rows = {"captured, batch 8": {"images_per_second": 90.0, "share_of_peak": 0.2, **yes},
            "peer, batch 8": {"images_per_second": 30.0}, "cache": {"wall_seconds": 0.012},
            "captured, batch 64": {"images_per_second": 250.0, "share_of_peak": 0.5, **yes},
            "captured, batch 64, checkpointing": {"gb": 19.5, "gb_reserved": 23.0, **yes},
    }  # fmt: skip
    found = summary(rows)
    assert found["times_peer_batch_8"] == 3 and found["minutes_of_50000_image_steps"] < 5.4
    held = {name: row["holds"] for name, row in found["claims"].items()}
    assert held["times_peer_batch_8"] and held["share_of_peak_batch_64"]
    assert held["share_of_peak_batch_8"] is False
    # what the pool took of the GPU counts, not what was allocated in it
    assert held["gb_reserved_batch_64_checkpointing"] is False
    assert held["gb_reserved_batch_8_checkpointing"] is None
    for name in found["claims"]:  # steps that fell back to eager ones say nothing of captured ones
        eager = summary({key: {**row, "captured": False} for key, row in rows.items()})
        assert eager[name] is None and eager["claims"][name]["holds"] is None
    assert eager["eager_instead"] == [key for key in rows if key.startswith("captured")]
    assert eager["captured"] is False and found["eager_instead"] == []


def test_speed_is_the_median_of_parts_and_has_a_range():
    watched, rows = benchmark("watched"), benchmark("gpu_rows")
    for first, last, steps in ((10, 70, [12] * 5), (1, 2, [1]), (2, 9, [1, 1, 2, 1, 2])):
        watch = watched.Watch(Path(os.devnull), first, last, 0.0, end=False)
        for _ in range(last):
            watch()
        found = watch.result()
        assert [part["steps"] for part in found["parts"]] == steps
        sum_of_parts = sum(part["wall_seconds"] for part in found["parts"])
        assert sum_of_parts == pytest.approx(found["wall_seconds"])
    parts = [{"images_per_second": rate} for rate in (90.0, 20.0, 91.0, 89.0, 95.0)]
    facts = rows.facts(SimpleNamespace(rows={}), SimpleNamespace(batch_size=8, model="sd15"),
                       {**found, "images_per_second": 60.0, "parts": parts}, ())  # fmt: skip
    speeds = [facts[f"images_per_second{end}"] for end in ("", "_lowest", "_highest")]
    assert speeds == [90, 20, 95]


def test_frozen_weights_are_seen_where_losses_are_equal():
    measured = benchmark("measured_gpu")
    trained = {"losses": [0.5, 0.4], "grad_norms": [0.2, 0.1], "moves": [3e-4, 4e-4]}
    cases = {
        "frozen": ({**trained, "moves": [0, 0]}, 1),
        "half the rate": ({**trained, "moves": [1.5e-4, 2e-4]}, 0.5),
        "the same": (trained, 0),
    }
    for name, (other, apart) in cases.items():
        found = measured.differences(other, trained)
        assert found["losses_differ_at_most"] == found["grad_norms_differ_at_most"] == 0
        assert found["weights_differ"] == pytest.approx(apart), name
        row = {"float32": {**found, "captured": True}, "bfloat16": {**found, "captured": False}}
        claims = measured.summary({"captured against eager": row})["claims"]
        assert claims["losses_differ_float32"]["holds"]
        assert claims["weights_differ_float32"]["holds"] == (name == "the same")
        assert claims["weights_differ_bfloat16"]["holds"] is None  # both ways were eager
    both = [{**trained, "moves": [0, 0]}] * 2
    assert measured.differences(*both)["weights_differ"] == 1
    other = {**trained, "grad_norms": [0.2, 0.11]}
    assert measured.differences(other, trained)["grad_norms_differ_at_most"] == pytest.approx(0.1)


def test_what_would_stop_an_unattended_run_is_said_before_it(tmp_path):
    gpu, common = benchmark("gpu"), benchmark("common")
    (tmp_path / "by_path_only.py").touch()
    needed = "json by_path_only not_there_at_all"
    assert gpu.lacking(sys.executable, str(tmp_path), needed) == ["not_there_at_all"]
    with pytest.raises(OSError):
        gpu.lacking(str(tmp_path / "python"), "", needed)
    with pytest.MonkeyPatch.context() as patch:  # libraries may come by PYTHONPATH alone
        patch.setenv("PYTHONPATH", str(tmp_path))
        common.run(["-c", "import by_path_only, tvhelpers"], tmp_path)
    with pytest.raises(SystemExit) as late:
        common.run(["-c", "import time; print('begun', flush=True); time.sleep(60)"], tmp_path,
                   seconds=3)  # fmt: skip
    assert "begun" in str(late.value) and "3 s" in str(late.value)


def test_a_run_outlives_its_terminal(tmp_path):
    code = "import gpu, os, signal, sys; gpu.outlive_the_terminal()\n"
    code += "os.kill(os.getpid(), signal.SIGHUP)\n"
    code += "for _ in range(3): gpu.tell('a row')\n"
    code += "open(sys.argv[1], 'w', encoding='utf-8').close()"
    end, pipe = os.pipe()
    os.close(end)
    words = [sys.executable, "-c", code, str(tmp_path / "written")]
    subprocess.run(words, check=True, stdout=pipe, cwd=REPO / "benchmarks", timeout=60)
    os.close(pipe)
    assert (tmp_path / "written").exists()


def test_all_that_the_package_needs_is_looked_for():
    """Its checks train to the end, which draws figures."""
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    names = {re.split("[>=]", word)[0] for word in tomllib.loads(text)["project"]["dependencies"]}
    modules = {{"pillow": "PIL", "PyYAML": "yaml"}.get(name, name) for name in names}
    assert modules <= {*benchmark("gpu").NEEDED.split()}


def test_data_workers_fit_in_shared_memory(monkeypatch):
    """A container may have 64 MB of it, and a worker without room ends the training."""
    rows, case = benchmark("gpu_rows"), SimpleNamespace(batch_size=8, resolution=512)
    for free, workers in ((64e6, 0), (1e9, 13)):
        monkeypatch.setattr(rows.shutil, "disk_usage", lambda _, n=free: SimpleNamespace(free=n))
        assert rows.most_workers(case) == workers


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
    plan, checks = benchmark("gpu_rows").PLAN, benchmark("gpu").CHECKS
    assert names(result, "rows") == {*plan, *checks} - {"peer, batch 64"}
    unknown = {name for name, row in result["claims"].items() if row["value"] is None}
    assert unknown == {name for name in result["claims"] if "resuming" not in name}
    assert len(result["eager_instead"]) == 4  # nothing is captured, and torch has no pool
    rows = {name: {**row, "captured": True} for name, row in result["rows"].items()}
    found = benchmark("measured_gpu").summary(rows)
    unknown = {name for name, row in found["claims"].items() if row["value"] is None}
    ends = {name.rpartition("_")[2] for name in unknown}
    assert ends == {"bfloat16", "float32", "checkpointing"}
    assert result["rows"]["captured, batch 8"]["parts"] == 2
    compared = result["rows"]["captured against eager"]
    resumed = result["rows"]["killed and resumed"]
    for row in (compared["float32"], compared["float32_eager_twice"], resumed):
        assert {row[key] for key in benchmark("measured_gpu").DIFFERENCES} == {0}
    traces = compared["float32_traces"]
    assert len(traces["captured"]["losses"]) == 3 and traces["eager"]["moves"] > 0
    assert resumed["moved"] > 0
    listed = result["rows"]["kernels of captured, batch 8"]["most_expensive"]
    assert len(listed) == 10 and 0 < sum(row["share"] for row in listed) <= 1
    log = (work / "logs" / "captured-batch_8-checkpointing.log").read_text(encoding="utf-8")
    assert "step 0/3" in log and "step 2/3" in log  # evaluations
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
    speed = {"images_per_second_lowest": 88.0, "images_per_second_highest": 91.0}
    rows = {"captured, batch 8": {"images_per_second": 90.0, "share_of_peak": 0.2, **speed,
                                  "captured": True},
            "peer, batch 8": {"images_per_second": 30.0}}  # fmt: skip
    result = {"card": "NVIDIA X1", **benchmark("measured_gpu").summary(rows), "rows": rows}
    (tmp_path / "gpu_x1.json").write_text(json.dumps(result), encoding="utf-8")
    table = benchmark("measured_gpu").rows(tmp_path)
    shown = [figure(result) for _, _, figure in table]
    assert shown[0] == "90.0 (88.0 to 91.0); 3.00 times" and shown[2] == "20.0 %, not measured"
    assert table[0][:1] == ("gpu_x1",) and table[0][1].startswith("NVIDIA X1")
