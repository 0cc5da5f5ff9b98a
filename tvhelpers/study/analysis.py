"""Which system do raters prefer, and how sure is that?

Raters are excluded by the rules that were fixed before; every number has an interval over raters
and prompts.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from pathlib import Path

import numpy as np

from tvhelpers.errors import InputError
from tvhelpers.files import write_text
from tvhelpers.study import statistics
from tvhelpers.study.model import IMAGES, REAL, RULES, SCALES, SIDES, TEXTS, Study, Trial
from tvhelpers.study.votes import Vote

FORMULA = tuple("=+-@\t\r\n")  # what a formula begins with
FEW_RATERS, FEW_PROMPTS = 3, 20  # with fewer, an interval may not hold for others


@dataclass(frozen=True)
class Answer:
    """A vote with its trial: `systems` from left to right; `expected` is None but in checks."""

    vote: Vote
    trial: Trial
    systems: tuple[str, ...]
    expected: str | None
    repeat: bool

    def picked(self, two: Sequence[str]) -> str:
        """Return the one of `two` (left, right) that the answer to a pair chose, or "same"."""
        return two[SIDES.index(self.vote.answer)] if self.vote.answer in SIDES else "same"

    @property
    def correct(self) -> bool:
        """Return whether an attention check was answered correctly."""
        given = self.vote.answer if self.expected == "same" else self.picked(self.systems)
        return given == self.expected


def answers_of(study: Study, votes: list[Vote]) -> list[Answer]:
    """Return the votes with their trials; raises InputError for votes of no trial."""
    trials = {rater: study.trials(rater) for rater in {vote.rater for vote in votes}}
    answers, seen = [], set()
    for vote in votes:
        plan = trials[vote.rater]
        if not vote.trial < len(plan) or plan[vote.trial].item != vote.item:
            raise InputError("vote-unfit.trial", rater=vote.rater)
        trial = plan[vote.trial]
        systems = tuple(study.key["items"][vote.item])
        if list(trial.shown) != study.items[vote.item][IMAGES]:
            systems = systems[::-1]
        repeat = (vote.rater, vote.item) in seen  # votes come in the order of their trials
        seen.add((vote.rater, vote.item))
        answers.append(Answer(vote, trial, systems, study.key["expected"].get(vote.item), repeat))
    return answers


def analyse(study: Study, votes: list[Vote]) -> dict:
    """Return all results of a study as JSON values.

    Raises InputError where there are no votes, or the rules exclude every rater.
    """
    answers = answers_of(study, votes)
    raters = [_about_rater(study, name, rows) for name, rows in _by_rater(answers).items()]
    kept = {row["rater"] for row in raters if not row["excluded"]}
    if not raters:
        raise InputError("no-raters.votes", folder=study.folder)
    if not kept:
        raise InputError(
            "no-raters", why=[f"{row['rater']}: {why_excluded(row)}" for row in raters]
        )
    answers = [a for a in answers if a.vote.rater in kept]
    first = [a for a in answers if a.expected is None and not a.repeat]
    pairs = [a for a in first if a.trial.kind == "pair"]
    result = {"study": study.hash, "title": study.about["title"], "systems": study.systems}
    result["simulated"] = any(vote.source == "simulated" for vote in votes)
    result |= {"votes": len(votes), "raters": raters, "raters_kept": len(kept)}
    result |= {"rules": study.about["rules"], "warnings": _warnings(len(kept), pairs)}
    if pairs:
        result |= {"contrasts": _contrasts(study, pairs), "sides": _sides(pairs)}
        result["preference_scores"] = _preference_scores(study, pairs)
        if any(row["ci"][0] == row["ci"][1] for row in result["contrasts"]):
            result["warnings"].append(
                "every vote of a comparison was the same; no interval can be given"
            )
    result |= {"repeats": _repeats(answers), "agreement": _agreement(first)}
    result["ratings"] = _ratings(study, [a for a in first if a.trial.kind == "rating"])
    result["real"] = _real(study, [a for a in first if a.trial.kind == "real"])
    return result


def _grouped(answers: list[Answer], key: Callable[[Answer], str]) -> dict[str, list[Answer]]:
    return {name: list(group) for name, group in groupby(sorted(answers, key=key), key)}


def _by_rater(answers: list[Answer]) -> dict[str, list[Answer]]:
    return _grouped(answers, lambda answer: answer.vote.rater)


def _about_rater(study: Study, rater: str, answers: list[Answer]) -> dict:
    """Return a rater's counts, and the rules of the study that exclude the rater, "" if none."""
    checks = [a.correct for a in answers if a.expected is not None]
    row = {
        "rater": rater,
        "votes": len(answers),
        "attention_right": sum(checks) / len(checks) if checks else None,
        "median_seconds": float(np.median([a.vote.seconds for a in answers])),
        "share_done": len(answers) / len(study.trials(rater)),
    }
    rules = study.about["rules"]
    broken = [name for name in RULES if row[name] is not None and row[name] < rules[name]]
    return row | {"excluded": ", ".join(broken)}


