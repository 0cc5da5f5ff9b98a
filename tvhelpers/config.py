"""Every setting of a training, its default, and the presets.  Standard library only."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass


class InputError(ValueError):
    """What was given cannot be used; the message says what was seen and what to do.

    `code` names the kind of fault, such as "out-of-range": tests match on it.  The command line
    prints the message alone and exits with status 2; a notebook shows it alone.
    """

    def __init__(self, code: str, message: str | None = None):
        super().__init__(code if message is None else message)
        self.code = "" if message is None else code

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"InputError: {self}"]


def one_line(error: Exception) -> str:
    """Return what another library's error says, in one line of 300 letters at most."""
    return " ".join(str(error).split())[:300] or type(error).__name__


METHODS = ("lora", "baseline", "full")
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "float32", "bfloat16", "float16")
STARTS = ("base", "deaf", "scratch")
TARGETS = ("attention", "attention+ff", "attention+ff+conv")
SCHEDULES = ("constant", "cosine")
PREDICTIONS = ("", "epsilon", "v_prediction")
OPTIMIZERS = ("adamw", "adam", "adamw8bit")
REGION_WEIGHTS = ("background_weight", "skin_weight", "garment_weight")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training; `PRESETS` holds rows of differences from these defaults."""

    # What is trained
    preset: str = ""  # the row of `PRESETS` that the settings began from; "" = none
    method: str = (
        "lora"  # lora: adapter | baseline: all of the UNet, no language | full: all of the UNet
    )
    base: str = "mini"  # name in data_manifest.yaml, folder, or hub id
    data: str = ""  # name in data_manifest.yaml, or folder
    captions: str = ""  # a file of `data captions` instead of the data's own; "" = its own
    text_encoder: str = ""  # a CLIP (of `clip tune`, say) whose text encoder it hears; "" = base's
    start: str = "base"  # baseline, full: base | deaf (cross-attention at random) | scratch (all)
    classes: str = ""  # baseline: its classes' attributes, such as category,colour; "" = none
    rank: int = 8  # LoRA rank
    targets: str = "attention"  # layers with LoRA: attention | attention+ff | attention+ff+conv
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
    prediction: str = ""  # what the UNet predicts: epsilon | v_prediction; "" = as the base
    zero_terminal_snr: bool = False  # the last timestep is pure noise (Lin et al. 2024)
    garment_weight: float = 1.0  # of the garment's pixels in a sample's loss, by the data's masks
    skin_weight: float = 1.0  # of hair, face, arms and legs
    background_weight: float = 1.0

    # The optimizer
    optimizer: str = "adamw"  # adamw | adam | adamw8bit (needs bitsandbytes)
    learning_rate: float = 1e-3
    text_learning_rate: float = 0.0  # of the text encoder; 0 = as learning_rate
    schedule: str = "cosine"  # after the warm-up: constant | cosine (to zero at the last step)
    warmup_steps: int = 20
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0  # of all trained weights together
    ema_decay: float = (
        0.0  # exponential moving average of the trained weights, which is what is kept; 0 = none
    )

    # Checkpoints, logs, evaluation
    checkpoint_steps: int = 100  # 0 = never by steps
    checkpoint_minutes: float = 5.0  # that a kill can cost; 0 = none by time
    keep_checkpoints: int = 2
    mirror: str = ""  # folder for copies of the newest checkpoint and the result, as on a Drive
    eval_steps: int = (
        100  # fixed-noise loss every so many steps, at the start and end too; 0 = never
    )
    eval_items: int = 256  # held-out items in the fixed-noise loss

    # Where and how
    seed: int = 0
    device: str = "auto"  # auto | cpu | cuda
    dtype: str = "auto"  # of the frozen base: auto | float32 | bfloat16 | float16
    gradient_checkpointing: bool = False  # less memory, a third more computing, the same losses
    channels_last: bool = False  # the other order of the convolutions' weights; slower on a CPU
    compile: bool = False  # torch.compile the UNet

    def __post_init__(self):
        _check_choice("method", self.method, METHODS)
        _check_choice("device", self.device, DEVICES)
        _check_choice("dtype", self.dtype, DTYPES)
        _check_choice("targets", self.targets, TARGETS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("start", self.start, STARTS)
        _check_choice("prediction", self.prediction, PREDICTIONS)
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        for key in ("batch_size", "accumulate", "keep_checkpoints", "eval_items"):
            _check_range(key, getattr(self, key), 1, 2**31)
        _check_range("rank", self.rank, 1, 1024)
        _check_range("text_rank", self.text_rank, 0, 1024)
        for key in (
            "alpha",
            "epochs",
            "at_most",
            "limit",
            "seed",
            "split_seed",
            "warmup_steps",
            "checkpoint_steps",
            "eval_steps",
            "resolution",
        ):
            _check_range(key, getattr(self, key), 0, 2**53)
        _check_range("steps", self.steps, 0 if self.epochs else 1, 2**31)
        for key in (
            "min_snr_gamma",
            "weight_decay",
            "checkpoint_minutes",
            "memory_gb",
            "text_learning_rate",
            *REGION_WEIGHTS,
        ):
            _check_range(key, getattr(self, key), 0, 1e9)
        if not any(self.region_weights):
            raise InputError(f"{', '.join(REGION_WEIGHTS)} are all 0; give one of them more")
        for key in ("learning_rate", "max_grad_norm"):
            _check_range(key, getattr(self, key), 1e-12, 1e9)
        _check_range("caption_dropout", self.caption_dropout, 0, 1)
        _check_range("ema_decay", self.ema_decay, 0, 0.99999)
        _check_range("held_out", self.held_out, 0.001, 0.5)
        if self.classes and self.method != "baseline":
            raise InputError(f"classes are for method baseline, not for {self.method}")
        for key in ("dora", "text_rank"):
            if getattr(self, key) and self.method != "lora":
                raise InputError(f"{key} is for method lora, not for {self.method}")
        if self.text_learning_rate and not self.text_rank:
            raise InputError("text_learning_rate is for text_rank above 0: give both, or neither")
        if self.start != "base" and self.method == "lora":
            raise InputError(f"start {self.start!r} is for baseline and full: LoRA needs a base")
        if self.resolution % 8:
            raise InputError(
                f"resolution is {self.resolution}; give a multiple of 8, or 0 for the base's own"
            )

    @property
    def region_weights(self) -> tuple[float, ...]:
        """Return the loss's weights of background, skin and garment, by code."""
        return tuple(getattr(self, key) for key in REGION_WEIGHTS)

    @property
    def is_masked(self) -> bool:
        """Whether the loss weighs some pixels more than others."""
        return len(set(self.region_weights)) > 1


