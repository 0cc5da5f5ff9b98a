"""What does a model draw while it is trained?"""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from tvhelpers.image import save_png
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler


class Previews:
    """Draws the same prompts from the same noise at each evaluation of a training.

    `train(..., preview=Previews(...))` calls it.  Writes folder/step-<step>.png, the images side by
    side; an existing file stays.
    """

    def __init__(
        self,
        base: str,
        prompts: list[str] | Callable[[], list[str]],
        folder: Path,
        *,
        seed: int = 0,
        steps: int = 20,
        text_encoder: str = "",
    ):
        self.base, self.prompts, self.folder = base, prompts, Path(folder)
        self.text_encoder = text_encoder
        self.seed, self.steps = seed, steps
        self.sampler: Sampler | None = None

    def __call__(self, step: int, parts: dict) -> None:
        """Draw with the "unet", "scheduler" and perhaps "text_encoder" of a training.

        These are unchanged afterwards.
        """
        path = self.folder / f"step-{step:07d}.png"
        if path.exists():
            return
        if callable(self.prompts):  # they are read when they are needed
            self.prompts = self.prompts()
        unet = parts["unet"]
        self.sampler = self.sampler or Sampler(
            self.base, "none", unet.device.type, text_encoder=self.text_encoder
        )
        pipe = self.sampler.pipe
        scheduler = type(pipe.scheduler).from_config(parts["scheduler"].config)
        pipe.register_modules(**{**parts, "scheduler": scheduler})
        request = Request(tuple(self.prompts), seed=self.seed, steps=self.steps)
        was_training = unet.training
        unet.eval()
        dtype = self.sampler.dtype if unet.dtype == torch.float32 else unet.dtype
        with torch.autocast(unet.device.type, dtype, enabled=dtype != torch.float32):
            drawn = list(self.sampler.sample(request))
        unet.train(was_training)
        save_png(_side_by_side([image for *_, image in drawn]), path)


def _side_by_side(images: list[Image.Image]) -> Image.Image:
    width, height = images[0].size
    strip = Image.new("RGB", (width * len(images), height), "white")
    for i, image in enumerate(images):
        strip.paste(image, (i * width, 0))
    return strip
