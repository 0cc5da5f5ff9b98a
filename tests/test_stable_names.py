"""What users and their programs call by name stays: verbs, options, settings, keys, variables."""

import ast
import contextlib
import dataclasses
import io
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import tvhelpers
from tests.saved_helpers import MADE, SAVED, holds, ours, run, work  # noqa: F401
from tvhelpers.presets import FITS

REPO = Path(__file__).resolve().parents[1]
FLAGS = json.loads((SAVED / "flags.json").read_text())
NAMES = json.loads((SAVED / "names.json").read_text())


@pytest.fixture
def options(monkeypatch):
    """Return a function of a verb: the options in its help, with their former names."""

    def options(verb):
        out = io.StringIO()
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["tvhelpers", *verb.split("."), "--help"])
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
            runpy.run_module("tvhelpers", run_name="__main__")
        assert end.value.code == 0, f"there is no verb {verb}"
        named = re.findall(r"^  -.*?(?=  |$)", out.getvalue(), re.MULTILINE)  # without what is said
        return {*MADE["read_help"]("\n".join([out.getvalue().split("\n\n")[0], *named]))}

    return options


@pytest.mark.parametrize("verb", FLAGS)
def test_verbs_keep_their_options(options, verb):
    assert FLAGS[verb] and {*FLAGS[verb]} <= options(verb)


def commands(text):
    """Yield (verb, options) of the commands in a document's blocks and sentences."""
    groups = {verb.partition(".")[0] for verb in FLAGS if "." in verb}
    starts = "|".join(verb.replace(".", " ") for verb in FLAGS)
    text = text.replace("\\\n", " ")
    lines = re.findall(r"python -m tvhelpers ([^`#\n]*)", text)
    lines += re.findall(rf"`((?:{starts}) [^`/]*)`", text)
    for verb, *rest in map(str.split, lines):
        if verb in groups:
            verb = f"{verb}.{rest[0]}"
        if verb.replace(".", "").islower():  # not a "..." or a VERB
            yield verb, {word for word in rest if word.startswith("--")}


def test_the_documents_commands_are_understood(options):
    documents = [REPO / "README.md", *(REPO / "docs").glob("*.md")]
    seen = [*commands("\n".join(path.read_text() for path in documents))]
    assert len(seen) > 20 and len({verb for verb, _ in seen}) > 10
    for verb, given in seen:
        assert given <= options(verb), f"{verb}: {given - options(verb)}"


@pytest.mark.parametrize("name", NAMES["presets"])
def test_presets_keep_their_settings(name):
    """All but those of LoRA that fit the data today, whose numbers were the preset's."""
    preset, method = name.split()
    config = dataclasses.asdict(ours("build_config")(preset, method=method))
    fits = FITS if method == "lora" and preset not in ("smoke", "paper") else {}
    old = {key: value for key, value in NAMES["presets"][name].items() if key not in fits}
    holds(config, {**old, **fits}, name)


def texts():
    """Return every text in the package's source."""
    for path in sorted(Path(tvhelpers.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_variables_are_read():
    found = {*texts()}
    assert {*NAMES["variables"]} <= found, {*NAMES["variables"]} - found


ROW = "kept: {kind: images, licence: mine, obtain: made, reader: photos}\n"


def test_variables_say_where_things_are(work, run, monkeypatch):  # noqa: F811
    (work / "rows.yaml").write_text(ROW)
    (work / "sets").mkdir()
    (work / "photos").rename(work / "sets" / "kept")
    monkeypatch.setenv("TV_MANIFEST", "rows.yaml")
    monkeypatch.setenv("TV_DATA_DIR", "sets")
    monkeypatch.setenv("TV_ROOT", "elsewhere")
    said = run("data", "convert", "kept", "--to", "latents", "--base", "base")
    assert said["items"] == 12 and Path(said["out"]).parent == Path("elsewhere/artifacts")
    assert (work / said["out"] / "moments.npy").exists()


def test_an_inception_score_has_its_interval():
    probs = np.random.default_rng(0).dirichlet(np.ones(5) / 3, 60)
    score = ours("inception_score")(probs)
    assert isinstance(score.ci, tuple) and len(score.ci) == 2
    assert score.ci[0] < score.value < score.ci[1] and type(score.ci[0]) is float
    assert ours("inception_score")(probs[:5]).ci is None
    fields = "name value se ci n method warnings per_item details".split()
    assert all(hasattr(score, field) for field in fields) and {*fields} <= {*score.to_dict()}
