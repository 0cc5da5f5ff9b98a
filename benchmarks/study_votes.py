"""Claim: of 10,000 votes that 8 processes cast at once, with one killed at random again and again,
none is lost and none doubled.

python benchmarks/study_votes.py [WORK_DIR]    writes results/study_votes.json

A process answers its rater's trials one by one and writes a line once a vote is said to be kept.
Every half second a random one is killed (SIGKILL) at whatever it is doing, and started again: it
resumes by its rater's code.  Two processes each have one rater, as two windows of a browser.
"""

import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import REPO, write_result
from PIL import Image

from tvhelpers.errors import InputError
from tvhelpers.study.make import make_study
from tvhelpers.study.model import Study
from tvhelpers.study.votes import VoteBox, vote_of

VOTES, PROCESSES = 10_000, 8
RATERS = PROCESSES // 2
KILL_SECONDS = 0.5


def small_study(folder: Path) -> Study:
    """Make a study of so many pairs that RATERS raters give VOTES votes and some more."""
    systems = {}
    for system, shade in (("one", 40), ("two", 200)):
        images = folder / system
        images.mkdir(parents=True)
        lines = []
        for i in range(VOTES // RATERS):
            Image.new("RGB", (2, 2), (shade, i % 256, i // 256)).save(images / f"{i}.png")
            lines.append(f'{{"file": "{i}.png", "prompt": "p {i}", "seed": 0}}\n')
        (images / "records.jsonl").write_text("".join(lines), encoding="utf-8")
        systems[system] = images
    return make_study(systems, folder / "study", seed=1)


def answer_all(folder: Path, rater: str, said: Path) -> None:
    """Answer the first VOTES / RATERS trials of a rater."""
    study = Study(folder)
    box, trials = VoteBox(study), study.trials(rater)[: VOTES // RATERS]
    done = box.done(rater)
    with open(said, "a", encoding="utf-8") as log:
        for trial in trials:
            if trial.number in done:
                continue
            with contextlib.suppress(InputError):  # the other window was first, with another answer
                side = random.choice(("left", "right"))
                box.cast([vote_of(rater, trial, side, 1.0, "app")])
                log.write(f"{trial.number} {side}\n")
                log.flush()


def start(folder: Path, number: int) -> subprocess.Popen:
    command = [sys.executable, __file__, "answer", str(folder), f"rater-{number % RATERS}"]
    return subprocess.Popen([*command, str(folder.parent / f"said-{number}")], cwd=REPO)


def main() -> None:
    work = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    study = small_study(work)
    VoteBox(study)
    chance, kills, began = random.Random(0), 0, time.monotonic()
    running = {number: start(study.folder, number) for number in range(PROCESSES)}
    while running:
        time.sleep(KILL_SECONDS * chance.uniform(0.5, 1.5))
        for number, process in list(running.items()):
            if process.poll() == 0:
                del running[number]
        if running:
            victim = chance.choice(sorted(running))
            running[victim].kill()
            kills += running[victim].wait() == -9
            running[victim] = start(study.folder, victim)
    seconds = time.monotonic() - began
    votes = VoteBox(study).votes()
    kept = {(vote.rater, vote.trial): vote.answer for vote in votes}
    said = [
        (f"rater-{number % RATERS}", int(line.split()[0]), line.split()[1])
        for number in range(PROCESSES)
        for line in (work / f"said-{number}").read_text(encoding="utf-8").split("\n")[:-1]
    ]
    with contextlib.closing(sqlite3.connect(study.folder / "votes.sqlite")) as db:
        sound = db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    result = {
        "votes": len(votes), "processes": PROCESSES, "kills": kills, "seconds": round(seconds, 1),
        "wanted": VOTES, "lost": sum(kept.get(row[:2]) != row[2] for row in said),
        "missing": VOTES - len(kept), "doubled": len(votes) - len(kept), "database_sound": sound,
        "said_to_be_kept": len(said),
    }  # fmt: skip
    write_result("study_votes", result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["answer"]:
        answer_all(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    else:
        main()
