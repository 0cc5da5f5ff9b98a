"""Models, data and measured runs of each trainer, for the benchmarks of training.

Every trainer runs in its own process under `watched.py`, on the same folder of images and the same
pipeline of random weights: speed and memory do not depend on the weights.
"""

import argparse
import functools
import json
import multiprocessing
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import torch
from common import find_script, run
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from sdxl_model import build_sdxl
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel

from recipes.mini.build import build_tokenizer
from tvhelpers import flats
from tvhelpers.data.sources import open_source
from tvhelpers.lora.adapter import add_lora
from tvhelpers.models.base import find_base
from tvhelpers.models.mini import WEIGHTS_DIR
from tvhelpers.train import encoding
from tvhelpers.train.cost import MATRIX, matrix_peak
from tvhelpers.train.distributed import Processes
from tvhelpers.train.latents import open_cache

HERE = Path(__file__).parent
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
SD_FLOPS = {"encode": 1117e9, "step": 1714e9}  # an image of SD 1.5 at 512 px: count_flops
RANK = 4  # the other script's default; its adapter is on the attention's projections
SHRINK = {"tiny": 20, "quarter": 4, "sd15": 1, "tiny sdxl": 20, "sdxl": 1}
PIXELS = {"tiny": 64, "mini": 128, "quarter": 256, "sd15": 512, "tiny sdxl": 64, "sdxl": 1024}


