"""How are votes turned into intervals, preference scores and agreement?  Arrays in, numbers out.

A vote is one of outcomes 0 (the first system), 1 (no difference), 2 (the second).  Votes of one
rater resemble each other, and so do votes on one prompt: every interval here resamples both.
"""

import numpy as np

DRAWS = 2000  # of a bootstrap
RIDGE = 0.01  # keeps scores finite where one system always won; else it moves no digit shown


def resampled_weights(raters, prompts, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each vote counts (draws, N) when raters and prompts (N,), numbers from 0,
    are both resampled: the pigeonhole bootstrap (Owen 2007)."""
    rng = np.random.default_rng(seed)

    def counts(members):
        size = int(members.max()) + 1
        drawn = rng.multinomial(size, np.full(size, 1 / size), draws)
        return drawn.astype(np.float32)[:, members]  # whole numbers, exact in half the memory

    return counts(np.asarray(raters)) * counts(np.asarray(prompts))


def weighted_mean(values, weights) -> np.ndarray:
    """Return the mean (draws,) of values (N,) under each row of weights; NaN where none counts."""
    total = weights.sum(1, dtype=np.float64)
    return np.divide(weights @ values, total, np.full(len(weights), np.nan), where=total > 0)


def interval(draws) -> list[float]:
    """Return the 95 % percentile interval of bootstrap draws; NaN among them are ignored."""
    return np.nanquantile(draws, (0.025, 0.975)).tolist()


def bootstrap_p(draws, null: float) -> float:
    """Return the two-sided p-value of `null`, from the share of bootstrap draws beyond it."""
    draws = draws[np.isfinite(draws)]
    beyond = min((draws <= null).sum(), (draws >= null).sum())
    return min(1.0, 2 * (int(beyond) + 1) / (len(draws) + 1))


def holm(p_values) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the order given."""
    order, count = np.argsort(p_values), len(p_values)
    scaled = np.minimum(1.0, (count - np.arange(count)) * np.asarray(p_values)[order])
    return np.maximum.accumulate(scaled)[np.argsort(order)].tolist()  # stable name: numpy's


def davidson(counts, pairs, num_systems: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores as log odds (draws, S) that sum to 0, and the log of the tie factor (draws,).

    Bradley-Terry with ties (Davidson 1970) by Newton's method.  counts (draws, P, 3) are outcomes
    of each of the `pairs` (P, 2) of systems; P(first) : P(tie) : P(second) =
    s_first : v * sqrt(s_first * s_second) : s_second.
    """
    counts = np.asarray(counts, np.float64)
    design = _davidson_design(pairs, num_systems)
    totals, beta = counts.sum(2), np.zeros((len(counts), num_systems + 1))
    for _ in range(60):
        logits = np.einsum("poc,bc->bpo", design, beta)
        probs = np.exp(logits - logits.max(2, keepdims=True))
        probs /= probs.sum(2, keepdims=True)
        expected = probs * totals[..., None]
        means = np.einsum("bpo,poc->bpc", probs, design)
        slope = np.einsum("bpo,poc->bc", counts - expected, design) - RIDGE * beta
        curve = np.einsum("bpo,poc,pod->bcd", expected, design, design, optimize=True)
        curve -= np.einsum("bp,bpc,bpd->bcd", totals, means, means, optimize=True)
        curve += RIDGE * np.eye(num_systems + 1)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        beta += step / np.maximum(1, np.abs(step).max(1, keepdims=True))  # at most 1 at a time
        if np.abs(step).max() < 1e-10:
            break
    return beta[:, :-1], beta[:, -1]


def _davidson_design(pairs, num_systems: int) -> np.ndarray:
    """Return the weight of each parameter in the log odds (P, 3, S + 1) of each outcome."""
    design = np.zeros((len(pairs), 3, num_systems + 1))
    for row, (first, second) in zip(design, pairs, strict=True):
        row[0, first] = row[2, second] = 1
        row[1, [first, second]] = 0.5
        row[1, -1] = 1
    return design


def krippendorff_alpha(table, level: str = "nominal") -> float:
    """Return Krippendorff's alpha of a table (raters, units) with NaN where a rater gave no answer.

    1 is agreement, 0 chance; NaN where there is nothing to agree on.  `level`: "nominal",
    "ordinal" or "interval" (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").
    """
    table = np.asarray(table, np.float64)
    values = np.unique(table[~np.isnan(table)])
    counts = (table[:, :, None] == values).sum(0)  # (units, values)
    counts = counts[counts.sum(1) > 1].astype(np.float64)
    pairs = np.einsum("uc,uk->uck", counts, counts)
    pairs[:, range(len(values)), range(len(values))] -= counts
    observed = (pairs / (counts.sum(1) - 1)[:, None, None]).sum(0)
    totals = observed.sum(0)
    distance = _distances(values, totals, level)
    expected = (np.outer(totals, totals) * distance).sum()
    if not expected:
        return float("nan")
    return float(1 - (totals.sum() - 1) * (observed * distance).sum() / expected)


def _distances(values: np.ndarray, totals: np.ndarray, level: str) -> np.ndarray:
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "ordinal":  # by how many answers lie between two
        values = np.cumsum(totals) - totals / 2
    return np.subtract.outer(values, values) ** 2
