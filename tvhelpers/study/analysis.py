"""What do the votes of a study say?

Raters are left out by the rules that were fixed before; every figure has an interval over raters
and prompts.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from tvhelpers.config import InputError
from tvhelpers.files import atomic_path
from tvhelpers.study.model import REAL, RULES, SCALES, Study, Trial
from tvhelpers.study.statistics import (
    bootstrap_p,
    davidson,
    holm,
    interval,
    krippendorff_alpha,
    resampled_weights,
    weighted_mean,
)
from tvhelpers.study.votes import Vote

FEW_RATERS = 3  # with fewer, the interval says little about other raters


@dataclass(frozen=True)
class Answer:
    """A vote with what its trial was: `systems` from left to right; expected None but in checks."""

    vote: Vote
    trial: Trial
    systems: tuple[str, ...]
    expected: str | None
    repeat: bool

    @property
    def choice(self) -> str:
        """Return the picture that was chosen of a pair, or "same"."""
        sides = {"left": 0, "right": 1}
        return self.trial.shown[sides[self.vote.answer]] if self.vote.answer in sides else "same"

    @property
    def right(self) -> bool:
        """Return whether an attention check was answered as a reader of the sentence would."""
        if self.expected == "same" or self.vote.answer == "same":
            return self.vote.answer == self.expected
        return self.systems[("left", "right").index(self.vote.answer)] == self.expected


def answers_of(study: Study, votes: list[Vote]) -> list[Answer]:
    """Return the votes with their trials; raises InputError for votes that fit no trial."""
    trials = {rater: study.trials(rater) for rater in {vote.rater for vote in votes}}
    answers, seen = [], set()
    for vote in votes:
        plan = trials[vote.rater]
        if not vote.trial < len(plan) or plan[vote.trial].item != vote.item:
            raise InputError(
                "vote-unfit", f"a vote of rater {vote.rater} fits no trial of this study"
            )
        trial = plan[vote.trial]
        systems = tuple(study.key["items"][vote.item])
        if list(trial.shown) != study.items[vote.item]["pictures"]:
            systems = systems[::-1]
        repeat = (vote.rater, vote.item) in seen  # votes come in the order of their trials
        seen.add((vote.rater, vote.item))
        answers.append(Answer(vote, trial, systems, study.key["expected"].get(vote.item), repeat))
    return answers


def analyse(study: Study, votes: list[Vote]) -> dict:
    """Return all figures of a study as JSON-able values.

    Raises InputError where no votes are left.
    """
    answers = answers_of(study, votes)
    raters = [_about_rater(study, name, rows) for name, rows in sorted(_by_rater(answers).items())]
    kept = {row["rater"] for row in raters if not row["excluded"]}
    if not kept:
        raise InputError(
            "no-raters", "no rater is left by the rules of the study; collect more votes"
        )
    answers = [a for a in answers if a.vote.rater in kept]
    first = [a for a in answers if a.expected is None and not a.repeat]
    pairs = [a for a in first if a.trial.kind == "pair"]
    result = {
        "study": study.hash,
        "title": study.about["title"],
        "systems": study.systems,
        "simulated": any(vote.source == "simulated" for vote in votes),
        "votes": len(votes),
        "raters": raters,
        "raters_kept": len(kept),
        "rules": study.about["rules"],
        "warnings": _doubts(len(kept), pairs),
    }
    if pairs:
        result |= {"contrasts": _contrasts(study, pairs), "strengths": _strengths(study, pairs)}
        result["sides"] = _sides(pairs)
        if any(row["ci"][0] == row["ci"][1] for row in result["contrasts"]):
            result["warnings"].append("all votes agree: an interval without width says too little")
    result["repeats"] = _repeats(answers)
    result["agreement"] = _agreement(first)
    result["ratings"] = _ratings(study, [a for a in first if a.trial.kind == "rating"])
    result["real"] = _real(study, [a for a in first if a.trial.kind == "real"])
    return result


def _by_rater(answers: list[Answer]) -> dict[str, list[Answer]]:
    rows = defaultdict(list)
    for answer in answers:
        rows[answer.vote.rater].append(answer)
    return rows


def _about_rater(study: Study, rater: str, answers: list[Answer]) -> dict:
    """Return how a rater did, and by which rule of the study the rater is left out, "" if none."""
    checks = [a.right for a in answers if a.expected is not None]
    row = {
        "rater": rater,
        "votes": len(answers),
        "attention_right": sum(checks) / len(checks) if checks else None,
        "median_seconds": statistics.median(a.vote.seconds for a in answers),
        "share_done": len(answers) / len(study.trials(rater)),
    }
    rules = {name: study.about["rules"][name] for name in RULES}
    broken = [name for name, least in rules.items() if row[name] is not None and row[name] < least]
    return row | {"excluded": ", ".join(broken)}


def _doubts(num_raters: int, pairs: list[Answer]) -> list[str]:
    doubts = []
    if num_raters < FEW_RATERS:
        doubts.append(f"{num_raters} rater(s): the intervals say little about what others think")
    prompts = len({a.trial.prompt for a in pairs})
    if pairs and prompts < 20:
        doubts.append(f"{prompts} prompts: the intervals say little about other prompts")
    return doubts


def _weights(answers: list[Answer]) -> np.ndarray:
    """Return bootstrap weights (draws, N) of answers; a picture without a prompt is its own."""
    raters = np.unique([a.vote.rater for a in answers], return_inverse=True)[1]
    prompts = [a.trial.prompt or a.trial.item for a in answers]
    return resampled_weights(raters, np.unique(prompts, return_inverse=True)[1])


def _mean(values, answers: list[Answer]) -> dict:
    """Return a mean with its interval over raters and prompts."""
    values = np.asarray(values, float)
    low, high = interval(weighted_mean(values, _weights(answers)))
    return {"value": float(values.mean()), "ci": [low, high], "n": len(values)}


def _contrasts(study: Study, pairs: list[Answer]) -> list[dict]:
    """Return, for each two systems, the share of votes for the first, ties as half a vote.

    The primary contrast has its own p-value; those of the others are adjusted together.
    """
    primary, rows = set(study.key["primary"]), []
    for two in combinations(study.systems, 2):
        members = [a for a in pairs if {*a.systems} == {*two}]
        if not members:
            continue
        if {*two} == primary:
            two = tuple(study.key["primary"])
        counts = Counter(_outcome(a, two) for a in members)
        wins = np.array([1 - _outcome(a, two) / 2 for a in members])
        draws = weighted_mean(wins, _weights(members))
        row = {"first": two[0], "second": two[1], "primary": {*two} == primary}
        row |= {"wins": counts[0], "ties": counts[1], "losses": counts[2], "n": len(members)}
        row |= {"share": float(wins.mean()), "ci": list(interval(draws))}
        rows.append(row | {"p": bootstrap_p(draws, 0.5)})
    others = [row for row in rows if not row["primary"]]
    for row, p in zip(others, holm([row["p"] for row in others]), strict=True):
        row["p_holm"] = p
    return sorted(rows, key=lambda row: not row["primary"])


def _outcome(answer: Answer, two: tuple[str, str]) -> int:
    """Return 0 for a vote for the first, 1 for a tie, 2 for the second."""
    if answer.vote.answer == "same":
        return 1
    chosen = answer.systems[("left", "right").index(answer.vote.answer)]
    return 2 * two.index(chosen)


def _strengths(study: Study, pairs: list[Answer]) -> dict:
    """Return Bradley-Terry strengths with ties, as log odds against the average system."""
    index = {name: i for i, name in enumerate(study.systems)}
    twos = list(combinations(study.systems, 2))
    cells = np.zeros((len(pairs), len(twos), 3))
    for row, answer in zip(cells, pairs, strict=True):
        number = next(i for i, two in enumerate(twos) if {*two} == {*answer.systems})
        row[number, _outcome(answer, twos[number])] = 1
    numbers = [(index[a], index[b]) for a, b in twos]
    counts = np.einsum("bn,npo->bpo", _weights(pairs), cells, optimize=True)
    counts = counts[counts.sum((1, 2)) > 0]
    values, ties = davidson(cells.sum(0)[None], numbers, len(index))
    draws, _ = davidson(counts, numbers, len(index))
    rows = [
        {"system": name, "log_strength": float(values[0, i]), "ci": list(interval(draws[:, i]))}
        for name, i in index.items()
    ]
    rows.sort(key=lambda row: -row["log_strength"])
    return {"systems": rows, "log_tie_factor": float(ties[0]), "n": len(pairs)}


def _sides(pairs: list[Answer]) -> dict:
    """Return how often the left picture was chosen, and the p-value of the binomial test.

    Sides are balanced by lot: an unbiased rater's choices spread less than tosses of a coin, so
    that the test, if anything, accuses too seldom.
    """
    from scipy.stats import binomtest

    def row(members):
        left = sum(a.vote.answer == "left" for a in members)
        decided = sum(a.vote.answer != "same" for a in members)
        p = float(binomtest(left, decided).pvalue) if decided else 1.0
        return {"left": left, "decided": decided, "p": p}

    raters = {name: row(members) for name, members in sorted(_by_rater(pairs).items())}
    for (_, own), p in zip(raters.items(), holm([r["p"] for r in raters.values()]), strict=True):
        own["p_holm"] = p
    return {"all": row(pairs), "raters": raters}


def _repeats(answers: list[Answer]) -> dict | None:
    """Return how often a pair that came again, sides exchanged, got the same answer."""
    before = {(a.vote.rater, a.vote.item): a.choice for a in answers if not a.repeat}
    again = [a for a in answers if a.repeat]
    if not again:
        return None
    same = [a.choice == before[a.vote.rater, a.vote.item] for a in again]
    return {"same": sum(same), **_mean(same, again)}


def _agreement(answers: list[Answer]) -> dict:
    """Return Krippendorff's alpha between raters, for each thing asked; None where it has none."""
    values = defaultdict(dict)  # of (rater, item), by what was asked
    for a in answers:
        at = a.vote.rater, a.vote.item
        if a.trial.kind == "rating":
            for scale, grade in zip(SCALES, a.vote.answer, strict=True):
                values[scale][at] = int(grade)
        elif a.trial.kind == "pair":  # which of the item's two pictures: their names sort alike
            names = ["same", *sorted(a.trial.shown)]
            values["pair"][at] = names.index(a.choice)
        else:
            values["real"][at] = int(a.vote.answer == "real")
    return {what: _alpha(cells, what) for what, cells in values.items()}


