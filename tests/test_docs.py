"""The README says what is: its commands parse, its figures are those of committed results."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tvhelpers import manifest
from tvhelpers.cli import build_parser

REPO = Path(__file__).resolve().parents[1]
README = (REPO / "README.md").read_text()


def test_every_command_of_the_readme_parses():
    lines = re.findall(r"python -m tvhelpers (.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        build_parser().parse_args(shlex.split(line))


def test_the_figures_are_those_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    table = __import__("table").table()
    del sys.modules["table"]
    assert table in README


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)h][^)]*)\)", README))))
def test_what_the_readme_links_to_is_there(link):
    assert (REPO / link).exists()


def test_paths_and_names_in_backticks_are_there():
    for path in re.findall(r"`((?:tvhelpers|benchmarks|tests)/[\w/.]+)`", README):
        assert (REPO / path).exists(), path
    assert {"mini", "sd15", "flats", "fashion-synthesis", "inception"} <= set(manifest.entries())


def test_the_makefile_and_ci_call_the_same_tests():
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert (REPO / ".ci" / "run").read_text().splitlines()[-1] == "make test-all"
    assert {"demo", "test", "test-all"} <= {*targets}
    assert re.search(r"^make test .*make test-all", README, re.MULTILINE)
