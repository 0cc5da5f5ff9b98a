"""The recipe of mini: which part is trained on what, for how long.  `python -m tvhelpers mini
train` runs it.

Base: flats of the season "base". Shipped adapter: LoRA on the new season, by the ordinary trainer,
like any user's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from recipes.mini import losses
from recipes.mini.losses import FitConfig
from tvhelpers import flats
from tvhelpers.config import InputError, TrainConfig
from tvhelpers.data.sources import open_source
from tvhelpers.files import atomic_path, make_dir
from tvhelpers.image import resize
from tvhelpers.lora.formats import read_adapter, write_adapter
from tvhelpers.models import mini
from tvhelpers.models.base import BaseLocation
from tvhelpers.models.fashion_words import FASHION_WORDS
from tvhelpers.records import claim_dir, read_json, write_json
from tvhelpers.runtime import choose_device, computes_bfloat16
from tvhelpers.train.trainer import train

LARGE = 192  # pixels a side of the pictures that details are cut from
SETS = {  # seed, flats, season
    "base": (1, 12_000, "base"),
    "judge": (2, 9_000, "all"),
    "decoder": (3, 6_000, "all"),
}
FITS = {
    "vae": FitConfig(steps=4000, batch_size=8, learning_rate=2e-3),
    "detail": FitConfig(steps=4000, batch_size=8, learning_rate=1e-3, seed=4),
    "decoder": FitConfig(steps=2400, batch_size=8, learning_rate=1e-3, seed=5),
    "clip": FitConfig(steps=1100, batch_size=128, learning_rate=1e-3, weight_decay=0.1),
    "judge": FitConfig(steps=2000, batch_size=48, learning_rate=3e-3, seed=7),
}
UNET = TrainConfig(
    method="full",
    data="flats-base",
    steps=8000,
    batch_size=32,
    flip=False,
    min_snr_gamma=0,
    learning_rate=1e-3,
    warmup_steps=100,
    dtype="bfloat16",
    ema_decay=0.998,
    eval_steps=500,
    checkpoint_minutes=3,
    checkpoint_steps=0,
    held_out=0.03,
)
ADAPTER = TrainConfig(
    method="lora",
    data="flats-new-season",
    steps=2400,
    learning_rate=1.5e-3,
    eval_steps=200,
    batch_size=16,
    rank=8,
    targets="attention+ff+conv",  # new shapes and textures are not a matter of attention alone
    flip=False,
    min_snr_gamma=0,
    held_out=0.05,
)


@dataclass(frozen=True)
class Workshop:
    """Where and how the parts are trained."""

    work_dir: Path
    scale: float  # of all step and picture counts
    device: str
    photos: str | None  # source whose training photos the autoencoder sees too
    say: Callable[[str], None]

    @property
    def weights_dir(self) -> Path:
        """The folder that becomes tvhelpers/models/mini_weights."""
        return self.work_dir / "mini_weights"

    def count(self, number: int, least: int = 1) -> int:
        """Return `number` scaled."""
        return max(least, round(number * self.scale))

    def fit(self, name: str) -> FitConfig:
        """Return the settings of a part, scaled."""
        return replace(FITS[name], steps=self.count(FITS[name].steps), device=self.device)


def train_mini(
    work_dir: Path,
    *,
    scale: float = 1.0,
    device: str = "auto",
    photos: str | None = "clothing-small",
    say: Callable[[str], None] = print,
) -> dict:
    """Train every part that `work_dir` does not hold yet, and return where the weights are.

    `scale` multiplies all step and picture counts; `photos` are added to the autoencoder's flats
    where they are at hand.
    """
    if not 0 < scale <= 100:  # also where it is NaN
        raise InputError(f"scale is {scale:g}; give a number over 0, up to 100")
    claim_dir(Path(work_dir), {"scale": scale, "photos": photos}, "training of mini")
    shop = Workshop(Path(work_dir), scale, choose_device(device), photos, say)
    make_dir(shop.weights_dir)
    for name, train_part in PARTS.items():
        minutes = _minutes(shop)
        if name in minutes:
            say(f"{name}: trained already, {minutes[name]:.1f} minutes")
            continue
        began = time.monotonic()
        train_part(shop)
        minutes[name] = (time.monotonic() - began) / 60
        write_json(shop.work_dir / "minutes.json", minutes)
    return {"weights": str(shop.weights_dir), "minutes": _minutes(shop)}


def train_vae(shop: Workshop) -> None:
    """Train the autoencoder on the base's flats, and on photos where there are any."""
    side = mini.RESOLUTION
    count = shop.count(6000, 64)
    pixels = np.concatenate([rendered(shop, "base")[1][:count], _photo_pixels(shop, side)])
    loss = losses.autoencoder_loss(pixels, shop.device)
    vae = losses.fit(mini.build_vae(), loss, len(pixels), shop.fit("vae"), shop.work_dir / "vae")
    large = [rendered(shop, "base", LARGE, count)[1], _photo_pixels(shop, LARGE)]
    loss = losses.detail_loss(pixels, np.concatenate(large), shop.device)
    vae = losses.fit(vae, loss, len(pixels), shop.fit("detail"), shop.work_dir / "detail")
    vae = vae.float()
    vae.register_to_config(scaling_factor=losses.latent_scale(vae, pixels[:256]))
    vae.half().save_pretrained(shop.weights_dir / "vae")


