"""What does an adapter's model card say, and what is in the folder that is uploaded with it?"""

import json
import re
from collections import Counter
from pathlib import Path

from PIL import Image

from tvhelpers import manifest
from tvhelpers.config import TrainConfig, to_dict
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError, in_words
from tvhelpers.files import atomic_dir, writing_beside
from tvhelpers.image import encoded, read_photo
from tvhelpers.lora.adapter import kohya_path
from tvhelpers.lora.formats import read_about
from tvhelpers.records import as_record, read_record
from tvhelpers.sample.preview import sheet, strips_of
from tvhelpers.score.report import read_metrics

SETTINGS = ("steps", "rank", "targets", "learning_rate", "resolution", "seed")  # said in any case
# not said: what the card says elsewhere, and folders and choices of this machine
UNSAID = """preset method base data captions text_encoder title trigger_words mirror trackers device
dtype memory_gb checkpoint_steps checkpoint_minutes keep_checkpoints capture compile""".split()
LICENCES = ("apache-2.0", "mit", "cc0-1.0", "creativeml-openrail-m", "openrail++")  # of the hub
EMPTY_WORDS = {*"a an and at by for from in is it its of on or the this to with".split()}
MOST_WORDS = 12
README = """# {title}: a LoRA adapter

It changes what {base} generates. It was made with Textile Vision from {items} images of
{data}, and is the adapter of step {step} of {steps}.

| file | for |
|---|---|
| `{name}.safetensors` | diffusers: `pipe.load_lora_weights("{name}.safetensors")` |
| `{name}_kohya.safetensors` | A1111, Forge, ComfyUI: put it into their folder `Lora` or `loras` |
{image}
**Base:** {base}. It works with this base, and with models that were made from it.

**Trigger words:** {words}. Write prompts that read like the captions, such as: {example}

**Settings:** {settings}. Validation loss {before:.4f} of the base, {after:.4f} with the adapter.

**Licence:** {licence}
"""
PREVIEW = "| `preview.jpg` | what the model generated before the training and after it |\n"
GRID = "| `grid.png` | images that it generated |\n"


def write_card(
    run_dir: Path, out: Path, metrics: Path | None = None, images: Path | None = None
) -> None:
    """Write a new folder `out` with the adapter of a finished run in both formats and README.md, a
    model card of huggingface.co.

    `metrics` is a file that `score` wrote, whose figures the card has; `images` a folder that
    `generate` wrote, whose grid it shows, else the previews of the training.  Raises InputError for
    a run that is not finished, a folder that exists, and files that cannot be read.
    """
    if not (run_dir / "result.json").is_file() or not (run_dir / "adapter.safetensors").is_file():
        raise InputError("file-missing.unfinished", path=run_dir)
    if out.exists():
        raise InputError("file-exists", path=out)
    name = re.sub(r"[^\w.-]+", "-", run_dir.resolve().name) or "adapter"
    files, row = adapter_files(run_dir, name), ""
    if images:
        files["grid.png"] = encoded(Image.fromarray(read_photo(images / "grid.png")))
        row = GRID
    elif strips := strips_of(run_dir / "previews", 2):
        files["preview.jpg"] = encoded(sheet(strips), "JPEG", quality=88)
        row = PREVIEW
    text = _header(run_dir) + readme(run_dir, name, row)
    text += f"\n![images]({[*files][-1]})\n" * bool(row)
    if metrics:
        scores = as_record(read_metrics(metrics), "scores", in_words(metrics))
        text += "\n" + figures(scores)
    files["README.md"] = text.encode()
    with writing_beside(out), atomic_dir(out) as aside:
        for file, content in files.items():
            (aside / file).write_bytes(content)


def adapter_files(run_dir: Path, name: str) -> dict[str, bytes]:
    """Return {file name: content} of the adapter of a finished run in both formats."""
    adapter = run_dir / "adapter.safetensors"
    return {
        f"{name}.safetensors": adapter.read_bytes(),
        f"{name}_kohya.safetensors": kohya_path(adapter).read_bytes(),
    }


