"""Which settings does a training have, and what may each be?  Standard library only."""

import contextlib
import dataclasses
from dataclasses import dataclass

from tvhelpers.errors import Choice, InputError


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is made: the class `made_by`, given weight_decay and `options`."""

    made_by: str  # its full name, imported when it is asked for
    state_bytes: int  # that it keeps of each weight
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    only_on: str = ""  # the device that it needs


# Fused: one kernel for all weights, 3 to 4 times as fast on a CPU too, and it asks no device for a
# number.
OPTIMIZERS = {
    "adamw": Optimizer("torch.optim.AdamW", 8, {"fused": True}),
    "adam": Optimizer("torch.optim.Adam", 8, {"fused": True}),
    "adamw8bit": Optimizer("bitsandbytes.optim.AdamW8bit", 2, only_on="cuda"),
}
# What a setting may be; a comment with | below says in the same order what each means.
CHOICES = {
    "method": ("lora", "baseline", "full"),
    "start": ("base", "deaf", "scratch"),
    "targets": ("attention", "attention+ff", "attention+ff+conv"),
    "prediction": ("", "epsilon", "v_prediction"),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": ("constant", "cosine"),
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
}
RANGES = {  # the least and the most of a number
    "batch_size accumulate keep_checkpoints eval_items": (1, 2**31),
    "rank": (1, 1024),
    "text_rank": (0, 1024),
    "alpha epochs at_most limit seed split_seed warmup_steps checkpoint_steps eval_steps "
    "resolution": (0, 2**53),
    "min_snr_gamma weight_decay checkpoint_minutes memory_gb text_learning_rate background_weight "
    "skin_weight garment_weight": (0, 1e9),
    "learning_rate max_grad_norm": (1e-12, 1e9),
    "caption_dropout": (0, 1),
    "ema_decay": (0, 0.99999),
    "held_out": (0.001, 0.5),
}
REGION_WEIGHTS = ("background_weight", "skin_weight", "garment_weight")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training; `PRESETS` holds rows of differences from these defaults."""

    # What is trained
    preset: str = ""  # the row of `PRESETS` that the settings began from; "" = none
    method: str = "lora"  # an adapter | all of the UNet, no language | all of the UNet
    base: str = "mini"  # name in data_manifest.yaml, folder, or hub id
    data: str = ""  # name in data_manifest.yaml, or folder
    captions: str = ""  # a file of `data captions` instead of the data's own; "" = its own
    text_encoder: str = ""  # a CLIP (of `clip tune`, say) whose text encoder it hears; "" = base's
    start: str = "base"  # the base as it is | its cross-attention at random | all at random
    classes: str = ""  # baseline: its classes' attributes, such as category,colour; "" = none
    rank: int = 8  # LoRA rank
    targets: str = "attention"  # which layers get LoRA
    alpha: int = 0  # LoRA scale is alpha / rank; 0 = as rank, scale 1
    dora: bool = False  # learn the norms of the weights apart too (Liu et al. 2024)
    text_rank: int = 0  # LoRA rank in the text encoder; 0 = it stays as it is

    # How long, how much at once
    steps: int = 500  # optimizer steps; ignored where epochs > 0
    epochs: int = 0  # samples drawn, in training items; 0 = count in steps
    batch_size: int = 16  # samples in one forward pass
    accumulate: int = 1  # forward passes per optimizer step
    memory_gb: float = 0.0  # smaller, more passes keep it under that; 0 = all of the GPU, any RAM

    # The images
    resolution: int = 0  # pixels a side, a multiple of 8; 0 = the base's own
    balance: str = ""  # draw items by weight: "category,colour" evens these out, "weight" = column
    flip: bool = True  # cache the mirrored image of every training item too
    held_out: float = 0.1  # share of the products kept out of training, 0..0.5
    split_seed: int = 0  # which those are, and the noise of their loss
    at_most: int = 0  # training items of equal attributes and caption; 0 = all of them
    limit: int = 0  # use the first N items of the source only; 0 = all

    # The objective
    caption_dropout: float = 0.1  # share of captions replaced by the empty prompt
    min_snr_gamma: float = 5.0  # Min-SNR weighting (Hang et al. 2023); 0 = plain MSE
    prediction: str = ""  # what the UNet predicts; "" = as the base
    zero_terminal_snr: bool = False  # the last timestep is pure noise (Lin et al. 2024)
    garment_weight: float = 1.0  # of the garment's pixels in a sample's loss, by the data's masks
    skin_weight: float = 1.0  # of hair, face, arms and legs
    background_weight: float = 1.0  # of all else

    # The optimizer
    optimizer: str = "adamw"  # adamw8bit keeps a quarter of the state; needs bitsandbytes
    learning_rate: float = 1e-3  # after the warm-up
    text_learning_rate: float = 0.0  # of the text encoder; 0 = as learning_rate
    schedule: str = "cosine"  # of the learning rate after the warm-up; cosine ends at 0
    warmup_steps: int = 20  # in which the learning rate rises from 0
    weight_decay: float = 0.01  # of AdamW
    max_grad_norm: float = 1.0  # of all trained weights together
    ema_decay: float = 0.0  # moving average of the trained weights, which is kept; 0 = none

    # Checkpoints, logs, evaluation
    checkpoint_steps: int = 100  # 0 = never by steps
    checkpoint_minutes: float = 5.0  # that a kill can cost; 0 = none by time
    keep_checkpoints: int = 2  # the newest ones
    mirror: str = ""  # folder for copies of the newest checkpoint and the result, as on a Drive
    eval_steps: int = 100  # fixed-noise loss every so often, at start and end too; 0 = never
    eval_items: int = 256  # held-out items in the fixed-noise loss

    # Where and how
    seed: int = 0  # of everything random in the training
    device: str = "auto"  # auto = a GPU where there is one
    dtype: str = "auto"  # of the frozen base; auto = what the device computes well
    gradient_checkpointing: bool = False  # less memory, a third more computing, the same losses
    channels_last: bool = False  # the other order of the convolutions' weights; slower on a CPU
    compile: bool = False  # torch.compile the UNet

    def __post_init__(self):
        _check(self, CHOICES, {**RANGES, "steps": (0 if self.epochs else 1, 2**31)})
        if not any(self.region_weights):
            raise InputError("out-of-range.all-zero", names=REGION_WEIGHTS)
        for key, method in (("classes", "baseline"), ("dora", "lora"), ("text_rank", "lora")):
            if getattr(self, key) and self.method != method:
                raise InputError(
                    "not-for-method.setting", key=key, needed=method, method=self.method
                )
        if self.text_learning_rate and not self.text_rank:
            raise InputError("not-for-method.text-rank")
        if self.start != "base" and self.method == "lora":
            raise InputError("not-for-method.start", start=self.start)
        if self.resolution % 8:
            raise InputError("out-of-range.resolution", resolution=self.resolution)

    @property
    def region_weights(self) -> tuple[float, ...]:
        """Return the loss's weights of background, skin and garment, by code."""
        return tuple(getattr(self, key) for key in REGION_WEIGHTS)

    @property
    def is_masked(self) -> bool:
        """Whether the loss weighs some pixels more than others."""
        return len(set(self.region_weights)) > 1


