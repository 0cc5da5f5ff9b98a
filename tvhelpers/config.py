"""Which settings does a training have, and what may each be?  Standard library only."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tvhelpers.errors import Choice, InputError
from tvhelpers.presets import PRESETS


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is made: the class `made_by`, called with weight_decay and `options`."""

    made_by: str  # full name of the class, imported when it is needed
    state_bytes: int  # bytes of its state per weight
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    only_on: str = ""  # the device that it needs; "" = any
    one_rate: bool = False  # whether it finds its own learning rate, times that of the settings


# Fused: one kernel for all weights is 3 to 4 times as fast, on a CPU too, and never waits for the
# device.
OPTIMIZERS = {
    "adamw": Optimizer("torch.optim.AdamW", 8, {"fused": True}),
    "adam": Optimizer("torch.optim.Adam", 8, {"fused": True}),
    "adamw8bit": Optimizer("bitsandbytes.optim.AdamW8bit", 2, only_on="cuda"),
    "prodigy": Optimizer(
        "prodigyopt.Prodigy", 16, {"use_bias_correction": True, "safeguard_warmup": True},
        one_rate=True,
    ),
}  # fmt: skip
# Allowed values; a comment with | below explains each of them in the same order.
CHOICES = {
    "method": ("lora", "baseline", "full"),
    "fit": ("pad", "bucket"),
    "start": ("base", "unconditional", "scratch"),
    "targets": ("attention", "attention+ff", "attention+ff+conv"),
    "prediction": ("", "epsilon", "v_prediction"),
    "loss": ("l2", "huber", "smooth_l1"),
    "huber_schedule": ("snr", "exponential", "constant"),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": ("constant", "cosine"),
    "keep": ("last", "best"),
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "capture": ("auto", "true", "false"),
}
# Former names, which are still accepted: {setting: today's}, {setting: {value: today's}}.
FORMER_SETTINGS = {"forgotten": "max_accuracy_drop"}
FORMER_VALUES = {"start": {"deaf": "unconditional"}}  # stable name
RANGES = {  # smallest and largest value of a number
    "batch_size accumulate keep_checkpoints eval_items": (1, 2**31),  # stable name
    "rank": (1, 1024),
    "text_rank": (0, 1024),
    "alpha epochs at_most limit sample seed split_seed checkpoint_steps resolution keep_snapshots "
    "patience": (0, 2**53),
    "warmup_steps eval_steps": (-1, 2**53),
    "min_snr_gamma weight_decay checkpoint_minutes memory_gb text_learning_rate background_weight "
    "skin_weight garment_weight distill_guidance regularization_weight": (0, 1e9),
    "learning_rate max_grad_norm": (1e-12, 1e9),
    "caption_dropout noise_offset": (0, 1),
    "huber_c": (1e-6, 1),
    "ema_decay": (0, 0.99999),
    "held_out": (0.001, 0.5),
    "regularization_share": (0.001, 0.999),
    "steps": (1, 2**31),
}
COMMON = (  # settings that most people change: first in --help
    "steps epochs batch_size rank learning_rate resolution base captions balance flip memory_gb"
).split()
OWN = re.compile("own:([1-9][0-9]{0,3})")  # as regularization: so many images that the base draws
REGION_WEIGHTS = ("background_weight", "skin_weight", "garment_weight")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training.  The comments are the help of `train`; `#   ` continues one."""

    # What is trained
    preset: str = ""  # filled in by --preset; do not set it
    method: str = "lora"  # an adapter | the whole UNet without captions | the whole UNet
    base: str = "mini"  # a base named in data_manifest.yaml (mini, sd15, sdxl, sd14), a diffusers
    #   pipeline folder, a checkpoint (one .safetensors file), or hub:owner/name of huggingface.co
    data: str = ""  # filled in by --data; do not set it
    captions: str = ""  # file that `data captions` wrote, with captions to use; "" = the data's own
    text_encoder: str = ""  # a CLIP whose text encoder conditions the UNet; "" = the base's own
    start: str = "base"  # the initial weights are the base's | the base's, but with random
    #   cross-attention, which does not understand prompts yet | all random
    classes: str = ""  # baseline: attributes to condition on, such as category,colour; "" = none
    rank: int = 8  # LoRA rank: size of the adapter; a higher one can learn more
    targets: str = "attention"  # layers of the UNet that get LoRA
    alpha: int = 0  # LoRA alpha, which scales the adapter by alpha / rank; 0 = as rank, scale 1
    title: str = ""  # the adapter's title, in its metadata and its model card
    trigger_words: str = ""  # words that call up what the adapter learned, for the same two
    dora: bool = False  # DoRA: train magnitude and direction of each weight separately
    text_rank: int = 0  # LoRA rank in the text encoder; 0 = the text encoder is not trained

    # Duration and batch size
    steps: int = 500  # training steps (optimizer updates); ignored if epochs is not 0; LoRA: 0 =
    #   as many as fit the data, about 100 passes over the training items, 200 to 2,000 steps
    epochs: int = 0  # passes over all training images; 0 = train for `steps`
    batch_size: int = 16  # images processed at once
    accumulate: int = 1  # gradient accumulation: forward passes per optimizer step,
    #   which uses batch_size times as many images
    memory_gb: float = 0.0  # memory limit in GB; to stay below it, fewer images are processed at
    #   once (slower, same result); 0 = no limit

    # Images
    resolution: int = 0  # pixels a side of the images, a multiple of 8; 0 = the base's own
    fit: str = "pad"  # images of other aspects are padded to squares | scaled and cropped to the
    #   nearest of some shapes of the same area (aspect buckets): a tall garment stays large
    balance: str = ""  # sample the values of these attributes equally often, as in
    #   balance=category,colour; or balance=weight: items in proportion to the column `weight` of
    #   your table (2 = twice as often); "" = as in the data
    flip: bool | None = True  # train on the mirror image of every image too; auto = not if there
    #   are fewer than 200 items
    held_out: float = 0.1  # share of the items kept for validation, in whole products; at most 0.5;
    #   LoRA: 0 = a tenth, of few items 8, but at most a third
    split_seed: int = 0  # random seed of the validation split and of the noise in its loss
    at_most: int = 0  # maximum number of training items with the same attributes and caption;
    #   0 = no limit
    limit: int = 0  # use only the first N items of the data set; 0 = all
    sample: int = 0  # use only N items of the data set, chosen at random (by split_seed) from all
    #   products and categories; 0 = all

    # Regularization
    regularization: str = ""  # images that keep what the base knows: a source with captions, or
    #   own:200, so many that the base first draws of the garments in your captions; "" = none
    regularization_share: float = 0.25  # share of a step's images that are regularization images
    regularization_weight: float = 1.0  # weight of their loss

    # Objective
    caption_dropout: float = 0.1  # share of captions replaced by the empty prompt
    min_snr_gamma: float = 5.0  # gamma of Min-SNR loss weights (Hang et al. 2023); 0 = plain MSE
    noise_offset: float = 0.0  # standard deviation of what is added to all of a channel's noise, so
    #   that images can be darker and brighter; 0.05 to 0.1 is usual; 0 = none
    loss: str = "l2"  # squared error | pseudo-Huber, which outliers change less | the same, not
    #   divided by huber_c; validation losses are always squared errors
    huber_c: float = 0.1  # the error from which on the Huber losses grow linearly, at most noise
    huber_schedule: str = "snr"  # of huber_c, from 1 without noise: by the noise's size |
    #   exponential in the timestep | the same at each timestep
    distill_guidance: float = 0.0  # learn to draw without guidance as with this scale; 0 = do not
    prediction: str = ""  # prediction type of the UNet; "" = the base's own
    zero_terminal_snr: bool = False  # make the last timestep pure noise (Lin et al. 2024)
    garment_weight: float = 1.0  # loss weight of the garment's pixels; needs data with masks
    skin_weight: float = 1.0  # loss weight of hair, face, arms and legs
    background_weight: float = 1.0  # loss weight of all other pixels

    # Optimizer
    optimizer: str = "adamw"  # adamw8bit: a quarter of AdamW's optimizer memory; needs a GPU
    #   and bitsandbytes; prodigy: finds the learning rate (set learning_rate=1); needs prodigyopt
    learning_rate: float = 1e-3  # size of the training steps, after the warm-up
    text_learning_rate: float = 0.0  # learning rate of the text encoder; 0 = as learning_rate
    schedule: str = "cosine"  # of the learning rate after the warm-up; cosine ends at 0
    warmup_steps: int = 20  # steps in which the learning rate rises from 0; -1 = a twentieth of all
    weight_decay: float = 0.01  # weight decay of AdamW
    max_grad_norm: float = 1.0  # maximum norm of the gradient; a larger one is clipped to it
    ema_decay: float = 0.0  # EMA decay of the trained weights; 0 = none

    # Checkpoints and evaluation
    checkpoint_steps: int = 100  # steps between checkpoints; 0 = checkpoints by time only
    checkpoint_minutes: float = 5.0  # maximum minutes between checkpoints; 0 = only every
    #   checkpoint_steps
    keep_checkpoints: int = 2  # number of checkpoints that are kept, the newest
    mirror: str = ""  # backup folder, such as one on Google Drive, that gets a copy of the newest
    #   checkpoint and of the result
    eval_steps: int = 100  # steps between validation losses; 0 = only before and after training;
    #   -1 = a tenth of all steps
    eval_items: int = 256  # maximum number of items that the validation loss is computed on
    trackers: str = ""  # names of accelerate's trackers that get the curves too, such as wandb
    #   (needs the package); without a key or network wandb writes offline; "" = TensorBoard alone
    keep: str = "last"  # the result is the adapter of the last step | the one with the best
    #   validation loss (LoRA only)
    keep_snapshots: int = 3  # with keep=best: number of the newest adapters that stay in the folder
    #   snapshots, besides the best
    patience: int = 0  # stop after so many validation losses without a better one; 0 = never

    # Machine
    seed: int = 0  # random seed of the training
    device: str = "auto"  # auto = a GPU if there is one
    dtype: str = "auto"  # dtype of the frozen base; auto = the best for the device
    gradient_checkpointing: bool = False  # less memory, a third more computing, same result
    channels_last: bool = False  # channels-last memory format; slower on a CPU
    compile: bool = False  # compile the UNet with torch.compile, which takes minutes at first
    capture: str = "auto"  # replay each step's forward and backward pass as one CUDA graph | the
    #   same, and refuse a training without a GPU | launch each kernel by itself

    def __post_init__(self):
        check_settings(self, CHOICES, RANGES, self._automatic())
        if not any(self.region_weights):
            raise InputError("out-of-range.all-zero", names=REGION_WEIGHTS)
        for key in ("classes", "dora", "text_rank", "keep", "distill_guidance"):
            own = "baseline" if key == "classes" else "lora"
            if getattr(self, key) not in ("", 0, "last") and self.method != own:
                raise InputError("not-for-method.setting", key=key, needed=own, method=self.method)
        if self.text_learning_rate and not self.text_rank:
            raise InputError("not-for-method.text-rank")
        if self.text_rank and self.distill_guidance:
            raise InputError("not-for-method.distill-text")
        if self.start != "base" and self.method == "lora":
            raise InputError("not-for-method.start", start=self.start)
        if self.regularization and self.method == "baseline":
            raise InputError("not-for-method.regularization")
        if self.regularization.startswith("own:") and not OWN.fullmatch(self.regularization):
            raise InputError("out-of-range.own", value=self.regularization)
        if self.regularization and self.fit == "bucket":
            raise InputError("regularization-in-buckets")
        if self.resolution % 8:
            raise InputError("out-of-range.resolution", resolution=self.resolution)

    def _automatic(self) -> tuple[str, ...]:
        """Return the settings whose 0 means "fits the data", or epochs."""
        return ("steps", "held_out") if self.method == "lora" else ("steps",) * bool(self.epochs)

    @property
    def region_weights(self) -> tuple[float, ...]:
        """Return the loss weights of background, skin and garment, by region code."""
        return tuple(getattr(self, key) for key in REGION_WEIGHTS)

    @property
    def samples_per_step(self) -> int:
        """Return the samples of one optimizer step."""
        return self.batch_size * self.accumulate  # stable name

    @property
    def items_per_step(self) -> float:
        """Return the training items of a step, on average: its samples without regularization."""
        return self.samples_per_step * (1 - self.regularization_share * bool(self.regularization))

    @property
    def is_masked(self) -> bool:
        """Whether some pixels have more weight in the loss than others."""
        return len(set(self.region_weights)) > 1


def build_config(preset: str = "default", **changes) -> TrainConfig:
    """Return the preset's config with `changes`; text is converted to the type of its field.

    Raises InputError for an unknown preset or key, or a value of the wrong type or range.
    """
    return from_settings(TrainConfig, {**preset_row(preset, **changes), "preset": preset})


def preset_row(preset: str, **changes) -> dict:
    """Return the settings of a preset, for the base and the method of `changes` or its own, with
    `changes`.

    Raises InputError for an unknown preset.
    """
    check_choice("preset", preset, PRESETS)
    row = {**PRESETS[preset]}
    asked = {"method": "lora", **row, **changes}
    for key, value in (("base", "sdxl"), ("method", "lora")):
        own = row.pop(value, {})
        row |= own if asked.get(key) == value else {}
    return row | changes


def from_settings(kind: type, row: dict):
    """Return the settings class `kind` with the values of `row`, converted as by `typed_settings`.

    Raises InputError for an unknown key, or a value of the wrong type or range.
    """
    return kind(**typed_settings(kind, row))


def typed_settings(kind: type, row: dict) -> dict:
    """Return `row` under today's names, with text converted to the type of its field of `kind`.

    Raises InputError for an unknown key, or a value of the wrong type.
    """
    row = {FORMER_SETTINGS.get(key, key): value for key, value in row.items()}
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
    """Return the config as a dict, in the order of its fields."""
    return dataclasses.asdict(config)


def _convert(key: str, value, kind: type):
    """Return `value` as `kind`: text is parsed, and an int may stand for a float."""
    seen, wanted = value, kind
    if isinstance(value, str):
        value = FORMER_VALUES.get(key, {}).get(value, value)
    if isinstance(value, bool) and "true" in CHOICES.get(key, ()):
        value = str(value).lower()
    if kind == bool | None and value in ("auto", None):
        return None
    kind = bool if kind == bool | None else kind
    if isinstance(value, str) and kind is bool:
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    elif (isinstance(value, str) and kind is not str) or (type(value) is int and kind is float):
        with contextlib.suppress(ValueError, OverflowError):
            value = kind(value)
    if type(value) is not kind:
        raise InputError("wrong-type.setting", key=key, wanted=wanted, seen=seen)
    return value


def check_settings(
    settings, choices: dict[str, tuple], ranges: dict[str, tuple], automatic: Iterable[str] = ()
) -> None:
    """Raise InputError for the first setting that is not one of its choices, or out of range; a 0
    of the `automatic` ones means "fits the data"."""
    for key, words in choices.items():
        check_choice(key, getattr(settings, key), words)
    for keys, (low, high) in ranges.items():
        for key in keys.split():
            if (value := getattr(settings, key)) or key not in automatic:
                check_range(key, value, low, high, key in automatic)


def check_range(name: str, value: float, low: float, high: float, automatic: bool = False) -> None:
    """Raise InputError if a value is not in low..high, or is NaN; `automatic`: 0 is said to be
    possible too."""
    if not low <= value <= high:
        if automatic:
            raise InputError("out-of-range.automatic", name=name, value=value, low=low, high=high)
        raise InputError("out-of-range.setting", name=name, value=value, low=low, high=high)


def check_choice(name: str, value: str, choices) -> None:
    """Raise InputError that suggests a choice if a value is not among them."""
    if value not in choices:
        choice = Choice(value, choices)
        raise InputError("unknown-choice", name=name, value=value, choice=choice)