@dataclass(frozen=True)
class ClipTuning:
    """Settings of a CLIP's tuning.

    `positives`: "fits", every caption that is true of a picture, or "own", its own alone (the naive
    recipe).  `micro_batch` is how many pairs are in memory at once.  `forgotten` is the share of
    a kept source's pictures that may be named worse than before.
    """

    method: str = "lora"
    positives: str = "fits"
    steps: int = 300
    batch_size: int = 128
    micro_batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    rank: int = 16
    eval_steps: int = 25
    patience: int = 4  # evaluations without a better one, then it stops; 0 = never, the last counts
    share: float = -1.0  # of the way from the weights before, 0..1; -1 = least held-out loss
    forgotten: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice("method", self.method, ("lora", "full"))
        _check_choice("positives", self.positives, ("fits", "own"))
        if min(self.steps, self.batch_size, self.micro_batch, self.rank, self.eval_steps) < 1:
            raise InputError("steps, batch sizes, rank and eval_steps are 1 or more")
        if self.share != -1:
            _check_range("share", self.share, 0, 1)
        _check_range("forgotten", self.forgotten, 0, 1)


SD15 = dict(  # what the presets of all GPUs share
    base="sd15",
    resolution=512,
    steps=2000,
    learning_rate=1e-5,
    lora=dict(rank=16, learning_rate=1e-4),
    warmup_steps=100,
    eval_items=64,
)

# A preset is one row that holds only its differences from the defaults; "lora" are those of that
# method alone: an adapter takes ten times the learning rate of the weights that it is added to.
PRESETS: dict[str, dict] = {
    "default": {},
    "smoke": dict(
        steps=20, batch_size=4, rank=4, limit=64, eval_items=8, eval_steps=10, checkpoint_steps=10
    ),
    "cpu": dict(
        steps=1000,
        min_snr_gamma=0.0,
        lora=dict(rank=16, targets="attention+ff+conv", learning_rate=3e-3),
    ),
    "t4": SD15 | dict(batch_size=4, accumulate=4, dtype="float16"),
    "l4": SD15 | dict(batch_size=8, accumulate=2, dtype="bfloat16"),
    "a100": SD15 | dict(dtype="bfloat16"),
    "h100": SD15
    | dict(
        batch_size=64,
        steps=1000,
        learning_rate=2e-5,
        lora=dict(rank=16, learning_rate=2e-4),
        warmup_steps=50,
        dtype="bfloat16",
    ),
    "paper": dict(  # what the work that this grew from trained
        method="full",
        base="sd14",
        resolution=512,
        epochs=5,
        batch_size=8,
        flip=False,
        caption_dropout=0.0,
        min_snr_gamma=0.0,
        learning_rate=5e-5,
        schedule="constant",
        warmup_steps=0,
        dtype="float32",
    ),
}


def build_config(preset: str = "default", **changes) -> TrainConfig:
    """Return the preset's config with `changes` applied; text is converted to the field's type.

    Raises InputError for an unknown preset or key, or a value of the wrong type or range.
    """
    return from_settings(TrainConfig, {**preset_row(preset, **changes), "preset": preset})


def preset_row(preset: str, **changes) -> dict:
    """Return what the preset sets for the method of `changes`, or its own, and `changes`.

    Raises InputError for an unknown preset.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
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
    types = typing.get_type_hints(kind)
    unknown = sorted(set(row) - set(types))
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r}; the keys are {', '.join(types)}")
    return {key: _convert(key, value, types[key]) for key, value in row.items()}


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """Return {key: text} of the command line's KEY=VALUE arguments.

    Raises InputError for an argument without '=' or a key given twice.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise InputError(f"--set takes KEY=VALUE, not {pair!r}")
        if key in settings:
            raise InputError(f"--set gives {key!r} twice; give it once")
        settings[key] = value
    return settings


def _convert(key: str, value, kind: type):
    """Return `value` as `kind`; text is parsed, and an int is taken where a float is asked."""
    if isinstance(value, str) and kind is not str:
        value = _parse(key, value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise InputError(f"{key} takes {kind.__name__}, not {value!r}")
    return value


def _parse(key: str, text: str, kind: type):
    if kind is bool:
        if text.lower() in ("true", "false", "1", "0"):
            return text.lower() in ("true", "1")
        raise InputError(f"{key} takes true or false, not {text!r}")
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{key} takes {kind.__name__}, not {text!r}") from None


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"unknown {key} {value!r}; choose one of {', '.join(choices)}")


def _check_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        raise InputError(f"{key} is {value:g}; give a value from {low:g} to {high:g}")


def to_dict(config: TrainConfig) -> dict:
    """Return the config as a plain dict, in the order of its fields."""
    return dataclasses.asdict(config)
