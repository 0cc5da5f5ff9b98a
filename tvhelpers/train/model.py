"""What is trained, and what does it predict?  The UNet, and a text encoder where it learns too."""

import contextlib
from collections.abc import Iterator

import torch

from tvhelpers.config import TrainConfig
from tvhelpers.errors import InputError
from tvhelpers.lora.adapter import add_lora
from tvhelpers.models.base import BaseLocation, load_part
from tvhelpers.train import diffusion

CLASS_RATE = 10.0  # times the learning rate, for the embedding of a baseline's classes


class Model:
    """The networks of one training, its trained fp32 `weights`, and their moving averages.

    Without a text encoder the text states of captions are stored.  A frozen one gives what is
    stored, from token ids in less memory; one with LoRA is trained.
    """

    def __init__(self, unet, text_encoder, config: TrainConfig, device: str, dtype: torch.dtype):
        self.config, self.device, self.dtype = config, device, dtype
        self.unet, self.text_encoder, self.text_weights = unet.to(device), text_encoder, []
        self.weights = self._prepare_unet()
        if text_encoder is not None:
            self.text_weights = self._prepare_text_encoder()
        self.groups = self._rate_groups()
        self.weights += self.text_weights
        self.averages = [weight.detach().clone() for weight in self.weights if config.ema_decay]
        self.compiled = self.unet

    def _prepare_unet(self) -> list[torch.nn.Parameter]:
        """Make the UNet ready and return its trained weights."""
        config, unet = self.config, self.unet
        if config.method == "lora":
            weights = self._add_lora(unet.to(self.dtype), config.rank, config.targets)
        else:
            weights = list(unet.requires_grad_(True).parameters())
        if config.channels_last:
            unet.to(memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        unet.train()
        return weights

    def _prepare_text_encoder(self) -> list[torch.nn.Parameter]:
        """Make the text encoder ready and return its trained weights, if there are any."""
        config, encoder = self.config, self.text_encoder
        encoder.to(self.device, self.dtype).requires_grad_(False)
        if not config.text_rank:
            return []
        weights = self._add_lora(encoder, config.text_rank, "text encoder")
        if config.gradient_checkpointing:
            # transformers 5.15 has the second name alone
            enable = getattr(encoder, "activation_checkpointing_enable", None)
            (enable or encoder.gradient_checkpointing_enable)({"use_reentrant": False})
        encoder.train()
        return weights

    def _add_lora(self, network, rank: int, targets: str) -> list[torch.nn.Parameter]:
        config = self.config
        return add_lora(network, rank, config.alpha or rank, config.seed, targets, config.dora)

    def _rate_groups(self) -> list[dict]:
        """Return the optimizer's groups, each with its multiple of the learning rate.

        A row of the class embedding has a gradient only where its class is drawn.
        """
        table = getattr(self.unet.class_embedding, "weight", None)
        rest = [weight for weight in self.weights if weight is not table]
        text_rate = self.config.text_learning_rate / self.config.learning_rate or 1.0
        rates = [(rest, 1.0), ([table] if table is not None else [], CLASS_RATE)]
        rates += [(self.text_weights, text_rate)]
        return [{"params": params, "rate": rate} for params, rate in rates if params]

    def trained(self) -> dict[str, torch.nn.Module]:
        """Return what is trained, by its name in a pipeline."""
        text = {"text_encoder": self.text_encoder} if self.text_weights else {}
        return {"unet": self.unet, **text}

    def predict(self, noisy_latents, timesteps, text, labels=None) -> torch.Tensor:
        """Return what the UNet predicts when it is told the text, and the classes if there are."""
        if self.config.channels_last:
            noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        told = {} if labels is None else {"class_labels": labels}
        unet = self.compiled if torch.is_grad_enabled() else self.unet
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            return unet(noisy_latents, timesteps, self._text_states(text), **told).sample

    def _text_states(self, text: torch.Tensor) -> torch.Tensor:
        """Return the states fp32 (B, tokens, d) of stored ones, or of token ids."""
        if self.text_encoder is None:
            return text.float()
        if self.text_weights:
            return self.text_encoder(text.long())[0].float()
        with torch.no_grad():
            return self.text_encoder(text.long())[0].half().float()  # as precise as stored ones

    def update_averages(self, step: int) -> None:
        """Take the weights after `step` steps into their averages."""
        if self.averages:
            # short memory at the start
            decay = min(self.config.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.averages, [w.detach() for w in self.weights], 1 - decay)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model have the averaged weights within the block; nothing changes without
        ema_decay."""
        own = [weight.data for weight in self.weights]
        for weight, average in zip(self.weights, self.averages, strict=False):
            weight.data = average
        try:
            yield
        finally:
            for weight, value in zip(self.weights, own, strict=True):
                weight.data = value


def noise_schedule(base: BaseLocation, config: TrainConfig):
    """Return the base's scheduler with the changes of `config`; raises InputError for an objective
    that is not known here, or cannot be learnt."""
    scheduler = load_part(base, "scheduler")
    scheduler = type(scheduler).from_config(scheduler.config, **scheduler_changes(config))
    kind = scheduler.config.prediction_type
    if kind not in diffusion.PREDICTION_TYPES:
        known = " and ".join(diffusion.PREDICTION_TYPES)
        raise InputError("unfit-objective.base", name=base.name, kind=kind, known=known)
    if kind == "epsilon" and scheduler.config.rescale_betas_zero_snr:
        raise InputError("unfit-objective.noise-alone")
    return scheduler


def scheduler_changes(config: TrainConfig) -> dict:
    """Return what `config` changes of its base's scheduler, in the words of diffusers.

    Zero terminal SNR: Lin et al. 2024; what learnt on it must be sampled from the last timestep on.
    """
    changes = {"prediction_type": config.prediction} if config.prediction else {}
    if config.zero_terminal_snr:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return changes
