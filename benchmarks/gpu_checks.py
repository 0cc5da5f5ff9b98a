"""What benchmarks/gpu.py runs beside each other before it times anything: the building of models
and data, the tests for a GPU, and a training that is killed and resumed."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from common import REPO, run, start
from gpu_bench import Bench

USUAL_SECONDS = 50
POLL = 0.01  # seconds


def take_checks(bench: Bench, identify: Callable[[], None]) -> None:
    """Take the rows of CHECKS together; `identify` the machine meanwhile."""
    limit = min(bench.left(), bench.sizes.patience * USUAL_SECONDS)
    if bench.left() < USUAL_SECONDS * bench.sizes.pace:
        identify()
        for name, check in CHECKS.items():
            bench.take(name, USUAL_SECONDS, partial(check, bench))
        return
    with ThreadPoolExecutor() as pool:
        begun = {name: pool.submit(clocked, check, bench, limit) for name, check in CHECKS.items()}
        identify()
        for name, check in begun.items():
            bench.take(name, 0, lambda _, check=check: check.result())


def clocked(check: Callable, *arguments) -> dict:
    began = time.monotonic()
    row = check(*arguments)
    return {**row, "took_seconds": time.monotonic() - began}


def build(bench: Bench, limit: float) -> dict:
    """Make the models and the data, which everything else needs: it may take all minutes."""
    return bench.job("build", bench.left())


def gpu_tests(bench: Bench, limit: float) -> dict:
    """Return how many of the tests marked `gpu` passed; raises if one fails."""
    files = [path for path in REPO.glob("tests/**/test_*.py") if "mark.gpu" in path.read_text()]
    words = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", REPO, *files]
    log = bench.log("tests for a GPU")
    run(words, bench.work, log=log, seconds=limit)
    counts = re.findall(r"(\d+) (passed|skipped)", log.read_text(errors="replace"))
    return {kind: int(count) for count, kind in counts}


def killed_and_resumed(bench: Bench, limit: float) -> dict:
    """Compare a training of mini that is killed by SIGKILL and resumed with one that is not."""
    whole, killed = bench.work / "runs" / "whole", bench.work / "runs" / "killed"
    until = time.monotonic() + limit
    with ThreadPoolExecutor() as pool:
        other = pool.submit(train_mini, bench, whole, limit)
        step = kill_at_a_checkpoint(bench, killed, until)
        train_mini(bench, killed, until - time.monotonic())
        other.result()
    pairs = zip(losses_of(whole), losses_of(killed), strict=True)
    differences = [abs(a - b) / abs(a) for a, b in pairs]
    return {
        "steps": len(differences),
        "killed_at_the_checkpoint_of_step": step,
        "losses_differ_at_most": max(differences),
        "losses_differ_before_it_at_most": max(differences[:step]),
    }


def losses_of(run_dir: Path) -> list[float]:
    """Return the loss of each step; loads no torch, which another thread may be loading."""
    lines = (run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def mini_command(bench: Bench, out: Path) -> list:
    """Return the words that train an adapter of mini, with a checkpoint after each quarter."""
    steps = bench.sizes.killed_steps
    row = {"limit": 48, "steps": steps, "batch_size": bench.sizes.mini_batches[0], "rank": 4,
           "eval_steps": 0, "eval_items": 4, "checkpoint_steps": steps // 4}  # fmt: skip
    words = ["-m", "tvhelpers", "train", "lora", "--data", "flats-new-season", "--out", out]
    return words + [word for key, value in row.items() for word in ("--set", f"{key}={value}")]


def train_mini(bench: Bench, out: Path, limit: float) -> None:
    run(mini_command(bench, out), bench.work / out.name, bench.log(out.name), limit)


def kill_at_a_checkpoint(bench: Bench, out: Path, until: float) -> int:
    """Kill a training once it has written a checkpoint; return the step of that."""
    process = start(mini_command(bench, out), bench.work / out.name, bench.log("to_be_killed"))
    try:
        while not (found := [*out.glob("checkpoints/step-*.pt")]):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("ended, or took too long, before it could be killed")
            time.sleep(POLL)
    finally:
        process.kill()
        process.wait()
    if (out / "result.json").exists():
        raise RuntimeError("the training was finished before it could be killed")
    return max(int(path.name.split("-")[1]) for path in found)


CHECKS = {
    "models and data": build,
    "tests for a GPU": gpu_tests,
    "killed and resumed": killed_and_resumed,
}
