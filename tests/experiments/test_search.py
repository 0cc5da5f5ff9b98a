"""The random search: killed at random moments and shared by two workers, its table is the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.experiments.test_experiments import SCALE
from tests.helpers import refused
from tvhelpers import cli
from tvhelpers.cli.train import read_preset
from tvhelpers.experiments import search as searching
from tvhelpers.experiments.run import Bench
from tvhelpers.experiments.search import LIMITS, Search, pruned_at, run_search, settings_of
from tvhelpers.records import TakenError, read_json, read_record, write_json

optuna = pytest.importorskip("optuna")
TRIALS = 6
PROGRAM = """
import sys
from pathlib import Path
from tests.experiments.test_experiments import SCALE
from tvhelpers.experiments.run import Bench
from tvhelpers.experiments.search import Search, run_search
if __name__ == "__main__":
    out, base, data = sys.argv[1:]
    run_search(Search(Bench(Path(out), base, data, SCALE), {trials}), 2)
"""


def table(result):
    return json.dumps([result["trials"], result["best"], result["arms"], result["importances"]])


@pytest.fixture(scope="module")
def few_runs():
    """Compare the best settings with one seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "FRESH", (11,))
        yield


@pytest.fixture(scope="module")
def unbroken(tiny_base, photo_folder, tmp_path_factory, few_runs):
    """A search of one worker, and its result."""
    out = tmp_path_factory.mktemp("search") / "out"
    search = Search(Bench(out, str(tiny_base), str(photo_folder), SCALE), TRIALS)
    return search, run_search(search)


def test_a_trial_depends_on_seed_and_number_alone():
    rows = [settings_of(0, i) for i in range(200)]
    assert rows[7] == settings_of(0, 7) != settings_of(1, 7)
    rates = [row["learning_rate"] for row in rows]
    assert 2e-5 <= min(rates) < 4e-5 and 1e-3 < max(rates) <= 2e-3
    assert sorted(rates)[100] == pytest.approx(2e-4, rel=0.35)  # the middle of a log-uniform one
    assert not any(row["zero_terminal_snr"] for row in rows if row["prediction"] == "epsilon")


def test_a_trial_is_pruned_against_limits_that_are_fixed():
    rows = [{"step": step, "validation_loss": 1.0} for step in (0, 10, 20, 30)]
    assert LIMITS[0][1] > 1 and not pruned_at(rows, 30)
    rows[2]["validation_loss"] = 1.01
    assert [row["step"] for row in pruned_at(rows, 30)] == [20]
    rows[3]["validation_loss"] = 9.0  # it has ended
    assert not pruned_at(rows[:2], 30) and not pruned_at([], 30)


def test_the_best_row_is_a_preset_that_train_takes(unbroken, tmp_path):
    search, result = unbroken
    best = search.folder / "best.json"
    params = result["trials"][result["best"]]["params"]
    assert read_preset(best)["rank"] == params["rank"]
    train = ["train", "lora", "--data", "flats", "--out", str(tmp_path / "run"), "--dry-run"]
    assert cli.main([*train, "--preset", str(best), "--set", "limit=50"]) == 0
    other = tmp_path / "other.json"
    texts = {"{": "not-json", "[1]": "not-a-record", '{"rang": 4}': "unknown-key",
             '{"data": "flats"}': "given-twice", '{"rank": "a"}': "wrong-type"}  # fmt: skip
    for text, code in texts.items():
        other.write_text(text)
        with refused(code):
            read_preset(other)
    with refused("file-missing"):
        read_preset(tmp_path / "missing.json")


def test_another_search_and_a_damaged_study_are_refused(unbroken):
    search, result = unbroken
    with pytest.raises(TakenError):
        run_search(Search(search.bench, TRIALS, seed=5))
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{search.folder}/study.db")
    assert sorted(trial.user_attrs["number"] for trial in study.trials) == [*range(TRIALS)]
    whole = (search.folder / "study.db").read_bytes()
    (search.folder / "study.db").write_bytes(b"no database" * 99)
    with refused("file-damaged"):
        run_search(search)
    (search.folder / "study.db").write_bytes(whole)
    study.set_user_attr("search", "another")
    with refused("another-study"):
        run_search(search)
    (search.folder / "study.db").unlink()
    assert table(run_search(search)) == table(result)


@pytest.mark.slow
def test_killed_at_random_moments_two_workers_give_the_same_table(
    unbroken, tiny_base, photo_folder, tmp_path, few_runs
):
    search, whole = unbroken
    program, kills, rng = tmp_path / "program.py", 0, random.Random(0)
    program.write_text(PROGRAM.replace("{trials}", str(TRIALS)))
    words = [sys.executable, str(program), str(tmp_path / "out"), str(tiny_base), str(photo_folder)]
    paths = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    how = {"env": {**os.environ, "PYTHONPATH": paths}, "start_new_session": True}
    broken = Search(Bench(tmp_path / "out", str(tiny_base), str(photo_folder), SCALE), TRIALS)
    while kills < 10 and searching._ended(broken) < TRIALS:
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how
        )
        ended = searching._ended(broken)
        first = time.monotonic()
        while searching._ended(broken) == ended and process.poll() is None:
            if time.monotonic() - first > 12 + 6 * rng.random() and kills < 8:
                break
            time.sleep(0.05 + 0.2 * rng.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 2
    assert table(run_search(broken, 2)) == table(whole)
    for number in range(TRIALS):  # none was run to its end twice
        row = read_record(broken.path(number), "trial")
        assert row == read_json(search.path(number))
    write_json(tmp_path / "kills.json", kills)
