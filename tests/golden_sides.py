"""One tree of the package as a process of its own: it runs commands, and hands out what they wrote.

Started as a program (`python -P golden_sides.py`, PYTHONPATH = the tree) it loads the big libraries
once, and runs each command in a child of its own, as `python -m tvhelpers ...` would.
"""

from __future__ import annotations

import glob
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 600.0  # seconds of one command
LIBRARIES = (
    "torch numpy scipy.io scipy.linalg h5py yaml PIL.Image matplotlib.pyplot peft filelock "
    "safetensors.torch tensorboard.summary.writer.record_writer diffusers.models "
    "diffusers.schedulers diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion "
    "transformers.models.clip transformers.models.clip.modeling_clip torch.optim"
).split()


class Broken(Exception):
    """A command did not end as it should have."""


class Side:
    """A tree at work in a folder of its own; all paths that it is given are relative to that.

    What runs is a copy of the package: the tree may be worked on meanwhile, and is left alone.
    """

    def __init__(self, name: str, checkout: Path, root: Path, **environment: str):
        self.name, self.root = name, Path(root).resolve()
        self.own = {"TV_ROOT": "root", **environment}
        self.checkout = copy_package(Path(checkout), self.root / "said" / "tree")
        self.made: dict = {}  # what `once` has kept
        self.count = 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", Path(__file__).resolve()],
            cwd=self.root, env=self._environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.where = json.loads(self.process.stdout.readline())["package"]
        if not Path(self.where).is_relative_to(self.checkout):
            raise Broken(f"{name} would run {self.where}, which is not in {self.checkout}")

    def _environment(self) -> dict[str, str]:
        """Return the environment of the commands: one thread, no hub, no variable of a user."""
        kept = {key: text for key, text in os.environ.items() if not key.startswith("TV_")}
        return kept | {
            "PYTHONPATH": str(self.checkout),
            "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
            "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "COLUMNS": "100",
            "DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error",
            **self.own,
        }  # fmt: skip

    def run(
        self, *words, code: int | None = 0, watch: dict | None = None, env=None, cwd="."
    ) -> Done:
        """Run a command and return how it ended; raises Broken for another exit code than `code`.

        `watch`: {"files": pattern} or {"lines": file}, "count", "signal": the command gets the
        signal when there are so many.
        """
        more = {"watch": watch, "env": env or {}, "cwd": str(cwd)}
        return self._order([str(word) for word in words], code, **more)

    def script(self, path: Path, *words, cwd=".") -> Done:
        """Run a program of Python in the place of a command."""
        return self._order([str(word) for word in words], 0, script=str(path), cwd=str(cwd))

    def _order(self, words: list[str], code: int | None, **more) -> Done:
        self.count += 1
        said = self.root / "said" / f"{self.count:04d}"
        order = {"words": words, "said": str(said), "watch": None, "env": {}, **more}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Broken(f"the process of {self.name} has ended")
        done = Done(json.loads(line)["code"], _text(said, "out"), _text(said, "err"))
        if code is not None and done.code != code:
            tail = "\n".join(done.err.splitlines()[-12:])
            raise Broken(f"{self.name}: {' '.join(words)}: ended with {done.code}\n{tail}")
        return done

    def json(self, *words, **options):
        """Run a command with --json, and return what it printed."""
        return self.run(*words, "--json", **options).json()

    def once(self, work):
        """Return work(side), computed the first time that it is asked for."""
        if work not in self.made:
            self.made[work] = work(self)
        return self.made[work]

    def path(self, name) -> Path:
        """Return a path of this side as one that can be opened here."""
        return self.root / name

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def copy_package(checkout: Path, folder: Path) -> Path:
    """Copy the package of a checkout, and the recipe of mini's tokenizer; return the folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("tvhelpers", "recipes"):
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, folder / name, ignore=ignored)
    beside = checkout / "data_manifest.yaml"  # where it is not in the package
    if beside.exists():
        shutil.copy2(beside, folder)
    return folder


class Done:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    def json(self):
        """Return its output as JSON; raises Broken where it is none."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise Broken(f"no JSON on the output: {self.out[:200]!r}") from None


def _text(said: Path, ending: str) -> str:
    return said.with_suffix(f".{ending}").read_text(errors="replace")


# ---------------------------------------------------------------- in the process of the tree


def serve() -> None:
    """Take orders, a line each, run them one after another, and answer with exit codes."""
    import importlib
    import importlib.util

    # An editable install would lend this tree the modules that it lacks.
    sys.meta_path[:] = [one for one in sys.meta_path if "Editable" not in repr(one)]
    for name in LIBRARIES:
        importlib.import_module(name)
    answers, sys.stdout = sys.stdout, sys.stderr
    _answer(answers, {"package": importlib.util.find_spec("tvhelpers").origin})
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(order)
        _answer(answers, {"code": _wait(child, order["watch"])})


def _answer(stream, row: dict) -> None:
    stream.write(json.dumps(row) + "\n")
    stream.flush()


def _child(order: dict) -> None:
    """Be `python -m tvhelpers WORDS`; never return."""
    import secrets

    for number, ending in ((1, "out"), (2, "err")):
        handle = os.open(f"{order['said']}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, number)
    sys.stdin = open(os.devnull, encoding="utf-8")
    sys.stdout, sys.stderr = (
        open(1, "w", encoding="utf-8", closefd=False),
        open(2, "w", encoding="utf-8", closefd=False),
    )
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    secrets.token_hex = lambda n=32: "5a" * n  # the salt of a study, which is its hash's too
    sys.argv = ["tvhelpers", *order["words"]]
    sys.path.insert(0, os.getcwd())
    code = 1
    try:
        if order.get("script"):
            runpy.run_path(order["script"], run_name="__main__")
        else:
            runpy.run_module("tvhelpers", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        _leave(code)


def _leave(code: int) -> None:
    import atexit

    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
    finally:
        os._exit(code)


def _wait(child: int, watch: dict | None) -> int:
    """Return the exit code of the child, which gets its signal when the time has come."""
    began, asked = time.monotonic(), False
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if watch and not asked and _seen(watch) >= watch["count"]:
            os.kill(child, watch.get("signal", signal.SIGKILL))
            asked = True
        if time.monotonic() - began > LIMIT:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002 if watch else 0.02)


def _seen(watch: dict) -> int:
    if "files" in watch:
        return len(glob.glob(watch["files"]))
    try:
        return len(re.findall("\n", Path(watch["lines"]).read_text(encoding="utf-8")))
    except OSError:
        return 0


if __name__ == "__main__":
    serve()
