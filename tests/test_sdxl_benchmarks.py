"""The benchmarks of Stable Diffusion XL run on a CPU with a small model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import benchmark

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def run(program, *words):
    subprocess.run([sys.executable, BENCHMARKS / program, *words], check=True, timeout=600)


@pytest.mark.slow
def test_the_whole_line_runs_and_leaves_no_model(tmp_path):
    run("sdxl_full.py", tmp_path / "work", "--small")
    result = json.loads((tmp_path / "work" / "sdxl_full.json").read_text())
    assert result["small"] and result["holds"] and result["versions"]["torch"]
    assert 0.1 < result["train"]["peak_gb"] <= result["peak_gb"] < 3
    assert not (tmp_path / "work" / "base").exists()


def test_its_rows_for_a_gpu_are_taken_alone(tmp_path):
    """They run in the dry run of all rows."""
    run("gpu.py", tmp_path / "work", "--dry-run", "--only", "SDXL", "--minutes", "0")
    result = json.loads((tmp_path / "work" / "gpu_cpu.json").read_text())
    sdxl = [name for name in benchmark("gpu_rows").PLAN if name.startswith("SDXL")]
    assert [*result["skipped"]] == ["matrix peak", *sdxl] and len(sdxl) == 4
    assert benchmark("measured_gpu").said_of_sdxl(result).count("not measured") == 9


def test_the_whole_architecture_has_its_number_of_weights():
    import diffusers
    import torch

    model = benchmark("sdxl_model")
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**model.unet_config(1, (768, 1280)))
        vae = diffusers.AutoencoderKL(**model.vae_config(1))
    count = [sum(weight.numel() for weight in one.parameters()) for one in (unet, vae)]
    assert count == [2_567_463_684, 83_653_863]  # of stabilityai/stable-diffusion-xl-base-1.0
