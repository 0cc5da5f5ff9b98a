"""How does a finished adapter leave the notebook?  As one zip, for people and other programs."""

import re
from collections import Counter
from pathlib import Path

from tvhelpers import manifest
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError, one_line
from tvhelpers.files import write_zip
from tvhelpers.image import encoded
from tvhelpers.lora.adapter import kohya_path
from tvhelpers.lora.formats import read_about
from tvhelpers.models.base import find_base
from tvhelpers.output import say
from tvhelpers.records import read_record
from tvhelpers.runtime import on_colab
from tvhelpers.sample.preview import sheet, strips_of
from tvhelpers.show import colab

SETTINGS = ("steps", "rank", "targets", "learning_rate", "resolution", "seed")  # of the README
EMPTY_WORDS = {*"a an and at by for from in is it its of on or the this to with".split()}
MOST_WORDS = 12
README = """# {name}: a LoRA adapter

It changes what {base} generates. It was made with Textile Vision from {items} images of
{data}, and is the adapter of step {step} of {steps}.

| file | for |
|---|---|
| `{name}.safetensors` | diffusers: `pipe.load_lora_weights("{name}.safetensors")` |
| `{name}_kohya.safetensors` | A1111, Forge, ComfyUI: put it into their folder `Lora` or `loras` |
| `preview.jpg` | what the model generated before the training and after it |

**Base:** {base}. It works with this base, and with models that were made from it.

**Trigger words:** {words}. Write prompts that read like the captions, such as: {example}

**Settings:** {settings}. Validation loss {before:.4f} of the base, {after:.4f} with the adapter.

**Licence:** {licence}
"""


def take_away(tv, name: str, release: bool = False) -> Path:
    """Zip the adapter of run `name`, and return the path of the zip.

    On Colab the browser downloads it; or with `release`, if results are kept on the Drive, the
    machine is given back instead.  Raises InputError for a run that is not finished.
    """
    run, out = tv.train_dir(name), tv.run_dir(name)
    if not (run / "result.json").exists():
        raise InputError("file-missing.unfinished", path=run)
    path = pack(run, out / f"{out.name}.zip", out / "previews")
    say(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    if on_colab() and not (release and _released(bool(tv.place))):
        colab.download(path)
    return path


def _released(on_drive: bool) -> bool:
    """Give the machine back if results are on the Drive, and return whether that was done."""
    from google.colab import drive, runtime

    if not on_drive:
        say("this machine is kept, as the zip is only here; USE_DRIVE was not ticked")
        return False
    try:
        drive.flush_and_unmount()  # what is not yet written there would be lost
    except Exception as error:
        say(f"the machine is kept, as the Drive cannot be written ({one_line(error)})")
        return False
    say("all is on the Drive: the machine is given back now, and costs nothing more")
    runtime.unassign()
    return True


def pack(run_dir: Path, path: Path, previews: Path) -> Path:
    """Write the adapter of a finished run in both formats, a README and the first and last preview
    to a zip, unless it is there; equal runs write equal bytes.  Return `path`."""
    adapter, name = run_dir / "adapter.safetensors", path.stem
    files = {
        f"{name}.safetensors": adapter.read_bytes(),
        f"{name}_kohya.safetensors": kohya_path(adapter).read_bytes(),
        "README.md": readme(run_dir, name).encode(),
    }
    if strips := strips_of(previews, 2):
        files["preview.jpg"] = encoded(sheet(strips), "JPEG", quality=88)
    write_zip(path, {f"{name}/{file}": content for file, content in files.items()})
    return path


def readme(run_dir: Path, name: str) -> str:
    """Return what the adapter of a run is, in Markdown: words, base, settings, licence."""
    config = read_record(run_dir / "config.json", "training")
    result = read_record(run_dir / "result.json", "result")
    rows, base = manifest.entries(), find_base(config["base"])
    captions, about = _captions(config), read_about(run_dir / "adapter.safetensors")
    seen = config | {"resolution": about.get("resolution", config.get("resolution"))}
    known = rows.get(config["data"], {})
    licence = f"the base's is: {rows.get(config['base'], {}).get('licence', 'see its page')}. "
    data = known.get("licence")
    licence += f"The images' is: {data}." if data else "The images are yours to account for."
    return README.format(
        name=name,
        base=config["base"] if Path(base.path).is_dir() else f"{config['base']} ({base.path})",
        items=result["num_items"],
        data=config["data"] if known else "the maker's own",
        step=result.get("kept_step", result["steps"]),
        steps=result["steps"],
        words=trigger_words(captions),
        example=f"*{captions[0]}*" if captions else "(there are none)",
        settings=", ".join(f"{key} {seen[key]}" for key in SETTINGS if key in seen),
        before=result["held_out_loss_base"],
        after=result["held_out_loss"],
        licence=licence,
    )


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