def _alpha(cells: dict[tuple[str, str], int], what: str) -> dict:
    raters, items = ({name: i for i, name in enumerate(sorted(set(n)))} for n in zip(*cells))
    table = np.full((len(raters), len(items)), np.nan)
    for (rater, item), value in cells.items():
        table[raters[rater], items[item]] = value
    level = "ordinal" if what in SCALES else "nominal"
    alpha = krippendorff_alpha(table, level)
    return {"alpha": None if math.isnan(alpha) else alpha, "level": level, "items": len(items)}


def _ratings(study: Study, answers: list[Answer]) -> list[dict]:
    """Return the mean grade of each scale and system, and its difference from the real pictures."""
    rows = []
    if not answers:
        return rows
    weights, who = _weights(answers), np.array([a.systems[0] for a in answers])
    for number, scale in enumerate(SCALES):
        grades = np.array([float(a.vote.answer[number]) for a in answers])
        draws, means = {}, {}
        for name in (*study.systems, REAL):
            members = who == name
            if members.any():
                draws[name] = weighted_mean(grades[members], weights[:, members])
                means[name] = float(grades[members].mean())
        for name in means:
            row = {
                "scale": scale,
                "system": name,
                "mean": means[name],
                "n": int((who == name).sum()),
            }
            row["ci"] = list(interval(draws[name]))
            if name != REAL and REAL in means:
                row["less_real"] = means[name] - means[REAL]
                row["less_real_ci"] = list(interval(draws[name] - draws[REAL]))
            rows.append(row)
    return rows


