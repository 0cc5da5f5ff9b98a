"""The recipe of mini: which part is trained on what, for how long.  `python -m tvhelpers mini
train` runs it.

Base: all categories and colours, every pattern but those of the new season. Shipped adapter: LoRA
on the new season, by the ordinary trainer, like any user's.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError, TrainConfig
from tvhelpers.data import flats
from tvhelpers.data.photos import resize
from tvhelpers.data.sources import open_source
from tvhelpers.models import mini
from tvhelpers.runtime import choose_device, make_dir, read_json, write_json
from tvhelpers.train import pretrain
from tvhelpers.train.pretrain import FitConfig

NEW_SEASON = ("tartan",)  # patterns that only the shipped adapter has seen
BASE_PATTERNS = tuple(pattern for pattern in flats.PATTERNS if pattern not in NEW_SEASON)
SEEDS = {"base": 1, "judge": 2}  # of the flats; the manifest's sources have others
NUM_FLATS = {"base": 8000, "judge": 6000}

FITS = {
    "vae": FitConfig(steps=1300, batch_size=8, learning_rate=2e-3),
    "clip": FitConfig(steps=700, batch_size=128, learning_rate=1e-3, weight_decay=0.1),
    "judge": FitConfig(steps=700, batch_size=48, learning_rate=3e-3, seed=7),
}
UNET = TrainConfig(
    method="full",
    data="flats-base",
    steps=2000,
    batch_size=32,
    learning_rate=1e-3,
    warmup_steps=100,
    dtype="bfloat16",
    ema_decay=0.995,
    eval_steps=500,
    checkpoint_minutes=3,
    checkpoint_steps=0,
    held_out=0.03,
)
ADAPTER = TrainConfig(method="lora", data="flats-new-season", steps=500, batch_size=16, rank=8)


def train_mini(
    work_dir: Path,
    *,
    scale: float = 1.0,
    device: str = "auto",
    photos: str | None = "clothing-small",
    say=print,
) -> dict:
    """Train every part that `work_dir` does not hold yet, and return where the weights are.

    `scale` multiplies all step counts; `photos` are added to the autoencoder's flats where they are
    at hand.
    """
    work_dir, device = make_dir(Path(work_dir)), choose_device(device)
    folder = make_dir(work_dir / "mini_weights")
    for name, part in (
        ("vae", train_vae),
        ("clip", train_clip),
        ("judge", train_judge),
        ("unet", train_unet),
        ("adapter", train_adapter),
    ):
        minutes = _minutes(work_dir)
        if name in minutes:
            say(f"{name}: trained already, {minutes[name]:.1f} minutes")
            continue
        began = time.monotonic()
        part(work_dir, folder, scale=scale, device=device, photos=photos, say=say)
        write_json(work_dir / "minutes.json", {**minutes, name: (time.monotonic() - began) / 60})
    return {"weights": str(folder), "minutes": _minutes(work_dir)}


def train_vae(work_dir, folder, *, scale, device, photos, say) -> None:
    """Train the autoencoder on the base's flats, and on photos where there are any."""
    pixels = rendered(work_dir, "base", BASE_PATTERNS)[1]
    pixels = np.concatenate([pixels[:3000], _photo_pixels(photos, say)])
    fit = _scaled("vae", scale, device)
    vae = pretrain.fit(
        mini.build_vae(),
        pretrain.autoencoder_loss(pixels, device),
        len(pixels),
        fit,
        work_dir / "vae",
    )
    vae = vae.float()
    vae.register_to_config(scaling_factor=pretrain.latent_scale(vae, pixels[:256]))
    vae.half().save_pretrained(folder / "vae")


def train_clip(work_dir, folder, *, scale, device, photos, say) -> None:
    """Learn the tokenizer and train CLIP on the base's flats."""
    from transformers import CLIPTextModel

    specs, pixels = rendered(work_dir, "base", BASE_PATTERNS)
    captions = [flats.captions(spec) for spec in specs]
    tokenizer = mini.build_tokenizer(
        [text for texts in captions for text in texts], folder / "tokenizer"
    )
    loss = pretrain.clip_loss(pixels, captions, specs, tokenizer, device)
    clip = pretrain.fit(
        mini.build_clip(tokenizer),
        loss,
        len(pixels),
        _scaled("clip", scale, device),
        work_dir / "clip",
    )
    clip = clip.cpu().half()
    clip.save_pretrained(folder / "clip")
    text_encoder = CLIPTextModel.from_pretrained(folder / "clip", dtype="float16")
    text_encoder.save_pretrained(folder / "text_encoder")


