"""Which metadata of an adapter's file are used, and are their values valid?

They may come from anybody: keys that are not listed here are ignored, values are checked, and none
is used as a regular expression.
"""

import json
import math
import re
from pathlib import Path

from tvhelpers.errors import InputError
from tvhelpers.lora.contents import Contents
from tvhelpers.lora.layer_names import PARTS
from tvhelpers.records import upgraded

MAX_TEXT = 1 << 20  # characters of a JSON text
MAX_SCALE = 1e6  # of alphas, and of weights in a blend
MAX_DEPTH = 20  # of blends of blends
PEFT_CONFIG, PEFT_FILE = "adapter_config.json", "adapter_model.safetensors"  # in peft's folders
CHANGED_BASE = ("pissa", "olora", "corda", "loftq")
SCHEDULER = {  # settings of a base's scheduler that a training may change: {key: values}
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "rescale_betas_zero_snr": (True, False),
    "timestep_spacing": ("leading", "linspace", "trailing"),
}


def is_scale(value) -> bool:
    """Return whether a value is a valid factor of an adapter's weights."""
    return type(value) in (int, float) and abs(value) <= MAX_SCALE


def _is_text(value) -> bool:
    return isinstance(value, str) and len(value) <= 1000


def _is_count(value) -> bool:
    return type(value) is int and 0 <= value <= 1e12


def _are_licences(value) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_schedule(value) -> bool:
    return isinstance(value, dict) and all(
        any(type(own) is type(one) and own == one for one in SCHEDULER.get(key, ()))
        for key, own in value.items()
    )


ABOUT = {  # {key of our metadata: whether a value is allowed}
    "base": _is_text,
    "base_digest": _is_text,
    "text_encoder_digest": _is_text,
    "data_digest": _is_text,
    "steps": _is_count,
    "rank": _is_count,
    "alpha": is_scale,
    "targets": _is_text,
    "resolution": _is_count,
    "prediction_type": _is_text,
    "scheduler": _is_schedule,
    "licences": _are_licences,
}


def own_metadata(contents: Contents) -> dict:
    """Return our metadata ("base", "base_digest", ...), {} for an adapter of another program.

    Raises InputError for values that this package does not write.
    """
    record = _object(contents.path, contents.metadata, "tvhelpers")
    return _checked(contents.path, upgraded(record, "adapter"))


def _checked(path: Path, record: dict, depth: int = 0) -> dict:
    """Return the known keys of our metadata, in the order of the file."""
    about = {}
    for key, value in record.items():
        if key == "blend":
            about[key] = _checked_blend(path, value, depth)
        elif key in ABOUT and not ABOUT[key](value):
            raise InputError("adapter-damaged.metadata", path=path, key=key)
        elif key in ABOUT:
            about[key] = value
    return about


def _checked_blend(path: Path, parts: list, depth: int) -> list[dict]:
    """Return our metadata of the parts of a blend, which may be blends themselves."""
    for part in parts if isinstance(parts, list) and depth < MAX_DEPTH else [None]:
        is_part = isinstance(part, dict) and isinstance(part.get("adapter"), dict)
        if not is_part or not is_scale(part.get("weight")):
            raise InputError("adapter-damaged.metadata", path=path, key="blend")
    return [
        {"weight": part["weight"], "adapter": _checked(path, part["adapter"], depth + 1)}
        for part in parts
    ]


def read_alphas(contents: Contents) -> dict:
    """Return peft's settings: {"unet.lora_alpha": 8, "unet.alpha_pattern": {...}, ...}.

    They are in the metadata, or in peft's file beside the adapter.  Raises InputError for values
    that are not allowed, and for another method of peft than LoRA.
    """
    path, beside = contents.path, peft_config(contents.path)
    settings = _object(path, contents.metadata, "lora_adapter_metadata")
    if beside:
        with open(beside, "rb") as file:
            text = file.read(MAX_TEXT + 1).decode("utf-8", "replace")
        own = _object(path, {PEFT_CONFIG: text}, PEFT_CONFIG)
        if own.get("peft_type", "LORA") != "LORA":
            kind = str(own["peft_type"])[:40]
            raise InputError("adapter-kind.method", path=path, kind=kind)
        settings = {f"{part}.{key}": value for part in PARTS for key, value in own.items()}
    for key, value in settings.items():
        if not _is_setting(key.rpartition(".")[2], value):
            raise InputError("adapter-damaged.metadata", path=path, key=key)
    return settings


def peft_config(path: Path) -> Path | None:
    """Return the path of peft's settings of an adapter, None if there are none."""
    beside = Path(path).with_name(PEFT_CONFIG)
    return beside if Path(path).name == PEFT_FILE and beside.is_file() else None


def _is_setting(key: str, value) -> bool:
    """Return whether a value of peft's settings is allowed; unused settings always are."""
    if key == "lora_alpha":
        return is_scale(value)
    if key == "use_rslora":
        return isinstance(value, bool | None)
    if key == "init_lora_weights":  # these also change the base
        return not (isinstance(value, str) and value.startswith(CHANGED_BASE))
    if key == "alpha_pattern":
        is_table = value is None or isinstance(value, dict)
        return is_table and all(_plain(name) and is_scale(x) for name, x in (value or {}).items())
    return True


def _plain(pattern: str) -> str:
    r"""Return the module's name, or its end, of a pattern of peft: "^a\.b$" gives "a.b".

    Returns "" for a pattern that is more than a name.
    """
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    return name if re.fullmatch(r"[\w.]{1,300}", name, re.A) else ""


def peft_alpha(name: str, rank: int, settings: dict) -> float:
    """Return a layer's alpha from the settings of `read_alphas`, or else its rank."""
    part, _, module = name.partition(".")
    words = module.removeprefix("text_model.").split(".")
    ends = {".".join(words[start:]) for start in range(len(words))} | {module}
    patterns = (settings.get(f"{part}.alpha_pattern") or {}).items()
    given = (alpha for pattern, alpha in patterns if _plain(pattern) in ends)
    alpha = next(given, settings.get(f"{part}.lora_alpha", rank))
    return alpha * math.sqrt(rank) if settings.get(f"{part}.use_rslora") else alpha


def _object(path: Path, metadata: dict[str, str], key: str) -> dict:
    """Return the JSON object under a key of the metadata, {} if the key is missing."""
    text = metadata.get(key, "{}")
    try:
        value = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError("adapter-damaged.metadata", path=path, key=key)
    return value