def readme(run_dir: Path, name: str, image: str = PREVIEW) -> str:
    """Return what the adapter of a run is, in Markdown: words, base, settings, licence."""
    config = read_record(run_dir / "config.json", "training")
    result = read_record(run_dir / "result.json", "result")
    captions, about = _captions(config), read_about(run_dir / "adapter.safetensors")
    known, (base, row) = manifest.entries().get(config["data"], {}), _base(about)
    licence = f"the base's is: {row.get('licence', 'see its page')}. "
    data = known.get("licence")
    licence += f"The images' is: {data}." if data else "The images are yours to account for."
    own = about.get("trigger_words")
    seen = config | {"resolution": about.get("resolution", config.get("resolution"))}
    return README.format(
        title=about.get("title") or name,
        name=name,
        image=image,
        base=f"{base} ({row['hub']})" if "hub" in row else base,
        items=result["num_items"],
        data=config["data"] if known else "the maker's own",
        step=result.get("kept_step", result["steps"]),
        steps=result["steps"],
        words=f"`{own}`" if own else trigger_words(captions),
        example=f"*{captions[0]}*" if captions else "(there are none)",
        settings=_settings(seen),
        before=result["held_out_loss_base"],
        after=result["held_out_loss"],
        licence=licence,
    )


def _base(about: dict) -> tuple[str, dict]:
    """Return the name of an adapter's base, never a path of this machine, and its manifest row."""
    return about["base"], manifest.entries().get(about["base"], {})


def _settings(config: dict) -> str:
    """Return the settings of a training that are usual to say or not the default, as text."""
    usual = to_dict(TrainConfig())
    changed = [key for key in usual if key in config and config[key] != usual[key]]
    said = [key for key in dict.fromkeys([*SETTINGS, *changed]) if key not in UNSAID]
    return ", ".join(f"{key} {config[key]}" for key in said if key in config)


def _captions(config: dict) -> list[str]:
    try:
        return open_source(config["data"]).captions
    except InputError:  # gone since
        return []


def trigger_words(captions: list[str]) -> str:
    """Return the words that all captions have, else the most frequent ones, as a list in text."""
    texts = [{*re.findall(r"[^\W\d_][\w-]+", text.lower())} - EMPTY_WORDS for text in captions]
    counts = Counter(word for words in texts for word in sorted(words))
    always = [word for word, count in counts.items() if count == len(texts)]
    words = always or [word for word, _ in counts.most_common(MOST_WORDS)]
    if not words:
        return "not known, as the captions were not found"
    whose = "all captions have" if always else "the most frequent of the captions:"
    return f"{whose} {', '.join(f'`{word}`' for word in words)}"


def figures(metrics: dict) -> str:
    """Return the figures of each folder that `score` measured, as tables in Markdown."""
    lines = ["## Figures", ""]
    for folder in metrics["folders"]:
        lines += [f"{folder['n']} images in {in_words(Path(folder['dir']).name)}:", ""]
        lines += ["| figure | value | 95 % interval | n |", "|---|---|---|---|"]
        for row in folder["metrics"]:
            interval = "{:.4g} to {:.4g}".format(*row["ci"]) if row["ci"] else "none"
            lines.append(f"| {row['name']} | {row['value']:.4g} | {interval} | {row['n']} |")
        lines.append("")
    return "\n".join(lines)


def _header(run_dir: Path) -> str:
    """Return the metadata of the card for huggingface.co, in YAML, whose values are JSON."""
    about = read_about(run_dir / "adapter.safetensors")
    base, row = _base(about)
    licence = row.get("licence", "").lower().replace(" ", "-")
    known = {
        "base_model": row.get("hub") or (base.partition("@")[0] if "/" in base else None),
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": licence if licence in LICENCES else "other",
        "instance_prompt": about.get("trigger_words"),
        "tags": ["text-to-image", "lora", "diffusers", "fashion"],
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in known.items() if value]
    return "\n".join(["---", *lines, "---", "", ""])
