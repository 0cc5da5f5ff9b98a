"""Which parts of mini are trained, on which data, in which order?

The base is trained on flats of the season "base"; the shipped adapter is LoRA on the new season, by
the same trainer that users have.  settings.yaml holds sizes and numbers of steps.
"""

import contextlib
import copy
import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from recipes.mini import SETTINGS, build, losses, vocabulary
from recipes.mini.fit import FitConfig, fit
from tvhelpers import flats
from tvhelpers.config import TrainConfig
from tvhelpers.errors import InputError
from tvhelpers.files import atomic_path, make_dir
from tvhelpers.lora.find import FAST
from tvhelpers.lora.formats import read_adapter, write_adapter
from tvhelpers.models.base import BaseLocation
from tvhelpers.models.mini import WEIGHTS_DIR, Judge
from tvhelpers.progress import Interrupted
from tvhelpers.records import claimed, read_json, write_json
from tvhelpers.runtime import choose_device, computes_bfloat16
from tvhelpers.train.trainer import train

log = logging.getLogger("tvhelpers.mini")


@dataclass(frozen=True)
class Workshop:
    """Where and how the parts are trained."""

    work_dir: Path
    scale: float  # factor on all numbers of steps and images
    device: str

    @property
    def weights_dir(self) -> Path:
        """The folder that becomes tvhelpers/models/mini_weights."""
        return self.work_dir / "mini_weights"

    def count(self, number: int, least: int = 1) -> int:
        """Return `number` scaled."""
        return max(least, round(number * self.scale))

    def fit(self, name: str, model, loss_of: Callable, count: int):
        """Train a model with the scaled settings of a part."""
        config = FitConfig(**self.settings("fits", name), device=self.device)
        config = replace(config, steps=self.count(config.steps))
        return fit(model, loss_of, count, config, self.work_dir / name)

    def settings(self, kind: str, name: str) -> dict:
        """Return the settings of a part, with what differs on a GPU."""
        more = SETTINGS["on_a_gpu"].get(name, {}) if self.device == "cuda" else {}
        return {**SETTINGS[kind][name], **more}

    def kept(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return an array of the work folder, memory-mapped; it is made once."""
        path = self.work_dir / f"{name}.npy"
        if not path.exists():
            with atomic_path(path) as aside, open(aside, "wb") as file:
                np.save(file, make())
        return np.load(path, mmap_mode="r")

    def drawn(self, name: str) -> tuple[list[flats.Spec], np.ndarray]:
        """Return (specs, pixels uint8 (N, 128, 128, 3)) of a set of flats."""
        seed, number, season = SETTINGS["flats"][name]
        count = self.count(number, 64)
        specs = [flats.shop_spec(seed, i, season) for i in range(count)]

        def draw() -> np.ndarray:
            with ThreadPoolExecutor() as pool:
                return np.stack([*pool.map(flats.render, specs, repeat(seed), range(count))])

        return specs, self.kept(f"flats-{name}-{count}", draw)


def train_mini(
    work_dir: Path, *, scale: float = 1.0, device: str = "auto", minutes: float = 0
) -> dict:
    """Train every part that `work_dir` does not hold yet, and return where the weights are.

    `scale` multiplies all numbers of steps and images.  After so many `minutes` (0 = no limit) the
    part that is being trained stops with a checkpoint; the same call resumes.
    """
    if not 0 < scale <= 100:  # also where it is NaN
        raise InputError("out-of-range", f"scale is {scale:g}; give a number over 0, up to 100")
    shop = Workshop(Path(work_dir), scale, choose_device(device))
    path = shop.work_dir / "minutes.json"
    with claimed(shop.work_dir, {"scale": scale}, "request"):
        try:
            with time_limit(60 * minutes):
                _train_parts(shop, path)
        except Interrupted as stopped:
            log.info("%s; the same command resumes", stopped)
            spent = read_json(path) if path.exists() else {}
            return {"stopped": str(stopped), "minutes": spent}
        return {"weights": str(shop.weights_dir), "minutes": read_json(path)}


def _train_parts(shop: Workshop, path: Path) -> None:
    """Train what is missing, and write the minutes of parts that are finished, or begun."""
    make_dir(shop.weights_dir)
    minutes = read_json(path) if path.exists() else {}
    for name, train_part in PARTS.items():
        if (shop.work_dir / f"{name}.done").exists():
            log.info("%s: trained already, %.1f minutes", name, minutes[name])
            continue
        began, before = time.monotonic(), minutes.get(name, 0)
        try:
            train_part(shop)
            (shop.work_dir / f"{name}.done").touch()
        finally:
            minutes[name] = before + (time.monotonic() - began) / 60
            write_json(path, minutes)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Ask the work within the block to stop after so many seconds, as SIGTERM does; 0 = never.

    Trainings write a checkpoint first.  What happens between them ends at once and is done again.
    """

    if not seconds:
        yield
        return
    ended = threading.Event()

    def stop(number, frame):
        if not ended.is_set():
            raise Interrupted("stopped between two trainings", {"to resume": ()})

    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.daemon = True
    before = signal.signal(signal.SIGTERM, stop)
    try:
        timer.start()
        yield
    finally:
        ended.set()  # a signal that is on its way is too late
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGTERM, before)


