"""What the UNet is told: the text encoder's states of captions, looked up or computed."""

from __future__ import annotations

import torch

from tvhelpers.config import TrainConfig
from tvhelpers.lora.adapter import add_lora
from tvhelpers.train.latents import LatentCache, send, take


class TextStates:
    """The text states of a cache's caption rows, and the weights that are trained for them.

    Without a text encoder they are looked up.  A frozen one gives what is looked up, from token ids
    in less memory; one with LoRA is trained.
    """

    def __init__(self, cache: LatentCache, text_encoder, config: TrainConfig, device, dtype):
        self.cache, self.device, self.text_encoder = cache, device, text_encoder
        self.weights: list[torch.nn.Parameter] = []
        if text_encoder is None:
            return
        text_encoder.to(device, dtype).requires_grad_(False)
        if rank := config.text_rank:
            alpha, options = config.alpha or rank, ("text encoder", config.dora)
            self.weights = add_lora(text_encoder, rank, alpha, config.seed, *options)
            if config.gradient_checkpointing:
                # transformers 5.15 has the second name alone
                enable = getattr(text_encoder, "activation_checkpointing_enable", None)
                (enable or text_encoder.gradient_checkpointing_enable)({"use_reentrant": False})
            text_encoder.train()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the states fp32 (B, tokens, d) of rows int64 (B,), which are on the CPU."""
        if self.text_encoder is None:
            return send(take(self.cache.embeds, rows.numpy()), self.device).float()
        ids = send(take(self.cache.token_ids, rows.numpy()), self.device).long()
        if self.weights:
            return self.text_encoder(ids)[0].float()
        with torch.no_grad():
            return self.text_encoder(ids)[0].half().float()  # as precise as what is stored
