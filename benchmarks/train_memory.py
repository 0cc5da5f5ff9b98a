"""Claim: on a CPU an adapter trains at batch size 8 in a quarter of the memory that the paper's way
takes.  gpu.py measures the memory of a GPU.

python benchmarks/train_memory.py NEW_WORK_DIR --peer DIFFUSERS_CHECKOUT \\
    [--peer-python PYTHON] [--peer-path PYTHONPATH]

Writes results/train_memory.json; two minutes on two idle cores.  The peer's environment, the model
and "paper" are those of train_throughput.py.

Each row is a run of its own: the highest resident memory of its second step, when the optimizer has
its state; loading a model and building our cache are before that.  The libraries alone take
`peak_mb_of_libraries` of it (torch and diffusers imported, nothing else done), which is taken off
in `training_mb`.  The model, "quarter", has as much weight for its activations as Stable Diffusion
1.5 at 512 pixels.
"""

import tempfile
from pathlib import Path

from common import write_result
from training_runs import DEVICE, Case, Peer, measure, ours, paper, parse_arguments

CHECKPOINTING = {"gradient_checkpointing": True}


def rows(work: Path, peer: Peer, out: Path) -> dict:
    """Return {name: (case, command, how it is run)}."""
    there = {"python": peer.python, **peer.environment()}
    small = Case(work, "quarter", 8, first=1, last=2)
    return {
        "ours": (small, ours(small, out / "plain"), {}),
        "ours, checkpointing": (small, ours(small, out / "less", **CHECKPOINTING), {}),
        "diffusers": (small, peer.command(small, out / "a", 0), there),
        "diffusers, checkpointing": (
            small, peer.command(small, out / "b", 0, "--gradient_checkpointing"), there,
        ),
        "paper": (small, paper(small), {}),
    }  # fmt: skip


def main() -> None:
    options, peer = parse_arguments(__doc__)
    result = {"device": DEVICE}
    with tempfile.TemporaryDirectory(dir=options.work_dir) as folder:
        for name, (case, command, how) in rows(options.work_dir, peer, Path(folder)).items():
            row = measure(case, command, **how)
            row["training_mb"] = row["peak_mb_of_steps"] - row["peak_mb_of_libraries"]
            result[name] = row
            print(f"{name}: {row['training_mb']:.0f} MB", flush=True)
    least, most = result["ours, checkpointing"], result["paper"]
    result["share_of_paper"] = least["training_mb"] / most["training_mb"]
    result["share_of_paper_with_libraries"] = least["peak_mb_of_steps"] / most["peak_mb_of_steps"]
    write_result("train_memory", result)


if __name__ == "__main__":
    main()
