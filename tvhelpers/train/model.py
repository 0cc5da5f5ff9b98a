"""Which networks are trained, and what do they predict?  The UNet, and perhaps text encoders."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from tvhelpers.config import TrainConfig
from tvhelpers.errors import InputError
from tvhelpers.lora.adapter import add_lora
from tvhelpers.models.base import BaseLocation, load_part
from tvhelpers.train import diffusion
from tvhelpers.train.batches import Batch
from tvhelpers.train.encoding import split_ids

CLASS_RATE = 10.0  # times the learning rate, for the class embedding of a baseline


class Model:
    """The networks of one training, the trained fp32 `weights`, and their EMA weights.

    Without text encoders, batches hold cached text states.  Frozen text encoders compute the same
    states from token ids, in less memory; those with LoRA are trained.
    """

    def __init__(self, parts: dict, config: TrainConfig, device: str, dtype: torch.dtype):
        """Prepare the "unet" of a base's `parts` and its text encoders, if they are there."""
        self.config, self.device, self.dtype = config, device, dtype
        self.unet, self.family = parts["unet"].to(device), parts["family"]
        own = self.family.text_encoders
        self.text_encoders = {part: parts[part] for part in own if part in parts}
        self.empty_ids: torch.Tensor | None = None  # of the empty prompt, if its states are zeros
        self.weights, self.text_weights = self._prepare_unet(), []
        for encoder in self.text_encoders.values():
            self.text_weights += self._prepare_text_encoder(encoder)
        self.groups = self._rate_groups()
        self.weights += self.text_weights
        self.ema_weights = [weight.detach().clone() for weight in self.weights if config.ema_decay]
        self.compiled = self.unet

    def _prepare_unet(self) -> list[torch.nn.Parameter]:
        """Prepare the UNet for training and return its trained weights."""
        config, unet = self.config, self.unet
        if config.method == "lora":
            weights = self._add_lora(unet.to(self.dtype), config.rank, config.targets)
            if self.dtype != torch.float32:
                _keep_norms_half(unet, self.device, self.dtype)
        else:
            weights = list(unet.requires_grad_(True).parameters())
        if config.channels_last:
            unet.to(memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing(partial(checkpoint, **_checkpointing(unet)))
        unet.train()
        return weights

    def _prepare_text_encoder(self, encoder) -> list[torch.nn.Parameter]:
        """Prepare a text encoder and return its trained weights, [] if it is frozen."""
        config = self.config
        encoder.to(self.device, self.dtype).requires_grad_(False)
        if not config.text_rank:
            return []
        weights = self._add_lora(encoder, config.text_rank, "text encoder")
        if config.gradient_checkpointing:
            # transformers 5.15 has the second name alone
            enable = getattr(encoder, "activation_checkpointing_enable", None)
            (enable or encoder.gradient_checkpointing_enable)(_checkpointing(encoder))
        encoder.train()
        return weights

    def _add_lora(self, network, rank: int, targets: str) -> list[torch.nn.Parameter]:
        config = self.config
        weights = add_lora(network, rank, config.alpha or rank, config.seed, targets, config.dora)
        if not config.dora:  # whose norms of weights would be computed in half precision
            _keep_input_dtype(network)
        return weights

    def _rate_groups(self) -> list[dict]:
        """Return the optimizer's parameter groups, each with its factor on the learning rate.

        The class embedding gets a higher one, as a row has a gradient only if its class is drawn.
        """
        table = getattr(self.unet.class_embedding, "weight", None)
        rest = [weight for weight in self.weights if weight is not table]
        text_rate = self.config.text_learning_rate / self.config.learning_rate or 1.0
        rates = [(rest, 1.0), ([table] if table is not None else [], CLASS_RATE)]
        rates += [(self.text_weights, text_rate)]
        return [{"params": params, "rate": rate} for params, rate in rates if params]

    def trained(self) -> dict[str, torch.nn.Module]:
        """Return the trained networks by their names in a pipeline."""
        return {"unet": self.unet, **(self.text_encoders if self.text_weights else {})}

    def predict(self, noisy_latents: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the UNet's prediction at a batch's timesteps, conditioned on its text, its sizes
        and, if it has them, class labels."""
        if self.config.channels_last:
            noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        classes = {} if batch.labels is None else {"class_labels": batch.labels}
        unet = self.compiled if torch.is_grad_enabled() else self.unet
        half = self.dtype != torch.float32
        # no cache: each weight is used once, and a CUDA graph must not keep a cast of one
        with torch.autocast(self.device, self.dtype, enabled=half, cache_enabled=False):
            states, pooled = self._text_states(batch)
            added = self.family.unet_conditions(pooled, batch.sizes)
            return unet(noisy_latents, batch.timesteps, states, **classes, **added).sample

    def _text_states(self, batch: Batch) -> list[torch.Tensor | None]:
        """Return text states (B, tokens, d) and pooled vectors (B, p), None if there are none, from
        cached ones or from token ids, in the dtype of the base, so that not each layer casts them;
        in fp32 if they are trained."""
        found, dtype = (batch.text, batch.pooled), self.dtype
        if self.text_weights:
            found, dtype = self._encode(batch.text.long()), torch.float32
        elif self.text_encoders:
            with torch.no_grad():  # as precise as cached ones
                found = [x if x is None else x.half() for x in self._encode(batch.text.long())]
        return [x if x is None else x.float().to(dtype) for x in found]

    def _encode(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the states and pooled vectors of token ids, as the text encoders give them."""
        encoders = [*self.text_encoders.values()]
        states, pooled = self.family.encode_text(encoders, split_ids(ids, len(encoders)))
        if self.empty_ids is not None:
            is_text = (ids != self.empty_ids).any(1)
            states, pooled = states * is_text[:, None, None], pooled * is_text[:, None]
        return states, pooled

    def update_ema(self, step: int) -> None:
        """Update the EMA weights after `step` steps."""
        if self.ema_weights:
            # a smaller decay at the start
            decay = min(self.config.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.ema_weights, [w.detach() for w in self.weights], 1 - decay)

    @contextlib.contextmanager
    def base(self) -> Iterator[None]:
        """Use the UNet without its LoRA within the block."""
        self.unet.disable_adapters()
        try:
            yield
        finally:
            self.unet.enable_adapters()

    @contextlib.contextmanager
    def with_ema(self) -> Iterator[None]:
        """Use the EMA weights within the block; without ema_decay nothing changes."""
        own = [weight.data for weight in self.weights]
        for weight, value in zip(self.weights, self.ema_weights, strict=False):
            weight.data = value
        try:
            yield
        finally:
            for weight, value in zip(self.weights, own, strict=True):
                weight.data = value


def _keep_input_dtype(network: torch.nn.Module) -> None:
    """Let LoRA layers take half precision as it is, which autocast computes in anyway.

    peft would write each input in fp32, for autocast to make it half again: the same numbers, for
    several times the memory traffic.
    """
    from peft.tuners.lora import LoraLayer

    for layer in network.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False


def _keep_norms_half(network: torch.nn.Module, device: str, dtype: torch.dtype) -> None:
    """Let norms write half precision, which their kernels compute in fp32 inside.

    On a GPU autocast would let them write fp32, and each layer that reads it cast it again.
    """

    def half(norm: Callable) -> Callable:
        return torch.autocast(device, enabled=False)(lambda values: norm(values.to(dtype)))

    for layer in network.modules():
        if isinstance(layer, torch.nn.GroupNorm | torch.nn.LayerNorm):
            layer.forward = half(layer.forward)


def _checkpointing(network: torch.nn.Module) -> dict:
    """Return the options of `torch.utils.checkpoint`.

    It restores random states for dropout alone, and cannot do so in a CUDA graph (pytorch#162504).
    """
    drops = any(isinstance(layer, torch.nn.Dropout) and layer.p for layer in network.modules())
    drops = drops or bool(getattr(network.config, "attention_dropout", 0))
    return {"use_reentrant": False, "preserve_rng_state": drops}


def noise_schedule(base: BaseLocation, config: TrainConfig):
    """Return the base's scheduler with the changes of `config`; raises InputError for an objective
    that is not supported or cannot be learned."""
    scheduler = load_part(base, "scheduler")
    scheduler = type(scheduler).from_config(scheduler.config, **scheduler_changes(config))
    kind = scheduler.config.prediction_type
    if kind not in diffusion.PREDICTION_TYPES:
        known = diffusion.PREDICTION_TYPES
        raise InputError("unfit-objective.base", base=base.name, kind=kind, known=known)
    if kind == "epsilon" and scheduler.config.rescale_betas_zero_snr:
        raise InputError("unfit-objective.noise-alone")
    return scheduler


def scheduler_changes(config: TrainConfig) -> dict:
    """Return the keys of the base's scheduler config (of diffusers) that `config` changes.

    Zero terminal SNR (Lin et al. 2024) requires sampling that begins at the last timestep.
    """
    changes = {"prediction_type": config.prediction} if config.prediction else {}
    if config.zero_terminal_snr:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return changes
