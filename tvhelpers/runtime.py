"""Device, dtype, seeds, versions, folders and atomic files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tvhelpers.config import InputError


def choose_device(name: str = "auto") -> str:
    """Return "cpu" or "cuda".

    Raises InputError for an unknown name, and for "cuda" where there is none.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device {name!r}; choose auto, cpu or cuda")
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise InputError("device cuda was asked for, but torch sees no CUDA GPU; use --device cpu")
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
            raise InputError("dtype float16 does not run on a CPU; use float32 or bfloat16")
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


def content_key(value) -> str:
    """Return 16 hex digits that identify a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the file's SHA-256 as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


@contextlib.contextmanager
def atomic_path(path: Path):
    """Yield a path to write to; it takes the name `path` only when the block ends well.

    The file is flushed to the disk before it is renamed, so that a reader sees all of it or
    nothing.
    """
    path = Path(path)
    make_dir(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as aside:
        aside.write_text(json.dumps(value, indent=1) + "\n")


def read_json(path: Path):
    """Return the parsed JSON of `path`; raises InputError where it is missing or broken."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); mend or remove it") from None


def read_jsonl(path: Path) -> list[dict]:
    """Return the records of a JSON-lines file without a last line cut off; [] if missing.

    Raises InputError for a broken line before that.
    """
    if not Path(path).exists():
        return []
    lines = Path(path).read_text().split("\n")[:-1]  # what follows is half a line
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise InputError(
                f"line {number} of {path} is not JSON ({error}); mend or remove the file"
            ) from None
    return rows


def make_dir(path: Path) -> Path:
    """Make the folder and its parents; raises InputError where that is not allowed."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if place.exists())
        raise InputError(
            f"{file} cannot be a folder: a file has that name; give another one"
        ) from None
    except PermissionError:
        raise InputError(f"no permission to write to {path}; choose another folder") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"no permission to write to {path}; choose another folder")
    return path


class TakenError(InputError):
    """Results of something else are there already, and stay."""


def claim_dir(
    path: Path,
    request: dict,
    what: str,
    marker: str = "request.json",
    ignore: tuple[str, ...] = (),
) -> Path:
    """Make `path` the folder of `request`, or find that it is already.

    The request is written to the file `marker` in it; its keys in `ignore` may differ.  Hidden
    files are not looked at, and a request that came to nothing gives way.  Raises TakenError where
    the folder holds anything else: nothing is ever overwritten.
    """
    path = make_dir(path)
    others = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    others = [entry for entry in others if entry.name != marker]
    if others and (path / marker).exists():
        check_claim(path, request, what, marker, ignore)
    elif others:
        raise TakenError(
            f"{path} holds files that are not of this {what}; choose an empty or a new folder"
        )
    else:
        write_json(path / marker, request)
    return path


def check_claim(path: Path, request: dict, what: str, marker: str, ignore: tuple[str, ...]) -> None:
    """Raise TakenError where the folder `path` has the marker of another request."""
    seen = read_json(path / marker) if (path / marker).exists() else request
    keys = {*seen, *request} - {*ignore}
    different = sorted(key for key in keys if seen.get(key) != request.get(key))
    if different:
        raise TakenError(
            f"{path} holds the results of another {what} "
            f"(different: {', '.join(different)}); choose another folder"
        )


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from holding the lock file `path` within the block.

    `wait` until they let go; otherwise raises InputError.  The lock dies with its process.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise InputError(
            f"another process is at work in {path.parent}; wait for it, or choose another folder"
        ) from None
    except NotImplementedError:  # some mounted drives have no locks
        yield
        return
    try:
        yield
    finally:
        lock.release()


def replace_dir(aside: Path, path: Path) -> None:
    """Give the finished folder `aside` its final name; a folder that is there already stays."""
    try:
        os.rename(aside, path)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(aside)  # another process finished the same work first


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


SECONDS_BETWEEN_LINES = 5.0


def spoken_progress(
    say: Callable[[str], None], what: str, seconds: float = SECONDS_BETWEEN_LINES
) -> Callable[[int, int], None]:
    """Return a progress(done, total) that speaks every so many seconds: rate and time left."""
    began = spoken = time.monotonic()
    first = None

    def progress(done: int, total: int) -> None:
        """Speak if it is time, and at the end."""
        nonlocal spoken, first
        now = time.monotonic()
        first = done if first is None else first  # what a run before had done is not its rate
        if now - spoken < seconds and done < total:
            return
        spoken = now
        rate = (done - first) / max(now - began, 1e-6)
        left = f"{(total - done) / rate / 60:.1f} min left" if rate else ""
        text = f"{rate:.0f}/s, {left}" if done < total else f"{now - began:.0f} s"
        say(f"{what}: {done}/{total} items, {text}")

    return progress


def spoken_bytes(
    what: str, total: int | None, say: Callable[[str], None], start: int = 0
) -> Callable:
    """Return a function of the bytes done; every 5 seconds it says how far, the rate, time left.

    `total` is None where it is not known, `start` what was done before.
    """
    began = last = time.monotonic()

    def tell(done: int) -> None:
        """Speak if it is time, and at the end."""
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and done != total:
            return
        last, rate, line = now, (done - start) / max(now - began, 1e-3), f"{done / 1e6:.1f} MB"
        if total is not None:
            left = (total - done) / max(rate, 1)
            line += f" of {total / 1e6:.1f} MB, {left // 60:.0f} min {left % 60:02.0f} s left"
        say(f"{what}: {line}, {rate / 1e6:.1f} MB/s")

    return tell