def why_excluded(row: dict) -> str:
    """Return in words which rules a rater of the results broke."""
    return ", ".join(TEXTS["excluded"][name] for name in row["excluded"].split(", ") if name)


def _warnings(num_raters: int, pairs: list[Answer]) -> list[str]:
    warnings = []
    if num_raters < FEW_RATERS:
        few = f"fewer than {FEW_RATERS} raters ({num_raters})"
        warnings.append(f"{few}: the intervals may not hold for other people")
    prompts = len({a.trial.prompt for a in pairs})
    if pairs and prompts < FEW_PROMPTS:
        few = f"fewer than {FEW_PROMPTS} prompts ({prompts})"
        warnings.append(f"{few}: the intervals may not hold for other prompts")
    return warnings


def _weights(answers: list[Answer]) -> np.ndarray:
    """Return bootstrap weights (draws, N) of answers; an item without a prompt is its own."""
    raters = np.unique([a.vote.rater for a in answers], return_inverse=True)[1]
    prompts = [a.trial.prompt or a.trial.item for a in answers]
    return statistics.resampled_weights(raters, np.unique(prompts, return_inverse=True)[1])


def _mean(values, answers: list[Answer]) -> dict:
    """Return a mean with its interval over raters and prompts."""
    values = np.asarray(values, float)
    ci = statistics.interval(statistics.weighted_mean(values, _weights(answers)))
    return {"value": float(values.mean()), "ci": ci, "n": len(values)}


def _contrasts(study: Study, pairs: list[Answer]) -> list[dict]:
    """Return, for each pair of systems, the share of votes for the first; a tie is half a vote.

    The p-value of the primary contrast stands alone; the others are adjusted together.
    """
    primary, rows = set(study.key["primary"]), []
    for two in combinations(study.systems, 2):
        members = [a for a in pairs if {*a.systems} == {*two}]
        if not members:
            continue
        if {*two} == primary:
            two = tuple(study.key["primary"])
        outcomes = np.array([_outcome(a, two) for a in members])
        shares = 1 - outcomes / 2
        draws = statistics.weighted_mean(shares, _weights(members))
        row = {"first": two[0], "second": two[1], "primary": {*two} == primary}
        row |= zip(("wins", "ties", "losses"), np.bincount(outcomes, minlength=3).tolist())
        row |= {"n": len(members), "share": float(shares.mean()), "ci": statistics.interval(draws)}
        rows.append(row | {"p": statistics.bootstrap_p(draws, 0.5)})
    _adjust([row for row in rows if not row["primary"]])
    return sorted(rows, key=lambda row: not row["primary"])


def _adjust(rows: Collection[dict]) -> None:
    """Add to each row its p-value adjusted for the number of rows."""
    for row, p in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p


def _outcome(answer: Answer, two: tuple[str, str]) -> int:
    """Return 0 for a vote for the first, 1 for a tie, 2 for the second."""
    return 1 if answer.vote.answer == "same" else 2 * two.index(answer.picked(answer.systems))


def _preference_scores(study: Study, pairs: list[Answer]) -> dict:
    """Return each system's log odds of being preferred to the average system (Bradley-Terry)."""
    names, twos = study.systems, list(combinations(study.systems, 2))
    cells = np.zeros((len(pairs), len(twos), 3))
    for row, answer in zip(cells, pairs, strict=True):
        number = next(i for i, two in enumerate(twos) if {*two} == {*answer.systems})
        row[number, _outcome(answer, twos[number])] = 1
    numbers = list(combinations(range(len(names)), 2))
    counts = np.einsum("bn,npo->bpo", _weights(pairs), cells, optimize=True)
    counts = counts[counts.sum((1, 2)) > 0]
    values, ties = statistics.davidson(cells.sum(0)[None], numbers, len(names))
    draws, _ = statistics.davidson(counts, numbers, len(names))
    rows = [
        {
            "system": name,
            "log_odds": float(values[0, i]),
            "ci": statistics.interval(draws[:, i]),
        }
        for i, name in enumerate(names)
    ]
    rows.sort(key=lambda row: -row["log_odds"])
    return {"systems": rows, "log_tie_factor": float(ties[0]), "n": len(pairs)}


def _sides(pairs: list[Answer]) -> dict:
    """Return how often the left image was chosen, and the p-value of the binomial test.

    Sides are balanced, so an unbiased rater's choices vary less than coin tosses: the test rather
    misses a bias than reports a false one.
    """
    from scipy.stats import binomtest

    def row(members):
        left = sum(a.vote.answer == "left" for a in members)
        decided = sum(a.vote.answer != "same" for a in members)
        p = float(binomtest(left, decided).pvalue) if decided else 1.0
        return {"left": left, "decided": decided, "p": p}

    raters = {name: row(members) for name, members in _by_rater(pairs).items()}
    _adjust(raters.values())
    return {"all": row(pairs), "raters": raters}


