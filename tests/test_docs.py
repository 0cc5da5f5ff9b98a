"""README and docs/ say what is: their commands run, their links and figures are true."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

import tvhelpers
from tests.document_helpers import (
    DOCUMENTS,
    OURS,
    REPO,
    Side,
    answer_pages,
    blocks,
    commands,
    is_tried,
    lines_of,
    prepare,
    shortened,
    words_of,
)
from tests.helpers import benchmark
from tvhelpers import manifest
from tvhelpers.cli import build_parser
from tvhelpers.data import sources
from tvhelpers.data.items import Source
from tvhelpers.data.photo_files import list_files
from tvhelpers.data.table_sources import open_rows
from tvhelpers.paths import inside

README = (REPO / "README.md").read_text()
CONTRIBUTING = (REPO / "CONTRIBUTING.md").read_text()
TEXTS = [*DOCUMENTS, REPO / "CONTRIBUTING.md", *REPO.glob("SECURITY.md")]
TARGETS = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


def test_the_readme_is_short_and_has_commands():
    assert len(README.splitlines()) <= 200
    assert len(commands(DOCUMENTS[0])) >= 6


@by_name
def test_every_command_is_understood(document):
    for line in commands(document):
        words = words_of(line)
        if words is not None:
            build_parser().parse_args(words)
            build_parser().parse_args(shortened(words))
        elif not is_tried(line):
            check_names(line.split())
    for language, block in blocks(document):
        if language == "python":
            compile(block, document.name, "exec")


def check_names(words):
    """Hold that what a command of another program names is there."""
    program, *rest = words
    names = [word for word in rest if not word.startswith("-")]
    if program == "make":
        assert {*names} <= {*TARGETS}
    elif program in ("python", "pip", "jupyter"):
        paths = [name for name in names if re.search(r"/|\.(py|txt)$", name)]
        for path in paths:
            assert (REPO / path).exists(), f"{' '.join(words)}: no {path}"


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    """The package in a process that has loaded the libraries, and runs commands of users."""
    root = tmp_path_factory.mktemp("documents")
    side = Side("docs", REPO, root, TV_ROOT=".", TV_MANIFEST="manifest.yaml")
    yield side
    side.close()


@pytest.mark.slow
@by_name
def test_every_command_runs(document, side, tiny_base):
    """All blocks of a document in their order, in one folder."""
    folder = side.root / document.stem
    prepare(folder, tiny_base)
    for language, block in blocks(document):
        if language == "python":
            script = folder / ".block.py"
            script.write_text(block)
            side.script(script, cwd=folder)
        for line in lines_of(block) if language == "bash" else ():
            if is_tried(line):
                run(line, folder, side)


def run(line, folder, side):
    """Run a command line in a folder; raises Broken where it does not end with 0."""
    if not line.startswith(OURS):
        subprocess.run(["bash", "-c", line], cwd=folder, check=True)
        return
    words = shortened(words_of(line))
    if words[:2] == ["study", "import"]:
        answer_pages(folder, words)
    side.run(*words, cwd=folder)


def test_the_figures_are_those_of_the_results():
    table = benchmark("table").table()
    assert any(table in path.read_text() for path in DOCUMENTS)


@pytest.mark.parametrize("document", TEXTS, ids=lambda path: path.stem)
def test_what_is_linked_and_named_is_there(document):
    text = document.read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = link.partition("#")
        if not link.startswith("http"):
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {link}"
            assert not heading or heading in anchors(target), f"{document.name}: {link}"
    rooms = "tvhelpers|benchmarks|tests|recipes|notebooks|docs"
    for path in re.findall(rf"`((?:{rooms})/[\w/.-]+)`", text):
        assert (REPO / path).exists(), f"{document.name}: {path}"


def anchors(document):
    """Return what a link can name of a document: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


def test_names_that_the_documents_give_are_in_the_manifest():
    assert {"mini", "sd15", "flats", "fashion-synthesis", "inception"} <= set(manifest.entries())


def test_contributing_lists_every_module():
    for room in sorted(path.parent for path in (REPO / "tvhelpers").glob("*/__init__.py")):
        (row,) = re.findall(rf"^\| `tvhelpers/{room.name}` \| .* \| (.*) \|$", CONTRIBUTING, re.M)
        modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
        assert {*re.findall(r"`(\w+)`", row)} == modules, room.name
    (row,) = re.findall(r"^\| `tvhelpers` \| .* \| (.*) \|$", CONTRIBUTING, re.M)
    modules = {path.stem for path in (REPO / "tvhelpers").glob("[!_]*.py")}
    assert {*re.findall(r"`(\w+)` \(", row)} == modules


def test_contributing_changes_what_is_there():
    """The lines of its examples that are not added are in the files."""
    shown = re.findall(r"^```diff\n(.*?)^```", CONTRIBUTING, re.M | re.S)
    for part in re.split(r"^ # ", "".join(shown), flags=re.M)[1:]:
        name, _, lines = part.partition("\n")
        if not name.endswith(" (new)"):
            text = (REPO / name).read_text().splitlines()
            kept = [line[1:] for line in lines.splitlines() if line[0] in " -"]
            assert all(any(old.startswith(line) for old in text) for line in kept), name


def test_the_data_format_of_contributing_opens(tmp_path, monkeypatch):
    (shown,) = re.findall(r"pairs.py \(new\)\n((?:\+.*\n)+)", CONTRIBUTING)
    known = {"Path": Path, "Source": Source, "inside": inside}
    known |= {"list_files": list_files, "open_rows": open_rows}
    exec(re.sub(r"^\+", "", shown, flags=re.M), known)
    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "pairs.txt").write_text("1.png\ta red dress\n2.png\ta hat\n")
    reader = sources.Reader("pairs", known["is_pairs"], known["open_pairs"])
    monkeypatch.setattr(sources, "READERS", [reader, *sources.READERS])
    assert sources.open_source(tmp_path).captions == ["a red dress", "a hat"]


def test_files_and_functions_are_as_short_as_contributing_says():
    words = "than (\\d+) lines, none has more than (\\d+). Files have at most (\\d+) lines"
    (limits,) = re.findall(words, CONTRIBUTING)
    usual, longest, most = map(int, limits)
    lengths, folders = [], "tvhelpers tests benchmarks recipes notebooks".split()
    for path in (path for folder in folders for path in (REPO / folder).rglob("*.py")):
        text = path.read_text()
        assert text.count("\n") <= most, path
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        lengths += [(node.end_lineno - node.lineno + 1, f"{path}: {node.name}") for node in nodes]
    assert max(lengths) < (longest + 1, ""), max(lengths)
    assert sorted(lengths)[len(lengths) * 9 // 10] < (usual, "")


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert citation["authors"] == [{"name": "Textile Vision maintainers"}]
    assert citation["license"] == "Apache-2.0"
    assert str(citation["version"]) == tvhelpers.__version__


def test_the_makefile_and_ci_call_the_same_tests():
    assert (REPO / ".ci" / "run").read_text().splitlines()[-1] == "make test-all"
    assert {"demo", "test", "test-all"} <= {*TARGETS}
    assert re.search(r"^make test .*make test-all", README, re.MULTILINE)
