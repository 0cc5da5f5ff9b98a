"""How does a checkpoint in one file, as model sites give it, become a pipeline folder?

Its tensors have the names of the original code ("model.diffusion_model.input_blocks.0.0.weight"),
by which it is recognised.  diffusers converts them, with the configs of a pipeline of its family.
"""

import logging
import re
import tempfile
import warnings
from pathlib import Path

from tvhelpers import hub
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_dir, check_room, content_key, file_sha256, writing_beside
from tvhelpers.models.architecture import FAMILIES, Architecture
from tvhelpers.records import read_record, write_json
from tvhelpers.runtime import quiet_libraries, root_dir
from tvhelpers.tensors import Contents, read_contents

log = logging.getLogger(__name__)
ABOUT_FILE = "base.json"  # in the folder of a pipeline that was trained or converted here
UNET, VAE = "model.diffusion_model.", "first_stage_model."
FIRST = UNET + "input_blocks.0.0.weight"  # (channels, channels of the latents, 3, 3)
CHANNELS = 4  # of the latents; an inpainting model takes 9
CONFIGS = {  # files of a part, by the ending of its class
    "Scheduler": ("scheduler_config.json",),
    "Tokenizer": (
        "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
        "tokenizer.json",
    ),
    "": ("config.json",),
}  # fmt: skip
OTHERS = {  # {pattern of a tensor's name: (what a file holds that is no checkpoint, what to do)}
    r"lora_|lora\.|\.lokr_|\.hada_": ("an adapter", "give it as --adapter"),
    r"^emb_params$|^clip_[lg]$|^<.*>$": ("a textual inversion", "give it as --embedding"),
    r"^(down_blocks|encoder|decoder|text_model)\.": (
        "one part of a pipeline", "give the folder of the whole pipeline",
    ),
}  # fmt: skip
WAIT = 3600.0  # seconds to wait for another process that converts the same file


