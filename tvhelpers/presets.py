"""Which settings does each preset of a training change, and for which machine is it?"""

# Values that mean "fits the data", of presets for LoRA: `train.fit` chooses the numbers.
FITS = dict(steps=0, held_out=0.0, flip=None, eval_steps=-1, warmup_steps=-1, keep="best")
SD15 = dict(  # shared by the presets for GPUs
    base="sd15", resolution=512, steps=2000, learning_rate=1e-5, warmup_steps=100, eval_items=64,
    lora=FITS | dict(rank=16, learning_rate=1e-4),
)  # fmt: skip

XL = dict(resolution=1024, gradient_checkpointing=True)

# A preset holds only what differs from the defaults; "lora" is for that method alone: an adapter
# takes ten times the learning rate of the weights that it is added to.  "sdxl" is for that base.
PRESETS: dict[str, dict] = {
    "default": dict(lora=FITS),
    "smoke": dict(
        steps=20, batch_size=4, rank=4, limit=64, eval_items=8, eval_steps=10, checkpoint_steps=10
    ),
    "cpu": dict(
        steps=1000, min_snr_gamma=0.0,
        lora=FITS | dict(rank=16, targets="attention+ff+conv", learning_rate=3e-3),
    ),
    "t4": SD15 | dict(batch_size=4, accumulate=4, dtype="float16", sdxl=XL | dict(batch_size=1)),
    "l4": SD15 | dict(batch_size=8, accumulate=2, dtype="bfloat16", sdxl=XL | dict(batch_size=4)),
    "a100": SD15 | dict(dtype="bfloat16", sdxl=dict(resolution=1024, batch_size=4)),
    "h100": SD15 | dict(
        batch_size=64, steps=1000, learning_rate=2e-5, warmup_steps=50, dtype="bfloat16",
        lora=FITS | dict(rank=16, learning_rate=2e-4),
        sdxl=SD15 | dict(base="sdxl", resolution=1024, batch_size=8),
    ),
    "paper": dict(  # the settings of the student paper
        method="full", base="sd14", resolution=512, epochs=5, batch_size=8, flip=False,
        caption_dropout=0.0, min_snr_gamma=0.0, learning_rate=5e-5, schedule="constant",
        warmup_steps=0, dtype="float32",
    ),
}  # fmt: skip
# What each is for, in --help.
PRESETS_FOR = {
    "default": "mini without a GPU, up to a quarter of an hour",
    "smoke": "a trial of seconds, to see that everything works",
    "cpu": "mini without a GPU, with more layers",
    "t4": "Stable Diffusion on a GPU of 16 GB, such as Colab's T4",
    "l4": "Stable Diffusion on a GPU of 24 GB, such as L4",
    "a100": "Stable Diffusion on a GPU of 40 GB, such as A100",
    "h100": "Stable Diffusion on a GPU of 80 GB, such as H100",
    "paper": "as in the student paper that this project grew from, with METHOD full",
}
