"""What differs between families of latent diffusion models, such as Stable Diffusion 1.x / 2.x?

Nothing else asks which family a base is of: a new one is one more `Architecture` in FAMILIES.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tvhelpers.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """One family: its pipeline, its parts, and how it is conditioned on text."""

    name: str
    # Classes of diffusers' pipelines that model_index.json may name; the first is loaded.
    pipelines: tuple[str, ...]
    # part -> (library, class), in the order in which the pipeline is put together
    parts: Mapping[str, tuple[str, str]]
    # parts that read the prompt, in the order in which their token states are joined
    text_encoders: tuple[str, ...]
    tokenizers: tuple[str, ...]  # of each text encoder
    # how kohya's scripts begin the names of a part's layers; the first of a part is written
    kohya_prefixes: Mapping[str, str]
    # width of the text states -> kohya's name of the base's version
    text_widths: Mapping[int, str]

    def encode_text(self, encoders: Sequence, token_ids: Sequence):
        """Return (token states float (N, T, d), pooled vectors (N, d) or None) of N prompts.

        `token_ids`: int64 (N, T), one for each of the `encoders`.
        """
        (encoder,), (ids,) = encoders, token_ids
        return encoder(ids)[0], None

    def unet_conditions(self, pooled, sizes: Sequence[tuple[int, int]]) -> dict:
        """Return what the UNet is given beside token states, as its keyword arguments; this family
        takes nothing of the pooled text and the images' sizes."""
        return {}

    def downsampling(self, vae_config: Mapping) -> int:
        """Return how many pixels a side one latent stands for."""
        return 2 ** (len(vae_config["block_out_channels"]) - 1)

    def resolution(self, unet_config: Mapping, vae_config: Mapping) -> int:
        """Return the pixels a side that a base of this family draws by itself."""
        return unet_config["sample_size"] * self.downsampling(vae_config)

    def build_pipeline(self, parts: Mapping):
        """Return diffusers' pipeline of loaded parts, without a safety checker."""
        import diffusers

        kind = getattr(diffusers, self.pipelines[0])
        return kind(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )


STABLE_DIFFUSION = Architecture(
    name="Stable Diffusion 1.x / 2.x",
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
    parts={
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "scheduler": ("diffusers", "DDPMScheduler"),
    },
    text_encoders=("text_encoder",),
    tokenizers=("tokenizer",),
    kohya_prefixes={
        "lora_unet_": "unet",
        "lora_te_": "text_encoder",
        "lora_te1_": "text_encoder",
    },
    text_widths={768: "sd_v1", 1024: "sd_v2"},
)
FAMILIES = [STABLE_DIFFUSION]


def find_architecture(path: str, revision: str | None = None) -> Architecture:
    """Return the family of a pipeline folder or hub id, by its model_index.json.

    Raises InputError for a family that is not known here; what cannot be read counts as the first
    family, whose parts then say what is wrong.
    """
    try:
        kind = _pipeline_class(path, revision)
    except (OSError, ValueError, KeyError, TypeError):
        return FAMILIES[0]
    for family in FAMILIES:
        if kind in family.pipelines:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise InputError("unknown-family.base", path=path, kind=kind, known=known)


@cache
def _pipeline_class(path: str, revision: str | None) -> str:
    """Return the pipeline class that a folder's or hub id's model_index.json names."""
    file = Path(path) / "model_index.json"
    if not Path(path).is_dir():  # of the hub
        from huggingface_hub import hf_hub_download

        file = hf_hub_download(path, file.name, revision=revision)
    return json.loads(Path(file).read_text())["_class_name"]