def copy_autoencoder(shop: Workshop) -> None:
    """Copy the autoencoder, which benchmarks/mini_autoencoder_gpu.py trains on a GPU."""
    folder = Path(__file__).with_name("autoencoder")
    AutoencoderKL.from_pretrained(folder).half().save_pretrained(shop.weights_dir / "vae")
    _edit_config(shop.weights_dir / "vae", _name_or_path="mini")


def train_decoder(shop: Workshop) -> None:
    """Train the decoder alone on a shop's flats; the latents stay what they are."""
    vae = AutoencoderKL.from_pretrained(shop.weights_dir / "vae").float()
    vae.requires_grad_(False)
    vae.post_quant_conv.requires_grad_(True), vae.decoder.requires_grad_(True)
    _, pixels = shop.drawn("judge")
    vae = shop.fit("decoder", vae, partial(losses.decoder_loss, pixels), len(pixels))
    vae = vae.cpu().to(memory_format=torch.contiguous_format)
    vae.half().save_pretrained(shop.weights_dir / "vae")
    _edit_config(shop.weights_dir / "vae", _name_or_path="mini")


def train_clip(shop: Workshop) -> None:
    """Build the tokenizer and train CLIP on flats; its text encoder becomes the base's."""
    specs, pixels = shop.drawn("base")
    seed = SETTINGS["flats"]["base"][0]
    texts = [flats.shop_caption(spec, seed, i) for i, spec in enumerate(specs)]
    texts += [text for spec in specs for text in flats.captions(spec)]
    terms = [*vocabulary.kinds_of_terms()]
    merges = SETTINGS["tokenizer_merges"]
    tokenizer = build.build_tokenizer([*texts, *terms], shop.weights_dir / "tokenizer", merges)
    words = sorted({*build.FASHION_WORDS, *" ".join(terms).lower().split()})
    loss = partial(losses.clip_loss, pixels, specs, words, tokenizer)
    clip = shop.fit("clip", build.build_clip(tokenizer), loss, len(pixels))
    whole, text = shop.weights_dir / "clip", shop.weights_dir / "text_encoder"
    clip.cpu().half().save_pretrained(whole)
    half = [0.5, 0.5, 0.5]  # images are -1..1
    write_json(whole / "preprocessor_config.json", {"image_mean": half, "image_std": half})
    CLIPTextModel.from_pretrained(whole, dtype="float16").save_pretrained(text)
    # transformers computes in the dtype of the config, diffusers in float32: they must agree
    _edit_config(whole, dtype="float32")
    _edit_config(text, dtype="float32")


