"""Claims: in simulated studies of 5 raters and 138 prompts, with log odds that differ by rater
(sd 0.3) and by prompt (sd 0.6), two equal systems are called different in at most 8 of 100, a true
share of .6 is ranked correctly in at least 80, and the 95 % interval contains the truth in at least
90.

python benchmarks/study_simulator.py [STUDIES]    writes results/study_simulator.json

The same votes also get the interval that most papers print, as if votes were independent.
"""

import sys

import numpy as np
from common import write_result

from tvhelpers.score.statistics import wilson_interval
from tvhelpers.study.simulation import simulated_outcomes, simulated_studies

STUDIES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
MODEL = {"rater_sd": 0.3, "prompt_sd": 0.6}
CASES = {
    "5 raters, 138 prompts": (5, 138, {}),
    "5 raters, 138 prompts, a fifth of votes ties": (5, 138, {"ties": 0.2}),
    "3 raters, 138 prompts": (3, 138, {}),
    "10 raters, 138 prompts": (10, 138, {}),
    "20 raters, 40 prompts": (20, 40, {}),
}


def naive(raters: int, prompts: int, effect: float) -> dict:
    """Return what the interval of independent votes (Wilson) does, without ties."""
    inside = []
    for number in range(STUDIES):
        rng = np.random.default_rng((0, number))
        wins = (simulated_outcomes(rng, raters, prompts, effect, **MODEL) == 0).sum()
        low, high = wilson_interval(float(wins), raters * prompts)
        inside.append(low <= effect <= high)
    return {"covered": float(np.mean(inside))}


def main() -> None:
    result = {"studies": STUDIES, **MODEL}
    for name, (raters, prompts, more) in CASES.items():
        result[name] = {
            f"planted {effect}": simulated_studies(
                raters, prompts, effect, STUDIES, **MODEL, **more
            )
            for effect in (0.5, 0.6)
        }
    first = "5 raters, 138 prompts"
    result["votes taken as independent"] = {
        f"planted {effect}": naive(*CASES[first][:2], effect) for effect in (0.5, 0.6)
    }
    write_result("study_simulator", result)


if __name__ == "__main__":
    main()
