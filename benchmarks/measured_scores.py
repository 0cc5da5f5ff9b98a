"""What was measured of scores, prompt suites and studies?"""

from measured_words import percent, spread


def differences(result: dict) -> list[float]:
    """Return the relative differences of a result's rows."""
    rows = [row for row in result.values() if isinstance(row, dict)]
    return [row["relative_difference"] for row in rows if "relative_difference" in row]


def paired(result: dict, case: str, shared: float) -> str:
    """Return the least and the greatest share of all pairs, with so much shared noise."""
    rows = result["pairs"].values()
    return spread(row[f"noise shared {shared}"][case]["paired"] for row in rows)


ROWS = [
    (
        "prompt_suite",
        "Pairs of words that garments can have: covered by the suites",
        lambda r: ", ".join(
            f"{part} {percent(r['coverage'][part])}"
            for part in ("FB-138 core", "FB-138", "FB-1000 core")
        ),
    ),
    (
        "score_statistics",
        "Inception Score compared with sums of 50 digits: largest relative error",
        lambda r: f"{r['closed_form_relative_error']:.0e}",
    ),
    (
        "peer_scores",
        "All metrics compared with torch-fidelity on the same inputs: largest relative difference",
        lambda r: f"{max(differences(r)):.0e}",
    ),
    (
        "score_statistics",
        "How often the 95 % interval of the Inception Score contains the true score (simulated)",
        lambda r: ", ".join(
            f"{spread(row[n]['coverage'] for row in r['coverage'].values())} at {n[4:]} images"
            for n in ("n = 138", "n = 1000")
        ),
    ),
    (
        "planted_bad",
        "Noise, mud or one image for all prompts beside real images, by four networks: praised",
        lambda r: f"{r['bad_folders_praised']} of {r['bad_folders']}",
    ),
    (
        "planted_bad",
        "Images taken for drawings: fresh flats, clothing photos",
        lambda r: ", ".join(percent(r["looks_drawn"][k]) for k in ("fresh flats", "photographs")),
    ),
    (
        "score_statistics",
        "A gain of 15 % is found with 138 prompts, two systems sharing 4/5 (1/2) of their noise",
        lambda r: f"{paired(r, 'gain of 15 %', 0.8)} ({paired(r, 'gain of 15 %', 0.5)})",
    ),
    (
        "score_statistics",
        "A gain is reported where there is none",
        lambda r: f"{paired(r, 'no gain', 0.8)} ({paired(r, 'no gain', 0.5)})",
    ),
    (
        "score_statistics",
        "Frechet distance of 1,000 x 2,048 features compared with SciPy's matrix root",
        lambda r: (
            f"{r['frechet']['times_as_fast']:.0f} times as fast, relative difference "
            f"{r['frechet']['relative_difference']:.0e}"
        ),
    ),
    (
        "score_whole",
        "`score` of 1,000 images, all metrics, with the networks' outputs in the cache",
        lambda r: (
            f"{r['runs']['cached']['seconds']:.0f} s, {r['runs']['cached']['peak_mb']:,} MB "
            "on two cores"
        ),
    ),
    (
        "score_whole",
        "The same without a cache, in another order, in batches of 7, on one thread: variants in "
        "which any digit differs",
        lambda r: f"{r['different_figures'] - 1} of {len(r['runs'])}",
    ),
    (
        "study_simulator",
        "Study with 5 raters and 138 prompts (simulated): two equal systems are called different",
        lambda r: f"{r['5 raters, 138 prompts']['planted 0.5']['called_different']:.2f}",
    ),
    (
        "study_simulator",
        "The same study, one system preferred in 60 % of pairs: it comes first (and the interval "
        "excludes 1/2)",
        lambda r: (
            f"{r['5 raters, 138 prompts']['planted 0.6']['order']:.3f} "
            f"({r['5 raters, 138 prompts']['planted 0.6']['found']:.2f})"
        ),
    ),
    (
        "study_simulator",
        "How often the 95 % interval of the study contains the truth (and one that takes all votes "
        "as independent)",
        lambda r: (
            f"{spread(row['covered'] for row in r['5 raters, 138 prompts'].values())} "
            f"({spread(row['covered'] for row in r['votes taken as independent'].values())})"
        ),
    ),
    (
        "study_votes",
        "10,000 votes by 8 processes that are killed again and again",
        lambda r: (
            f"{r['lost'] + r['missing']} lost, {r['doubled']} doubled after {r['kills']} kills"
        ),
    ),
]
