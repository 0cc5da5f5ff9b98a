"""How is what a command wrote read, so that two runs of one tree are equal?

`read_*` ignore what may differ between two runs of one tree, and nothing else.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from golden_names import today
from PIL import Image

# Dates, versions, speeds, memory and the state of the machine.  Nothing else is ignored.
# the last one is of an adapter's file, which is compared by its weights and metadata
IGNORED = {"versions", "images_per_second", "memory_gb", "seconds_a_step", "adapter_sha256"}
COLOURS = ("1f6f8b", "c98a1b", "4a7c59", "6b4c9a", "b3261e")  # of bars and lines in charts
IGNORED_FILES = ("tensorboard/*", "speed.jsonl", "figures/*", ".lock", "*/.*.lock")
METADATA = (  # of an adapter, compared by key: a new tree may say more
    "base base_digest data_digest text_encoder_digest steps rank alpha targets resolution "
    "prediction_type scheduler licences format format_version lora_adapter_metadata "
    "sshs_model_hash ss_network_module ss_network_dim ss_network_alpha ss_network_args "
    "ss_base_model_version"
).split()


def plain(value):
    """Return JSON under today's names, without what is ignored."""
    return _without(today(value))


def _without(value):
    if isinstance(value, dict):
        return {key: _without(one) for key, one in value.items() if key not in IGNORED}
    return [_without(one) for one in value] if isinstance(value, list) else value


def read_json(side, name):
    """Return a file of JSON."""
    return plain(json.loads(side.path(name).read_text()))


def read_lines(side, name) -> list:
    """Return a file of JSON lines."""
    return [plain(json.loads(line)) for line in side.path(name).read_text().splitlines()]


def read_tensors(side, name) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file."""
    from safetensors.numpy import load_file

    return load_file(side.path(name))


def read_metadata(side, name) -> dict:
    """Return the metadata of an adapter that are compared, parsed where they are JSON."""
    from safetensors import safe_open

    with safe_open(side.path(name), "np") as file:
        found = dict(file.metadata() or {})
    flat = {**found, **_json_of(found.get("tvhelpers", ""))}
    return {key: _json_of(flat[key]) or flat[key] for key in METADATA if key in flat}


def _json_of(text) -> dict:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_folder(side, folder, ignored=()) -> dict[str, bytes]:
    """Return the bytes of all files of a folder by their names, without hidden ones."""
    top, found = side.path(folder), {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and not any(name.match(one) for one in ignored):
            found[str(name)] = path.read_bytes()
    return found


def read_pipeline(side, folder) -> dict[str, bytes]:
    """Return a pipeline's files: weights as they are, configs without the libraries' versions."""
    found = read_folder(side, folder)
    for name, data in found.items():
        if name.endswith(".json") and b"_version" in data:
            row = json.loads(data)
            found[name] = {k: v for k, v in row.items() if not k.endswith("_version")}
    if "base.json" in found:  # ours, whose keys have other names today
        found["base.json"] = plain(json.loads(found["base.json"]))
    return found


def read_run(side, run) -> dict:
    """Return all that a finished training says and holds, its cache too."""
    found = {
        "names": sorted(
            name for name in read_folder(side, run, IGNORED_FILES) if "checkpoints" not in name
        ),
        "result.json": read_json(side, f"{run}/result.json"),
        "config.json": read_json(side, f"{run}/config.json"),
        "held_out.json": read_json(side, f"{run}/held_out.json"),
        "eval.jsonl": read_lines(side, f"{run}/eval.jsonl"),
        "log.jsonl": read_lines(side, f"{run}/log.jsonl"),
    }
    for path in sorted(side.path(run).glob("*.safetensors")):
        found[path.name] = read_tensors(side, f"{run}/{path.name}")
        found[f"{path.name} metadata"] = read_metadata(side, f"{run}/{path.name}")
    if side.path(f"{run}/pipeline").is_dir():
        found["pipeline"] = read_pipeline(side, f"{run}/pipeline")
    return found


def read_caches(side, known=()) -> dict:
    """Return the latent caches in artifacts/, by name, that are not `known`."""
    folders = side.path("root/artifacts").glob("cache-*")
    names = sorted(path.name for path in folders if path.is_dir())
    return {
        name: read_folder(side, f"root/artifacts/{name}") for name in names if name not in known
    }


def read_gallery(side, folder) -> dict:
    """Return the pixels of a drawing's images, their records and the request."""
    found = read_folder(side, folder)
    for name in [name for name in found if name.endswith(".png")]:  # which may say more in texts
        found[name] = np.asarray(Image.open(side.path(folder) / name))
    found["records.jsonl"] = read_lines(side, f"{folder}/records.jsonl")
    found["request.json"] = read_json(side, f"{folder}/request.json")
    return found


def read_chart(side, name) -> dict[str, list[int]]:
    """Return {colour: widths in pixels} of the bars and lines of a chart: its text may change."""
    pixels = np.asarray(Image.open(side.path(name)).convert("RGB"))
    found = {}
    for colour in COLOURS:
        widths = (pixels == list(bytes.fromhex(colour))).all(2).sum(1)
        found[colour] = sorted({*widths.tolist()} - {0})
    return found


def digest(data: bytes) -> str:
    """Return what names bytes in a report."""
    return f"{len(data):,} bytes, {hashlib.sha256(data).hexdigest()[:12]}"
