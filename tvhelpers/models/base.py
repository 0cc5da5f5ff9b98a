"""Where is a base, how are its parts loaded, and what identifies its weights?"""

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tvhelpers import hub, manifest
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_dir
from tvhelpers.models.architecture import Architecture, find_architecture, read_index
from tvhelpers.models.clip import find_clip
from tvhelpers.models.one_file import ABOUT_FILE, open_checkpoint
from tvhelpers.records import as_record, read_record, write_json
from tvhelpers.runtime import quiet_libraries

FP16 = "fp16"  # in the names of files with weights in half precision
MAX_TOKENS = 10_000  # of a text encoder
MAX_TIMESTEPS = 10_000  # of a scheduler, which keeps tables of this length
TEXT_ENCODER_DIR = "text_encoder"  # beside an adapter that was trained with a tuned text encoder


@dataclass(frozen=True)
class BaseLocation:
    """The location of a base: `name` is for messages, `path` is a folder or a hub id."""

    name: str
    path: str
    revision: str | None = None
    adapter: Path | None = None  # the adapter that comes with the base
    own_guidance: float | None = None  # its default guidance scale, if not its family's
    text_encoder: str = ""  # a folder or hub id whose text encoder replaces the base's own
    tuned_part: str = "text_encoder"  # the part that it replaces
    prefers_fp16: bool = False  # whether the smaller of its files are downloaded

    @property
    def commit(self) -> str | None:
        """The revision where it is a commit, whose weights cannot change; else None."""
        return self.revision if re.fullmatch("[0-9a-f]{40}", self.revision or "") else None

    @property
    def architecture(self) -> Architecture:
        """The family of the base; raises InputError for one that is not supported."""
        return find_architecture(self.path, self.revision)

    @property
    def guidance(self) -> float:
        """The default guidance scale."""
        return self.architecture.guidance if self.own_guidance is None else self.own_guidance

    @property
    def index(self) -> dict:
        """The model_index.json of the base, {} where it cannot be read."""
        with contextlib.suppress(hub.Unreadable):
            return read_index(self.path, self.revision)
        return {}


def find_base(name: str) -> BaseLocation:
    """Return the location of a manifest name, a pipeline folder, a checkpoint of one file, or a hub
    id ("hub:owner/name", or "hub:owner/name@revision").

    A checkpoint is converted at the first call.  Raises InputError for anything else.
    """
    row = manifest.entries().get(name)
    if row and row["kind"] == "base":
        path = row.get("path") and manifest.TOP_DIR / row["path"]
        adapter = path / "shipped_adapter.safetensors" if path else None
        guidance = row.get("guidance")
        where = str(path or row["hub"]), row.get("revision")
        fp16 = row.get("variant") == FP16
        return BaseLocation(name, *where, adapter, guidance, prefers_fp16=fp16)
    known = [key for key, row in manifest.entries().items() if row["kind"] == "base"]
    if Path(name).is_file() or name.endswith(".safetensors"):
        return BaseLocation(Path(name).name, str(open_checkpoint(Path(name))))
    asked, _, revision = name.partition("@") if name.startswith(hub.HUB) else (name, "", "")
    folder = Path(path := hub.find_model(asked, known))
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise InputError("not-a-pipeline", path=folder)
        about = folder / ABOUT_FILE
        record = read_record(about, "pipeline") if about.exists() else {}
        return BaseLocation("a folder", str(folder), own_guidance=record.get("guidance"))
    return BaseLocation(name.removeprefix(hub.HUB), path, revision or None)


def with_text_encoder(base: BaseLocation, name: str) -> BaseLocation:
    """Return the base with the text encoder of another CLIP: a folder, which `clip tune` may have
    written, or a hub id; "" is the base's own.  The tokenizer stays the base's.

    It replaces the base's first text encoder that is as wide.  Raises InputError if there is none,
    or if it does not fit the base's tokenizer.
    """
    if not name:
        return base
    own = {part: _text_config(base, part) for part in base.architecture.text_encoders}
    base = replace(base, text_encoder=find_clip(name))
    width = load_part(base, base.tuned_part).config.hidden_size
    fitting = [part for part, config in own.items() if config.hidden_size == width]
    if not fitting:
        widths = [config.hidden_size for config in own.values()]
        raise InputError(
            "text-encoder-unfit.width", name=name, seen=width, base=base.name, needed=widths
        )
    base = replace(base, tuned_part=fitting[0])
    _check_tuned(base, name, own[base.tuned_part])
    return base


