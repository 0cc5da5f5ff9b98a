"""Claim: at a small batch the host, not the GPU, limits a training step of Stable Diffusion 1.5,
and a step captured in a CUDA graph is about twice as fast with the same losses.

python benchmarks/captured_steps.py                writes results/captured_steps_CARD.json
python benchmarks/captured_steps.py --dry-run      a tiny UNet, eager; writes nothing

Needs 40 GB of GPU memory and about two minutes there.  The UNet has SD 1.5's architecture at 512
pixels and random weights, in bfloat16, with LoRA of rank 4 on its attention.  Moments of latents
and text states are random, as if they came from a cache.  Each row first takes ten steps from the
same weights on the same numbers, to compare its losses with those of eager steps, then as many as
fit into three seconds.

"trainer's way" draws its noise on the CPU, a sample at a time, and takes the norm of the gradients
twice; all others have their numbers on the GPU.  "captured" replays the whole step: forward,
backward, clipping and AdamW.  "graphed callables" replays forward and backward of the UNet alone.
"""

import argparse
import functools
import gc
import time

import torch
from common import write_result
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.utils.checkpoint import checkpoint
from training_runs import DEVICE, DTYPE, RANK, SD_FLOPS, matrix_peak

from tvhelpers.lora.adapter import add_lora
from tvhelpers.train import diffusion

CUDA = DEVICE == "cuda"
SIDE, WIDTH = (64, 768) if CUDA else (16, 32)  # of the latents and of the text's states
SMALL = {} if CUDA else {"block_out_channels": (32, 32, 64, 64), "norm_num_groups": 16}
SCALING_FACTOR, SNR_GAMMA = 0.18215, 5.0
COMPARED, TIMED = 10, 5  # steps whose losses are compared; steps between two looks at the clock


def build_unet() -> UNet2DConditionModel:
    """Return SD 1.5's UNet with random weights and an adapter whose B is not 0."""
    torch.manual_seed(0)
    with torch.device(DEVICE):
        unet = UNet2DConditionModel(
            sample_size=SIDE, cross_attention_dim=WIDTH, attention_head_dim=8, **SMALL
        ).to(DTYPE)
    add_lora(unet, RANK, RANK, 0)
    with torch.no_grad():  # else the gradient of A is nothing in the first step
        for name, weight in unet.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 1e-3)
    return unet.to(DEVICE).train()


def make_inputs(batch: int) -> list[list[torch.Tensor]]:
    """Return [moments, posterior noise, noise, timesteps, states] of each compared step."""
    generator = torch.Generator(DEVICE).manual_seed(1)
    draw = functools.partial(torch.randn, generator=generator, device=DEVICE)
    rows, shape = [], (batch, 4, SIDE, SIDE)
    for _ in range(COMPARED):
        moments = torch.cat([draw(shape) * 5, torch.full(shape, -8.0, device=DEVICE)], 1)
        timesteps = torch.randint(1000, (batch,), generator=generator, device=DEVICE)
        states = draw((batch, 77, WIDTH)).to(DTYPE)
        rows.append([moments, draw(shape), draw(shape), timesteps, states])
    return rows