def train_unet(shop: Workshop) -> None:
    """Train the committed UNet on, with the ordinary trainer and method "full"."""
    start, weights = shop.work_dir / "start", shop.weights_dir
    if not (start / "model_index.json").exists():
        unet = build.build_unet()
        random = build.take_over(unet, WEIGHTS_DIR / "unet")
        log.info(
            "the UNet starts from the committed one, but for %s", ", ".join(random) or "nothing"
        )
        StableDiffusionPipeline(
            AutoencoderKL.from_pretrained(weights / "vae"),
            CLIPTextModel.from_pretrained(weights / "text_encoder"),
            CLIPTokenizer.from_pretrained(weights / "tokenizer"),
            unet,
            build.build_scheduler(),
            None,
            None,
            requires_safety_checker=False,
        ).save_pretrained(start)
    _train(shop, "unet", start)
    trained = UNet2DConditionModel.from_pretrained(shop.work_dir / "unet" / "pipeline" / "unet")
    trained.half().save_pretrained(weights / "unet")
    _edit_config(weights / "unet", _name_or_path="mini")  # diffusers writes a path of this machine
    shutil.copytree(start / "scheduler", weights / "scheduler", dirs_exist_ok=True)
    shutil.copy(start / "model_index.json", weights)


def train_adapter(shop: Workshop, name: str, file: str) -> None:
    """Train an adapter of the base, and write it in fp16: a smaller file, not trained further."""
    _train(shop, name, shop.weights_dir)
    trained = read_adapter(shop.work_dir / name / "adapter.safetensors")
    write_adapter(trained, shop.weights_dir / file, dtype=torch.float16)


def train_judge(shop: Workshop) -> None:
    """Train the judge on other flats, with those of the new season.

    Half of them were encoded and decoded, as all generated images come from the decoder.
    """
    specs, whole = shop.drawn("judge")
    pixels = shop.kept(f"flats-judge-{len(whole)}-decoded", lambda: _half_decoded(shop, whole))
    heads = {name: flats.words_of(name) for name in flats.ALL_ATTRIBUTES}
    labels = {
        head: np.array([words.index(getattr(spec, head) or "none") for spec in specs])
        for head, words in heads.items()
    }
    loss = partial(losses.judge_loss, pixels, labels)
    judge = shop.fit("judge", Judge(heads), loss, len(pixels))
    save_judge(judge.cpu(), shop.weights_dir / "judge.safetensors")


PARTS = {
    "vae": copy_autoencoder,
    "decoder": train_decoder,
    "clip": train_clip,
    "judge": train_judge,
    "unet": train_unet,
    "adapter": partial(train_adapter, name="adapter", file="shipped_adapter.safetensors"),
    "fast": partial(train_adapter, name="fast", file=FAST),
    "vocabulary": lambda shop: vocabulary.write_vocabulary(shop.weights_dir),
}


def save_judge(judge: Judge, path: Path) -> None:
    """Write the judge's fp16 weights, with its labels in the metadata."""
    judge = copy.deepcopy(judge).to(memory_format=torch.contiguous_format)
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in judge.state_dict().items()
    }
    save_file(state, path, {"format": "pt", "heads": json.dumps(judge.heads)})


def _half_decoded(shop: Workshop, pixels: np.ndarray) -> np.ndarray:
    """Return the images, every second one encoded and decoded."""
    vae = AutoencoderKL.from_pretrained(shop.weights_dir / "vae").float().to(shop.device)
    pixels = np.array(pixels)
    pixels[1::2] = losses.autoencoded(vae, pixels[1::2])
    return pixels


def _train(shop: Workshop, name: str, folder: Path) -> None:
    """Run the ordinary trainer on the base in `folder`, with its caches in the work folder."""
    limit = shop.count(SETTINGS["flats"]["base"][1], 64) if shop.scale < 1 else 0
    config = TrainConfig(**shop.settings("trainings", name))
    config = replace(config, steps=shop.count(config.steps), limit=limit, device=shop.device)
    if not computes_bfloat16(shop.device):
        config = replace(config, dtype="auto")
    base = BaseLocation("mini", str(folder))
    train(config, shop.work_dir / name, base=base, root=shop.work_dir)


def _edit_config(folder: Path, **changes) -> None:
    write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})
