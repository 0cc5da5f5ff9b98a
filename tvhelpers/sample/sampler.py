"""How are images drawn from prompts?"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image

from tvhelpers.errors import InputError
from tvhelpers.files import file_sha256
from tvhelpers.lora.adapter import check_family, fuse_adapter, load_adapter
from tvhelpers.lora.find import find_adapter, find_fast, tuned_text_encoder
from tvhelpers.lora.formats import read_about, read_adapter
from tvhelpers.lora.metadata import peft_config
from tvhelpers.models import base as bases
from tvhelpers.models.baseline import Classes, class_conditioning, read_classes
from tvhelpers.models.clip import cut_off
from tvhelpers.models.identity import identity
from tvhelpers.models.vocabulary import Vocabulary, read_vocabulary, remark
from tvhelpers.runtime import choose_device, choose_dtype
from tvhelpers.sample.decoding import guard_vae, remembered
from tvhelpers.sample.embeddings import add_embeddings, digests, read_embeddings, with_tokens
from tvhelpers.sample.request import Request

TILED_PIXELS = 1536 * 1536  # of an image; a larger one is decoded in overlapping tiles
PREVIEW_LATENTS = 32  # a side: 256 pixels, decoded in a few milliseconds on a GPU
log = logging.getLogger(__name__)


class Sampler:
    """A base, with or without an adapter; its pipeline is loaded at the first drawing."""

    def __init__(
        self,
        base: str = "mini",
        adapter: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        text_encoder: str = "",
        text_conditioning: bool = True,
        fast: bool = False,
        embeddings: Sequence[str | Path] = (),
    ):
        """Find the base and the adapter.

        `base` is a manifest name, a pipeline folder or a hub id.  `adapter` is "shipped", "none" or
        a path; None takes the shipped one where the base has one.  `text_encoder` is a tuned CLIP;
        "" takes the one that the adapter was trained with.  Without `text_conditioning`, every
        prompt is replaced by the empty one.  `fast` adds the base's adapter for few steps without
        guidance; `embeddings` are files of textual inversions.  Raises InputError for what does not
        exist.
        """
        self._given = device, dtype, text_encoder, text_conditioning
        self.embeddings = read_embeddings(embeddings)
        self.name, self.base = base, bases.find_base(base)
        self.adapter = find_adapter(self.base, adapter)
        self.fast = find_fast(self.base) if fast else None
        about = read_about(self.adapter) if self.adapter else {}
        check_family(about, self.adapter, self.base)
        self.is_distilled = fast or "distill_guidance" in about  # draws as with guidance
        trained_with = about.get("text_encoder_digest")
        text_encoder = text_encoder or (tuned_text_encoder(self.adapter) if trained_with else "")
        self.base = bases.with_text_encoder(self.base, text_encoder)
        self._text_digest = bases.text_digest(self.base) if text_encoder else ""
        if self._text_digest and trained_with not in (None, self._text_digest):
            raise InputError("another-text-encoder", path=self.adapter, name=text_encoder)
        self.device = choose_device(device)
        self.dtype, self.dtype_reason = choose_dtype(dtype, self.device)
        self.text_conditioning = text_conditioning
        self.classes = read_classes(self.base.path) if text_conditioning else Classes()
        self._lock = threading.Lock()  # a pipeline draws one batch at a time
        self._pipe = None
        self.fused_scale: float | None = None  # the LoRA scale that is in the weights

    @cached_property
    def identity(self) -> dict:
        """What an image depends on beside its request, as JSON; the pipeline need not be loaded."""
        who = {
            **identity(self.name, self.base),
            "adapter_sha256": self.adapter and file_sha256(self.adapter),
            "scheduler": self.base.architecture.scheduler,
        }
        who |= {"text_encoder": self._text_digest} if self._text_digest else {}
        who |= {"fast_sha256": file_sha256(self.fast)} if self.fast else {}
        who |= {"embeddings": digests(self.embeddings)} if self.embeddings else {}
        settings = peft_config(self.adapter) if self.adapter else None
        who |= {"adapter_settings": file_sha256(settings)} if settings else {}
        return who if self.text_conditioning else {**who, "language": False}

    def with_adapter(self, adapter: str, fast: bool = False) -> "Sampler":
        """Return a sampler of the same base with another adapter, and the `fast` one, as the
        arguments of `Sampler`; raises InputError for one that does not exist."""
        return Sampler(self.name, adapter, *self._given, fast, [x.path for x in self.embeddings])

    def unload(self) -> None:
        """Free the pipeline's memory; the next drawing loads it again."""
        with self._lock:
            self._pipe = self.fused_scale = None

    @property
    def loaded(self) -> bool:
        """Whether the pipeline is in memory."""
        return self._pipe is not None

    @property
    def pipe(self):
        """The diffusers pipeline, loaded at the first use; raises InputError as `load`."""
        return self.load()

    def load(self, without: Iterable[str] = ()):
        """Return the diffusers pipeline, loaded at the first use; the parts `without` are then
        None, for networks that are in memory already.

        Raises InputError for a damaged base or adapter, and for two that do not fit each other.
        """
        if self._pipe is None:
            with self._lock:
                self._pipe = self._pipe or self._load(without)
        return self._pipe

    def _load(self, without: Iterable[str]):
        # A damaged adapter is refused before the base is loaded, which takes long.
        adapter = read_adapter(self.adapter) if self.adapter else None
        digest = bases.base_digest(self.base)  # of the weights as they are stored
        pipe = bases.load_pipeline(self.base, torch.float32 if self.fast else self.dtype, without)
        if self.fast:
            load_adapter(pipe, self.fast, self.name, digest)
            fuse_adapter(pipe, 1.0, once=True)
            pipe.unload_lora_weights()
        add_embeddings(pipe, self.base.architecture, self.embeddings)
        pipe.to(self.device, self.dtype)
        guard_vae(pipe.vae, self.base)
        if adapter:
            load_adapter(pipe, self.adapter, self.name, digest, adapter)
        return pipe

    @property
    def default_size(self) -> int:
        """Pixels a side of the images that the base was trained for."""
        return self.base.architecture.resolution(self.pipe.unet.config, self.pipe.vae.config)

    @property
    def default_guidance(self) -> float:
        """The guidance scale where none is given: the base's own, or 1 where it was distilled."""
        return 1.0 if self.is_distilled else self.base.guidance

    def with_defaults(self, request: Request) -> Request:
        """Return the request with the default guidance and size where none is given."""
        guidance = self.default_guidance if request.guidance is None else request.guidance
        width, height = (side or self.default_size for side in (request.width, request.height))
        return replace(request, guidance=guidance, width=width, height=height)

    def sample(
        self,
        request: Request,
        jobs: Sequence[tuple[int, str, int]] | None = None,
        *,
        batch_size: int = 8,
        on_step: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[int, str, int, Image.Image]]:
        """Yield (index, prompt, seed, PIL image in RGB) of `jobs`, by default of all.

        An image is the same in any batch: it starts from the noise of its own seed.
        `on_step(step)` is called after each inference step; raising in it ends the drawing.
        """
        if self.classes is not None and request.negative_prompt:
            raise InputError("no-negative", base=self.name)
        pipe, request = self.pipe, self.with_defaults(request)
        jobs = request.jobs() if jobs is None else jobs
        # None: as the family encodes "no prompt"
        negative = with_tokens(request.negative_prompt, self.embeddings) or None

        def after_step(pipe, step, timestep, tensors):
            """Pass the number of the step on."""
            if on_step:
                on_step(step + 1)
            return tensors

        for start in range(0, len(jobs), batch_size):
            batch = jobs[start : start + batch_size]
            # On the CPU, so that a seed gives the same noise on every device.
            generators = [torch.Generator("cpu").manual_seed(seed) for _, _, seed in batch]
            conditioning = self._conditioned([prompt for _, prompt, _ in batch], request.guidance)
            predictions = remembered(pipe.scheduler)
            with self._lock, conditioning as prompts, predictions as self._predicted:
                pipe.vae.use_tiling = request.width * request.height > TILED_PIXELS
                scale = self._apply_lora_scale(request.lora_scale)
                images = pipe(
                    **prompts,
                    negative_prompt=negative and [negative] * len(batch),
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance,
                    height=request.height,
                    width=request.width,
                    generator=generators,
                    callback_on_step_end=after_step,
                    **scale,
                ).images
            for job, image in zip(batch, images, strict=True):
                yield *job, image

    @torch.no_grad()
    def preview(self) -> Image.Image:
        """Return what the first image of the batch being drawn looks like so far, at most 32
        latents a side; call it within `on_step`."""
        pipe = self._pipe
        latents = self._predicted()[:1].to(pipe.vae.dtype)
        if (reduce := -(-max(latents.shape[-2:]) // PREVIEW_LATENTS)) > 1:
            latents = torch.nn.functional.avg_pool2d(latents, reduce)
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        return pipe.image_processor.postprocess(image, do_denormalize=[True])[0]

    def _apply_lora_scale(self, lora_scale: float) -> dict:
        """Apply the adapter at `lora_scale`; return the pipeline's arguments for it."""
        if self.adapter is None:
            return {}
        if self.dtype != torch.float32:  # too coarse to fuse an adapter into
            return {"cross_attention_kwargs": {"scale": lora_scale}}
        if lora_scale != self.fused_scale:
            self.fused_scale = None  # unknown while the weights change
            fuse_adapter(self._pipe, lora_scale)
            self.fused_scale = lora_scale
        return {}

    @contextlib.contextmanager
    def _conditioned(self, prompts: list[str], guidance: float) -> Iterator[dict]:
        """Yield the pipeline's arguments for the prompts; with class conditioning, set the UNet's
        classes, and yield those of empty prompts."""
        if self.classes is None:
            yield {"prompt": [with_tokens(prompt, self.embeddings) for prompt in prompts]}
            return
        labels = [self.classes.label_of(prompt) for prompt in prompts]
        with class_conditioning(self._pipe.unet, labels, guidance > 1):
            yield self.base.architecture.empty_prompts(self._pipe, len(prompts))

    def cut_off(self, prompt: str) -> str:
        """Return the end of a prompt beyond the text encoder's limit, "" if all of it fits."""
        words = with_tokens(prompt, self.embeddings)
        return cut_off(self._tokenizer, words, self._tokenizer.model_max_length)

    @cached_property
    def _tokenizer(self):
        return self.pipe.tokenizer if self.loaded else bases.load_part(self.base, "tokenizer")

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The words that base and adapter have seen; None where one does not say, and where
        another text encoder or a textual inversion may have learned others."""
        if self.base.text_encoder or self.embeddings:
            return None
        if self._has_own_adapter:
            return read_vocabulary(self.base, False, self.adapter.parent)
        return read_vocabulary(self.base, bool(self.adapter))

    @property
    def _has_own_adapter(self) -> bool:
        return self.adapter not in (None, self.base.adapter)

    def unseen(self, prompt: str) -> str:
        """Return a remark on the words of a prompt that the base has never seen, "" without any."""
        name = self.name if self.name == self.base.name else "this base"  # not a long path
        name += " with this adapter" * self._has_own_adapter
        return remark(name, self.vocabulary.unseen(prompt)) if self.vocabulary else ""
