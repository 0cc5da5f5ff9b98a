"""Run diffusers' training script and record every number that its losses depend on.

python benchmarks/record_peer.py OUT.pt PROGRAM.py [ARGUMENT ...]

Runs in the script's own environment, on the script as it is: functions of the libraries that it
calls are wrapped.  OUT.pt holds, by step, pixels (B, 3, h, w), the posterior's noise, the diffusion
noise, timesteps, loss; and the adapter's weights by name before the first step.
"""

import runpy
import sys
from pathlib import Path

import diffusers
import torch
from diffusers.models.autoencoders import vae as posterior

STEPS: dict[str, list[torch.Tensor]] = {}
ADAPTER: dict[str, torch.Tensor] = {}


def keep(name: str, value: torch.Tensor) -> None:
    STEPS.setdefault(name, []).append(value.detach().cpu().clone())


def wrap(owner, name: str, note) -> None:
    """Let `note(result, *arguments)` see every call of owner.name."""
    call = getattr(owner, name)

    def wrapped(*arguments, **named):
        result = call(*arguments, **named)
        note(result, *arguments, *named.values())
        return result

    setattr(owner, name, wrapped)


def note_adapter(result, unet, *_) -> None:
    if not ADAPTER:
        named = unet.named_parameters()
        ADAPTER.update((n, w.detach().cpu().clone()) for n, w in named if w.requires_grad)


def note_noise(result, scheduler, latents, noise, timesteps) -> None:
    keep("noise", noise)
    keep("timesteps", timesteps)


def main() -> None:
    out, program, *arguments = sys.argv[1:]
    wrap(diffusers.AutoencoderKL, "encode", lambda result, vae, images, *_: keep("pixels", images))
    wrap(posterior, "randn_tensor", lambda noise, *_: keep("posterior", noise))
    wrap(diffusers.DDPMScheduler, "add_noise", note_noise)
    wrap(diffusers.UNet2DConditionModel, "forward", note_adapter)
    wrap(torch.nn.functional, "mse_loss", lambda loss, *_: keep("loss", loss))
    sys.argv, sys.path[0] = [program, *arguments], str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")
    torch.save({"adapter": ADAPTER, **STEPS}, out)


if __name__ == "__main__":
    main()