CLIP_CHOICES = {"method": ("lora", "full"), "positives": ("fits", "own")}
CLIP_RANGES = {"steps batch_size micro_batch rank eval_steps": (1, 2**31), "forgotten": (0, 1)}


@dataclass(frozen=True)
class ClipTuning:
    """Settings of a CLIP's tuning."""

    method: str = "lora"  # train an adapter, which is folded in | all weights
    positives: str = "fits"  # every caption that is true of an image | its own (the naive recipe)
    steps: int = 300  # optimizer steps at most
    batch_size: int = 128  # pairs that are told apart from each other
    micro_batch: int = 64  # pairs in memory at once
    learning_rate: float = 1e-3  # after the warm-up
    weight_decay: float = 0.05  # of AdamW
    rank: int = 16  # LoRA rank
    eval_steps: int = 25  # held-out loss every so many steps
    patience: int = 4  # evaluations without a better one, then it stops; 0 = never, the last counts
    share: float = -1.0  # of the way from the weights before, 0..1; -1 = least held-out loss
    forgotten: float = 0.01  # share of a kept source's images that may be named worse than before
    seed: int = 0  # of everything random in the tuning

    def __post_init__(self) -> None:
        share = {} if self.share == -1 else {"share": (0, 1)}
        _check(self, CLIP_CHOICES, CLIP_RANGES | share)


SD15 = dict(  # what the presets of all GPUs share
    base="sd15", resolution=512, steps=2000, learning_rate=1e-5, warmup_steps=100, eval_items=64,
    lora=dict(rank=16, learning_rate=1e-4),
)  # fmt: skip