def open_checkpoint(file: Path, config: str = "") -> Path:
    """Return the pipeline folder of a checkpoint, in artifacts/ by the content of the file; the
    first call converts it.

    `config` is a folder or hub id of a pipeline whose configs are taken; "" is the usual one of the
    family.  Raises InputError for a file that is no whole checkpoint of a known family, and for
    another `config` than the folder was made with.
    """
    if not file.is_file():
        raise InputError("file-missing.checkpoint", path=file)
    folder = root_dir() / "artifacts" / f"base-{_digest(file)[:16]}"
    if config or not folder.is_dir():
        family, usual = _recognised(contents := read_contents(file))
        source = hub.find_model(config) if config else usual
        configs = _read_configs(source, family)
        with writing_beside(folder, WAIT):
            if not folder.is_dir():
                _convert(contents, family, source, configs, folder)
        if read_record(folder / ABOUT_FILE, "pipeline").get("config") != content_key(configs):
            raise InputError("another-config", folder=folder)
    return folder


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file, kept in artifacts/ for as long as its size and time stay."""
    memory, name, stat = root_dir() / "artifacts" / "digests.json", str(file.resolve()), file.stat()
    known = read_record(memory, "digests") if memory.is_file() else {}
    state = f"{stat.st_size} {stat.st_mtime_ns}"
    if known.get(name, {}).get("state") != state:
        known[name] = {"state": state, "sha256": file_sha256(file)}
        write_json(memory, known)
    return known[name]["sha256"]


def _recognised(contents: Contents) -> tuple[Architecture, str]:
    """Return (family, hub id of its usual configs) of a checkpoint, by the names of its tensors.

    Raises InputError for other files, and where the VAE or the text encoder is missing.
    """
    path, names = contents.path, contents.shapes
    if FIRST not in names:
        found = (
            own for pattern, own in OTHERS.items() if any(re.search(pattern, x) for x in names)
        )
        what, advice = next(found, ("of another family", "use one of Stable Diffusion"))
        raise InputError("no-checkpoint", path=path, what=what, advice=advice)
    if (channels := sum(names[FIRST][1:2])) != CHANNELS:
        raise InputError("no-checkpoint.channels", path=path, count=channels)
    if not any(name.startswith(VAE) for name in names):
        raise InputError("checkpoint-incomplete", path=path, what="VAE")
    for family in FAMILIES:
        for prefix, usual in family.originals.items():
            if any(name.startswith(prefix) for name in names):
                return family, usual
    raise InputError("checkpoint-incomplete", path=path, what="text encoder")


def _read_configs(source: str, family: Architecture) -> dict[str, str]:
    """Return {"unet/config.json": text, ...} of a pipeline's folder or hub id.

    Raises InputError where the pipeline has none, and where the hub cannot be reached.
    """
    configs = {}
    try:
        with hub.readable(source):
            for part, (_, kind) in family.parts.items():
                names = next(own for end, own in CONFIGS.items() if kind.endswith(end))
                files = {name: hub.file_of(source, f"{part}/{name}", None) for name in names}
                found = {f"{part}/{name}": file for name, file in files.items() if file}
                if not found and not (Path(source).is_dir() or hub.may_ask(source)):
                    raise InputError("no-config.hub", source=source)
                if not found:
                    raise InputError("no-config", source=source, name=f"{part}/{names[0]}")
                configs |= {name: file.read_text(encoding="utf-8") for name, file in found.items()}
    except hub.Unreadable as error:
        raise InputError("no-config.unreadable", source=source, error=error) from None
    return configs


def _convert(
    contents: Contents, family: Architecture, source: str, configs: dict[str, str], folder: Path
) -> None:
    """Write a checkpoint as a pipeline folder, in its own dtype."""
    file, size = contents.path, contents.path.stat().st_size
    log.info(f"converting {in_words(file)} with the configs of {source!r}, once, into {folder}")
    check_room(file.name, folder.parent, size)
    with tempfile.TemporaryDirectory() as place:
        for name, text in configs.items():
            (Path(place) / name).parent.mkdir(exist_ok=True)
            (Path(place) / name).write_text(text, encoding="utf-8")
        parts = {part: list(kind) for part, kind in family.parts.items()}
        write_json(Path(place) / "model_index.json", {"_class_name": family.pipelines[0], **parts})
        try:
            with hub.readable(place), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # diffusers 0.42 renames torch_dtype
                pipe = _load(contents, family, place)
        except hub.Unreadable as error:
            raise InputError("base-unreadable.file", path=file, error=error) from None
    with atomic_dir(folder) as aside:
        pipe.save_pretrained(aside)
        write_json(aside / ABOUT_FILE, {"file": file.name, "config": content_key(configs)})


def _load(contents: Contents, family: Architecture, place: str):
    """Return the pipeline of a checkpoint with the configs in the folder `place`.

    Raises ValueError where weights are missing, and any error of diffusers.
    """
    quiet_libraries()
    import diffusers
    import torch

    kinds = {"F16": torch.float16, "BF16": torch.bfloat16}
    dtypes = {x for name, x in contents.dtypes.items() if name.startswith((UNET, VAE))}
    dtype = kinds.get(*dtypes, torch.float32) if len(dtypes) == 1 else torch.float32
    kind = getattr(diffusers, family.pipelines[0])
    file = contents.path.resolve()
    if file.suffix != ".safetensors":  # diffusers would take it for a pickle
        link = Path(place, "checkpoint.safetensors")
        link.symlink_to(file)
        file = link
    pipe = hub.load_file(kind, str(file), place, family.parts, dtype)
    for part in family.parts:
        state = getattr(getattr(pipe, part), "state_dict", dict)()
        if missing := [name for name, weight in state.items() if weight.is_meta]:
            raise ValueError(f"{len(missing)} weights of its {part} are missing: {missing[0]}")
    return pipe
