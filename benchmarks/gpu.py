"""Claims: what this project says of training on a GPU, measured in twelve minutes, unattended.

python benchmarks/gpu.py WORK --minutes 12 --peer DIFFUSERS [--peer-python PYTHON] [--out FOLDER]
python benchmarks/gpu.py WORK --only SDXL    the rows of Stable Diffusion XL alone
python benchmarks/gpu.py WORK --dry-run      all rows on a CPU with tiny models, in two minutes

Writes results/gpu_CARD.json, or FOLDER/gpu_CARD.json; a dry run writes into WORK alone.  The rows
come in order of importance (gpu_rows.py), and the file is written after each, so that a stopped run
keeps what it has measured: `waiting` names the rows to come, `skipped` those for which there was no
time, `failed` those that raised, with the end of their output (all of it is in WORK/logs).  What is
claimed of them stands in measured_gpu.py.  On a data-centre GPU our trainer and diffusers' script
at batch size 8 are there after five minutes.

WORK is a new folder with 20 GB of room.  The models have Stable Diffusion 1.5's architecture with
random weights, made on the GPU; the data are flats of 512 pixels, drawn on all cores.  Both are
made while the checks run that are not timed: the tests for a GPU, and a training that is killed and
resumed.  The last rows are of Stable Diffusion XL's architecture and flats of 1024 pixels.
Then each training has the machine for itself, in a process that ends at its last mark
(watched.py): bfloat16, LoRA of rank 4 on the attention, as in diffusers' script.  Its images a
second are the median of five parts of its steps, beside the lowest and the highest.  Our cache is
made before and not counted in them, while diffusers' script encodes in every step; the minutes of
50,000 image-steps include the cache.  DIFFUSERS is a checkout of it, or its script
train_text_to_image_lora.py alone; without --peer those rows are skipped.  The run continues if the
terminal closes; SIGTERM or Ctrl-C ends it.  Nothing is downloaded.  A PYTHONPATH that brings
libraries holds for all processes, but with --peer-python not for diffusers' script: that has
--peer-path.
"""

import argparse
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import REPO, RESULTS, circumstances, end, find_script, run, start
from gpu_rows import DRY, PEAK, PLAN, Bench, Options, Sizes, Skipped, tell
from measured_gpu import LOSSES, differences, summary

NEEDED = (  # modules
    "torch diffusers transformers peft accelerate tokenizers safetensors numpy scipy PIL h5py yaml"
    " tqdm tensorboard matplotlib psutil pytest"
)
PEER_NEEDED = "torch torchvision diffusers transformers peft accelerate datasets psutil tensorboard"
ROOM = 20e9  # bytes in WORK
USUAL_SECONDS = 50  # of all checks together
POLL = 0.01  # seconds


def measure_all(options: Options, commit: str = "") -> Bench:
    """Take all rows, in order of importance, and return them."""

    def identify() -> None:
        """Note the machine; end the program where it has no GPU."""
        import torch  # takes seconds, in which the checks run already

        bench.about = {**circumstances(), "torch": torch.__version__}
        bench.about["commit"] = commit or bench.about["commit"]
        if torch.cuda.is_available():
            bench.card = torch.cuda.get_device_name()
        elif options.sizes != DRY:
            end(os.getpid(), itself=False)
            sys.exit("this torch finds no CUDA GPU")

    checks = {} if options.only else CHECKS
    plan = {name: row for name, row in PLAN.items() if name.startswith((options.only, PEAK))}
    bench = Bench(options, [*checks, *plan])
    take_checks(bench, checks, identify)
    ready = options.only or "models and data" in bench.rows
    for name, (seconds, measure) in plan.items():
        bench.take(name, seconds, functools.partial(measure, bench, name) if ready else no_models)
    return bench


def no_models(limit: float) -> dict:
    """Skip a row."""
    raise Skipped("there are no models and data")


def take_checks(bench: Bench, checks: dict, identify: Callable[[], None]) -> None:
    """Take the rows of `checks` together; `identify` the machine meanwhile."""
    limit = min(bench.left(), bench.sizes.patience * USUAL_SECONDS)
    if bench.left() < USUAL_SECONDS * bench.sizes.pace:
        identify()
        for name, check in checks.items():
            bench.take(name, USUAL_SECONDS, functools.partial(check, bench))
        return
    with ThreadPoolExecutor() as pool:
        begun = {name: pool.submit(clocked, check, bench, limit) for name, check in checks.items()}
        identify()
        for name, check in begun.items():
            bench.take(name, 0, lambda _, check=check: check.result())


def clocked(check: Callable, *arguments) -> dict:
    """Return the row of a check, with the seconds that it took."""
    began = time.monotonic()
    row = check(*arguments)
    return {**row, "took_seconds": time.monotonic() - began}


def build(bench: Bench, limit: float) -> dict:
    """Make the models and the data, which everything else needs: it may take all minutes."""
    return bench.job("build", bench.left())


