"""What every notebook does first: say what machine it is on, and settle its settings."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tvhelpers import manifest
from tvhelpers.config import InputError, TrainConfig, build_config
from tvhelpers.models.base import find_base
from tvhelpers.runtime import (
    TakenError,
    choose_device,
    choose_dtype,
    make_dir,
    quiet_libraries,
    versions,
)
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import generate

Outcome = TypeVar("Outcome")
_OURS: dict[str, str] = {}  # environment variables that we set ourselves
COLAB_ROOT, DRIVE = Path("/content/textile-vision-work"), Path("/content/drive")


@dataclass(frozen=True)
class Settings:
    """What a notebook works with: names of base, preset and data, and the folder of results."""

    base: str
    preset: str
    data: str
    root: Path
    drive: bool = False  # whether `root` is on a Drive

    @property
    def quick(self) -> bool:
        """Whether this is a trial of the notebook itself (preset "smoke")."""
        return self.preset == "smoke"

    def few(self, count: int, when_quick: int = 16) -> int:
        """Return `count`, or less in a trial."""
        return min(count, when_quick) if self.quick else count

    def run_dir(self, name: str) -> Path:
        """Return the folder of a run of this base and preset."""
        return self.root / "runs" / f"{name}-{self.base.replace('/', '-')}-{self.preset}"

    def train_dir(self, name: str) -> Path:
        """Return the folder to train in: on this machine, where `run_dir` is but a mirror on a
        Drive."""
        return COLAB_ROOT / "runs" / self.run_dir(name).name if self.drive else self.run_dir(name)

    def adapter(self, given: str = "") -> str | None:
        """Return the adapter `given`, a path or the name of a run of notebook 04; else that of the
        run "lora" where it is there, else None."""
        own = self.run_dir(given or "lora") / "adapter.safetensors"
        return str(own) if own.exists() else given or None

    def first_adapter(self) -> str | None:
        """Return the adapter that the base comes with, else notebook 04's: what a notebook before
        04 draws with stays the same after it."""
        return "shipped" if find_base(self.base).adapter else self.adapter()

    def draw(self, name: str, sampler, prompts: Sequence[str], **options) -> list[Path]:
        """Return the pictures of a run, drawn or opened; `options` as in `Request`."""
        request = Request(tuple(prompts), **options)

        def pictures(folder: Path) -> list[Path]:
            return [folder / record["file"] for record in generate(sampler, request, folder)]

        return self.apart(name, pictures)

    def score(self, name: str, dirs: Sequence[Path], **options) -> dict:
        """Return the figures of folders, kept beside them; `options` as in `score_folders`."""
        from tvhelpers.score.folder import score_folders

        cache = self.root / "artifacts" / "scores"
        score = partial(score_folders, dirs, cache=cache, **options)
        return self.apart(name, lambda folder: score(folder.with_name(folder.name + ".json")))

    def apart(self, name: str, work: Callable[[Path], Outcome]) -> Outcome:
        """Return `work(folder)` in the first run folder of NAME, NAME-2, ... that holds the same or
        nothing: other settings get another folder, and what is there stays."""
        for number in itertools.count(1):
            with contextlib.suppress(TakenError):
                return work(self.run_dir(name if number == 1 else f"{name}-{number}"))

    def train_config(self, **changes) -> TrainConfig:
        """Return the preset's training config on this base and data, with `changes`."""
        own = {"base": self.base, "data": self.data}
        own |= {"mirror": str(self.root / "runs")} if self.drive else {}
        return build_config(self.preset, **{**own, **changes})


def start() -> None:
    """Print versions, device, dtype and why; raise InputError where a library would break later."""
    quiet_libraries()
    _check_torchao()
    device = choose_device()
    dtype, reason = choose_dtype("auto", device)
    found = "  ".join(f"{name} {number}" for name, number in versions().items())
    print(f"python {platform.python_version()}  {found}")
    print(f"device {_device_name(device)}, {str(dtype).removeprefix('torch.')}: {reason}")


def settings(
    base: str = "auto", preset: str = "auto", data: str = "auto", use_drive: bool = False
) -> Settings:
    """Return the settings of the form; TV_BASE, TV_PRESET, TV_DATA and TV_ROOT override it.

    "auto" is what suits the machine: Stable Diffusion on a GPU, mini on a CPU; the benchmark where
    it is at hand, else flats.  `use_drive` keeps the results on Google Drive; raises InputError
    where it cannot be mounted.
    """
    gpu = choose_device() == "cuda"
    base = os.environ.get("TV_BASE") or (base if base != "auto" else "sd15" if gpu else "mini")
    preset = os.environ.get("TV_PRESET") or (preset if preset != "auto" else _preset(base))
    data = os.environ.get("TV_DATA") or (data if data != "auto" else _data())
    root = make_dir(_root(use_drive).resolve())
    os.environ["TV_ROOT"] = _OURS["TV_ROOT"] = str(root)
    if base != "mini" and on_colab():
        _take_token()
    print(f"base {base}, preset {preset}, data {data}; results in {root}")
    chosen = Settings(base, preset, data, root, root.is_relative_to(DRIVE))
    if chosen.quick:
        print("a trial of the notebook, in seconds: too short to learn or to measure anything")
    return chosen


def on_colab() -> bool:
    """Return whether this is a Colab kernel."""
    return "google.colab" in sys.modules


def _preset(base: str) -> str:
    import torch

    if base == "mini" or not torch.cuda.is_available():
        return "cpu"
    return "a100" if torch.cuda.get_device_properties(0).total_memory > 30 * 2**30 else "t4"


def _data() -> str:
    try:
        manifest.local_path("fashion-synthesis")
    except InputError:
        return "flats-new-season"
    return "fashion-synthesis"


def _root(use_drive: bool) -> Path:
    given = os.environ.get("TV_ROOT")
    if given and given != _OURS.get("TV_ROOT"):  # not what this cell set when it ran before
        return Path(given)
    if not on_colab():
        return Path("work")
    return _mount_drive() / "MyDrive" / "textile-vision" if use_drive else COLAB_ROOT


def _mount_drive() -> Path:
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # ValueError, NotImplementedError, MessageError, as it likes
        raise InputError(
            f"Google Drive was not mounted ({error}); allow it, or untick USE_DRIVE: results then "
            "stay on this machine and go with it"
        ) from None
    return DRIVE


def _take_token() -> None:
    """Put Colab's secret HF_TOKEN, where there is one, where huggingface_hub looks first."""
    from google.colab import userdata

    if os.environ.get("HF_TOKEN"):
        return
    try:
        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    except Exception as error:  # no such secret, no access, no answer: open models need none
        print(f"no HF_TOKEN among the secrets ({type(error).__name__}); open models need none")


def _device_name(device: str) -> str:
    if device == "cpu":
        return f"cpu ({os.cpu_count()} cores)"
    import torch

    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"{torch.cuda.get_device_name(0)} ({memory:.0f} GB)"


def _check_torchao() -> None:
    """peft refuses to add any LoRA beside a torchao older than 0.16, as Colab has it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("torchao")
    except PackageNotFoundError:
        return
    if tuple(int(part) for part in found.split(".")[:2]) < (0, 16):
        raise InputError(
            f"torchao {found} breaks peft; run: pip uninstall -y torchao, and restart the session"
        )
