"""How would a study turn out?  Simulated raters answer, before people are asked."""

import math
import random

import numpy as np

from tvhelpers.runtime import seed_for
from tvhelpers.study.analysis import Answer, answers_of
from tvhelpers.study.model import REAL, SCALES, SIDES, Study, Trial
from tvhelpers.study.statistics import interval, resampled_weights, weighted_mean
from tvhelpers.study.votes import Vote, VoteBox, vote_of

REAL_GRADE = 4.3  # mean grade of a real image


def simulate_rater(
    study: Study, rater: str, quality: dict[str, float], *, attentive: float = 0.97, ties=0.15
) -> int:
    """Cast all votes of a simulated rater, marked as such; return how many were new.

    `quality`: how well each system is liked; a difference of 1 is easy to see.  The rater answers a
    share `attentive` carefully, the rest at random.  The same study and code give the same votes.
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
        seconds = rng.lognormvariate(1.3, 0.4)
        votes.append(vote_of(rater, trial, given, seconds, "simulated", at="simulated"))
    return VoteBox(study).cast(votes)


def _choice(study: Study, rater: str, answer: Answer, quality: dict[str, float], ties) -> str:
    """Return the answer to a pair: common taste plus the rater's own taste plus noise."""
    item, systems = answer.trial.item, answer.systems
    if answer.expected is not None:
        return "same" if answer.expected == "same" else SIDES[systems.index(answer.expected)]
    own = random.Random(seed_for(study.hash, rater, item))
    if own.random() < ties:
        return "same"
    taste = random.Random(seed_for(study.hash, item)).gauss(0, 1.0) + own.gauss(0, 1.2)
    if answer.trial.shown[0] > answer.trial.shown[1]:  # a taste for the image, whatever its side
        taste = -taste
    noise = random.Random(seed_for(rater, answer.trial.number)).gauss(0, 0.6)
    return SIDES[0] if quality[systems[0]] - quality[systems[1]] + taste + noise > 0 else SIDES[1]


def _judgement(rng: random.Random, trial: Trial, system: str, quality: dict[str, float]) -> str:
    """Return the answer about one image: worse, the further its system is from the best."""
    worse = 0.0 if system == REAL else 0.6 + max(quality.values()) - quality[system]
    if trial.kind == "real":
        return "real" if rng.random() < 1 / (1 + math.exp(3 * worse - 2)) else "generated"
    grades = (round(rng.gauss(REAL_GRADE - worse, 0.7)) for _ in SCALES)
    return "".join(str(min(5, max(1, grade))) for grade in grades)


def simulated_outcomes(rng, raters: int, prompts: int, effect: float, **model) -> np.ndarray:
    """Return outcomes (raters, prompts) of two systems; the first wins a share `effect` of
    the votes that are no tie.

    The log odds differ by rater and by prompt, with `rater_sd` and `prompt_sd`; a share `ties` of
    votes says no difference.
    """
    rater_sd, prompt_sd = model.get("rater_sd", 0.3), model.get("prompt_sd", 0.6)
    odds = _mean_log_odds(effect, float(np.hypot(rater_sd, prompt_sd)))
    odds = odds + rater_sd * rng.standard_normal((raters, 1))
    odds = odds + prompt_sd * rng.standard_normal((1, prompts))
    outcomes = np.where(rng.random(odds.shape) < 1 / (1 + np.exp(-odds)), 0, 2)
    return np.where(rng.random(odds.shape) < model.get("ties", 0.0), 1, outcomes)


def _mean_log_odds(share: float, sd: float) -> float:
    """Return the mean of normal log odds whose mean share is `share`, by bisection."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = (weights / (1 + np.exp(-(middle + sd * nodes)))).sum() / weights.sum()
        low, high = (middle, high) if mean < share else (low, middle)
    return (low + high) / 2


def simulated_studies(
    raters: int, prompts: int, effect: float, studies: int, *, draws: int = 500, seed=0, **model
) -> dict[str, float]:
    """Return shares of simulated studies of two systems: `found` (the first is better and its
    interval is clear of 1/2), `called_different`, `covered` (the true share is in the interval) and
    `order` (the better one is placed first); and the mean half width of the interval."""
    index = np.indices((raters, prompts)).reshape(2, -1)
    truth = effect * (1 - model.get("ties", 0.0)) + model.get("ties", 0.0) / 2
    rows = []
    for number in range(studies):
        rng = np.random.default_rng((seed, number))
        wins = 1 - simulated_outcomes(rng, raters, prompts, effect, **model).ravel() / 2
        weights = resampled_weights(*index, draws, seed=(seed, number, 1))
        low, high = interval(weighted_mean(wins, weights))
        rows.append((low > 0.5, low > 0.5 or high < 0.5, low <= truth <= high, wins.mean() > 0.5,
                     (high - low) / 2))  # fmt: skip
    names = ("found", "called_different", "covered", "order", "half_width")
    return dict(zip(names, np.mean(rows, 0).tolist(), strict=True))
