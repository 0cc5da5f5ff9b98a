"""Which device, dtype, seeds, versions and folders does a run use?"""

import contextlib
import hashlib
import importlib
import os
import sys
import warnings
from pathlib import Path

from tvhelpers.config import CHOICES, check_choice
from tvhelpers.errors import InputError


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

    Others emulate it, though torch calls it supported: a T4 (compute capability 7.5) slowly, a CPU
    without AVX-512 forty times and one with AVX-512 alone three times slower than float32.
    """
    import torch

    if device == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
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
    """Reset the peak that `peak_memory` returns."""
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):  # only Linux has this
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory(device: str) -> int | None:
    """Return the most bytes in use since the peak was reset: what PyTorch has reserved on the GPU,
    with the gaps between tensors and the memory of captured steps, or of this process on a CPU;
    None where unknown."""
    import torch

    if device != "cpu":
        return torch.cuda.max_memory_reserved()
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return None


def seed_for(*parts: int | str) -> int:
    """Return a 63-bit seed, a function of the parts alone."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def on_colab() -> bool:
    """Return whether this is a Colab kernel."""
    return "google.colab" in sys.modules


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
    """Silence the messages of diffusers and transformers on import, and a warning of
    huggingface_hub of what diffusers itself does wrong."""
    warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument")
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")


def quiet_libraries(*names: str) -> None:
    """Silence progress bars and advice, not errors, of "diffusers" and "transformers" (by default
    both); imports them, which takes seconds.  The bars of downloads from the hub stay."""
    quiet_imports()
    for name in names or ("diffusers", "transformers"):
        logging = importlib.import_module(f"{name}.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    if not os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"):
        from huggingface_hub.utils import enable_progress_bars

        enable_progress_bars()  # some versions of transformers disable them too
