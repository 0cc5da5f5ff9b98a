"""Claim: the presets' LoRA of Stable Diffusion XL at 1024 px fits on their GPUs, by prediction;
and how much a step computes.

python benchmarks/sdxl_memory.py

Writes results/sdxl_memory.json; two minutes on a CPU, and no memory: a step of the trainer's own
model runs on tensors without content, and the bytes of all that live at once are counted, with the
optimizer's state.  What a GPU adds is not in it: some half GB of CUDA itself, the workspace of
convolutions, gaps between tensors.  To see how much that is, the same is predicted for Stable
Diffusion 1.5 where an H200 measured it (results/captured_steps_h200.json, peak of the tensors).
"""

import json
import weakref
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from unittest import mock

import torch
from common import RESULTS, write_result
from diffusers import UNet2DConditionModel
from sdxl_model import unet_config
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tvhelpers.config import OPTIMIZERS, TrainConfig, build_config
from tvhelpers.models.architecture import SDXL, STABLE_DIFFUSION, Architecture
from tvhelpers.train.batches import Batch
from tvhelpers.train.memory import GB
from tvhelpers.train.model import Model

AVAILABLE = {"t4": 15, "l4": 22, "a100": 40, "h100": 80}  # GB, of which a program can use
TOKENS, POOLED = 77, 1280


@dataclass(frozen=True)
class Row:
    """What is predicted: bytes at the peak, and how many weights there are."""

    images: int
    checkpointing: bool
    weights: int
    lora_weights: int
    predicted_gb: float
    tflop_an_image: float  # forward and backward, without what checkpointing computes again


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, for as long as they live."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.seen = {}

    def see(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.size()
        if key in self.seen:
            return
        self.seen[key] = weakref.ref(storage, lambda _: self._gone(key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        self.now -= size
        self.seen.pop(key, None)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor):
                self.see(one)
        return found


def predict(family: Architecture, unet: dict, config: TrainConfig, side: int) -> Row:
    """Predict the memory of a step of `config.batch_size` images of `side` latents."""
    live, counter = Live(), FlopCounterMode(display=False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = _model(family, unet, config, getattr(torch, config.dtype))
        for weight in model.unet.parameters():
            live.see(weight)
        _step(model, config.batch_size, side, live)
    with torch.device("meta"):  # on which attention is made of products that are counted
        plain = replace(config, gradient_checkpointing=False)
        _step(_model(family, unet, plain, torch.float32), 1, side, counter)
    trained = sum(weight.numel() for weight in model.weights)
    weights = sum(weight.numel() for weight in model.unet.parameters()) - trained
    peak = live.peak + OPTIMIZERS[config.optimizer].state_bytes * trained
    how = config.batch_size, config.gradient_checkpointing, weights, trained
    return Row(*how, peak / GB, counter.get_total_flops() / 1e12)


def _model(family: Architecture, unet: dict, config: TrainConfig, dtype: torch.dtype) -> Model:
    """Return the trainer's model of a UNet; tensors without content cannot be moved."""
    with mock.patch.object(torch.nn.Module, "to", lambda module, *a, **k: module):
        torch.set_default_dtype(dtype)
        network = UNet2DConditionModel(**unet)
        torch.set_default_dtype(torch.float32)
        network.to = lambda *a, **k: network  # diffusers' own
        return Model({"unet": network, "family": family}, config, "cpu", dtype)


def _step(model: Model, count: int, side: int, watch: AbstractContextManager) -> None:
    """Compute the gradients of a batch under watch."""
    batch = _batch(count, side, model.unet.config.cross_attention_dim)
    with watch:
        model.predict(batch.noise, batch).float().square().mean().backward()


def _batch(count: int, side: int, width: int) -> Batch:
    latents = torch.zeros(count, 4, side, side)
    return Batch(
        torch.zeros(count, 8, side, side), latents, latents, torch.zeros(count).long(),
        torch.zeros(count, TOKENS, width).half(), None, None,
        torch.zeros(count, POOLED).half(), torch.zeros(count, 6).int(),
    )  # fmt: skip


def main() -> None:
    rows, known = {}, json.loads((RESULTS / "captured_steps_h200.json").read_text())["rows"]
    for name, count, more in (
        ("eager, batch 8", 8, {}),
        ("captured, batch 64, checkpointing", 64, {"gradient_checkpointing": True}),
    ):
        config = build_config(rank=4, batch_size=count, dtype="bfloat16", **more)
        sd15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
        row = predict(STABLE_DIFFUSION, sd15, config, 64)
        measured = known[name]["peak_gb"]
        rows[f"sd15, {name}"] = asdict(row) | {"measured_gb": measured}
        print(f"sd15, {name}: {row.predicted_gb:.1f} GB, measured {measured:.1f}", flush=True)
    small = row
    unet = unet_config(1, (768, 1280))
    for preset, available in AVAILABLE.items():
        config = build_config(preset, base="sdxl", device="cpu")
        row = predict(SDXL, unet, config, config.resolution // 8)
        rows[preset] = asdict(row) | {"available_gb": available}
        print(f"{preset}: {row.predicted_gb:.1f} GB of {available}", flush=True)
    times = row.tflop_an_image / small.tflop_an_image
    write_result("sdxl_memory", {"rows": rows, "times_the_flop_of_sd15": times})


if __name__ == "__main__":
    main()
