"""What does a model draw while it is trained, and how are these previews shown on one sheet?"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tvhelpers.files import write_bytes
from tvhelpers.image import encoded, read_photo
from tvhelpers.sample.grid import font_for
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

WIDTH, LEAST = 1000, 480  # pixels of a sheet: the output of a notebook is as wide
MOST = 8  # strips of a sheet
TITLE = 26  # pixels of the line above each strip
PROMPTS = "prompts"  # a text of a strip's file, a line for each image


class Previews:
    """Draws the same prompts from the same noise at each evaluation of a training.

    `train(..., preview=Previews(...))` calls it.  Writes folder/step-<step>.png, the images side by
    side, with the prompts as its text PROMPTS; an existing file stays.
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
        """Draw with the "unet", "scheduler" and perhaps text encoders of a training.

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
        pipe = self.sampler.load(without=parts.keys() - {"scheduler"})  # not twice in memory
        scheduler = type(pipe.scheduler).from_config(parts["scheduler"].config)
        pipe.register_modules(**{**parts, "scheduler": scheduler})
        request = Request(tuple(self.prompts), seed=self.seed, steps=self.steps)
        was_training = unet.training
        unet.eval()
        dtype = self.sampler.dtype if unet.dtype == torch.float32 else unet.dtype
        with torch.autocast(unet.device.type, dtype, enabled=dtype != torch.float32):
            drawn = list(self.sampler.sample(request))
        unet.train(was_training)
        texts, strip = PngInfo(), _side_by_side([image for *_, image in drawn])
        texts.add_itxt(PROMPTS, "\n".join(" ".join(prompt.split()) for prompt in self.prompts))
        write_bytes(path, encoded(strip, pnginfo=texts))


def _side_by_side(images: list[Image.Image]) -> Image.Image:
    width, height = images[0].size
    strip = Image.new("RGB", (width * len(images), height), "white")
    for i, image in enumerate(images):
        strip.paste(image, (i * width, 0))
    return strip


def step_of(path: Path) -> int:
    """Return the step of a preview's file, step-<step>.png."""
    return int(path.stem.removeprefix("step-"))


def strips_of(folder: Path, most: int = MOST) -> list[Path]:
    """Return the previews in a folder by step: all, or the first, the last and `most` - 2 between
    them at growing distances, as a model changes most at first."""
    strips = sorted(Path(folder).glob("step-[0-9]*.png"), key=step_of)
    if len(strips) <= most:
        return strips
    places = np.geomspace(1, len(strips), most).round().astype(int) - 1
    return [strips[place] for place in dict.fromkeys(places.tolist())]


def sheet(strips: Sequence[Path]) -> Image.Image:
    """Return strips below each other, each with its step above it; above them their prompts.

    Small ones are enlarged, large ones reduced to WIDTH.
    """
    prompts = _prompts_of(strips[-1])
    rows = [Image.fromarray(read_photo(path)) for path in strips]
    width = min(WIDTH, max(LEAST, 2 * rows[0].width))
    rows = [row.resize((width, round(width * row.height / row.width))) for row in rows]
    top = TITLE * bool(prompts)
    page = Image.new("RGB", (width, top + sum(row.height + TITLE for row in rows)), "white")
    draw, wide = ImageDraw.Draw(page), width / max(1, len(prompts))
    for column, prompt in enumerate(prompts):
        font = font_for(prompt, 15)
        draw.text((column * wide + 4, 5), _cut(prompt, font, wide - 8), "#222222", font)
    for path, row in zip(strips, rows, strict=True):
        step = step_of(path)
        title = f"step {step:,}" if step else "before training"
        draw.text((4, top + 5), title, "#1f6f8b", font_for(title, 15))
        page.paste(row, (0, top + TITLE))
        top += row.height + TITLE
    return page


def _prompts_of(strip: Path) -> list[str]:
    """Return the prompts of a strip's images; [] for one that an older version made."""
    with Image.open(strip) as image:
        text = image.info.get(PROMPTS, "")
    return text.split("\n") if text else []


def _cut(text: str, font, width: float) -> str:
    """Return as much of a text as is `width` pixels wide."""
    while font.getlength(text) > width:
        text = text[:-2].rstrip(" .") + "…"
    return text
