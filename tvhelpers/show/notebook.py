"""What does every notebook do first?  It prints its machine, and completes the form's settings."""

import os
import platform
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from tvhelpers import manifest, runtime
from tvhelpers.config import check_choice
from tvhelpers.errors import Choice, InputError
from tvhelpers.files import make_dir
from tvhelpers.models.base import find_base
from tvhelpers.output import note_warning, say
from tvhelpers.paths import for_each, names_of
from tvhelpers.presets import PRESETS
from tvhelpers.progress import show_log
from tvhelpers.show import colab
from tvhelpers.show.drive import local_data
from tvhelpers.show.settings import NotebookSettings, at_hand

_OURS: dict[str, str] = {}  # environment variables that we set ourselves


def start() -> None:
    """Print versions, device, dtype and its reason; raise InputError for an unusable library."""
    show_log()
    warnings.showwarning = note_warning
    runtime.quiet_imports()
    _check_torchao()
    device = runtime.choose_device()
    dtype, reason = runtime.choose_dtype("auto", device)
    found = "  ".join(f"{name} {number}" for name, number in runtime.versions().items())
    say(f"python {platform.python_version()}  {found}")
    machine = f"cpu ({os.cpu_count()} cores)"
    if device != "cpu":
        machine = f"{runtime.device_name(device)} ({_gpu_memory():.0f} GB)"
    say(f"device {machine}, {str(dtype).removeprefix('torch.')}: {reason}")


def settings(
    base="auto",
    preset="auto",
    data="",
    use_drive=False,
    run: str = "",
    gpu_gb: float = 0,
    adapter: str | None = None,
) -> NotebookSettings:
    """Return the settings of the form; TV_BASE, TV_PRESET, TV_DATA and TV_ROOT override it.

    "auto" suits what is there.  Data: with an `adapter`, as in `NotebookSettings.adapter`, what it
    was trained on; else the newest photos that notebook 00 prepared, the benchmark, or flats.
    Base: that of the newest training; for a training `run`, Stable Diffusion on a GPU with at least
    `gpu_gb` and something else to learn than drawings, else mini.  A training resumes with the
    preset that it was started with.  `use_drive` puts results on Google Drive, and looks for data
    there.  Raises InputError for a base or data that do not exist, or where the Drive cannot be
    mounted.
    """
    base = os.environ.get("TV_BASE") or base
    preset = os.environ.get("TV_PRESET") or preset
    data = os.environ.get("TV_DATA") or data
    check_choice("PRESET", preset, ("auto", *PRESETS))
    root = make_dir(_root(use_drive).resolve())
    drive = root.is_relative_to(colab.DRIVE)
    if base == "auto" and not run:
        newest = _base_of_newest(root) if runtime.choose_device() == "cuda" else ""
        base = newest or _base(gpu_gb)
    trained = ""
    if data == "auto" and adapter is not None:
        trained = NotebookSettings(base, preset, "", root).trained_data(adapter)
    data = for_each(trained or data, lambda name: _find_data(name, root / "data", drive))
    if not _given_root():
        _OURS["TV_ROOT"] = str(root)
    os.environ["TV_ROOT"] = str(root)
    base = _base(gpu_gb, data) if base == "auto" else base
    if base != "mini" and runtime.on_colab():
        colab.load_token()
    find_base(base)  # raises InputError here, not cells later
    for name in names_of(data) or [data]:
        if name and name not in manifest.entries() and not Path(name).exists():
            raise _missing(name, root / "data" / name, drive, trained)
    chosen = NotebookSettings(base, preset, data, root, colab.WORK if drive else None)
    if preset == "auto":
        chosen = replace(chosen, preset=_preset(chosen, run))
    say(f"base {base}, preset {chosen.preset}, data {data or 'none'}; results in {root}")
    if chosen.quick:
        say("preset smoke only tries the notebook: it is too short to learn or measure anything")
    return chosen


