"""Claim: a training ends with the same adapter whatever goes wrong on the way.

SIGKILL at 30 random moments; with gradient accumulation; on two processes; a full disk, a mirror
that cannot be written, a damaged checkpoint, no memory, a loss of NaN; two processes beside one.
Everything on mini, 100 steps, one thread, a checkpoint every six seconds: an evaluation takes one
or two and cannot be cut, so no kill can cost less.  Trainings on one process are forks of this one,
which has the libraries loaded: they die as others do, and begin sooner.

python benchmarks/training_failures.py WORK_DIR      writes results/training_failures.json
"""

import argparse
import contextlib
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
from common import write_result
from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401  (loaded once for all forks)
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

from tvhelpers import cli
from tvhelpers.config import build_config
from tvhelpers.files import file_sha256
from tvhelpers.train.log import read_events, read_steps
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

STEPS, KILLS, LIMIT, MINUTES = 100, 30, 0.05, 0.1
ROUNDING = 1 + 1e-6  # of a norm in float32
ADAPTER = "adapter.safetensors"
SETTINGS = {
    "limit": 100, "steps": STEPS, "batch_size": 2, "rank": 4, "eval_steps": 20, "eval_items": 8,
    "checkpoint_steps": 0, "checkpoint_minutes": MINUTES, "max_grad_norm": LIMIT, "device": "cpu",
}  # fmt: skip
LAUNCH = "-m accelerate.commands.launch --multi_gpu --num_machines 1 --num_processes 2"
LAUNCH += " --mixed_precision no --dynamo_backend no --main_process_port 0"


def command(run: Path, processes: int = 1, **changes) -> Callable:
    """Return a function that runs the command line of a training."""
    pairs = {**SETTINGS, **changes}
    words = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
    words = ["train", "lora", "--data", "flats-new-season", "--out", str(run), *words]
    launch = [sys.executable, *LAUNCH.split(), "-m", "tvhelpers", *words]
    return partial(os.execv, sys.executable, launch) if processes > 1 else partial(cli.main, words)


def start(action: Callable) -> int:
    """Let `action` run in a fork; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(action() or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def ended(pid: int, seconds: float) -> bool:
    """Return whether a fork ends well within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, "a training failed"
            return True
        time.sleep(0.005)
    return False


def finish(action: Callable) -> float:
    """Run an action to its end and return its seconds."""
    began = time.monotonic()
    assert ended(start(action), 3600)
    return time.monotonic() - began


def kill(pid: int) -> None:
    """Kill a fork and all that it has started; what a launcher starts has groups of its own."""
    fork = psutil.Process(pid)
    family = [fork, *fork.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family)


def seconds_lost(run: Path, began: float) -> float:
    """Return how long the process that began then and was killed now had trained for nothing."""
    started = [float(path.name.split(".")[3]) for path in run.glob("tensorboard/*")]
    kept = [path.stat().st_mtime for path in run.glob("checkpoints/step-*.pt")]
    moments = [moment for moment in (*started, *kept) if moment > began]
    return time.time() - max(moments) if moments else 0.0  # it had not come to train


def kill_at_random(folder: Path, kills: int, longest: float, **options) -> dict:
    """Run trainings, each killed at random moments and begun again, until there were `kills`."""
    rng, runs, lost = random.Random(0), [], []
    while len(lost) < kills:
        runs.append(folder / f"broken-{len(runs)}")
        while not (runs[-1] / ADAPTER).exists():
            began, pid = time.time(), start(command(runs[-1], **options))
            if not ended(pid, rng.uniform(0, longest) if len(lost) < kills else 3600):
                kill(pid)
                lost.append(seconds_lost(runs[-1], began))
    return {"runs": runs, "kills": len(lost), "seconds_lost_at_most": round(max(lost), 2)}


def kill_after_step(step: int, run: Path, **options) -> None:
    """Start a training and kill it when it has logged a step, and has a checkpoint."""
    pid = start(command(run, **options))
    while not (list(run.glob("checkpoints/*.pt")) and len(read_steps(run)) >= step):
        assert not ended(pid, 0.02), "ended before it could be killed"
    kill(pid)