def train_decoder(shop: Workshop) -> None:
    """Train the decoder further, on flats of every season: it hears no words, latents stay."""
    from diffusers import AutoencoderKL

    pixels = [rendered(shop, "decoder")[1], _photo_pixels(shop, mini.RESOLUTION)]
    pixels = np.concatenate(pixels)
    vae = AutoencoderKL.from_pretrained(shop.weights_dir / "vae").float()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    loss = losses.decoder_loss(pixels, shop.device)
    config = shop.fit("decoder")
    vae = losses.fit(vae, loss, len(pixels), config, shop.work_dir / "decoder")
    vae.half().save_pretrained(shop.weights_dir / "vae")


def train_clip(shop: Workshop) -> None:
    """Learn the tokenizer and train CLIP on the base's flats."""
    specs, pixels = rendered(shop, "base")
    texts = [text for spec in specs for text in flats.captions(spec)]
    tokenizer = mini.build_tokenizer(texts, shop.weights_dir / "tokenizer")
    words = [*FASHION_WORDS, *{word for text in texts for word in text.split()}]
    loss = losses.clip_loss(pixels, specs, sorted(set(words)), tokenizer, shop.device)
    clip, config = mini.build_clip(tokenizer), shop.fit("clip")
    clip = losses.fit(clip, loss, len(pixels), config, shop.work_dir / "clip")
    _save_clip(shop, clip)


def _save_clip(shop: Workshop, clip) -> None:
    """Write clip/, and its text half as text_encoder/."""
    from transformers import CLIPTextModel

    clip.cpu().half().save_pretrained(shop.weights_dir / "clip")
    half = [0.5, 0.5, 0.5]  # images are -1..1
    settings = {"image_mean": half, "image_std": half}
    write_json(shop.weights_dir / "clip" / "preprocessor_config.json", settings)
    text_encoder = CLIPTextModel.from_pretrained(shop.weights_dir / "clip", dtype="float16")
    text_encoder.save_pretrained(shop.weights_dir / "text_encoder")
    # transformers computes in the dtype of the config, diffusers in float32: they must agree
    _edit_config(shop.weights_dir / "clip", dtype="float32")
    _edit_config(shop.weights_dir / "text_encoder", dtype="float32")


def train_judge(shop: Workshop) -> None:
    """Train the judge on flats of its own, the new season's among them.

    Half of them it sees as the autoencoder gives them back, as all that it will judge has been
    through the decoder.
    """
    specs, pixels = rendered(shop, "judge")
    pixels = _half_decoded(shop, pixels)
    heads = {name: flats.words_of(name) for name in flats.ATTRIBUTES}
    labels = {
        head: np.array([words.index(getattr(spec, head) or "none") for spec in specs])
        for head, words in heads.items()
    }
    loss = losses.judge_loss(pixels, labels, shop.device)
    judge, config = mini.Judge(heads), shop.fit("judge")
    judge = losses.fit(judge, loss, len(pixels), config, shop.work_dir / "judge")
    mini.save_judge(judge.cpu(), shop.weights_dir / "judge.safetensors")


def _half_decoded(shop: Workshop, pixels: np.ndarray) -> np.ndarray:
    """Return the pictures, every second one through the autoencoder; made once and kept."""
    from diffusers import AutoencoderKL

    path = shop.work_dir / f"flats-judge-{len(pixels)}-decoded.npy"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(shop.weights_dir / "vae").float().to(shop.device)
        pixels = np.array(pixels)
        pixels[1::2] = losses.autoencoded(vae, pixels[1::2])
        with atomic_path(path) as aside, open(aside, "wb") as file:
            np.save(file, pixels)
    return np.load(path, mmap_mode="r")


