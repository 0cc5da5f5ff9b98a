"""Raters that are made up, so that a study can be tried before people are asked."""

from __future__ import annotations

import math
import random

from tvhelpers.runtime import seed_for
from tvhelpers.study.analysis import Answer, answers_of
from tvhelpers.study.model import REAL, Study, Trial
from tvhelpers.study.votes import Vote, VoteBox, vote_of

REAL_GRADE = 4.3  # mean grade of a real picture
SIDES = ("left", "right")


def simulate_rater(
    study: Study, rater: str, quality: dict[str, float], *, attentive: float = 0.97, ties=0.15
) -> int:
    """Cast all votes of a made-up rater, marked as simulated; return how many were new.

    `quality`: how well each system is liked; a difference of 1 is plain.  The rater answers a share
    `attentive` with care and the rest at random.  The same study and code give the same votes.
    """
    trials = study.trials(rater)
    blank = [Vote(rater, t.number, t.item, "", t.answers[0], 0.0, "", "simulated") for t in trials]
    votes = []
    for answer in answers_of(study, blank):
        trial, rng = answer.trial, random.Random(seed_for(study.hash, rater, answer.trial.number))
        if rng.random() >= attentive:
            given = rng.choice(trial.answers)
        elif trial.kind == "pair":
            given = _choice(study, rater, answer, quality, ties)
        else:
            given = _judgement(rng, trial, answer.systems[0], quality)
        votes.append(vote_of(rater, trial, given, rng.lognormvariate(1.3, 0.4), "simulated"))
    return VoteBox(study).cast(votes)


def _choice(study: Study, rater: str, answer: Answer, quality: dict[str, float], ties) -> str:
    """Return the answer to a pair: what all think of it, what this rater does, and a whim."""
    item, systems = answer.trial.item, answer.systems
    if answer.expected is not None:
        return "same" if answer.expected == "same" else SIDES[systems.index(answer.expected)]
    own = random.Random(seed_for(study.hash, rater, item))
    if own.random() < ties:
        return "same"
    liking = random.Random(seed_for(study.hash, item)).gauss(0, 1.0) + own.gauss(0, 1.2)
    if answer.trial.shown[0] > answer.trial.shown[1]:  # of the picture, whatever its side
        liking = -liking
    whim = random.Random(seed_for(rater, answer.trial.number)).gauss(0, 0.6)
    return SIDES[0] if quality[systems[0]] - quality[systems[1]] + liking + whim > 0 else SIDES[1]


def _judgement(rng: random.Random, trial: Trial, system: str, quality: dict[str, float]) -> str:
    """Return the answer about one picture, the worse the further its system is from the best."""
    worse = 0.0 if system == REAL else 0.6 + max(quality.values()) - quality[system]
    if trial.kind == "real":
        return "real" if rng.random() < 1 / (1 + math.exp(3 * worse - 2)) else "generated"
    grades = (round(rng.gauss(REAL_GRADE - worse, 0.7)) for _ in range(3))
    return "".join(str(min(5, max(1, grade))) for grade in grades)
