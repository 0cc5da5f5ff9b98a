"""Claim: with both files of an adapter stock diffusers generates the trained model's images, within
1e-4; so do kohya's scripts with theirs, and a blend is the sum of its adapters.

python benchmarks/adapter_round_trip.py [--peer PATH]     writes results/adapter_round_trip.json

On mini, in fp32: LoRA on all layers and on the text encoder with alpha unlike rank, DoRA, and the
adapter that mini comes with.  PATH is a checkout of kohya-ss/sd-scripts: its networks/lora.py then
puts the file with kohya's names into the same pipeline by its own rules.
"""

import argparse
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import torch
from common import write_result

from tvhelpers.lora.adapter import add_lora, kohya_path, load_adapter, save_adapter
from tvhelpers.lora.formats import read_adapter
from tvhelpers.lora.merge import blend, save_as
from tvhelpers.models.base import find_base, load_part, load_pipeline, unet_digest
from tvhelpers.models.mini import WEIGHTS_DIR

PROMPTS = ["a red dress", "a green bomber jacket", "a blue tartan skirt", "a black striped hoodie"]
STEPS = 20
SHIPPED = WEIGHTS_DIR / "shipped_adapter.safetensors"
base = find_base("mini")


def train_at_random(path: Path, targets: str, text: bool, use_dora: bool = False) -> dict:
    """Return {part: model} with random adapters, alpha 6 on rank 4, and write their files."""
    models = {"unet": load_part(base, "unet")}
    about = {"base": "mini", "base_digest": unet_digest(models["unet"])}
    weights = add_lora(models["unet"], 4, 6, 1, targets, use_dora)
    if text:
        models["text_encoder"] = load_part(base, "text_encoder")
        weights += add_lora(models["text_encoder"], 3, 1, 1, "text encoder", use_dora)
    noise = torch.Generator().manual_seed(0)
    for weight in weights:
        weight.data += 0.03 * torch.randn(weight.shape, generator=noise)
    save_adapter(models, path, about)
    return models


def draw(pipe) -> np.ndarray:
    """Return images 0..1 of all prompts, each from its own noise."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))]
    options = {"num_inference_steps": STEPS, "guidance_scale": base.guidance, "output_type": "np"}
    return pipe(PROMPTS, generator=generators, **options).images


def by_diffusers(path: Path) -> np.ndarray:
    pipe = load_pipeline(base)
    pipe.load_lora_weights(str(path.parent), weight_name=path.name)
    return draw(pipe)


def by_us(path: Path) -> np.ndarray:
    pipe = load_pipeline(base)
    load_adapter(pipe, path, "mini", unet_digest(pipe.unet))
    return draw(pipe)


def by_models(models: dict) -> np.ndarray:
    pipe = load_pipeline(base)
    for part, model in models.items():
        setattr(pipe, part, model)
    return draw(pipe)


def by_kohya(path: str, lora) -> np.ndarray:
    """Draw with kohya's own reader; the level text_model, which its names have, is put back."""
    pipe = load_pipeline(base)
    text = pipe.text_encoder
    if not hasattr(text, "text_model"):
        text = torch.nn.Module()
        text.text_model = pipe.text_encoder
    network, weights = lora.create_network_from_weights(1.0, path, pipe.vae, text, pipe.unet)
    network.apply_to(text, pipe.unet)
    loaded = network.load_weights(path)
    assert not loaded.missing_keys and not loaded.unexpected_keys, loaded
    assert 3 * len(network.unet_loras + network.text_encoder_loras) == len(weights)
    return draw(pipe)


def import_kohya(checkout: Path):
    """Return networks/lora.py of a checkout, without what it needs for Stable Diffusion XL."""
    for name, member in (
        ("utils", "setup_logging"),
        ("sdxl_original_unet", "SdxlUNet2DConditionModel"),
    ):
        module = types.ModuleType(f"library.{name}")
        setattr(module, member, type(member, (), {}))
        sys.modules[f"library.{name}"] = module
    sys.modules["library"] = types.ModuleType("library")
    sys.path.insert(0, str(checkout))
    from networks import lora

    return lora


def furthest(seen: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(seen - wanted).max())


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--peer", type=Path, help="a checkout of kohya-ss/sd-scripts")
peer = parser.parse_args().peer
lora = peer and import_kohya(peer)
plain = draw(load_pipeline(base))
cases = {}
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    for case, options in {
        "all layers and text encoder": {"targets": "attention+ff+conv", "text": True},
        "the same, DoRA": {"targets": "attention+ff+conv", "text": True, "use_dora": True},
        "shipped": None,
    }.items():
        path = folder / f"{case}.safetensors"
        if options:
            trained = by_models(train_at_random(path, **options))
        else:
            trained = by_diffusers(SHIPPED)
            for names, file in (("diffusers", path), ("kohya", kohya_path(path))):
                save_as(read_adapter(SHIPPED), file, names)
        row = {"changed_by": furthest(trained, plain)}
        row["diffusers names, stock diffusers"] = furthest(by_diffusers(path), trained)
        row["kohya names, as we load them"] = furthest(by_us(kohya_path(path)), trained)
        if "DoRA" not in case:  # diffusers ignores it under kohya's names, and kohya lacks it
            row["kohya names, stock diffusers"] = furthest(by_diffusers(kohya_path(path)), trained)
            if lora:
                drawn = by_kohya(str(kohya_path(path)), lora)
                row["kohya names, kohya's scripts"] = furthest(drawn, trained)
        cases[case] = row
        print(case, row, flush=True)

    train_at_random(folder / "one.safetensors", "attention", text=True)
    pipe = load_pipeline(base)
    for name, file in (("one", folder / "one.safetensors"), ("shipped", SHIPPED)):
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
    pipe.set_adapters(["one", "shipped"], [0.7, 0.5])
    together = draw(pipe)
    adapters = [read_adapter(folder / "one.safetensors"), read_adapter(SHIPPED)]
    save_as(blend(adapters, [0.7, 0.5])[0], folder / "sum.safetensors")
    save_as(blend(adapters, [0.7, 0.5])[0], folder / "sum_kohya.safetensors", "kohya")
    blended = {
        "changed_by": furthest(together, plain),
        "diffusers names": furthest(by_diffusers(folder / "sum.safetensors"), together),
        "kohya names": furthest(by_diffusers(folder / "sum_kohya.safetensors"), together),
    }

result = {"pictures": len(PROMPTS), "steps": STEPS, "cases": cases}  # stable name
result["blend"] = blended
if peer:
    head = subprocess.run(["git", "-C", peer, "rev-parse", "HEAD"], capture_output=True, text=True)
    result["sd-scripts"] = head.stdout.strip()
write_result("adapter_round_trip", result)
