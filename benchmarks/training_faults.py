"""Claim: whatever goes wrong on the way, a training ends with the adapter that it would have had.

SIGKILL at 30 random moments; with accumulation; on two processes; a full disk, a mirror that cannot
be written, a damaged checkpoint, no memory, a loss that is not a number; two processes beside one.
Everything on mini, 60 steps, one thread.

python benchmarks/training_faults.py WORK_DIR      writes results/training_faults.json
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import write_result

from tvhelpers.runtime import file_sha256
from tvhelpers.train.runlog import RunLog

STEPS, KILLS, LIMIT, MINUTES = 60, 30, 0.05, 0.05
ADAPTER = "adapter.safetensors"
SETTINGS = {
    "limit": 200, "steps": STEPS, "batch_size": 4, "rank": 4, "eval_steps": 20, "eval_items": 16,
    "checkpoint_steps": 0, "checkpoint_minutes": MINUTES, "max_grad_norm": LIMIT, "device": "cpu",
}  # fmt: skip
LAUNCH = "-m accelerate.commands.launch --multi_gpu --num_machines 1 --num_processes 2"
LAUNCH += " --mixed_precision no --dynamo_backend no --main_process_port 0"


def command(run: Path, processes: int = 1, **changes) -> list[str]:
    """Return the command line of a training."""
    pairs = {**SETTINGS, **changes}
    words = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
    start = [sys.executable, *(LAUNCH.split() if processes > 1 else []), "-m", "tvhelpers"]
    return [*start, "train", "lora", "--data", "flats-new-season", "--out", str(run), *words]


def start(words: list[str]) -> subprocess.Popen:
    """Start a command as the leader of a process group, which dies as a whole."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(words, start_new_session=True, **quiet)


def finish(words: list[str]) -> float:
    """Run a command to its end and return its seconds."""
    began = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kill the process's group after so long; return False where it ended before."""
    try:
        assert process.wait(seconds) == 0, "a training failed"
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def seconds_lost(run: Path, began: float) -> float:
    """Return how long the process that began then and was killed now had trained for nothing."""
    boards = [path.stat().st_mtime for path in run.glob("tensorboard/*")]
    kept = [path.stat().st_mtime for path in run.glob("checkpoints/step-*.pt")]
    since = [moment for moment in (*boards, *kept) if moment > began]
    if not any(moment > began for moment in boards):
        return 0.0  # it had not come to train
    return time.time() - max(moment for moment in (*kept, min(since)) if moment > began)


def kill_at_random(folder: Path, kills: int, longest: float, **options) -> dict:
    """Run trainings, each killed at random moments and begun again, until there were `kills`."""
    rng, runs, lost = random.Random(0), [], []
    while len(lost) < kills:
        runs.append(folder / f"broken-{len(runs)}")
        while not (runs[-1] / ADAPTER).exists():
            began, left = time.time(), len(lost) < kills
            wait = rng.uniform(0, longest) if left else 3600
            if kill_after(start(command(runs[-1], **options)), wait):
                lost.append(seconds_lost(runs[-1], began))
    return {"runs": runs, "kills": len(lost), "seconds_lost_at_most": round(max(lost), 2)}


def kill_after_step(step: int, run: Path, **options) -> None:
    """Start a training and kill it when it has logged a step, and has a checkpoint."""
    process = start(command(run, **options))
    while not (list(run.glob("checkpoints/*.pt")) and len(RunLog.read_steps(run)) >= step):
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    kill_after(process, 0)


def child(kind: str, run: Path, **changes) -> None:
    """Train in a process of its own with a fault in it."""
    words = [sys.executable, __file__, str(run.parent), "--fault", kind, "--run", str(run)]
    words += ["--changes", json.dumps(changes)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def train_with_fault(kind: str, run: Path, changes: dict) -> None:
    """Train with a disk that is full from step 20 to 40, no memory for more than two samples from
    step 30 on, or one loss that is not a number."""
    import torch

    from tvhelpers.config import build_config
    from tvhelpers.train.trainer import Trainer, train

    honest, room = Trainer._losses, resource.getrlimit(resource.RLIMIT_FSIZE)

    def losses(self, *batch, min_snr_gamma=None):
        found = honest(self, *batch, min_snr_gamma=min_snr_gamma)
        if min_snr_gamma == 0:  # an evaluation
            return found
        if kind == "memory" and self.step >= 30 and len(found) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found * (float("nan") if kind == "nan" and self.step == 30 else 1)

    def preview(step, unet):
        if kind == "disk" and step in (20, 40):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 if step == 20 else room[0], room[1]))

    Trainer._losses = losses
    config = build_config(method="lora", data="flats-new-season", **{**SETTINGS, **changes})
    train(config, run, preview=preview)