class Steps:
    """Training steps of one UNet at one batch size; `run(values)` takes one."""

    def __init__(self, unet, batch: int, capturable: bool = False, channels_last: bool = False):
        """Prepare an optimizer, and the numbers of the compared steps."""
        self.unet, self.batch, self.channels_last = unet, batch, channels_last
        self.predict = self.plain_prediction
        self.weights = [weight for weight in unet.parameters() if weight.requires_grad]
        self.first = [weight.detach().clone() for weight in self.weights]
        scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self.alphas, self.inputs = scheduler.alphas_cumprod.to(DEVICE), make_inputs(batch)
        self.seen = torch.zeros(2, device=DEVICE)  # loss and norm
        rate = torch.tensor(1e-4, device=DEVICE) if capturable else 1e-4
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=rate, weight_decay=1e-2, fused=True, capturable=capturable
        )
        self.run = self.eager

    def plain_prediction(self, noisy, timesteps, states) -> torch.Tensor:
        return self.unet(noisy, timesteps, states).sample

    @torch.no_grad()
    def reset(self) -> None:
        """Restore the first weights and an empty optimizer."""
        torch._foreach_copy_(self.weights, self.first)
        for row in self.optimizer.state.values():
            for value in row.values():
                value.zero_()

    def loss(self, moments, posterior, noise, timesteps, states) -> torch.Tensor:
        latents = diffusion.sample_latents(moments, posterior, SCALING_FACTOR)
        noisy = diffusion.add_noise(latents, noise, timesteps, self.alphas)
        if self.channels_last:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=CUDA, cache_enabled=False):
            prediction = self.predict(noisy, timesteps, states)
        weights = diffusion.min_snr_weight(timesteps, self.alphas, SNR_GAMMA, "epsilon")
        return (weights * diffusion.sample_losses(prediction, noise)).sum() / self.batch

    def eager(self, values: list[torch.Tensor]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*values)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, 1.0, foreach=True)
        self.optimizer.step()
        self.seen.copy_(torch.stack([loss.detach(), norm.detach().float()]))

    def trainers_way(self, values: list[torch.Tensor]) -> None:
        drawn = diffusion.sample_noise((4, SIDE, SIDE), 1000, list(range(self.batch)))
        drawn = [x.pin_memory() if CUDA else x for x in drawn]
        drawn = [x.to(DEVICE, non_blocking=True) for x in drawn]
        self.eager([values[0], *drawn, values[4]])
        torch.nn.utils.get_total_norm([weight.grad for weight in self.weights])

    def capture(self) -> None:
        """Replace the step by the replay of its CUDA graph."""
        held = [value.clone() for value in self.inputs[0]]
        warm, stream = torch.cuda.Stream(), torch.cuda.current_stream()
        warm.wait_stream(stream)
        with torch.cuda.stream(warm):
            for _ in range(3):
                self.eager(held)
        stream.wait_stream(warm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.eager(held)

        def replay(values: list[torch.Tensor]) -> None:
            for place, value in zip(held, values):
                place.copy_(value)
            graph.replay()

        self.run = replay

    def graph_callables(self) -> None:
        """Replace the UNet's forward and backward by replays of CUDA graphs."""
        _, _, noise, timesteps, states = self.inputs[0]
        example = (noise.clone(), timesteps.clone(), states.clone())
        with torch.autocast(DEVICE, torch.bfloat16, cache_enabled=False):
            self.predict = torch.cuda.make_graphed_callables(
                _Prediction(self.unet), example, allow_unused_input=True
            )


class _Prediction(torch.nn.Module):
    """A UNet that returns a tensor, as a graph needs it."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, noisy, timesteps, states):
        return self.unet(noisy, timesteps, states).sample


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def compared(steps: Steps) -> list[list[float]]:
    """Return (loss, norm) of each step from the first weights."""
    steps.reset()
    seen = []
    for values in steps.inputs:
        steps.run(values)
        seen.append(steps.seen.tolist())
    return seen


def timed(steps: Steps, peak: float, seconds: float) -> dict:
    """Return what steps of `seconds` take, the peak in FLOPs a second."""
    wait()
    wall, cpu, count = time.perf_counter(), time.process_time(), 0
    while count == 0 or time.perf_counter() - wall < seconds:
        for values in steps.inputs[:TIMED]:
            steps.run(values)
        count += TIMED
        wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate = count * steps.batch / wall
    return {
        "images_per_second": rate,
        "ms_a_step": 1000 * wall / count,
        "share_of_peak": rate * SD_FLOPS["step"] / peak,
        "cpu_over_wall": cpu / wall,
        "peak_gb": torch.cuda.max_memory_allocated() / 2**30 if CUDA else None,
    }


def measure(unet, how: str, batch: int, peak: float, seconds: float = 3.0, **options) -> tuple:
    """Return (row, losses and norms of the compared steps) of one way to take a step."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    steps = Steps(unet, batch, how == "captured", **options)
    began = time.perf_counter()
    if how == "captured":
        steps.capture()
    elif how == "graphed callables":
        steps.graph_callables()
    elif how == "trainer's way":
        steps.run = steps.trainers_way
    wait()
    taken = time.perf_counter() - began
    seen = compared(steps)
    row = timed(steps, peak, seconds)
    if how in ("captured", "graphed callables"):
        row["capture_seconds"] = taken
    steps.reset()
    unet.zero_grad(set_to_none=True)
    return row, seen


def difference(seen: list, eager: list, column: int) -> float:
    """Return the largest relative difference from eager steps, of losses (0) or norms (1)."""
    return max(abs(a[column] - b[column]) / abs(b[column]) for a, b in zip(seen, eager))


def measure_all(unet, peak: float) -> dict:
    """Return a row for every way to take a step."""
    rows = {}
    rows["eager, batch 8"], eager = measure(unet, "eager", 8, peak)
    rows["trainer's way, batch 8"], _ = measure(unet, "trainer's way", 8, peak)
    for how in ("captured", "graphed callables", "captured, channels last"):
        last = how.endswith("channels last")
        unet.to(memory_format=torch.channels_last if last else torch.contiguous_format)
        row, seen = measure(unet, how.split(",")[0], 8, peak, channels_last=last)
        row["losses_differ_at_most"] = difference(seen, eager, 0)
        row["norms_differ_at_most"] = difference(seen, eager, 1)
        rows[f"{how}, batch 8"] = row
    unet.to(memory_format=torch.contiguous_format)
    rows["captured, batch 32"], _ = measure(unet, "captured", 32, peak)
    unet.enable_gradient_checkpointing(
        functools.partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    )
    for how in ("captured", "eager"):
        rows[f"{how}, batch 64, checkpointing"], _ = measure(unet, how, 64, peak)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="two eager rows, nothing written")
    dry_run = parser.parse_args().dry_run
    if not (CUDA or dry_run):
        raise SystemExit("needs a CUDA GPU, or --dry-run")
    unet = build_unet()
    peak = matrix_peak(1 if dry_run else 5)
    if dry_run:
        for how in ("eager", "trainer's way"):
            print(how, measure(unet, how, 1, peak, 0)[0]["ms_a_step"], "ms")
        return
    card = torch.cuda.get_device_name()
    about = {"card": card, "tflops_peak": peak / 1e12, "tflop_an_image": SD_FLOPS["step"] / 1e12}
    name = f"captured_steps_{card.split()[1].lower()}"
    write_result(name, {**about, "rows": measure_all(unet, peak)})


if __name__ == "__main__":
    main()
