"""Device, dtype, seeds, versions, quiet libraries, spoken progress, and requests to stop."""

import contextlib
import hashlib
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tvhelpers.config import CHOICES, InputError, check_choice


def choose_device(name: str = "auto") -> str:
    """Return "cpu" or "cuda".

    Raises InputError for an unknown name, and for "cuda" where there is none.
    """
    import torch

    check_choice("device", name, CHOICES["device"])
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise InputError("no-gpu")
    return "cuda" if has_cuda and name != "cpu" else "cpu"


def computes_bfloat16(device: str) -> bool:
    """Return whether a device has units for bfloat16.

    Others emulate it: a T4 (compute capability 7.5) slowly, a CPU without AVX-512 forty times as
    slowly as float32; torch calls it supported on both.
    """
    import torch

    if device == "cpu":
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cuda.get_device_capability()[0] >= 8


def choose_dtype(name: str, device: str):
    """Return (torch dtype of the frozen base, the reason for it)."""
    import torch

    if name != "auto":
        if device == "cpu" and name == "float16":
            raise InputError("unfit-dtype")
        return getattr(torch, name), "asked for"
    if device == "cpu":
        return torch.float32, "on a CPU, results in float32 repeat bit for bit"
    if computes_bfloat16(device):
        return torch.bfloat16, "this GPU computes bfloat16, whose range spares loss scaling"
    return torch.float16, "this GPU has no bfloat16 units"


def device_name(device: str) -> str:
    """Return "cpu", or the GPU's name."""
    import torch

    return device if device == "cpu" else torch.cuda.get_device_name()


def reset_peak_memory(device: str) -> None:
    """Begin to look for the peak anew."""
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):  # Linux alone can do that
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int | None:
    """Return the most bytes in use since the peak was reset: the GPU's tensors, or this process on
    a CPU; None where nothing tells."""
    import torch

    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return None


def seed_for(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def root_dir() -> Path:
    """Return the folder that holds artifacts/ and runs/: $TV_ROOT, or the current folder."""
    return Path(os.environ.get("TV_ROOT") or ".")


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("tvhelpers", "torch", "diffusers", "transformers", "peft", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def quiet_imports() -> None:
    """Silence the advice that diffusers and transformers give when they are imported."""
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")


def quiet_libraries(*names: str) -> None:
    """Silence the progress bars and advice, not the errors, of "diffusers" and "transformers", by
    default both; imports what it names, which takes seconds."""
    quiet_imports()
    for name in names or ("diffusers", "transformers"):
        logging = importlib.import_module(f"{name}.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()


class Interrupted(KeyboardInterrupt):
    """The work was asked to stop, and has written down how far it came."""


class _StopFlag:
    """True once a stop was asked for."""

    asked = 0.0  # when

    def __bool__(self) -> bool:
        return self.asked > 0


@contextlib.contextmanager
def stop_requests() -> Iterator[_StopFlag]:
    """Turn Ctrl-C and SIGTERM into a flag, so that a step is never cut in half; one that
    comes a second later ends at once."""
    flag, previous = _StopFlag(), {}

    def ask(number, frame):
        now = time.monotonic()
        if flag and now - flag.asked > 1:  # a launcher repeats at once what its processes got too
            raise KeyboardInterrupt
        flag.asked = flag.asked or now

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread: signals go elsewhere
        pass
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Printer(logging.Handler):
    """Print each message alone, on what standard output is then, above a bar that is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        (bars.tqdm.write if bars else print)(self.format(record))


def show_log() -> None:
    """Print what the package logs; the command line and the notebooks call it once."""
    package = logging.getLogger("tvhelpers")
    if not any(isinstance(handler, _Printer) for handler in package.handlers):
        package.addHandler(_Printer())
    package.setLevel(logging.INFO)
    package.propagate = False


def progress_bar(what: str, total: int | None, *, done: int = 0, unit: str = "items"):
    """Return a tqdm bar on standard error; call `update(count)`, and use it as a context.

    It moves in a terminal and in a notebook, and is a line a minute elsewhere.  `unit` "B" counts
    bytes; `total` is None where it is not known; `done` is what an earlier run has done.  Where the
    log is silent, so is the bar.
    """
    from tqdm.auto import tqdm

    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    how = {} if live else {"mininterval": 60, "file": _Lines(sys.stderr)}
    scaled = {"unit_scale": True, "unit_divisor": 1000} if unit == "B" else {}
    silent = not logging.getLogger("tvhelpers").isEnabledFor(logging.INFO)
    return tqdm(desc=what, total=total, initial=done, unit=unit, disable=silent, **how, **scaled)


class _Lines:
    """A stream on which a bar that is drawn anew begins a line instead of moving back."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> None:
        """Write the bar as a line; what only erases it is left out."""
        text = text.strip("\r\n ")
        if text:
            self.stream.write(text + "\n")

    def flush(self) -> None:
        """Pass what is written on."""
        self.stream.flush()