def train_unet(shop: Workshop) -> None:
    """Train the UNet from nothing by the ordinary trainer: method "full" on a random UNet."""
    start = _with_random_unet(shop.weights_dir, shop.work_dir / "start")
    _train(shop, UNET, start, "unet")
    trained = shop.work_dir / "unet" / "pipeline" / "unet"
    shutil.copytree(trained, shop.weights_dir / "unet", dirs_exist_ok=True)
    shutil.copytree(start / "scheduler", shop.weights_dir / "scheduler", dirs_exist_ok=True)
    _halve(shop.weights_dir / "unet")
    shutil.copy(start / "model_index.json", shop.weights_dir)


def train_adapter(shop: Workshop) -> None:
    """Train the shipped adapter on the new season."""
    _train(shop, ADAPTER, shop.weights_dir, "adapter")
    trained = shop.work_dir / "adapter" / "adapter.safetensors"
    # In fp16: less to ship, and nothing is trained on it further.
    shipped = shop.weights_dir / "shipped_adapter.safetensors"
    write_adapter(read_adapter(trained), shipped, dtype=torch.float16)


PARTS = {
    "clip": train_clip,
    "vae": train_vae,
    "decoder": train_decoder,
    "unet": train_unet,
    "adapter": train_adapter,
    "judge": train_judge,
}


def rendered(
    shop: Workshop, name: str, size: int = mini.RESOLUTION, count: int = 0
) -> tuple[list[flats.Spec], np.ndarray]:
    """Return (specs, pixels uint8 (N, size, size, 3)) of a set of flats, drawn once and kept."""
    seed, number, season = SETS[name]
    count = count or shop.count(number, 64)
    path = shop.work_dir / f"flats-{name}-{count}-{size}.npy"
    specs = [flats.random_spec(seed, i, season=season) for i in range(count)]
    if not path.exists():
        drawn = [flats.render(spec, seed, i, size) for i, spec in enumerate(specs)]
        with atomic_path(path) as aside, open(aside, "wb") as file:
            np.save(file, np.stack(drawn))
    return specs, np.load(path, mmap_mode="r")


def _photo_pixels(shop: Workshop, size: int) -> np.ndarray:
    """Return the training photos as uint8 (M, size, size, 3); none where they are not at hand."""
    none = np.empty((0, size, size, 3), np.uint8)
    try:
        source = open_source(shop.photos) if shop.photos else None
    except InputError as error:
        shop.say(f"the autoencoder is trained on flats alone: {error}")
        source = None
    if source is None:
        return none
    chosen = [i for i, split in enumerate(source.splits) if split == "train"]
    return np.stack([resize(source.pixels(i), size) for i in chosen])


def _train(shop: Workshop, config: TrainConfig, folder: Path, run: str) -> None:
    """Run the ordinary trainer on the base in `folder`, with its caches in the work folder."""
    limit = shop.count(SETS["base"][1], 64) if shop.scale < 1 else 0
    config = replace(config, steps=shop.count(config.steps), limit=limit, device=shop.device)
    if not computes_bfloat16(shop.device):
        config = replace(config, dtype="auto")
    base = BaseLocation("mini", str(folder))
    train(config, shop.work_dir / run, base=base, root=shop.work_dir, say=shop.say)


def _with_random_unet(folder: Path, start: Path) -> Path:
    """Write, and return, a pipeline folder with the trained parts and a random UNet."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    if not (start / "model_index.json").exists():
        StableDiffusionPipeline(
            AutoencoderKL.from_pretrained(folder / "vae"),
            CLIPTextModel.from_pretrained(folder / "text_encoder"),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            mini.build_unet(),
            mini.build_scheduler(),
            None,
            None,
            requires_safety_checker=False,
        ).save_pretrained(start)
    return start


def _halve(folder: Path) -> None:
    from diffusers import UNet2DConditionModel

    UNet2DConditionModel.from_pretrained(folder).half().save_pretrained(folder)
    _edit_config(folder, _name_or_path="mini")  # diffusers writes a path of this machine there


def _edit_config(folder: Path, **changes) -> None:
    write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})


def _minutes(shop: Workshop) -> dict[str, float]:
    path = shop.work_dir / "minutes.json"
    return read_json(path) if path.exists() else {}
