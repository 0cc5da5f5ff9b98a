"""Build the notebooks from source/*.md: prose becomes Markdown cells, ```python blocks code cells.

The first cell gets the badge and the links to help, the second is the bootstrap that all share.  A
link to docs/ becomes one to GitHub, since Colab opens a notebook without its folder.  Ids are
stable, so that a rebuilt notebook differs only where its source does.

python notebooks/build.py
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
REPO, REF = "textile-vision/textile-vision", "main"  # the address, and a branch or tag: only here
ADDRESS = re.compile(r"(github(?:\.com)?)/[\w-]+/textile-vision\b")  # in files that are not built
ADDRESSED = ("README.md", "CITATION.cff", "pyproject.toml", "SECURITY.md")
BADGE = (
    "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repo}/blob/{ref}/notebooks/{name})"
)
HELP = (
    "Is a word new to you? The [glossary](docs/glossary.md) explains it in one line. Which GPU to choose, how to keep"
    " results, what a disconnect costs: [Running in Colab](docs/colab.md)."
)
BOOTSTRAP = (HERE / "source" / "bootstrap.py").read_text(encoding="utf-8").strip()
# what a notebook asks Colab for; 03 trains all of Stable Diffusion, or mini without a GPU
GPU = {"03": "L4", "04": "T4", "05": "T4", "06": "T4", "08": "T4"}


def cells_of(text: str) -> list[tuple[str, str]]:
    """Return (kind, source) of each cell; prose is cut at every heading of the second level."""
    cells = []
    for i, piece in enumerate(re.split(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)):
        if i % 2:
            cells.append(("code", piece.strip()))
        else:
            prose = re.split(r"^(?=## )", piece, flags=re.M)
            cells += [("markdown", part.strip()) for part in prose if part.strip()]
    return cells


def notebook(source: Path) -> dict:
    """Return the notebook (nbformat 4.5) of one source."""
    name = f"{source.stem}.ipynb"
    (kind, first), *rest = cells_of(source.read_text(encoding="utf-8"))
    first = f"{BADGE.format(repo=REPO, ref=REF, name=name)}\n\n{first}\n\n{HELP}"
    cells = [(kind, first), ("code", BOOTSTRAP.replace("REPO", REPO).replace("REF", REF)), *rest]
    colab = {"name": name, "provenance": [], "toc_visible": True}
    metadata = {
        "colab": colab,
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if source.stem[:2] in GPU:
        metadata["accelerator"], colab["gpuType"] = "GPU", GPU[source.stem[:2]]
    number = source.stem[:2]
    return {
        "cells": [_cell(*cell, f"s{number}-{i:02d}") for i, cell in enumerate(cells)],
        "metadata": metadata,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(kind: str, source: str, name: str) -> dict:
    if kind == "markdown":
        source = source.replace("(docs/", f"(https://github.com/{REPO}/blob/{REF}/docs/")
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(True)}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
        if source.startswith("# @title"):
            cell["metadata"]["cellView"] = "form"
    return cell


def text_of(source: Path) -> str:
    """Return the notebook's file content."""
    return json.dumps(notebook(source), indent=1, ensure_ascii=False) + "\n"


def with_address(text: str) -> str:
    """Return the text of the README or another file with the repository's address in it."""
    return ADDRESS.sub(rf"\1/{REPO}", text).replace("/blob/main/", f"/blob/{REF}/")


def main() -> None:
    for source in sorted((HERE / "source").glob("*.md")):
        (HERE / f"{source.stem}.ipynb").write_text(text_of(source), encoding="utf-8")
        print(f"{source.stem}.ipynb")
    for name in ADDRESSED:
        path = HERE.parent / name
        path.write_text(with_address(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