def largest_difference(one: Path, other: Path) -> float:
    """Return the largest difference between the losses of a step in two runs."""
    pairs = zip(RunLog.read_steps(one), RunLog.read_steps(other), strict=True)
    return max(abs(a["loss"] - b["loss"]) for a, b in pairs)


def same(*runs: Path) -> bool:
    """Return whether the adapters of these runs are equal to the last byte."""
    return len({file_sha256(run / ADAPTER) for run in runs}) == 1


def killed_and_resumed(work: Path) -> dict:
    """Return what becomes of trainings that are killed."""
    whole = work / "whole"
    finish(command(whole))  # makes the cache
    longest = finish(command(work / "again"))
    plain = kill_at_random(work, KILLS, longest)
    result = {"plain": {**plain, "same_bytes": same(whole, *plain.pop("runs"))}}
    result["plain"]["configured_seconds"] = 60 * MINUTES
    for name, options in {"accumulation": {"accumulate": 2}, "processes": {"processes": 2}}.items():
        finish(command(work / name, **options))
        broken = work / f"{name}-broken"
        for step in (10, 30):
            kill_after_step(step, broken, **options)
        finish(command(broken, **options))
        result[name] = {"kills": 2, "same_bytes": same(work / name, broken)}
    result["two_processes_beside_one"] = largest_difference(whole, work / "processes")
    return result


def damaged_checkpoint(work: Path) -> bool:
    """Return whether a run whose newest checkpoint is damaged ends as if it were not."""
    run, options = work / "damaged", {"checkpoint_steps": 10}
    kill_after_step(30, run, **options)
    newest = max(run.glob("checkpoints/*.pt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    finish(command(run, **options))
    return same(work / "whole", run)


def faults(work: Path) -> dict:
    """Return what becomes of trainings with other faults."""
    whole, gone = work / "whole", work / "gone"
    gone.write_text("a file where the Drive was")
    finish(command(work / "mirrored", mirror=gone / "drive"))
    for kind in ("disk", "memory", "nan"):
        child(kind, work / kind, **({"eval_steps": 10} if kind == "disk" else {}))
    events = {kind: RunLog.read_events(work / kind) for kind in ("memory", "nan")}
    return {
        "damaged_newest_checkpoint": {"same_bytes": damaged_checkpoint(work)},
        "unwritable_mirror": {"same_bytes": same(whole, work / "mirrored")},
        "full_disk": {
            "same_bytes": same(whole, work / "disk"),
            "steps_logged": len(RunLog.read_steps(work / "disk")),
        },
        "memory": {
            "events": [event["event"] for event in events["memory"]],
            "largest_loss_difference": largest_difference(whole, work / "memory"),
        },
        "nan": {
            "events": [event["event"] for event in events["nan"]],
            "steps_logged": len(RunLog.read_steps(work / "nan")),
        },
    }


def clipping(work: Path) -> dict:
    """Return how far the gradients of all runs' steps were clipped."""
    rows = [row for log in work.glob("*/log.jsonl") for row in RunLog.read_steps(log.parent)]
    return {
        "steps": len(rows),
        "limit": LIMIT,
        "over_the_limit_before": sum(row["grad_norm"] > LIMIT for row in rows),
        "largest_after": max(row["grad_norm_clipped"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--fault", help="train with it in this process")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--changes", type=json.loads)
    options = parser.parse_args()
    os.environ["TV_ROOT"], os.environ["OMP_NUM_THREADS"] = str(options.work_dir.resolve()), "1"
    if options.fault:
        return train_with_fault(options.fault, options.run, options.changes)
    work = options.work_dir.resolve()
    work.mkdir(parents=True, exist_ok=True)
    result = {"steps": STEPS, "killed": killed_and_resumed(work), "faults": faults(work)}
    write_result("training_faults", {**result, "clipping": clipping(work)})


if __name__ == "__main__":
    main()
