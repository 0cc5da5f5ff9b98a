"""Claims: the Inception Score equals its closed form to 1e-6; its 95 % interval covers the truth;
paired comparison of 138 prompts finds a gain of 15 %, and none where there is none; the Frechet
distance equals that of SciPy's matrix root, 20 times as fast.

python benchmarks/score_statistics.py [DRAWS]    writes results/score_statistics.json

Simulated classifiers: an image has one class (its frequency is rank to a power); its logits are
normal noise, and higher for its class by `sharp` times the clarity of the image.  `sharp` is set so
that 138 images in ten splits give the 8.1 that the paper printed.

Two systems share a part of the noise, as images of one prompt and seed do; `correlation` is that of
the paired values (LOG.md has it for images of mini).
"""

import statistics
import sys
import time
from decimal import Decimal, getcontext

import numpy as np
from common import write_result
from scipy import linalg

from tvhelpers.score.distances import frechet_distance
from tvhelpers.score.metrics import compare, inception_score

DRAWS = int(sys.argv[1]) if len(sys.argv) > 1 else 500
FAMILIES = {"20 flat": (20, 0.0), "40 zipf": (40, 0.5), "80 zipf": (80, 1.0)}
TARGET = 8.1  # ten-split score
SHARED = (0.5, 0.8)  # shares of the noise that two systems have in common
SPREAD = 0.4  # of the logarithm of how plain an image is
MANY = 200_000  # images that the true score is taken from


def prior(family: str) -> np.ndarray:
    count, power = FAMILIES[family]
    weights = np.arange(1, count + 1) ** -power
    return weights / weights.sum()


def softmax(noise: np.ndarray, classes: np.ndarray, sharp: float) -> np.ndarray:
    logits = noise[:, 1:].copy()
    sureness = np.exp(SPREAD * noise[:, 0])  # some images are plainly of their class, some are not
    logits[np.arange(len(classes)), classes] += sharp * sureness
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def draw(rng, family: str, sharp: float, n: int) -> np.ndarray:
    weights = prior(family)
    classes = rng.choice(len(weights), n, p=weights)
    return softmax(rng.standard_normal((n, len(weights) + 1)), classes, sharp)


def true_score(family: str, sharp: float) -> float:
    probs = draw(np.random.default_rng(1), family, sharp, MANY)
    mean = probs.mean(0)
    return float(np.exp((probs * (np.log(probs + 1e-300) - np.log(mean))).sum(1).mean()))


def bisect(value_of, target: float, low: float, high: float) -> float:
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if value_of(middle) < target else (low, middle)
    return (low + high) / 2


def sharpness(family: str) -> float:
    def ten_split(sharp):
        rng = np.random.default_rng(2)
        scores = [inception_score(draw(rng, family, sharp, 138)) for _ in range(30)]
        return np.mean([score.details["ten_split_mean"] for score in scores])

    return bisect(ten_split, TARGET, 0, 60)


def coverage(family: str, sharp: float, n: int) -> dict:
    true = true_score(family, sharp)
    results = [
        inception_score(draw(np.random.default_rng((3, i)), family, sharp, n)) for i in range(DRAWS)
    ]
    inside = [r.ci is not None and r.ci[0] <= true <= r.ci[1] for r in results]
    values = {
        "corrected": [r.value for r in results],
        "plug_in": [r.details["plug_in"] for r in results],
        "ten_splits": [r.details["ten_split_mean"] for r in results],
    }
    means = {name: round(statistics.mean(v), 2) for name, v in values.items()}
    return {"true": round(true, 2), "coverage": float(np.mean(inside)), "mean": means}


def detections(family: str, sharp: float, better: float, shared: float, n: int = 138) -> dict:
    """Return how often a paired and an unpaired comparison call the second system different."""
    weights, found, apart, alike = prior(family), [], [], []
    for i in range(DRAWS):
        rng = np.random.default_rng((4, i))
        classes = rng.choice(len(weights), n, p=weights)
        common = rng.standard_normal((n, len(weights) + 1))
        systems = []
        for level in (sharp, better):
            own = rng.standard_normal((n, len(weights) + 1))
            noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
            systems.append(inception_score(softmax(noise, classes, level)))
        ratio = compare(systems[1], systems[0])
        found.append(ratio.details["p"] < 0.05)
        apart.append(systems[1].ci[0] > systems[0].ci[1] or systems[0].ci[0] > systems[1].ci[1])
        alike.append(np.corrcoef(systems[0].per_item, systems[1].per_item)[0, 1])
    shares = {"paired": found, "intervals_apart": apart, "correlation": alike}
    return {name: round(float(np.mean(values)), 3) for name, values in shares.items()}


def closed_form_error() -> float:
    """Return the largest relative error against 50-digit sums, over several sets of images."""
    getcontext().prec = 50
    errors = []
    for seed, (n, k) in enumerate([(138, 1008), (50, 20), (400, 80)]):
        probs = np.random.default_rng(seed).dirichlet(np.full(k, 0.05), n)
        probs /= probs.sum(1, keepdims=True)
        exact = [[Decimal(float(p)) for p in row] for row in probs]
        means = [sum(column) / n for column in zip(*exact, strict=True)]
        terms = (
            p * (p.ln() - m.ln()) for row in exact for p, m in zip(row, means, strict=True) if p
        )
        score = float((sum(terms) / n).exp())
        errors.append(abs(inception_score(probs).details["plug_in"] / score - 1))
    return max(errors)


def frechet_race() -> dict:
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, 2049) ** -0.5
    x = rng.standard_normal((1000, 2048)) * spectrum
    y = rng.standard_normal((1000, 2048)) * spectrum + 0.02
    ours = []
    for _ in range(5):
        began = time.perf_counter()
        value = frechet_distance(x, y, few=True).value
        ours.append(time.perf_counter() - began)
    began = time.perf_counter()
    a, b = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(a @ b)
    theirs = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b) - 2 * np.trace(root).real
    seconds = time.perf_counter() - began
    return {
        "ours": value,
        "scipy": float(theirs),
        "relative_difference": abs(value / theirs - 1),
        "ours_seconds": round(statistics.median(ours), 3),
        "scipy_seconds": round(seconds, 3),
        "times_as_fast": round(seconds / statistics.median(ours), 1),
    }


def main() -> None:
    result = {"closed_form_relative_error": closed_form_error(), "draws": DRAWS}
    result["frechet"] = frechet_race()
    result["coverage"], result["pairs"] = {}, {}
    for family in FAMILIES:
        sharp = sharpness(family)
        rows = {f"n = {n}": coverage(family, sharp, n) for n in (138, 1000)}
        result["coverage"][family] = {"sharp": round(sharp, 3), **rows}
        gain = 1.15 * true_score(family, sharp)
        better = bisect(lambda level, name=family: true_score(name, level), gain, sharp, 200)
        result["pairs"][family] = {
            f"noise shared {shared}": {
                "gain of 15 %": detections(family, sharp, better, shared),
                "no gain": detections(family, sharp, sharp, shared),
            }
            for shared in SHARED
        }
        print(family, result["coverage"][family], result["pairs"][family], flush=True)
    write_result("score_statistics", result)


if __name__ == "__main__":
    main()