def _real(study: Study, answers: list[Answer]) -> dict | None:
    """Return how often real and generated were mistaken (half: no telling them apart), and how
    often each system's pictures were taken for real."""
    if not answers:
        return None
    generated = np.array([a.systems[0] != REAL for a in answers])
    said_real = np.array([a.vote.answer == "real" for a in answers])
    taken = {}
    for name in (*study.systems, REAL):
        members = [a for a in answers if a.systems[0] == name]
        if members:
            taken[name] = _mean([a.vote.answer == "real" for a in members], members)
    return {"error_rate": _mean(generated == said_real, answers), "taken_for_real": taken}


def write_csv(study: Study, votes: list[Vote], path: Path) -> None:
    """Write one row a vote, with what its trial was, for any other program."""
    heads = ["rater", "trial", "item", "task", "prompt", "left", "right", "answer", "chosen"]
    heads += [*SCALES, "expected", "repeat", "seconds", "at", "source"]
    with atomic_path(path) as aside, open(aside, "w", newline="") as file:
        rows = csv.DictWriter(file, heads, restval="")
        rows.writeheader()
        for a in answers_of(study, votes):
            row = {name: getattr(a.vote, name) for name in
                   ("rater", "trial", "item", "answer", "seconds", "at", "source")}  # fmt: skip
            row |= {"task": a.trial.kind, "prompt": a.trial.prompt, "left": a.systems[0]}
            row |= {"expected": a.expected or "", "repeat": int(a.repeat)}
            if a.trial.kind == "pair":
                row["right"] = a.systems[1]
                sides = {"left": a.systems[0], "right": a.systems[1]}
                row["chosen"] = sides.get(a.vote.answer, "same")
            if a.trial.kind == "rating":
                row |= dict(zip(SCALES, a.vote.answer, strict=True))
            rows.writerow(row)
