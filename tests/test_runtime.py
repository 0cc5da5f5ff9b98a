"""What a machine gives: device, dtype and their reason, memory; seeds."""

from pathlib import Path

import pytest

from tests.helpers import refused
from tvhelpers import runtime


def test_seeds_depend_on_every_part_and_its_type():
    seeds = {runtime.seed_for(*parts) for parts in [(1, 2), (2, 1), (12,), ("1", 2), (1, 2, 0)]}
    assert len(seeds) == 5 and all(0 <= seed < 2**63 for seed in seeds)
    assert runtime.seed_for(1, "unet") == runtime.seed_for(1, "unet")


def test_device_and_dtype_are_chosen_with_a_reason(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.choose_device("auto") == runtime.choose_device("cpu") == "cpu"
    with refused("no-gpu"):
        runtime.choose_device("cuda")
    with refused("unknown-choice"):
        runtime.choose_device("tpu")
    dtype, reason = runtime.choose_dtype("auto", "cpu")
    assert dtype is torch.float32 and reason
    assert runtime.choose_dtype("bfloat16", "cpu")[0] is torch.bfloat16
    with refused("unfit-dtype"):
        runtime.choose_dtype("float16", "cpu")


def test_the_peak_of_memory_is_reset():
    runtime.reset_peak_memory("cpu")
    before = runtime.peak_memory("cpu")
    if before is None:
        pytest.skip("nothing tells here")
    taken = b"x" * int(1.5 * before)  # more than what was freed before and may be taken again
    assert runtime.peak_memory("cpu") - before > 0.2 * before and taken


def test_bfloat16_is_for_cpus_with_instructions_for_it():
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        pytest.skip("nothing tells the CPU's instructions here")
    if "avx512f" not in flags:
        pytest.skip("not a CPU with AVX-512")
    assert runtime.computes_bfloat16("cpu") == bool(flags & {"avx512_bf16", "amx_tile"})


def test_downloads_of_the_hub_keep_their_bars(monkeypatch):
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars

    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    disable_progress_bars()
    runtime.quiet_libraries()
    assert not are_progress_bars_disabled()
