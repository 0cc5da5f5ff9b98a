"""Make docs/notebooks/*.md: the notebooks as pages with their outputs, so that GitHub shows them.

They run on mini, in order, in a folder of their own.  What stays is text and images, which lie in a
folder beside each page; bars, warnings, widgets and paths of this machine do not.

python notebooks/render.py [--preset smoke] [--root FOLDER] [04_lora_finetuning ...]
"""

import argparse
import base64
import io
import os
import re
import shutil
import tempfile
import textwrap
from pathlib import Path

import nbformat
from build import REF, REPO
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
FOLDER = HERE.parent / "docs" / "notebooks"
DOCS = f"https://github.com/{REPO}/blob/{REF}/docs/"  # in notebooks; a page is in this folder
MOST_BYTES = 300_000  # of a page with its images
SIZES = ((900, 80), (900, 65), (800, 60), (800, 45), (700, 45), (560, 40), (400, 40))  # JPEGs
COLUMNS = 96  # of printed text, which fits into a page of GitHub
NOTE = (
    "*This page shows the notebook [{name}](../../notebooks/{name}.ipynb) as it ran with `mini` on a"
    " computer without a GPU. Minutes are those of that computer.*"
)
WIDGET, INSTEAD = "application/vnd.jupyter.widget-view+json", "(here are controls when it runs)"
BAR = re.compile(r"\d+%\||\d(it|s|B|items|steps)/(s|it)\b")


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


def rendered(name: str, notebook: nbformat.NotebookNode, paths: dict[str, str]) -> dict[str, bytes]:
    """Return the files of a page, {path: content}, as small as they must be; the texts `paths` are
    replaced in outputs."""
    for width, quality in SIZES:
        files: dict[str, bytes] = {}
        parts = [NOTE.format(name=name)]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                parts.append(cell.source.replace(DOCS, "../").replace("?raw=true)", ")"))
            else:
                parts.append(f"```python\n{cell.source}\n```")
                for one in _shown_by(cell, paths):
                    if isinstance(one, str):
                        parts.append(f"```\n{one}\n```")
                        continue
                    file = f"{name}/{len(files) + 1}.jpg"
                    files[file] = _small(one, width, quality)
                    parts.append(f"![]({file})")
        files[f"{name}.md"] = ("\n\n".join(parts) + "\n").encode()
        if sum(map(len, files.values())) <= MOST_BYTES:
            return files
    raise ValueError(f"its outputs do not fit into {MOST_BYTES:,} bytes")


def _shown_by(cell: nbformat.NotebookNode, paths: dict[str, str]) -> list[str | Image.Image]:
    """Return what a page shows of a cell's outputs; text that was printed in pieces is one."""
    shown = []
    for one in filter(None, map(_shown, cell.outputs)):
        if isinstance(one, str) and shown and isinstance(shown[-1], str):
            shown[-1] += one
        else:
            shown.append(one)
    shown = (_text(one, paths) if isinstance(one, str) else one for one in shown)
    return [*filter(None, shown)]


def _shown(output: nbformat.NotebookNode) -> str | Image.Image | None:
    """Return the text or image of an output, None for what a page does not show."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else None
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return Image.open(io.BytesIO(base64.b64decode(data[kind]))).convert("RGB")
    if WIDGET in data:  # a result is controls, what is only displayed is a bar
        return f"{INSTEAD}\n" if output.output_type == "execute_result" else None
    return f"{data['text/plain']}\n" if "text/plain" in data else None


def _text(text: str, paths: dict[str, str]) -> str:
    """Return printed text without bars, colours and paths of this machine, in lines that fit."""
    for path, name in paths.items():
        text = text.replace(path, name)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [line.rpartition("\r")[2] for line in text.splitlines()]
    fit = dict(width=COLUMNS, subsequent_indent="    ", break_long_words=False)
    lines = [textwrap.fill(line, **fit, break_on_hyphens=False) for line in lines
             if not BAR.search(line)]  # fmt: skip
    return "\n".join(lines).strip("\n")


def _small(image: Image.Image, width: int, quality: int) -> bytes:
    """Return a JPEG of a quality, at most `width` pixels wide."""
    image = image.copy()
    image.thumbnail((width, 10 * width), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality, optimize=True)
    return data.getvalue()


def write(name: str, files: dict[str, bytes]) -> None:
    """Write a page and its images in place of those that were there."""
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    for path, data in files.items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(data)
    print(f"{name}.md: {sum(map(len, files.values())) / 1000:.0f} KB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="notebooks, in order; by default all")
    parser.add_argument("--preset", default="cpu", help="smoke: too short to show what is learned")
    parser.add_argument("--root", type=Path, help="folder of results, which are not made again")
    options = parser.parse_args()
    names = options.names or [path.stem for path in sorted(HERE.glob("*.ipynb"))]
    with tempfile.TemporaryDirectory() as folder:
        root = (options.root or Path(folder)).resolve()
        paths = {str(root): "work", str(HERE.parent.resolve()): "."}
        for name in names:
            notebook = executed(HERE / f"{name}.ipynb", root, options.preset)
            write(name, rendered(name, notebook, paths))


if __name__ == "__main__":
    main()
