"""Claims: what this project says of training on a GPU, measured in twelve minutes, unattended.

python benchmarks/gpu.py WORK --minutes 12 --peer DIFFUSERS [--peer-python PYTHON] [--out FOLDER]
python benchmarks/gpu.py WORK --dry-run      all rows on a CPU with tiny models, in two minutes

Writes results/gpu_CARD.json, or FOLDER/gpu_CARD.json; a dry run writes into WORK alone.  The rows
come in order of importance, and the file is written after each, so that a stopped run keeps what it
has measured: `waiting` names the rows to come, `skipped` those for which there was no time,
`failed` those that raised, with the end of their output (all of it is in WORK/logs).  On a
data-centre GPU our trainer and diffusers' script at batch size 8 are there after five minutes.

WORK is a new folder with 12 GB of room.  The models have Stable Diffusion 1.5's architecture with
random weights, made on the GPU; the data are flats of 512 pixels, drawn on all cores.  Both are
made while the checks run that are not timed (gpu_checks.py).  Then each training has the machine
for itself, in a process that ends at its last mark (watched.py): bfloat16, LoRA of rank 4 on the
attention, as in diffusers' script.  DIFFUSERS is a checkout of it, or train_text_to_image_lora.py
alone; without --peer those rows are skipped.  Nothing is downloaded.
"""

import argparse
import functools
import os
import shutil
import signal
import sys
from pathlib import Path

import gpu_rows
from common import RESULTS, circumstances, end, find_script
from gpu_bench import DRY, Bench, Options, Sizes, Skipped
from gpu_checks import CHECKS, take_checks
from gpu_claims import summary


def measure_all(options: Options, commit: str = "") -> Bench:
    """Take all rows, in order of importance, and return them."""

    def identify() -> None:
        import torch  # takes seconds, in which the checks run already

        bench.about = {**circumstances(), "torch": torch.__version__}
        bench.about["commit"] = commit or bench.about["commit"]
        if torch.cuda.is_available():
            bench.card = torch.cuda.get_device_name()
        elif options.sizes != DRY:
            end(os.getpid(), itself=False)
            sys.exit("this torch finds no CUDA GPU")

    bench = Bench(options, [*CHECKS, *gpu_rows.PLAN])
    take_checks(bench, identify)
    ready = "models and data" in bench.rows
    for name, (seconds, measure) in gpu_rows.PLAN.items():
        bench.take(name, seconds, functools.partial(measure, bench, name) if ready else no_models)
    return bench


def no_models(limit: float) -> dict:
    raise Skipped("there are no models and data")


def stop(number, frame) -> None:
    """End what runs and this program; what was measured is written already."""
    end(os.getpid(), itself=False)
    print("stopped", flush=True)
    os._exit(128 + number)


def parse() -> tuple[Options, str]:
    """Return what the command line asks for, and the name of the commit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="a new folder")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--peer", type=Path, help="a checkout of diffusers, or its script")
    parser.add_argument("--peer-python", default=sys.executable, help="of its environment")
    parser.add_argument("--out", type=Path, help="folder of the result")
    parser.add_argument("--commit", default="", help="its name, where git does not know it")
    parser.add_argument("--dry-run", action="store_true", help="tiny models on a CPU")
    asked = parser.parse_args()
    if asked.work.exists() and any(asked.work.iterdir()):
        parser.error(f"{asked.work} is not empty: what it holds would not be measured")
    if not (asked.dry_run or shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        parser.error("needs a CUDA GPU, or --dry-run")
    if asked.dry_run:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TORCH_COMPILE_DISABLE": "1"}
    work, peer = asked.work.resolve(), asked.peer and find_script(asked.peer.resolve())
    out = asked.out or (work if asked.dry_run else RESULTS)
    sizes = DRY if asked.dry_run else Sizes()
    return Options(work, asked.minutes, out, sizes, peer, asked.peer_python), asked.commit


def main() -> None:
    options, commit = parse()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    bench = measure_all(options, commit)
    for name, row in summary(bench.rows)["claims"].items():
        print(f"{name}: {row['value']} ({row['claim']})")


if __name__ == "__main__":
    main()
