"""mini: a small text-to-flat diffusion model with its own CLIP, tokenizer and judge.

The parts have the classes of Stable Diffusion 1.x, so that nothing outside this module and
`recipes/mini` needs to know that mini is not one: 128 px, 8x down-sampling, 8 latent channels.
"""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from tvhelpers.models.fashion_words import FASHION_WORDS

WEIGHTS_DIR = Path(__file__).parent / "mini_weights"
RESOLUTION = 128  # pixels
TOKENS = 77  # as in CLIP ViT-L/14
WIDTH = 128  # of the text encoder, hence of the UNet's cross-attention
NUM_MERGES = 1200  # of the tokenizer

VAE = dict(
    block_out_channels=(32, 48, 64, 96),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=1,
    latent_channels=8,  # with 4, zips and flowers are lost
    norm_num_groups=8,
    mid_block_add_attention=False,
    sample_size=RESOLUTION,
)
UNET = dict(
    in_channels=VAE["latent_channels"],
    out_channels=VAE["latent_channels"],
    block_out_channels=(64, 128, 160),
    down_block_types=("CrossAttnDownBlock2D",) * 3,
    up_block_types=("CrossAttnUpBlock2D",) * 3,
    layers_per_block=1,
    cross_attention_dim=WIDTH,
    attention_head_dim=4,  # the number of heads, despite its name (diffusers#2011)
    norm_num_groups=16,
    sample_size=RESOLUTION // 8,
)
TEXT = dict(
    hidden_size=WIDTH,
    intermediate_size=4 * WIDTH,
    num_hidden_layers=4,
    num_attention_heads=4,
    max_position_embeddings=TOKENS,
    projection_dim=WIDTH,
)
VISION = dict(
    hidden_size=WIDTH,
    intermediate_size=4 * WIDTH,
    num_hidden_layers=4,
    num_attention_heads=4,
    image_size=RESOLUTION,
    patch_size=16,
    projection_dim=WIDTH,
)
SCHEDULER = dict(  # ends in pure noise (Lin et al. 2024): else black garments stand on gray
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
    clip_sample=False,
    steps_offset=1,
)


def build_vae(seed: int = 0):
    """Return mini's AutoencoderKL with random weights and a posterior that is narrow at first.

    At the usual width of 1 the noise drowns the signal, and colours are learnt last or never.
    """
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    vae = AutoencoderKL(**VAE)
    torch.nn.init.constant_(vae.quant_conv.bias[VAE["latent_channels"] :], -6)  # log variance
    return vae


def build_unet(seed: int = 0):
    """Return mini's UNet2DConditionModel with random weights."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return UNet2DConditionModel(**UNET)


def build_scheduler():
    """Return the noise schedule of Stable Diffusion, with a terminal signal-to-noise ratio of 0."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULER)


def build_clip(tokenizer, seed: int = 0):
    """Return mini's CLIPModel (text and vision) with random weights, for `tokenizer`."""
    from transformers import CLIPConfig, CLIPModel

    ids = dict(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    text = dict(TEXT, vocab_size=len(tokenizer), **ids)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=WIDTH))


def build_tokenizer(captions: list[str], folder: Path):
    """Write and return a CLIPTokenizer whose byte-pair merges come from `captions` and the word
    list.

    Every byte is a token, so an unknown word becomes more tokens and never an error.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1024 + NUM_MERGES, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator([*sorted(set(captions)), *FASHION_WORDS], trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][:NUM_MERGES]

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *dict.fromkeys("".join(pair) for pair in merges),
    ]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n"
    )
    settings = dict(
        tokenizer_class="CLIPTokenizer",
        model_max_length=TOKENS,
        pad_token="<|endoftext|>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    return CLIPTokenizer.from_pretrained(folder)


class Judge(nn.Module):
    """A CNN that names the attributes of a flat; trained apart, used only to score."""

    def __init__(self, heads: dict[str, tuple[str, ...]], width: int = 28):
        super().__init__()
        self.heads = {name: tuple(labels) for name, labels in heads.items()}
        sizes = [3, width, 2 * width, 3 * width, 4 * width, 4 * width]
        blocks = [_judge_block(*pair) for pair in pairwise(sizes)]
        self.trunk = nn.Sequential(*blocks)  # 128 px -> 4 x 4
        self.out = nn.ModuleDict(
            {name: nn.Linear(8 * width, len(labels)) for name, labels in heads.items()}
        )

    def forward(self, images):
        """Return {head: logits (N, labels)} of images float -1..1 (N, 3, 128, 128)."""
        features = self.features(images)
        return {name: layer(features) for name, layer in self.out.items()}

    def features(self, images):
        """Return what the heads look at, (N, 8 * width), of images as `forward` takes them."""
        maps = self.trunk(images)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


def _judge_block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, stride=2, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def save_judge(judge: Judge, path: Path) -> None:
    """Write the judge's fp16 weights, with its labels in the metadata."""
    from safetensors.torch import save_file

    judge = copy.deepcopy(judge).to(memory_format=torch.contiguous_format)
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in judge.state_dict().items()
    }
    save_file(state, path, {"format": "pt", "heads": json.dumps(judge.heads)})


def load_judge(path: Path = WEIGHTS_DIR / "judge.safetensors") -> tuple[Judge, str]:
    """Return (judge in evaluation mode, SHA-256 of its file)."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    from tvhelpers.files import file_sha256

    with safe_open(path, "pt") as file:
        heads = json.loads(file.metadata()["heads"])
    judge = Judge(heads)
    judge.load_state_dict(load_file(path))
    return judge.float().eval(), file_sha256(path)
