"""Which metadata of an adapter's file are used, and are their values valid?

They may come from anybody: keys that are not in KINDS are ignored, values are checked, and none is
used as a regular expression.
"""

import math
import re
from pathlib import Path

from tvhelpers.errors import InputError, in_words
from tvhelpers.lora.layer_names import PARTS
from tvhelpers.models.architecture import FAMILIES
from tvhelpers.record_kinds import KINDS
from tvhelpers.records import as_record, parse, read_record
from tvhelpers.tensors import Contents

MAX_TEXT = 1 << 20  # characters of a JSON text
MAX_ALPHA = 1e6
PEFT_CONFIG, PEFT_FILE = "adapter_config.json", "adapter_model.safetensors"  # in peft's folders
CHANGED_BASE = ("pissa", "olora", "corda", "loftq")
SCHEDULER = {  # settings of a base's scheduler that a training may change: {key: values}
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "rescale_betas_zero_snr": (True, False),
    "timestep_spacing": ("leading", "linspace", "trailing"),
}


def is_alpha(value) -> bool:
    """Return whether a value is a valid alpha of a layer."""
    return type(value) in (int, float) and abs(value) <= MAX_ALPHA


def own_metadata(contents: Contents) -> dict:
    """Return our metadata ("base", "base_digest", ...), {} for an adapter of another program.

    Raises InputError for values that this package does not write.
    """
    return _checked(contents, _parsed(contents, "tvhelpers"))


def _checked(contents: Contents, record) -> dict:
    """Return the known keys of our metadata, also of the parts of a blend, which may be blends."""
    record = as_record(record, "adapter", _where(contents, "tvhelpers"))
    about = {key: value for key, value in record.items() if f"{key}?" in KINDS["adapter"].keys}
    for key, own in about.get("scheduler", {}).items():
        if own not in SCHEDULER.get(key, ()):
            raise InputError("adapter-damaged.metadata", path=contents.path, key=key)
    if about.get("family", FAMILIES[0].name) not in [family.name for family in FAMILIES]:
        raise InputError("adapter-damaged.metadata", path=contents.path, key="family")
    if "blend" in about:
        parts = [(part["weight"], _checked(contents, part["adapter"])) for part in about["blend"]]
        about["blend"] = [{"weight": weight, "adapter": adapter} for weight, adapter in parts]
    return about


def read_alphas(contents: Contents) -> dict:
    """Return peft's settings: {"unet.lora_alpha": 8, "unet.alpha_pattern": {...}, ...}.

    They are in the metadata, or in peft's file beside the adapter.  Raises InputError for values
    that are not allowed, and for another method of peft than LoRA.
    """
    path, beside = contents.path, peft_config(contents.path)
    if beside:
        own = read_record(beside, "peft settings")
        if own.get("peft_type", "LORA") != "LORA":
            kind = str(own["peft_type"])[:40]
            raise InputError("adapter-kind.method", path=path, kind=kind)
        settings = {f"{part}.{key}": value for part in PARTS for key, value in own.items()}
    else:
        key = "lora_adapter_metadata"
        settings = as_record(_parsed(contents, key), "peft settings", _where(contents, key))
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
        return is_alpha(value)
    if key == "use_rslora":
        return isinstance(value, bool | None)
    if key == "init_lora_weights":  # these also change the base
        return not (isinstance(value, str) and value.startswith(CHANGED_BASE))
    if key == "alpha_pattern":
        is_table = value is None or isinstance(value, dict)
        return is_table and all(_plain(name) and is_alpha(x) for name, x in (value or {}).items())
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


def _parsed(contents: Contents, key: str):
    """Return the value of the JSON text under a key of the metadata, {} where it is missing."""
    text = contents.metadata.get(key, "{}")
    if len(text) > MAX_TEXT:
        raise InputError("adapter-damaged.metadata", path=contents.path, key=key)
    return parse(text, _where(contents, key))


def _where(contents: Contents, key: str) -> str:
    return f"{key} in the metadata of adapter {in_words(contents.path)}"
