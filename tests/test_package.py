"""What is installed: the command, and every file that lies beside the modules."""

import tomllib
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())


def test_every_file_beside_the_modules_is_packaged():
    package = REPO / "tvhelpers"
    assert PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == [
        "tvhelpers*"
    ]  # no recipe
    rooms = [package, *(path.parent for path in package.rglob("__init__.py"))]
    found = set()
    for name, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        places = rooms if name == "*" else [REPO / name.replace(".", "/")]
        found |= {file for place in places for text in patterns for file in place.glob(text)}
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert {path for path in there if path.suffix != ".pyc"} <= found


def test_the_command_is_the_package_s_main():
    module, _, name = PROJECT["project"]["scripts"]["tvhelpers"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))
