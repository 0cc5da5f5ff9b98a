"""Which settings does the tuning of a CLIP have, and what may each be?  Loads no torch."""

from dataclasses import dataclass

from tvhelpers.config import check_settings

CLIP_CHOICES = {"method": ("lora", "full"), "positives": ("fits", "own")}
CLIP_RANGES = {
    "steps batch_size micro_batch rank eval_steps": (1, 2**31),
    "max_accuracy_drop": (0, 1),
}


@dataclass(frozen=True)
class ClipTuning:
    """Settings of a CLIP's tuning.  The comments are the help of `clip tune`."""

    method: str = "lora"  # train a LoRA adapter and merge it | train all weights
    positives: str = "fits"  # every caption in the batch that is true of the image counts as a
    #   positive | only the image's own caption does
    steps: int = 300  # maximum number of training steps
    batch_size: int = 128  # pairs in one step, each contrasted with all others
    micro_batch: int = 64  # pairs in one forward pass
    learning_rate: float = 1e-3  # learning rate after the warm-up
    weight_decay: float = 0.05  # weight decay of AdamW
    rank: int = 16  # LoRA rank
    eval_steps: int = 25  # steps between validation losses
    patience: int = 4  # stop after so many validation losses without a better one; 0 = no early
    #   stopping, use the last step
    share: float = -1.0  # interpolation between the weights before (0) and after (1) (WiSE-FT);
    #   -1 = the value with the lowest validation loss
    max_accuracy_drop: float = 0.01  # largest allowed drop of the accuracy on --keep, 0..1
    seed: int = 0  # random seed of the tuning

    def __post_init__(self) -> None:
        share = {} if self.share == -1 else {"share": (0, 1)}
        check_settings(self, CLIP_CHOICES, CLIP_RANGES | share)
