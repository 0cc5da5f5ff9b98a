"""How do latents become pixels in a dtype that holds them, and which does a step predict?"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch

from tvhelpers.errors import InputError
from tvhelpers.models.base import BaseLocation


def guard_vae(vae, base: BaseLocation) -> None:
    """Let a VAE decode in float32 where its family says that fp16 overflows, and raise InputError
    for images that are not finite, which would be black."""
    decode, overflows = vae.decode, base.architecture.overflows(vae.config)

    @functools.wraps(decode)
    def guarded(latents: torch.Tensor, *args, **options):
        """Decode in `dtype`, whatever the surrounding autocast says."""
        own = vae.dtype
        dtype = torch.float32 if overflows and own == torch.float16 else own
        try:
            with torch.autocast(latents.device.type, enabled=False):
                found = vae.to(dtype=dtype) and decode(latents.to(dtype), *args, **options)
        finally:
            vae.to(dtype=own)
        image = found[0]
        if not torch.isfinite(image).all():
            if not torch.isfinite(latents).all():
                raise InputError("not-finite.drawn", base=base.name)
            if dtype == torch.float32:
                raise InputError("not-finite.damaged", base=base.name)
            dtype = str(dtype).removeprefix("torch.")
            raise InputError("not-finite.decoded", base=base.name, dtype=dtype)
        return found

    vae.decode = guarded


@contextlib.contextmanager
def remembered(scheduler) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a function that returns, within the block, the last step's prediction of the finished
    latents (N, c, h, w): DPM-Solver++ keeps it, other schedulers return it."""
    if hasattr(scheduler, "model_outputs"):
        yield lambda: scheduler.model_outputs[-1]
        return
    seen, step = [], scheduler.step

    @functools.wraps(step)
    def remembering(*args, **options):
        """Take the step, and keep its prediction."""
        found = step(*args, **options)
        seen[:] = found[1:]
        return found

    scheduler.step = remembering
    try:
        yield lambda: seen[0]
    finally:
        del scheduler.step
