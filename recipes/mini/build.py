"""What are mini's parts before training, and how is its tokenizer built?"""

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from recipes.mini import SETTINGS

SIZES = SETTINGS["sizes"]
# Words that the tokenizer knows beside those of captions, so that prompts become few tokens.
FASHION_WORDS = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
NUM_MERGES = 1200  # of a tokenizer, unless said otherwise


def build_unet(seed: int = 0) -> UNet2DConditionModel:
    """Return mini's UNet with random weights."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(**SIZES["unet"])


def take_over(unet: UNet2DConditionModel, folder: Path) -> list[str]:
    """Take over the weights of an earlier UNet where names and shapes agree; return what is left.

    Layers that stay random are those whose sizes changed, such as the ones that read and write
    latents of another autoencoder.
    """
    earlier = UNet2DConditionModel.from_pretrained(folder).state_dict()
    own = unet.state_dict()
    shared = own.keys() & earlier.keys()
    same = {name: earlier[name] for name in shared if earlier[name].shape == own[name].shape}
    unet.load_state_dict(same, strict=False)
    return sorted(own.keys() - same.keys())


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule of Stable Diffusion, with a terminal signal-to-noise ratio of 0."""
    return DDIMScheduler(**SIZES["scheduler"])


def build_clip(tokenizer, seed: int = 0) -> CLIPModel:
    """Return mini's CLIP (text and vision) with random weights, for `tokenizer`."""
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    text = {**SIZES["text"], **ids, "pad_token_id": tokenizer.pad_token_id}
    text["vocab_size"] = len(tokenizer)
    width = text["projection_dim"]
    torch.manual_seed(seed)
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config=SIZES["vision"], projection_dim=width)
    )


def build_tokenizer(
    captions: list[str], folder: Path, num_merges: int = NUM_MERGES
) -> CLIPTokenizer:
    """Write and return a tokenizer whose byte-pair merges come from `captions` and FASHION_WORDS.

    Every byte is a token, so an unknown word becomes several tokens and is never an error.
    """
    merges = _learn_merges([*sorted(set(captions)), *FASHION_WORDS], num_merges)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    joined = dict.fromkeys("".join(pair) for pair in merges)
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *joined]
    tokens += [SETTINGS["tokenizer"][name] for name in ("bos_token", "eos_token")]
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(
        json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8"
    )
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(SETTINGS["tokenizer"], indent=1), encoding="utf-8"
    )
    return CLIPTokenizer.from_pretrained(folder)


def _learn_merges(texts: list[str], most: int) -> list[list[str]]:
    """Return the first `most` byte-pair merges of texts split as by CLIP's tokenizer."""
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
        vocab_size=1024 + most, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    return json.loads(learner.to_str())["model"]["merges"][:most]