def _find_data(data: str, folder: Path, drive: bool) -> str:
    """Return what opens the data of the form, which may lie in `folder`, where notebook 00 puts
    photos; of a `drive` they are copied to this machine."""
    if drive and Path(data).is_absolute() and not Path(data).exists():
        data = Path(data).name  # it was copied from the Drive to a machine that is gone
    if data == "auto":
        tables = sorted(folder.glob("*/metadata.csv"), key=lambda path: path.stat().st_mtime)
        data = str(tables[-1].parent) if tables else data
    elif data and data not in manifest.entries() and not Path(data).exists():
        data = str(folder / data) if (folder / data).exists() else at_hand(data)
    data = local_data(data) if drive else data
    return _data() if data == "auto" else data


def _missing(data: str, folder: Path, drive: bool, trained: str) -> InputError:
    """Return what says that the data of the form are not there, and where they were looked for."""
    if trained:
        return InputError("source-missing.trained", data=trained)
    if drive:
        return InputError("form-field.drive", data=data, folder=folder)
    if runtime.on_colab():
        return InputError("form-field.data", data=data, folder=folder)
    return InputError("source-missing", data=data, choice=Choice(data, manifest.entries()))


BASES = ("mini", "sd15", "sdxl")  # of the notebooks' forms


def _base_of_newest(root: Path) -> str:
    """Return the base of the newest finished adapter, "" without one."""
    found = {base: NotebookSettings(base, "", "", root).newest() for base in BASES}
    times = {base: adapter.stat().st_mtime for base, adapter in found.items() if adapter}
    return max(times, key=times.__getitem__, default="")


def _base(gpu_gb: float, data: str = "") -> str:
    """Return the base for this machine, and for a training on `data`."""
    if runtime.choose_device() != "cuda":
        return "mini"
    memory = _gpu_memory()
    if memory < 0.9 * gpu_gb:  # a card of 24 GB shows 22
        say(f"base mini: Stable Diffusion needs {gpu_gb:g} GB here, and the GPU has {memory:.0f}")
        return "mini"
    if manifest.entries().get(data, {}).get("kind") == "flats":
        say(
            "base mini, since without photos of yours Stable Diffusion would only learn drawings; "
            "notebook 00_your_photos prepares yours, and DATA takes what it wrote"
        )
        return "mini"
    return "sd15"


def _gpu_memory() -> float:
    return torch.cuda.get_device_properties(0).total_memory / 2**30


def _preset(chosen: NotebookSettings, run: str) -> str:
    """Return the preset that a training `run` was started with, else what suits the machine."""
    suits = _preset_of_machine(chosen.base)
    started = chosen.preset_of(run) if run else ""
    if started not in ("", suits):
        name = chosen.run_dir(run, started).name
        say(f"{name} resumes with its preset; choose {suits} in the form to start another run")
    return started or suits


def _preset_of_machine(base: str) -> str:
    if base == "mini" or not torch.cuda.is_available():
        return "cpu"
    if not runtime.computes_bfloat16("cuda"):
        return "t4"
    memory = _gpu_memory()
    if memory < 30:
        return "l4"
    return "h100" if memory > 60 and torch.cuda.get_device_capability()[0] >= 9 else "a100"


def _data() -> str:
    try:
        manifest.local_path("fashion-synthesis")
    except InputError:
        return "flats-new-season"
    return "fashion-synthesis"


def _given_root() -> str:
    """Return the user's TV_ROOT, or "" if this cell set it in an earlier run."""
    given = os.environ.get("TV_ROOT", "")
    return given if given != _OURS.get("TV_ROOT") else ""


def _root(use_drive: bool) -> Path:
    if _given_root() or not runtime.on_colab():
        return Path(_given_root() or "work")
    return colab.mount_drive() if use_drive else colab.WORK


def _check_torchao() -> None:
    """Raise InputError for a torchao older than 0.16 (Colab's): peft adds no LoRA beside it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("torchao")
    except PackageNotFoundError:
        return
    if tuple(int(part) for part in found.split(".")[:2]) < (0, 16):
        raise InputError("library-version", found=found)