def _check_tuned(base: BaseLocation, name: str, own) -> None:
    """Raise InputError if the pooled vectors or the vocabulary of a tuned text encoder differ from
    those of the base's own one, whose config is `own`."""
    encoder, num_tokens = load_part(base, base.tuned_part), len(load_part(base, "tokenizer"))
    config, needed = encoder.config, own.projection_dim
    if hasattr(encoder, "text_projection") and config.projection_dim != needed:
        seen = config.projection_dim
        raise InputError(
            "text-encoder-unfit.pooled", name=name, seen=seen, base=base.name, needed=needed
        )
    if (seen := config.vocab_size) < num_tokens:
        raise InputError(
            "text-encoder-unfit.vocabulary", name=name, seen=seen, base=base.name, needed=num_tokens
        )


def load_part(base: BaseLocation, part: str, dtype: torch.dtype = torch.float32):
    """Return one part of a base, such as "unet" or "scheduler" (`Architecture.parts`), on the CPU.

    Weights in files of the variant "fp16" are read where there are no others, or where the base
    prefers them.  Raises InputError if it cannot be loaded.
    """
    import importlib

    library, name = base.architecture.parts[part]
    path, where = base.path, {"subfolder": part, "revision": base.revision}
    if part == base.tuned_part and base.text_encoder:
        path, where = base.text_encoder, _tuned_options(base)
    with _readable(base, part):
        kind = getattr(importlib.import_module(library), name)
        if part == "scheduler":
            return _load_scheduler(kind, path, where)
        if part in base.architecture.tokenizers:
            return _load_tokenizer(kind, path, where)
        where["torch_dtype" if library == "diffusers" else "dtype"] = dtype
        model = _with_variant(base, partial(hub.load, kind, path, whole=True, **where)).eval()
    if part == "unet" and model.config.in_channels != model.config.out_channels:
        raise InputError("no-checkpoint.channels", path=path, count=model.config.in_channels)
    return model


def _load_scheduler(kind: type, path: str, where: dict):
    """Return a scheduler whose latents are not limited to -1..1; raises Unreadable for one with
    too many timesteps."""
    with hub.readable(path):
        steps = kind.load_config(path, **where).get("num_train_timesteps", 1000)
        if not (isinstance(steps, int) and 0 < steps <= MAX_TIMESTEPS):
            raise ValueError(f"num_train_timesteps is {steps}")
    return hub.load(kind, path, **where, clip_sample=False)


def _load_tokenizer(kind: type, path: str, where: dict):
    """Return a tokenizer; raises Unreadable for one without files, which transformers makes up."""
    with hub.readable(path):
        tokenizer = hub.load(kind, path, **where)
        if tokenizer.model_max_length > MAX_TOKENS:
            raise ValueError("it has no vocabulary, or no model_max_length")
    return tokenizer


def _with_variant(base: BaseLocation, load: Callable):
    """Return what `load` returns for the first variant of a base's files that is there."""
    first, second = (FP16, None) if base.prefers_fp16 else (None, FP16)
    try:
        return load(variant=first)
    except hub.Unreadable:
        with contextlib.suppress(hub.Unreadable):
            return load(variant=second)
        raise


def load_pipeline(
    base: BaseLocation, dtype: torch.dtype = torch.float32, without: Iterable[str] = ()
):
    """Return the base's pipeline in a dtype on the CPU, with the scheduler that draws; the parts
    `without` are not loaded, and None.

    Raises InputError if it cannot be loaded.
    """
    family, absent = base.architecture, {*without}
    parts = {p: None if p in absent else load_part(base, p, dtype) for p in family.parts}
    import diffusers  # after load_part has silenced it

    kind = getattr(diffusers, family.scheduler)
    parts["scheduler"] = kind.from_config(parts["scheduler"].config)
    pipe = family.build_pipeline(parts, base.index)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_slicing()  # decodes one by one: less memory, the same image in any batch
    return pipe


def own_resolution(base: BaseLocation) -> int:
    """Return the native resolution of a base, in pixels a side."""
    return base.architecture.resolution(_config_of(base, "unet"), _config_of(base, "vae"))


def side_multiple(base: BaseLocation) -> int:
    """Return the pixels that the sides of images in aspect buckets are multiples of."""
    return base.architecture.side_multiple(_config_of(base, "unet"), _config_of(base, "vae"))


def _config_of(base: BaseLocation, part: str) -> dict:
    """Return the config of a part from diffusers; raises InputError if it cannot be loaded."""
    import diffusers

    kind = getattr(diffusers, base.architecture.parts[part][1])
    with _readable(base, part), hub.readable(base.path):
        config = kind.load_config(base.path, subfolder=part, revision=base.revision)
    return as_record(config, part, f"config.json of the {part} of base {in_words(base.name)}")