# A preset is one row that holds only its differences from the defaults; "lora" are those of that
# method alone: an adapter takes ten times the learning rate of the weights that it is added to.
PRESETS: dict[str, dict] = {
    "default": {},
    "smoke": dict(
        steps=20, batch_size=4, rank=4, limit=64, eval_items=8, eval_steps=10, checkpoint_steps=10
    ),
    "cpu": dict(
        steps=1000, min_snr_gamma=0.0,
        lora=dict(rank=16, targets="attention+ff+conv", learning_rate=3e-3),
    ),
    "t4": SD15 | dict(batch_size=4, accumulate=4, dtype="float16"),
    "l4": SD15 | dict(batch_size=8, accumulate=2, dtype="bfloat16"),
    "a100": SD15 | dict(dtype="bfloat16"),
    "h100": SD15 | dict(
        batch_size=64, steps=1000, learning_rate=2e-5, warmup_steps=50, dtype="bfloat16",
        lora=dict(rank=16, learning_rate=2e-4),
    ),
    "paper": dict(  # what the work that this grew from trained
        method="full", base="sd14", resolution=512, epochs=5, batch_size=8, flip=False,
        caption_dropout=0.0, min_snr_gamma=0.0, learning_rate=5e-5, schedule="constant",
        warmup_steps=0, dtype="float32",
    ),
}  # fmt: skip


def build_config(preset: str = "default", **changes) -> TrainConfig:
    """Return the preset's config with `changes` applied; text is converted to the field's type.

    Raises InputError for an unknown preset or key, or a value of the wrong type or range.
    """
    return from_settings(TrainConfig, {**preset_row(preset, **changes), "preset": preset})


def preset_row(preset: str, **changes) -> dict:
    """Return what the preset sets for the method of `changes`, or its own, and `changes`.

    Raises InputError for an unknown preset.
    """
    check_choice("preset", preset, PRESETS)
    row = {**PRESETS[preset]}
    own = row.pop("lora", {})
    method = {**row, **changes}.get("method", "lora")
    return row | (own if method == "lora" else {}) | changes


def from_settings(kind: type, row: dict):
    """Return a `kind` of settings with those of `row`; text is converted to the field's type.

    Raises InputError for an unknown key, or a value of the wrong type or range.
    """
    return kind(**typed_settings(kind, row))


def typed_settings(kind: type, row: dict) -> dict:
    """Return `row`, text converted to the type of the field of `kind` that it is for.

    Raises InputError for an unknown key, or a value of the wrong type.
    """
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    for key in row:
        if key not in types:
            raise InputError("unknown-key.setting", key=key, choice=Choice(key, types))
    return {key: _convert(key, value, types[key]) for key, value in row.items()}


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """Return {key: text} of the command line's KEY=VALUE arguments.

    Raises InputError for an argument without '=' or a key given twice.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise InputError("usage.set", pair=pair)
        if key in settings:
            raise InputError("given-twice.setting", key=key)
        settings[key] = value
    return settings


def to_dict(config: TrainConfig) -> dict:
    """Return the config as a plain dict, in the order of its fields."""
    return dataclasses.asdict(config)


def _convert(key: str, value, kind: type):
    """Return `value` as `kind`; text is parsed, and an int is taken where a float is asked."""
    seen = value
    if isinstance(value, str) and kind is bool:
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    elif (isinstance(value, str) and kind is not str) or (type(value) is int and kind is float):
        with contextlib.suppress(ValueError, OverflowError):
            value = kind(value)
    if type(value) is not kind:
        raise InputError("wrong-type.setting", key=key, wanted=kind, seen=seen)
    return value


def _check(settings, choices: dict[str, tuple], ranges: dict[str, tuple]) -> None:
    """Raise InputError for the first setting that is no choice of its key, or out of its range."""
    for key, words in choices.items():
        check_choice(key, getattr(settings, key), words)
    for keys, (low, high) in ranges.items():
        for key in keys.split():
            check_range(key, getattr(settings, key), low, high)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError where a value is not in low..high; NaN is not."""
    if not low <= value <= high:
        raise InputError("out-of-range.setting", name=name, value=value, low=low, high=high)


def check_choice(name: str, value: str, choices) -> None:
    """Raise InputError that suggests a choice where a value is none of them."""
    if value not in choices:
        choice = Choice(value, choices)
        raise InputError("unknown-choice", name=name, value=value, choice=choice)
