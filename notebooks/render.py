"""Make docs/notebooks/*.ipynb: the notebooks with small outputs, so that GitHub shows figures.

They run on mini, in order, in a folder of their own.  What stays is text and images; bars,
warnings, widgets, paths and times of this machine do not.

python notebooks/render.py [--preset cpu] [--root FOLDER] [04_lora_finetuning ...]
"""

import argparse
import base64
import io
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
FOLDER = HERE.parent / "docs" / "notebooks"
MOST_BYTES = 300_000  # of a notebook
SIZES = ((900, 80), (900, 65), (800, 60), (800, 45), (700, 45), (560, 40), (400, 40))  # JPEGs
WIDGET, INSTEAD = "application/vnd.jupyter.widget-view+json", "(here are controls when it runs)"
BAR = re.compile(r"\d+%\||\d(it|s|B|items|steps)/(s|it)\b")
SHOWN = ("image/png", "image/jpeg", "text/plain", "text/html")


def executed(path: Path, root: Path, preset: str) -> nbformat.NotebookNode:
    """Return the notebook at `path`, run with its results in `root`."""
    os.environ |= {
        "TV_ROOT": str(root), "TV_DATA_DIR": str(root / "no-data"), "TV_BASE": "mini",
        "TV_PRESET": preset, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(HERE)}}
    NotebookClient(notebook, timeout=3600, resources=where, record_timing=False).execute()
    return notebook


def rendered(notebook: nbformat.NotebookNode, paths: dict[str, str]) -> str:
    """Return the text of a notebook's file with small and clean outputs; `paths` are replaced."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [_cleaned(output, paths) for output in cell.outputs]
            cell.outputs = [output for output in outputs if output]
    for width, quality in SIZES:
        text = nbformat.writes(_small(notebook, width, quality)) + "\n"
        if len(text.encode()) <= MOST_BYTES:
            return text
    raise ValueError(f"its outputs do not fit into {MOST_BYTES:,} bytes")


def _cleaned(output: nbformat.NotebookNode, paths: dict[str, str]) -> nbformat.NotebookNode | None:
    """Return an output that a page can show, None for one that it cannot."""
    if output.output_type == "stream":
        lines = [line.rpartition("\r")[2] for line in output.text.splitlines()]
        lines = [line for line in lines if not BAR.search(line)]
        if output.name != "stdout" or not "".join(lines).strip():
            return None  # standard error has bars and warnings
        output.text = _without("\n".join(lines) + "\n", paths)
        return output
    data = output.get("data", {})
    if WIDGET in data:
        is_bar = BAR.search(data.get("text/plain", "")) or "0%" in data.get("text/plain", "")
        kept = {} if output.output_type == "display_data" or is_bar else {"text/plain": INSTEAD}
    else:
        kept = {kind: data[kind] for kind in SHOWN if kind in data}
        images = [kind for kind in kept if kind.startswith("image/")]
        kept = {images[0]: kept[images[0]]} if images else kept
    output.data = {k: v if "image" in k else _without(v, paths) for k, v in kept.items()}
    output.metadata = {}
    return output if kept else None


def _without(text: str, paths: dict[str, str]) -> str:
    for path, name in paths.items():
        text = text.replace(path, name)
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _small(notebook: nbformat.NotebookNode, width: int, quality: int) -> nbformat.NotebookNode:
    """Return a copy whose images are JPEGs of a quality, at most `width` pixels wide."""
    copy = nbformat.from_dict(notebook)
    for output in (one for cell in copy.cells for one in cell.get("outputs", [])):
        for kind in [kind for kind in output.get("data", {}) if kind.startswith("image/")]:
            raw = Image.open(io.BytesIO(base64.b64decode(output.data.pop(kind)))).convert("RGB")
            raw.thumbnail((width, 10 * width), Image.Resampling.LANCZOS)
            data = io.BytesIO()
            raw.save(data, "JPEG", quality=quality, optimize=True)
            output.data["image/jpeg"] = base64.b64encode(data.getvalue()).decode()
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="notebooks, in order; by default all")
    parser.add_argument("--preset", default="smoke", help="smoke: seconds; cpu: a real training")
    parser.add_argument("--root", type=Path, help="folder of results, which are not made again")
    options = parser.parse_args()
    names = options.names or [path.stem for path in sorted(HERE.glob("*.ipynb"))]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = (options.root or Path(folder)).resolve()
        for name in names:
            notebook = executed(HERE / f"{name}.ipynb", root, options.preset)
            text = rendered(notebook, {str(root): "work", str(HERE.parent.resolve()): "."})
            (FOLDER / f"{name}.ipynb").write_text(text, encoding="utf-8")
            print(f"{name}.ipynb: {len(text.encode()) / 1000:.0f} KB")


if __name__ == "__main__":
    main()
