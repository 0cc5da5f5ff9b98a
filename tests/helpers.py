"""What tests call: how a refusal is expected, and how a benchmark is imported."""

import contextlib
import importlib
from pathlib import Path

import pytest

from tvhelpers.errors import InputError


@contextlib.contextmanager
def refused(*codes: str):
    """Expect an InputError of one of `codes`; yields pytest's exception info."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert caught.value.code in codes, f"{caught.value.code}: {caught.value}"


def benchmark(name: str):
    """Import a module of benchmarks/, whose modules import each other by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
        return importlib.import_module(name)