def gpu_tests(bench: Bench, limit: float) -> dict:
    """Return how many of the tests marked `gpu` passed; raises if one fails."""
    files = REPO.glob("tests/**/test_*.py")
    files = [path for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]
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
    one, other = trace_of(killed), trace_of(whole)
    begun = [{**run, **{key: run[key][:step] for key in STEPS}} for run in (one, other)]
    return {
        "steps": len(one["losses"]),
        "killed_at_the_checkpoint_of_step": step,
        **differences(one, other),
        "losses_differ_before_it_at_most": differences(*begun)[LOSSES],
        "moved": float(np.linalg.norm(other["moves"])),
    }


STEPS = {"losses": "loss", "grad_norms": "grad_norm"}  # {numbers of a training: key in its log}


def trace_of(run_dir: Path) -> dict:
    """Return the losses and gradient norms of a training, and how its weights moved: those of the
    adapter that begin at zero.  Loads no torch, which another thread may be loading."""
    from safetensors.numpy import load_file

    lines = (run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "loss" in row]
    adapter = load_file(run_dir / "adapter.safetensors")
    moves = [adapter[name].ravel() for name in sorted(adapter) if "lora_B" in name]
    steps = {name: [row[key] for row in rows] for name, key in STEPS.items()}
    return {**steps, "moves": np.concatenate(moves)}


def mini_command(bench: Bench, out: Path) -> list:
    """Return the words that train an adapter of mini, with a checkpoint after each quarter."""
    steps = bench.sizes.killed_steps
    row = {"limit": 48, "steps": steps, "batch_size": bench.sizes.mini_batches[0], "rank": 4,
           "eval_steps": 0, "eval_items": 4, "checkpoint_steps": steps // 4}  # fmt: skip
    words = ["-m", "tvhelpers", "train", "lora", "--data", "flats-new-season", "--out", out]
    return words + [word for key, value in row.items() for word in ("--set", f"{key}={value}")]


def train_mini(bench: Bench, out: Path, limit: float) -> None:
    """Train an adapter of mini."""
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


def stop(number, frame) -> None:
    """End what runs and this program; what was measured is written already."""
    end(os.getpid(), itself=False)
    tell("stopped")
    os._exit(128 + number)


def outlive_the_terminal() -> None:
    """Continue, with all that is started from now on, when the terminal or connection ends."""
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def lacking(python: str, path: str, needed: str) -> list[str]:
    """Return which of the `needed` modules a Python does not find, with `path` as PYTHONPATH."""
    code = (
        "import importlib.util as u, sys; print(*[x for x in sys.argv[1:] if not u.find_spec(x)])"
    )
    words = [python, "-c", code, *needed.split()]
    found = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    if found.returncode:
        raise OSError(f"{python}: {found.stderr.strip()[-300:]}")
    return found.stdout.split()


def check_machine(asked: argparse.Namespace) -> str:
    """Return why the program would not get far on this machine, "" if it should."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        return "needs a CUDA GPU, or --dry-run"
    place = next(folder for folder in (asked.work, *asked.work.parents) if folder.exists())
    if shutil.disk_usage(place).free < ROOM:
        return f"{asked.work} needs {ROOM / 1e9:.0f} GB of free disk space"
    pythons = [(sys.executable, os.environ.get("PYTHONPATH", ""), NEEDED)]
    if asked.peer:
        pythons.append((asked.peer_python, asked.peer_path, PEER_NEEDED))
    for python, path, needed in pythons:
        try:
            missing = lacking(python, path, needed)
        except OSError as error:
            return str(error)
        if missing:
            where = "with PYTHONPATH, or --peer-path for the other script"
            return (
                f"{python} lacks {', '.join(missing)}: install them, or name their folder {where}"
            )
    return ""


def parse() -> tuple[Options, str]:
    """Return what the command line asks for, and the name of the commit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="a new folder")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--peer", type=Path, help="a checkout of diffusers, or its script")
    parser.add_argument("--peer-python", default=sys.executable, help="of its environment")
    parser.add_argument("--peer-path", help="PYTHONPATH of that environment")
    parser.add_argument("--out", type=Path, help="folder of the result")
    parser.add_argument("--commit", default="", help="its name, where git does not know it")
    parser.add_argument("--only", default="", help="the rows whose names begin so, and no checks")
    parser.add_argument("--dry-run", action="store_true", help="tiny models on a CPU")
    asked = parser.parse_args()
    if asked.work.exists() and any(asked.work.iterdir()):
        parser.error(f"{asked.work} is not empty: what it holds would not be measured")
    work, peer = asked.work.resolve(), asked.peer and find_script(asked.peer.resolve())
    if asked.peer_path is None:
        own = asked.peer_python == sys.executable
        asked.peer_path = os.environ.get("PYTHONPATH", "") if own else ""
    if asked.dry_run:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TORCH_COMPILE_DISABLE": "1"}
    elif problem := check_machine(asked):
        parser.error(problem)
    out = asked.out or (work if asked.dry_run else RESULTS)
    sizes = DRY if asked.dry_run else Sizes()
    there = (peer, asked.peer_python, asked.peer_path, asked.only)
    return Options(work, asked.minutes, out, sizes, *there), asked.commit


def main() -> None:
    options, commit = parse()
    outlive_the_terminal()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    bench = measure_all(options, commit)
    for name, row in summary(bench.rows)["claims"].items():
        tell(f"{name}: {row['value']} ({row['claim']})")


if __name__ == "__main__":
    main()
