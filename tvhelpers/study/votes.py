"""Where are votes kept?  In an SQLite file, which works on mounted drives too.

Votes are only added, never changed.  A rater answers a trial once; the first answer stays.
"""

import contextlib
import datetime
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tvhelpers.errors import Choice, InputError
from tvhelpers.paths import inside
from tvhelpers.records import read_record
from tvhelpers.study.model import Study, Trial, check_code

WAIT_SECONDS = 30.0  # for others to finish writing
TRIES = 8
SCHEMA = Path(__file__).with_name("votes.sql").read_text(encoding="utf-8").split("\n\n")


@dataclass(frozen=True)
class Vote:
    """An answer; `shown` are the images from left to right, `source` is where it was given."""

    rater: str
    trial: int
    item: str
    shown: str
    answer: str
    seconds: float
    at: str
    source: str


def vote_of(rater: str, trial: Trial, answer: str, seconds: float, source: str, at="") -> Vote:
    """Return the vote; raises InputError for an answer that the trial does not offer."""
    if answer not in trial.answers:
        choice = Choice(answer, trial.answers)
        raise InputError(
            "unknown-choice.answer", number=trial.number, answer=str(answer), choice=choice
        )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    asked = rater, trial.number, trial.item, " ".join(trial.shown)
    return Vote(*asked, answer, round(seconds, 3), at or now, source)


NAMES = ", ".join(field.name for field in fields(Vote))
TYPES = [str, int, str, str, str, float, str, str]
MARKS = ", ".join("?" for _ in fields(Vote))


class VoteBox:
    """The votes of one study; several processes may use them at once."""

    def __init__(self, study: Study):
        self.path, self.hash = inside(study.folder, "votes.sqlite"), study.hash
        with self._writing() as db:
            for statement in SCHEMA:
                db.execute(statement)
            known = [row[0] for row in db.execute("SELECT hash FROM study")]
            if not known:
                db.execute("INSERT INTO study VALUES (?)", (self.hash,))
            elif known != [self.hash]:
                raise InputError("another-study.votes", path=self.path)

    def cast(self, votes: Sequence[Vote]) -> int:
        """Add votes, all or none, and return how many were new.

        Raises InputError where a trial already has another answer.
        """
        add = f"INSERT INTO votes ({NAMES}) VALUES ({MARKS}) ON CONFLICT DO NOTHING"
        find = "SELECT item, answer FROM votes WHERE rater = ? AND trial = ?"
        new = 0
        with self._writing() as db:
            for vote in votes:
                new += db.execute(add, astuple(vote)).rowcount
                kept = db.execute(find, (vote.rater, vote.trial)).fetchone()
                if kept != (vote.item, vote.answer):
                    raise InputError(
                        "vote-differs", rater=vote.rater, trial=vote.trial, answer=vote.answer
                    )
        return new

    def done(self, rater: str) -> set[int]:
        """Return the numbers of the trials that a rater has answered."""
        return {vote.trial for vote in self.votes() if vote.rater == rater}

    def votes(self) -> list[Vote]:
        """Return all votes, by rater and trial."""
        with self._open() as db:
            rows = db.execute(f"SELECT {NAMES} FROM votes ORDER BY rater, trial")
            votes = [Vote(*row) for row in rows]
        if any([*map(type, astuple(vote))] != TYPES for vote in votes):
            raise InputError("votes-unreadable", path=self.path, error="a vote is damaged")
        return votes

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Yield a new connection, so that none stays open when a notebook or a drive disconnects.

        Raises InputError where the file cannot be read or written.
        """
        try:
            db = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
            with contextlib.closing(db):
                db.execute("PRAGMA journal_mode = DELETE")
                db.execute("PRAGMA synchronous = FULL")
                yield db
        except sqlite3.Error as error:
            raise InputError("votes-unreadable", path=self.path, error=error) from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection with the write lock; commit if the block succeeds, else undo it."""
        with self._open() as db:
            _begin(db)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise


def _begin(db: sqlite3.Connection) -> sqlite3.Cursor:
    """Take the write lock; try again where a mounted drive refuses it for a moment."""
    for attempt in range(TRIES):
        try:
            return db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            if attempt == TRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt * random.random())


def import_votes(study: Study, file: Path) -> dict:
    """Add the votes of a file from a rater's page, and return counts: votes, new ones, trials.

    Raises InputError, and adds nothing, for votes of another study, on trials that the rater was
    not shown, or that differ from stored ones.
    """
    try:
        content = read_record(file, "votes")
    except InputError as error:
        if error.code in ("missing-key", "wrong-type", "not-a-record", "not-json"):
            raise InputError("not-votes", file=file) from None  # not: remove it
        raise
    rater = content["rater"]
    if content["study"] != study.hash:
        raise InputError("another-study.votes-file", file=file, study=content["study"])
    if (token := study.token(check_code(rater))) and content.get("token") != token:
        raise InputError("vote-unfit.page", file=file, rater=rater)
    trials = {trial.number: trial for trial in study.trials(rater)}
    votes = [_checked(rater, trials, row) for row in content["votes"]]
    if len({vote.trial for vote in votes}) < len(votes):
        raise InputError("duplicate-vote", file=file)
    new = VoteBox(study).cast(votes)
    return {"rater": rater, "votes": len(votes), "new": new, "trials": len(trials)}


def _time(text: str, rater: str) -> str:
    try:
        return datetime.datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError("vote-unfit.time", rater=rater, text=text) from None


def _checked(rater: str, trials: dict[int, Trial], row: dict) -> Vote:
    trial, item, answer = trials.get(row["trial"]), row["item"], row["answer"]
    seconds, at = float(row["seconds"]), _time(row["at"], rater)
    if trial is None or trial.item != item or not 0 <= seconds < 1e7:
        raise InputError("vote-unfit.item", rater=rater, item=item)
    return vote_of(rater, trial, answer, seconds, "page", at)