def _repeats(answers: list[Answer]) -> dict | None:
    """Return how often a pair shown twice, sides exchanged, got the same answer."""
    before = {(a.vote.rater, a.vote.item): a for a in answers if not a.repeat}
    again = [(a, before[a.vote.rater, a.vote.item]) for a in answers if a.repeat]
    if not again:
        return None
    same = [a.picked(a.trial.shown) == b.picked(b.trial.shown) for a, b in again]
    return {"same": sum(same), **_mean(same, [a for a, _ in again])}


def _agreement(answers: list[Answer]) -> dict:
    """Return Krippendorff's alpha between raters, for each question; None where it is undefined."""
    cells = defaultdict(dict)  # {question: {(rater, item): number}}
    for answer in answers:
        for question, number in _numbers(answer).items():
            cells[question][answer.vote.rater, answer.vote.item] = number
    found = {}
    for question, numbers in cells.items():
        named = [np.unique(names, return_inverse=True) for names in zip(*numbers)]
        (raters, rows), (items, columns) = named
        table = np.full((len(raters), len(items)), np.nan)
        table[rows, columns] = list(numbers.values())
        level = "ordinal" if question in SCALES else "nominal"
        alpha = statistics.krippendorff_alpha(table, level)
        alpha = None if math.isnan(alpha) else alpha
        found[question] = {"alpha": alpha, "level": level, "items": len(items)}
    return found


def _numbers(answer: Answer) -> dict[str, int]:
    if answer.trial.kind == "rating":
        return dict(zip(SCALES, map(int, answer.vote.answer), strict=True))
    if answer.trial.kind == "real":
        return {"real": int(answer.vote.answer == "real")}
    names = ["same", *sorted(answer.trial.shown)]  # the item's two images, whatever their sides
    return {"pair": names.index(answer.picked(answer.trial.shown))}


def _ratings(study: Study, answers: list[Answer]) -> list[dict]:
    """Return the mean grade of each scale and system, and its difference from real images."""
    if not answers:
        return []
    weights, who = _weights(answers), np.array([a.systems[0] for a in answers])
    of = {name: who == name for name in (*study.systems, REAL) if name in who}
    rows = []
    for number, scale in enumerate(SCALES):
        grades = np.array([float(a.vote.answer[number]) for a in answers])
        means = {name: float(grades[own].mean()) for name, own in of.items()}
        draws = {
            name: statistics.weighted_mean(grades[own], weights[:, own]) for name, own in of.items()
        }
        for name, own in of.items():
            row = {"scale": scale, "system": name, "mean": means[name], "n": int(own.sum())}
            row["ci"] = statistics.interval(draws[name])
            if name != REAL and REAL in of:
                row["difference_from_real"] = means[name] - means[REAL]
                row["difference_from_real_ci"] = statistics.interval(draws[name] - draws[REAL])
            rows.append(row)
    return rows


def _real(study: Study, answers: list[Answer]) -> dict | None:
    """Return how often real and generated images were confused (half: guessing), and how often
    each system's images were taken for real."""
    if not answers:
        return None
    confused = [(a.systems[0] != REAL) == (a.vote.answer == "real") for a in answers]
    of = _grouped(answers, lambda a: a.systems[0])
    taken = {
        name: _mean([a.vote.answer == "real" for a in of[name]], of[name])
        for name in (*study.systems, REAL)
        if name in of
    }
    return {"error_rate": _mean(confused, answers), "taken_for_real": taken}


def _cell(value):
    """Return a cell, quoted if a spreadsheet would read it as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def write_csv(study: Study, votes: list[Vote], path: Path) -> None:
    """Write a CSV with a row for each vote and its trial, for any other program."""
    write_text(path, votes_as_csv(study, votes))


def votes_as_csv(study: Study, votes: list[Vote]) -> str:
    """Return the text of `write_csv`."""
    rows = []
    for a in answers_of(study, votes):
        row = asdict(a.vote) | {"task": a.trial.kind, "prompt": a.trial.prompt}
        row |= {"left": a.systems[0], "expected": a.expected, "repeat": int(a.repeat)}
        if a.trial.kind == "pair":
            row |= {"right": a.systems[1], "chosen": a.picked(a.systems)}
        if a.trial.kind == "rating":
            row |= zip(SCALES, a.vote.answer, strict=True)
        rows.append({name: _cell(value) for name, value in row.items()})
    heads = "rater trial item task prompt left right answer chosen".split()
    heads += [*SCALES, *"expected repeat seconds at source".split()]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, heads, extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
