"""What README and docs/ tell a user to type, and a folder in which that can be tried."""

import csv
import json
import re
import shlex
import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from tests.models.original_names import clip, write_one_file
from tvhelpers import flats
from tvhelpers.data.example import write_g2

sys.path.insert(0, str(Path(__file__).parent))  # the goldens' modules are programs too

from golden_sides import Broken, Side  # noqa: F401
from golden_study import answers

REPO = Path(__file__).resolve().parents[1]
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
OURS = "python -m tvhelpers "
CHECKED_ONLY = "make pip git cd source python accelerate jupyter".split()  # but not OURS
NEEDS_NETWORK = ["--captioner", "--clip", "--features", "--copies", "--base"]  # with hub:owner/name
# Each with enough pixels and items for what the documents do with them, and no more.
MANIFEST = """
sd15: {{kind: base, licence: none, obtain: made by a test, hub: {base}}}
sdxl: {{kind: base, licence: none, obtain: made by a test, hub: {base}}}
sd14: {{kind: base, licence: none, obtain: made by a test, hub: {base}}}
flats: {{kind: flats, licence: ours, obtain: drawn, params: {{seed: 11, count: 120, season: base}}}}
flats-base:
  {{kind: flats, licence: ours, obtain: drawn, params: {{seed: 1, count: 240, season: base}}}}
"""
CHEAP = {  # settings of a training that its document does not give
    "train": dict(
        steps=2, batch_size=2, rank=2, limit=16, eval_items=2, eval_steps=2, warmup_steps=0,
        accumulate=1,  # stable name
        checkpoint_steps=0, device="cpu", dtype="float32",
    ),
    "clip": dict(steps=2, batch_size=8, micro_batch=8, rank=2, eval_steps=1),
}  # fmt: skip
PRESETS_OF_CPUS = ("", "default", "smoke", "cpu")
COUNT = 24
GARMENTS = ("dress", "skirt", "jacket", "t-shirt", "hoodie", "coat")


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return (language, text) of a document's blocks, in their order."""
    found = re.findall(
        r"^ *```(\w+)\n(.*?)^ *```$", document.read_text(encoding="utf-8"), re.M | re.S
    )
    return [(language, textwrap.dedent(text)) for language, text in found]


def lines_of(block: str) -> list[str]:
    """Return the command lines of a block, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for text in lines if (line := re.sub(r"(^|\s+)#.*", "", text).strip())]


def commands(document: Path) -> list[str]:
    """Return the command lines of a document's bash blocks."""
    return [
        line for language, block in blocks(document) if language == "bash"
        for line in lines_of(block)
    ]  # fmt: skip


def words_of(line: str) -> list[str] | None:
    """Return the words after `python -m tvhelpers` of a command line, None where it is another."""
    _, ours, rest = line.partition(f"{OURS.strip()} ")
    return shlex.split(rest) if ours else None


def is_tried(line: str) -> bool:
    """Whether a command runs in the test: one that needs no network and changes no machine."""
    if not line.startswith(OURS):
        return line.split()[0] not in CHECKED_ONLY
    words = words_of(line)
    if (
        words[:2] in (["data", "get"], ["mini", "train"], ["adapter", "push"])
        or words[0] == "studio"
    ):
        return False  # a studio runs until Ctrl-C
    values = [words[i + 1] for i, word in enumerate(words[:-1]) if word in NEEDS_NETWORK]
    return not any(value.startswith("hub:") for value in values)


def shortened(words: list[str]) -> list[str]:
    """Return the words of a command with cheap settings, where it gives none itself."""
    verb = words[0]
    if verb == "generate" and not {"--steps", "--like"} & {*words}:
        return [*words, "--steps", "2"]
    if verb not in CHEAP:
        return words
    given = {word.partition("=")[0] for word in words if "=" in word}
    cheap = dict(CHEAP[verb])
    preset = words[words.index("--preset") + 1] if "--preset" in words else ""
    if preset not in PRESETS_OF_CPUS:
        cheap["resolution"] = 64
        given -= {"resolution", "device", "dtype"}
    if "epochs" in given:
        cheap["limit"] = 4
    pairs = [f"{key}={value}" for key, value in cheap.items() if key not in given]
    return [*words, *(word for pair in pairs for word in ("--set", pair))]


def prepare(folder: Path, base: Path) -> None:
    """Write what the documents say that a user has: photos, a table, files of the benchmark."""
    kinds = [GARMENTS[i // 2 % len(GARMENTS)] for i in range(COUNT)]  # two images a product
    specs = [flats.random_spec(3, i, categories=(kind,)) for i, kind in enumerate(kinds)]
    pixels = [flats.render(spec, 3, i, 64) for i, spec in enumerate(specs)]
    texts = [flats.caption(spec, 3, i) for i, spec in enumerate(specs)]
    photos, rows = [f"{i:03d}.jpg" for i in range(COUNT)], []
    for i, (name, text, spec) in enumerate(zip(photos, texts, specs)):
        split = "test" if i % 6 == 5 else "train"
        rows.append((name, text, spec.category, spec.colour, f"p-{i // 2}", split))
        for where in ("photos", "photos-no-captions"):
            _save(folder / where / name, pixels[i])
        _save(folder / "pics" / f"s{i:03d}.jpg", pixels[i])
    names = "file_name caption category colour product split".split()
    _write_csv(folder / "photos" / "metadata.csv", names, rows)
    stock = [(f"s{i:03d}", text, 20 + i) for i, text in enumerate(texts)]
    _write_csv(folder / "stock.csv", "sku title price".split(), stock)
    _write_benchmark(folder / "fashion-synthesis")
    shutil.copy(folder / "fashion-synthesis" / "Img" / "G2.h5", folder)
    (folder / "manifest.yaml").write_text(MANIFEST.format(base=base))
    from diffusers import DiffusionPipeline  # here, as it takes seconds

    pipe = DiffusionPipeline.from_pretrained(shutil.copytree(base, folder / "pipeline"))
    write_one_file(pipe, folder / "checkpoint.safetensors", clip)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_csv(path: Path, names: list[str], rows: list[tuple]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def _write_benchmark(folder: Path) -> None:
    kinds = ["tee", "dress", "coat", "blouse"] * (COUNT // 4)
    colours = ["red", "blue", "green"] * (COUNT // 3)
    texts = [f"the lady wore a {c} {k} with short sleeves." for k, c in zip(kinds, colours)]
    pixels = [flats.render(flats.random_spec(21, i), 21, i) for i in range(COUNT)]
    products = [f"Red_Thing_{i // 2:02d}" for i in range(COUNT)]
    write_g2(folder, pixels, texts, kinds, colours, products=products, seed=4)


def answer_pages(folder: Path, words: list[str]) -> None:
    """Write the files that raters' pages of a study give, before `study import` reads them."""
    study, files = folder / words[2], [folder / word for word in words[3:] if word[0] != "-"]
    for number, file in enumerate(files):
        rater = file.stem.removeprefix("votes-")
        pages = [*folder.glob(f"*/{rater}.html")]
        if not pages:
            raise Broken(f"{words}: no page of rater {rater} was made before")
        file.write_text(json.dumps(answers(study, pages[0], number)))