@dataclass(frozen=True)
class Case:
    """One model and its data: what every trainer is given."""

    work: Path
    model: str  # mini | quarter: SD 1.5 at a quarter of width and of pixels | a key of PIXELS
    batch_size: int
    first: int  # measured from the step after this one
    last: int
    images: int = 0  # of the data; 0: more than the steps and data workers take

    @property
    def resolution(self) -> int:
        """Pixels of a side."""
        return PIXELS[self.model]

    @cached_property
    def base(self) -> Path:
        """The model's folder; it is made where it is not there yet."""
        if self.model == "mini":
            return WEIGHTS_DIR
        folder, shrink = self.work / self.model.replace(" ", "-"), SHRINK[self.model]
        if "sdxl" in self.model:
            return build_sdxl(folder, shrink, captions(64), DEVICE)
        return build_sd(folder, shrink)

    @cached_property
    def data(self) -> Path:
        """A folder of drawn garments.  Without `images` more than the steps take: no epoch ends,
        and data workers that read ahead still have work at the last step; and three parts of our
        cache at least.  So many `images` may be read before the last step, or even the first mark,
        by data workers, who then leave the CPU to the training."""
        least = max(self.batch_size * (self.last + 6), 3 * 16 * 256**2 // self.resolution**2)
        count = self.images or least
        folder = self.work / f"data-{self.resolution}-{count}"
        if not (folder / "metadata.jsonl").exists():
            folder.mkdir(parents=True)
            drawn = functools.partial(draw, folder, size=self.resolution)
            with multiprocessing.get_context("fork").Pool() as pool:  # on all cores
                names = pool.map(drawn, range(count), chunksize=8)
            rows = zip(names, captions(count), strict=True)
            lines = [json.dumps({"file_name": name, "text": text}) + "\n" for name, text in rows]
            (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
        return folder

    def cache(self) -> dict:
        """Build the latent cache that our trainer then finds; return its cost for an image."""
        marks = []

        class Bar(tqdm):
            """A progress bar that notes when it was updated."""

            def update(self, n: int = 1):
                """Count images."""
                super().update(n)
                marks.append((self.n, time.perf_counter(), time.process_time()))

        source, base = open_source(self.data), find_base(str(self.base))
        with mock.patch.object(
            encoding, "progress_bar", lambda what, total, done: Bar(total=total)
        ):
            processes = Processes(DEVICE)
            open_cache(source, base, self.resolution, False, self.work, processes=processes)
        torch.cuda.empty_cache()  # the other processes need the room
        if len(marks) < 2:
            sys.exit(
                f"{self.work} holds the cache already, or it is of one part: give a new folder"
            )
        done, wall, cpu = (b - a for a, b in zip(marks[0], marks[-1], strict=True))
        return {"images": done, "wall_seconds": wall / done, "cpu_seconds": cpu / done}


def draw(folder: Path, index: int, size: int) -> str:
    """Draw an image of the data, and return its file's name."""
    pixels = flats.render(flats.random_spec(0, index), 0, index, size)
    Image.fromarray(pixels).save(folder / f"{index:05d}.png", compress_level=1)
    return f"{index:05d}.png"


def captions(count: int) -> list[str]:
    """Return the captions of the first images."""
    return [flats.caption(flats.random_spec(0, i), 0, i) for i in range(count)]


def build_sd(folder: Path, shrink: int) -> Path:
    """Save Stable Diffusion 1.5's architecture with random weights, each width divided by `shrink`.

    Trained on 512^2 / `shrink` pixels it keeps the proportions: convolutions cost width^2 x pixels,
    attention width x pixels^2, so both fall by shrink^3; weights and activations both by shrink^2.
    Heads are as wide as the original's, and fewer; so are the text encoder's layers.
    """
    if not (folder / "model_index.json").exists():
        torch.manual_seed(0)
        words = build_tokenizer(captions(64), folder / "words")
        build_pipeline(words, shrink).to("cpu").save_pretrained(folder)
    return folder


def build_pipeline(words, shrink: int) -> StableDiffusionPipeline:
    """Return the pipeline that `build_sd` saves; its weights are drawn on a GPU if there is one."""
    unet = {
        "sample_size": 512 // 8,
        "block_out_channels": [max(32, width // shrink) for width in (320, 640, 1280, 1280)],
        "cross_attention_dim": 768 // shrink,
        # the number of heads, despite its name (diffusers#2011)
        "attention_head_dim": max(1, 8 // shrink),
        "norm_num_groups": 32 if shrink == 1 else 16,
    }
    vae = {
        "block_out_channels": [max(32, width // shrink) for width in (128, 256, 512, 512)],
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "sample_size": 512,
    }
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768 // shrink,
        intermediate_size=3072 // shrink,
        num_hidden_layers=max(1, 12 // shrink),
        num_attention_heads=max(1, 12 // shrink),
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        steps_offset=1,
    )  # fmt: skip
    with torch.device(DEVICE):
        unet, vae, text = UNet2DConditionModel(**unet), AutoencoderKL(**vae), CLIPTextModel(text)
    parts = (vae, text, words, unet, scheduler, None, None)
    return StableDiffusionPipeline(*parts, requires_safety_checker=False)


def count_flops(case: Case) -> dict:
    """Return the FLOPs of one image: its encoding, its forward and backward pass with LoRA."""
    base = case.base  # built here where it is not there yet, and not in the block below
    family = find_base(str(base)).architecture
    with torch.device("meta"):
        vae, unet = (
            kind.from_config(kind.load_config(base / part))
            for kind, part in ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))
        )
        add_lora(unet, RANK, RANK, seed=0)
        images = torch.zeros(1, 3, case.resolution, case.resolution)
        with torch.no_grad():
            side = vae.encode(images).latent_dist.mean.shape[2]
        latents = torch.zeros(1, unet.config.in_channels, side, side)
        config = unet.config
        times = 6 * (config.addition_time_embed_dim or 0)
        pooled = torch.zeros(1, (config.projection_class_embeddings_input_dim or 0) - times)
        added = family.unet_conditions(pooled, torch.zeros(1, 6))
        inputs = (
            torch.zeros(1, dtype=torch.long),
            torch.zeros(1, 77, unet.config.cross_attention_dim),
        )
        with FlopCounterMode(display=False) as encode, torch.no_grad():
            vae.encode(images)
        with FlopCounterMode(display=False) as step:
            unet(latents, *inputs, **added).sample.sum().backward()
    flops = {"encode": encode.get_total_flops(), "step": step.get_total_flops()}
    return {**flops, "encode_to_step": flops["encode"] / flops["step"]}


def highest_peak(rounds: int = 5) -> float:
    """Return the most FLOPs a second of a large matrix product, in the dtype of training."""
    side = MATRIX if DEVICE == "cuda" else 2048
    return max(matrix_peak(DTYPE, DEVICE, side) for _ in range(rounds))


def settings(case: Case, **more) -> dict[str, str]:
    """Return the settings of our trainer that make it train as the other script does."""
    row = {
        "base": case.base, "resolution": case.resolution, "batch_size": case.batch_size,
        "steps": case.last, "rank": RANK, "learning_rate": 1e-4, "schedule": "constant",
        "warmup_steps": 0, "caption_dropout": 0, "min_snr_gamma": 0, "flip": "false",
        "eval_items": 1, "eval_steps": 0, "checkpoint_steps": 0, "device": DEVICE,
        "dtype": str(DTYPE).removeprefix("torch."), **more,
    }  # fmt: skip
    bools = {key: str(value).lower() for key, value in row.items() if isinstance(value, bool)}
    return {**{key: str(value) for key, value in row.items()}, **bools}


def ours(case: Case, run_dir: Path, **more) -> list[str]:
    """Return the command of our trainer, with its cache in place."""
    pairs = [f"{key}={value}" for key, value in settings(case, **more).items()]
    start = ["-m", "tvhelpers", "train", "lora", "--data", str(case.data), "--out", str(run_dir)]
    return [*start, *(word for pair in pairs for word in ("--set", pair))]


def paper(case: Case) -> list[str]:
    """Return the command of the paper's way to train."""
    numbers = (case.resolution, case.batch_size, case.last)
    return [str(HERE / "paper_loop.py"), str(case.base), str(case.data), *map(str, numbers)]


@dataclass(frozen=True)
class Peer:
    """diffusers' train_text_to_image_lora.py and the environment that it runs in."""

    script: Path
    python: str
    path: str  # its PYTHONPATH

    def command(self, case: Case, out: Path, workers: int, *more: str) -> list[str]:
        """Return the command of the script, with so many data workers."""
        row = {
            "pretrained_model_name_or_path": case.base, "train_data_dir": case.data,
            "caption_column": "text", "resolution": case.resolution, "rank": RANK,
            "train_batch_size": case.batch_size, "max_train_steps": case.last,
            "learning_rate": 1e-4, "lr_scheduler": "constant", "lr_warmup_steps": 0, "seed": 0,
            "dataloader_num_workers": workers, "output_dir": out, "cache_dir": out / "datasets",
            "mixed_precision": "bf16" if DEVICE == "cuda" else "no",
        }  # fmt: skip
        words = [word for key, value in row.items() for word in (f"--{key}", str(value))]
        return [str(self.script), *words, "--center_crop", *more]

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the script."""
        return {"PYTHONPATH": self.path, "ACCELERATE_USE_CPU": str(DEVICE == "cpu")}


def measure(case: Case, command: list[str], end: bool = False, **how) -> dict:
    """Return what `watched.py` notes of a training, with its images a second, also of each part.

    `end`: end the training at its last mark; nothing is saved then.  `how` it is run: `common.run`.
    """
    out = case.work / "watched.json"
    out.unlink(missing_ok=True)
    watched = [HERE / "watched.py", *(["--end"] if end else []), out, case.first, case.last]
    run([*watched, *command], case.work, **how)
    row = json.loads(out.read_text(encoding="utf-8"))
    images = row["steps"] * case.batch_size
    row["images_per_second"] = images / row["wall_seconds"]
    row["images_per_cpu_second"] = images / row["cpu_seconds"]
    for part in row["parts"]:
        part["images_per_second"] = part["steps"] * case.batch_size / part["wall_seconds"]
    return row


def parse_arguments(text: str) -> tuple[argparse.Namespace, Peer]:
    """Return the options of a benchmark of training, and the peer that they name."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dir", type=Path, help="a new folder")
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of diffusers")
    parser.add_argument("--peer-python", default=sys.executable, help="of its environment")
    parser.add_argument("--peer-path", default="", help="its PYTHONPATH")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    script = find_script(options.peer)
    options.work_dir.mkdir(parents=True, exist_ok=True)
    return options, Peer(script, options.peer_python, options.peer_path)