def train_judge(work_dir, folder, *, scale, device, photos, say) -> None:
    """Train the judge on flats of its own, the new season's among them."""
    specs, pixels = rendered(work_dir, "judge", flats.PATTERNS)
    heads = {
        "category": flats.CATEGORIES,
        "colour": tuple(flats.COLOURS),
        "pattern": flats.PATTERNS,
    }
    labels = {
        head: np.array([words.index(getattr(spec, head)) for spec in specs])
        for head, words in heads.items()
    }
    loss = pretrain.judge_loss(pixels, labels, device)
    fit = _scaled("judge", scale, device)
    judge = pretrain.fit(mini.Judge(heads), loss, len(pixels), fit, work_dir / "judge")
    mini.save_judge(judge.cpu(), folder / "judge.safetensors")


def train_unet(work_dir, folder, *, scale, device, photos, say) -> None:
    """Train the UNet from nothing by the ordinary trainer, as method "full" on a base with a random
    UNet."""
    start = _with_random_unet(folder, work_dir / "start")
    run_dir = work_dir / "unet"
    _run(UNET, start, run_dir, scale, device, say)
    for part in ("unet", "scheduler"):
        shutil.copytree(run_dir / "pipeline" / part, folder / part, dirs_exist_ok=True)
    _halve(folder / "unet")
    shutil.copy(run_dir / "pipeline" / "model_index.json", folder)


def train_adapter(work_dir, folder, *, scale, device, photos, say) -> None:
    """Train the shipped adapter on the new season."""
    _run(ADAPTER, folder, work_dir / "adapter", scale, device, say)
    shutil.copy(
        work_dir / "adapter" / "adapter.safetensors", folder / "shipped_adapter.safetensors"
    )


def rendered(
    work_dir: Path, name: str, patterns: tuple[str, ...]
) -> tuple[list[flats.Spec], np.ndarray]:
    """Return (specs, pixels uint8 (N, 128, 128, 3)) of a set of flats, drawn once and kept in
    `work_dir`."""
    seed, count, path = SEEDS[name], NUM_FLATS[name], work_dir / f"flats-{name}.npy"
    specs = [flats.random_spec(seed, i, patterns=patterns) for i in range(count)]
    if not path.exists():
        pixels = np.stack(
            [flats.render(spec, seed, i, mini.RESOLUTION) for i, spec in enumerate(specs)]
        )
        np.save(path, pixels)
    return specs, np.load(path, mmap_mode="r")


def _photo_pixels(photos: str | None, say) -> np.ndarray:
    """Return the training photos as uint8 (M, 128, 128, 3); none where they are not at hand."""
    try:
        source = open_source(photos) if photos else None
    except InputError as error:
        say(f"the autoencoder is trained on flats alone: {error}")
        source = None
    indices = [i for i, split in enumerate(source.splits) if split == "train"] if source else []
    pixels = [resize(source.pixels(i), mini.RESOLUTION) for i in indices]
    return (
        np.stack(pixels) if pixels else np.empty((0, mini.RESOLUTION, mini.RESOLUTION, 3), np.uint8)
    )


def _scaled(name: str, scale: float, device: str) -> FitConfig:
    from dataclasses import replace

    return replace(FITS[name], steps=max(1, round(FITS[name].steps * scale)), device=device)


def _run(config: TrainConfig, base: Path, run_dir: Path, scale: float, device: str, say) -> None:
    """Run the ordinary trainer with its caches in the work folder."""
    from dataclasses import replace

    from tvhelpers.train.trainer import train

    config = replace(
        config, base=str(base), steps=max(1, round(config.steps * scale)), device=device
    )
    train(config, run_dir, say=say)


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


def _minutes(work_dir: Path) -> dict[str, float]:
    path = work_dir / "minutes.json"
    return read_json(path) if path.exists() else {}
