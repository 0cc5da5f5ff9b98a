"""The notebooks' contract: what their cells are, and that they are what their sources say."""

import ast
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import benchmark
from tvhelpers.files import make_dir

REPO = Path(__file__).resolve().parents[1]
FOLDER = REPO / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
README = (REPO / "README.md").read_text()


def read(path):
    return json.loads(path.read_text())


def code_of(path):
    cells = [c for c in read(path)["cells"] if c["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells]


def test_they_are_numbered_and_each_is_what_its_source_says(monkeypatch):
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(9)]
    monkeypatch.syspath_prepend(FOLDER)
    build = __import__("build")
    for source in sorted((FOLDER / "source").glob("*.md")):
        built = build.text_of(source)
        assert built == (FOLDER / f"{source.stem}.ipynb").read_text(), (
            f"{source.name} was changed: run python notebooks/build.py"
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_contract(path):
    notebook = read(path)
    cells = notebook["cells"]
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert path.stat().st_size <= 40_000
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert "widgets" not in notebook["metadata"]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            assert "executionInfo" not in cell["metadata"]

    first, bootstrap, form = ("".join(cell["source"]) for cell in cells[:3])
    assert [cell["cell_type"] for cell in cells[:3]] == ["markdown", "code", "code"]
    assert f"/blob/main/notebooks/{path.name}" in first and "**Goal:" in first
    assert "**What you will learn**" in first and "/blob/main/docs/glossary.md" in first
    assert "| Reads | Writes | Time (T4 / CPU) | GPU memory | Disk |" in first
    code = [line for line in bootstrap.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 10
    assert bootstrap == "".join(read(NOTEBOOKS[0])["cells"][1]["source"])
    assert form.startswith("# @title Settings") and "# @param" in form
    assert "".join(cells[-1]["source"]).startswith("## Next")
    exercises = "".join(cells[-2]["source"])
    assert exercises.startswith("## Exercises") and re.findall(r"^\d\.", exercises, re.M) == [
        "1.",
        "2.",
    ]
    headings = [
        line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"]
    ]
    assert sum(line.startswith("# ") for line in headings) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_documents_that_it_links_to_exist(path):
    text = "".join("".join(cell["source"]) for cell in read(path)["cells"])
    documents = re.findall(r"/blob/main/(docs/[\w./]+)", text)
    assert documents and all((REPO / document).is_file() for document in documents)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_logic_and_nothing_that_stops_run_all(path):
    for source in code_of(path):
        tree = ast.parse(source)
        for node in ast.walk(tree):
            assert not isinstance(node, ast.ClassDef)
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 5, node.name
        # a form's fields and their texts do not count
        lines = [one for one in source.splitlines() if one.strip() and "# @" not in one]
        assert len(lines) <= 12, source
        for banned in ("input(", "files.upload", "notebook_login", "%cd", "/home/", "/Users/"):
            assert banned not in source
        for rate in ("learning_rate", "weight_decay", "beta"):
            assert rate not in source, "config owns the hyper-parameters"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_form_is_one_that_colab_can_draw(path):
    form = code_of(path)[1]
    lines = [line for line in form.splitlines() if "# @param" in line]
    assert lines and not re.search(r"@param(?!.*(\]|\}))", form)
    for line in lines:  # a literal on one line, or Colab shows no field for it
        (assignment,) = ast.parse(line).body
        ast.literal_eval(assignment.value)
        assert assignment.targets[0].id.isupper()


def test_the_bootstrap_gets_the_code_on_colab_and_says_what_failed(colab, monkeypatch):
    program, asked = code_of(NOTEBOOKS[0])[0], []
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("tvhelpers.show.notebook.start", lambda: asked.append("started"))

    def answer(*given):
        return lambda command: asked.append(command) or given

    monkeypatch.setattr(subprocess, "getstatusoutput", answer(0, ""))
    exec(program, {})
    assert "git clone" in asked[0] and "uninstall -q -y torchao" in asked[0]
    assert asked[1:] == ["started"]
    monkeypatch.setattr(subprocess, "getstatusoutput", answer(128, "fatal: repository not found"))
    with pytest.raises(AssertionError, match=r"repository not found\s.*address in this cell"):
        exec(program, {})


def test_the_repository_stands_in_one_place(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    build = __import__("build")
    for name in build.ADDRESSED:
        text = (REPO / name).read_text()
        assert build.with_address(text) == text, f"{name}: run python notebooks/build.py"
    fork = build.with_address(README).replace(build.REPO, "me/textile-vision")
    assert build.ADDRESS.findall(README) and "me/textile-vision" in fork
    program = code_of(NOTEBOOKS[0])[0]
    assert f"--branch {build.REF} https://github.com/{build.REPO} " in program


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_readme_lists_it_with_its_badge(path):
    assert f"/blob/main/notebooks/{path.name}" in README


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_minutes_without_a_gpu_are_measured_or_called_an_estimate(path):
    """The box of a notebook and its row in the README agree, and promise no less than it took."""
    measured = json.loads((REPO / "benchmarks" / "results" / "notebooks_cpu.json").read_text())
    box = re.search(r"\|---\|\n(.*)", "".join(read(path)["cells"][0]["source"])).group(1)
    minutes, after = re.search(r"/ (\d+) min(?: with mini)?(.{0,14})", box.split(" | ")[2]).groups()
    row = next(line for line in README.splitlines() if line.startswith(f"| [{path.stem}]"))
    assert row.split(" | ")[2].endswith(f"/ {minutes}")
    if after.strip() != "(an estimate)":
        assert 60 * int(minutes) >= measured["first_run_seconds"].get(path.stem, 0)


def run_all(out: Path, root: Path) -> dict:
    """Execute all notebooks in order; return {name: outputs of all cells}."""
    pytest.importorskip("nbclient")
    import nbformat
    from nbclient import NotebookClient

    found = {}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}
        )
        client.execute()
        nbformat.write(notebook, out / path.name)
        found[path.stem] = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return found


def files_of(root: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_all_run_in_order_and_again_without_repeating(tmp_path, monkeypatch):
    root, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("TV_ROOT", str(root))
    monkeypatch.setenv("TV_PRESET", "smoke")
    monkeypatch.setenv("TV_BASE", "mini")
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "no-data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    first = run_all(out, root)
    for name, outputs in first.items():
        images = [o for o in outputs if "image/png" in o.get("data", {})]
        assert images, f"{name} shows no figure"
    trained = files_of(root)
    again = run_all(out, root)
    assert again.keys() == first.keys()
    now = files_of(root)
    repeated = [p for p in trained if p.endswith((".npy", ".safetensors", ".png", "log.jsonl"))
                and now.get(p) != trained[p] and "studio" not in p]  # fmt: skip
    assert not repeated
    assert set(now) - set(trained) == set(), "the second run wrote new files"
    printed = "".join(o.get("text", "") for outputs in again.values() for o in outputs)
    for work in (r"step \d+/\d+ ", r"latent cache: ", r"\d+/\d+  \d{4}_\d+\.png"):
        assert not re.search(work, printed), f"the second run did {work} again"


def test_what_notebooks_import_needs_no_notebook_before():
    """Importing what the notebooks import needs no notebook before them."""
    program = "import tvhelpers.show.notebook, tvhelpers.show.figures"
    subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=REPO, env={**os.environ, "PYTHONPATH": "."}
    )


def test_kills_are_compared_without_what_is_measured(tmp_path):
    compared = benchmark("notebooks")
    for root, memory, loss in (("a", 1.5, 0.1), ("b", 2.5, 0.1), ("c", 1.5, 0.2)):
        folder = make_dir(tmp_path / root / "runs")
        row = {"loss": loss, "curves": {"measured": {"memory_gb": memory}}, "at": str(folder)}
        (folder / "arm.json").write_text(json.dumps([row]))
        with contextlib.closing(sqlite3.connect(folder / "study.db")) as db:
            db.execute("CREATE TABLE trials (number, datetime_start, loss)")
            db.execute("INSERT INTO trials VALUES (0, ?, ?)", (memory, loss))
            db.commit()
    found = {root: compared.artefacts(tmp_path / root) for root in "abc"}
    assert found["a"] == found["b"] and {*found["a"]} == {"runs/arm.json", "runs/study.db"}
    assert all(found["a"][name] != found["c"][name] for name in found["a"])