def train_with_failure(kind: str, run: Path, **changes) -> None:
    """Train with a full disk from step 10 to 30, memory for one sample from step 20 on, or one loss
    of NaN."""
    honest, room = Trainer.losses, resource.getrlimit(resource.RLIMIT_FSIZE)

    def losses(self, batch, plain=False):
        found = honest(self, batch, plain)
        if plain:  # an evaluation
            return found
        if kind == "memory" and self.step >= 20 and len(found) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found * (float("nan") if kind == "nan" and self.step == 25 else 1)

    def preview(step, unet):
        if kind == "disk" and step in (10, 30):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 if step == 10 else room[0], room[1]))

    Trainer.losses = losses
    config = build_config(method="lora", data="flats-new-season", **{**SETTINGS, **changes})
    train(config, run, preview=preview)


def largest_difference(one: Path, other: Path) -> float:
    """Return the largest difference between the losses of a step in two runs."""
    pairs = zip(read_steps(one), read_steps(other), strict=True)
    return max(abs(a["loss"] - b["loss"]) for a, b in pairs)


def same(*runs: Path) -> bool:
    """Return whether the adapters of these runs are equal to the last byte."""
    return len({file_sha256(run / ADAPTER) for run in runs}) == 1


def killed_and_resumed(work: Path) -> dict:
    """Return the results of trainings that are killed."""
    whole = work / "whole"
    finish(command(whole))  # makes the cache
    longest = finish(command(work / "again"))
    plain = kill_at_random(work, KILLS, longest)
    plain |= {"same_bytes": same(whole, *plain.pop("runs")), "configured_seconds": 60 * MINUTES}
    result = {"plain": plain}
    setups = {"accumulation": {"accumulate": 2}, "processes": {"processes": 2}}  # stable name
    for name, options in setups.items():
        finish(command(work / name, **options))
        broken = work / f"{name}-broken"
        for step in (8, 24):
            kill_after_step(step, broken, **options)
        finish(command(broken, **options))
        result[name] = {"kills": 2, "same_bytes": same(work / name, broken)}
    return result


def damaged_checkpoint(work: Path) -> bool:
    """Return whether a run whose newest checkpoint is damaged ends as if it were not."""
    run, options = work / "damaged", {"checkpoint_steps": 5}
    kill_after_step(20, run, **options)
    newest = max(run.glob("checkpoints/*.pt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    finish(command(run, **options))
    return same(work / "whole", run)


def other_failures(work: Path) -> dict:
    """Return the results of trainings with other failures."""
    whole, gone = work / "whole", work / "gone"
    gone.write_text("a file where the Drive was", encoding="utf-8")
    finish(command(work / "mirrored", mirror=gone / "drive"))
    for kind in ("disk", "memory", "nan"):
        more = {"eval_steps": 10} if kind == "disk" else {}
        finish(partial(train_with_failure, kind, work / kind, **more))
    events = {kind: read_events(work / kind) for kind in ("memory", "nan")}
    return {
        "damaged_newest_checkpoint": {"same_bytes": damaged_checkpoint(work)},
        "unwritable_mirror": {"same_bytes": same(whole, work / "mirrored")},
        "full_disk": {
            "same_bytes": same(whole, work / "disk"),
            "steps_logged": len(read_steps(work / "disk")),
        },
        "memory": {
            "events": [event["event"] for event in events["memory"]],
            "largest_loss_difference": largest_difference(whole, work / "memory"),
        },
        "nan": {
            "events": [event["event"] for event in events["nan"]],
            "steps_logged": len(read_steps(work / "nan")),
        },
    }


def clipping(work: Path) -> dict:
    """Return how far the gradients of all runs' steps were clipped."""
    rows = [row for log in work.glob("*/log.jsonl") for row in read_steps(log.parent)]
    return {
        "steps": len(rows),
        "limit": LIMIT,
        "over_the_limit_before": sum(row["grad_norm"] > LIMIT for row in rows),
        "over_the_limit_after": sum(row["grad_norm_clipped"] > LIMIT * ROUNDING for row in rows),
        "largest_after": max(row["grad_norm_clipped"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dir", type=Path)
    work = parser.parse_args().work_dir.resolve()
    torch.set_num_threads(1)  # on more, the order of a sum is not fixed
    os.environ |= {"TV_ROOT": str(work), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    work.mkdir(parents=True, exist_ok=True)
    result = {"steps": STEPS, "killed": killed_and_resumed(work)}
    result["faults"] = other_failures(work)  # stable name
    result["two_processes_beside_one"] = largest_difference(work / "whole", work / "processes")
    write_result("training_failures", {**result, "clipping": clipping(work)})


if __name__ == "__main__":
    main()