def _text_config(base: BaseLocation, part: str):
    """Return the config of a base's own text encoder."""
    from transformers import CLIPTextConfig

    with _readable(base, part):
        where = {"subfolder": part, "revision": base.revision}
        return hub.load(CLIPTextConfig, base.path, **where)


def _tuned_options(base: BaseLocation) -> dict:
    """Return the options with which the tuned text encoder is loaded: the size of pooled vectors,
    which a whole CLIP states apart from the config of its text encoder."""
    from transformers import CLIPConfig, CLIPTextConfig

    if not base.architecture.parts[base.tuned_part][1].endswith("WithProjection"):
        return {}
    with _readable(base, base.tuned_part):
        config, whole = (hub.load(one, base.text_encoder) for one in (CLIPTextConfig, CLIPConfig))
        if whole.architectures == ["CLIPModel"]:
            config.projection_dim = whole.projection_dim
    return {"config": config}


def unet_digest(unet) -> str:
    """Return 16 hex digits that identify a UNet, from the names, shapes and first numbers of its
    weights, rounded to fp16.

    An fp16 and an fp32 copy of the same weights have the same digest; a bf16 copy has another.
    """
    return digest_of(sorted(unet.state_dict().items()))


def base_digest(base: BaseLocation) -> str:
    """Return `unet_digest` of a base's UNet, read from its file if possible, without loading it.

    Raises InputError if it cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(safe_open(path, "pt")) for path in _unet_files(base)]
            places = {name: file for file in files for name in file.keys()}  # noqa: SIM118
            return digest_of((name, places[name].get_tensor(name)) for name in sorted(places))
    except (OSError, TypeError, ValueError, LookupError, AttributeError, SafetensorError):
        # of another format, damaged, or not downloaded
        return unet_digest(load_part(base, "unet"))


def _unet_files(base: BaseLocation) -> list[Path | None]:
    """Return the files of a base's UNet, [None] if there is none of the usual name."""
    stem, kinds = "unet/diffusion_pytorch_model", ("", "." + FP16)
    local = partial(hub.file_of, base.path, revision=base.revision, local=True)
    for kind in kinds[::-1] if base.prefers_fp16 else kinds:
        if path := local(f"{stem}{kind}.safetensors"):
            return [path]
    if index := local(f"{stem}.safetensors.index.json"):
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [local(f"unet/{Path(name).name}") for name in sorted(set(names))]
    return [None]


def digest_of(weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return 16 hex digits of the names, shapes and first numbers of weights, rounded to fp16."""
    digest = hashlib.sha256()
    for name, weight in weights:
        head = weight.flatten()[:64].to("cpu", torch.float16)
        digest.update(f"{name}{tuple(weight.shape)}".encode() + head.numpy().tobytes())
    return digest.hexdigest()[:16]


def text_digest(base: BaseLocation) -> str:
    """Return 16 hex digits that identify the tuned text encoder of a base, like `unet_digest`."""
    return unet_digest(load_part(base, base.tuned_part))


def save_pipeline(base: BaseLocation, unet, folder: Path, scheduler=None) -> None:
    """Write the base's pipeline with another UNet and, if given, another scheduler, like
    `write_pipeline`."""
    pipe = load_pipeline(base, without=["unet"])
    pipe.register_modules(unet=unet)
    write_pipeline(pipe, base, folder, scheduler)


def write_pipeline(pipe, base: BaseLocation, folder: Path, scheduler=None, **about) -> None:
    """Write a pipeline that was made from `base`, as a folder that diffusers loads; its scheduler
    is the base's unless another is given.

    ABOUT_FILE in it holds `about` and the guidance scale of the base, for `find_base`.
    """
    pipe.scheduler = scheduler or load_part(base, "scheduler")
    about = {"trained_from": base.name, "guidance": base.guidance, **about}
    with atomic_dir(folder) as aside:
        pipe.save_pretrained(aside)
        write_json(aside / ABOUT_FILE, about)


@contextlib.contextmanager
def _readable(base: BaseLocation, part: str):
    """Turn the many errors for a broken folder or an unreachable hub into one InputError."""
    quiet_libraries(base.architecture.parts[part][0])
    try:
        with warnings.catch_warnings():
            # diffusers 0.42 renames torch_dtype, which is the only name in 0.39
            warnings.filterwarnings("ignore", message=".*torch_dtype.*", category=FutureWarning)
            yield
    except hub.Unreadable as error:
        path = (part == base.tuned_part and base.text_encoder) or base.path
        if error.needs_the_hub:
            raise InputError("base-unreadable.hub", path=path) from error
        raise InputError("base-unreadable", part=part, path=path, error=error) from error
