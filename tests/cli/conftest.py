"""What tests of the command line share: a command run in this process, and one that is refused."""

import numpy as np
import pytest

from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.data.example import write_g2
from tvhelpers.flats import random_spec, render


@pytest.fixture
def run(capsys):
    """Return a function that runs a command in this process: (exit code, stdout, stderr)."""

    def run(*words):
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refuse(run, monkeypatch):
    """Return a function that checks that a command is refused with a code: exit status 2, and one
    message on stderr alone, which it returns."""

    def refuse(codes, *words):
        inner = cli.run_command

        def watched(arguments):
            with refused(*codes.split()) as caught:
                inner(arguments)
            raise caught.value

        with monkeypatch.context() as patch:
            patch.setattr(cli, "run_command", watched)
            status, out, err = run(*words)
        assert status == 2 and not out
        assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
        return err

    return refuse


@pytest.fixture(scope="module")
def g2(tmp_path_factory):
    """A small file set in the layout of the Fashion Synthesis benchmark."""
    folder = tmp_path_factory.mktemp("g2")
    pixels = np.stack([render(random_spec(4, i), 4, i) for i in range(24)])
    captions = [f"the lady wore a blue tee {i}." for i in range(24)]
    write_g2(folder, pixels, captions, categories=["tee"] * 24, colours=["blue"] * 24)
    return folder
