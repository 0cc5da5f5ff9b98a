"""A copy of the saved work to stand in, commands as users give them, and what must hold."""

import contextlib
import importlib
import io
import json
import pkgutil
import runpy
import shutil
import sys
from pathlib import Path

import pytest

import tvhelpers

SAVED = Path(__file__).with_name("saved")
MADE = runpy.run_path(str(SAVED / "make.py"), run_name="make")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Stand in a copy of the saved work; return it."""
    folder = tmp_path / "work"
    shutil.copytree(SAVED / "work", folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TV_ROOT", "root")
    for name in ("TV_MANIFEST", "TV_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs a command as `python -m tvhelpers` does: what --json prints."""

    def run(*words, json_too=True):
        out = io.StringIO()
        monkeypatch.setattr(sys, "argv", ["tvhelpers", *words, *["--json"][: int(json_too)]])
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
            runpy.run_module("tvhelpers", run_name="__main__")
        assert not end.value.code, f"{' '.join(words)} ended with {end.value.code}"
        return json.loads(out.getvalue()) if json_too else out.getvalue()

    return run


def ours(name):
    """Return a class or function of the package by its name, wherever it is."""
    for module in pkgutil.walk_packages(tvhelpers.__path__, "tvhelpers."):
        text = Path(module.module_finder.find_spec(module.name).origin).read_text(encoding="utf-8")
        if f"\ndef {name}(" in text or f"\nclass {name}" in text:
            return getattr(importlib.import_module(module.name), name)
    raise LookupError(name)


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def state(folder):
    """Return {file: (bytes, time)} of a folder, without figures and hidden files."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    files = [path for path in files if not {"figures", ".lock", "grid.png"} & {*path.parts}]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def holds(new, old, where="", **near):
    """Hold that `new` has all that `old` has: keys, texts, and numbers that are `near`."""
    if isinstance(old, dict):
        for key in {*old} - {"versions"}:
            assert key in new, f"{where}.{key} is missing"
            holds(new[key], old[key], f"{where}.{key}", **near)
    elif isinstance(old, list):
        assert len(new) == len(old), where
        for number, pair in enumerate(zip(new, old)):
            holds(*pair, f"{where}[{number}]", **near)
    elif isinstance(old, float):
        assert new == pytest.approx(old, **near), where
    else:
        assert new == old, where
