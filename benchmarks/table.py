"""Put the table of what was measured, from results/*.json, into docs/measured.md.

python benchmarks/table.py
"""

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "measured.md"
START, END = "<!-- measured: benchmarks/table.py -->\n", "<!-- end of measured -->"


FINE = ("right result", "named error")
OURS, OURS_64 = "ours, checkpointing", "ours, checkpointing, batch 64"  # rows of train_memory


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def sameness(row: dict) -> str:
    return "the same bytes" if row["same_bytes"] else "other bytes"


def accuracy(row: dict) -> str:
    """Return category / colour / pattern in percent."""
    shares = (row[head] for head in ("category", "colour", "pattern"))
    return " / ".join(f"{100 * share:.1f}" for share in shares) + " %"


def spread(shares) -> str:
    """Return the least and the greatest share."""
    shares = sorted(shares)
    return f"{shares[0]:.2f} to {shares[-1]:.2f}"


def differences(result: dict) -> list[float]:
    rows = [row for row in result.values() if isinstance(row, dict)]
    return [row["relative_difference"] for row in rows if "relative_difference" in row]


def paired(result: dict, case: str, shared: float) -> str:
    rows = result["pairs"].values()
    return spread(row[f"noise shared {shared}"][case]["paired"] for row in rows)


def gains(result: dict, recipe: str, where: str) -> str:
    """Return the gains in points over the pretrained CLIP: naming, then finding."""
    rows = (
        result[recipe][f"{where}, {name}"] for name in ("category_zero_shot", "aware_recall_at_5")
    )
    return ", ".join(points(row["gain"], row["gain_95"]) for row in rows)


def points(value: float, ci) -> str:
    return f"{100 * value:+.1f} ({100 * ci[0]:+.1f} to {100 * ci[1]:+.1f})"


def decoding_costs(rows: dict, check: str) -> str:
    """Return what each wrong decoding costs in points, with its interval."""
    costs = []
    for name, row in list(rows.items())[1:]:
        cost, (low, high) = (row[check][key] for key in ("cost", "cost_95"))
        name = name.split(":")[0].split(",")[0]
        costs.append(f"{name} {100 * cost:.0f} ({100 * low:.0f} to {100 * high:.0f})")
    return "; ".join(costs)


def furthest(result: dict, reader: str) -> float:
    """Return the largest difference of a reader's pictures over all cases."""
    rows = result["cases"].values()
    return max(row[key] for row in rows for key in row if key.endswith(reader))


def times(models: dict, unit: str, rival: str) -> str:
    """Return how many times as many images a second, or a CPU second, by model."""
    rows = [row[f"images_per_{unit}"] for row in models.values()]
    ratios = [row[key] for row in rows if (key := f"times_{rival}") in row]
    return ", ".join(f"{ratio:.2f}" for ratio in ratios) + " times"


# (result file, claim, figure of the result)
ROWS = [
    (
        "decode_truth",
        "real photos in the benchmark's format, decoded: worst pixel against the truth",
        lambda r: f"{r['worst_difference_in_levels']} levels, {r['photos']:,} photos",
    ),
    (
        "verdicts",
        "`data inspect`, 6 encodings x 4 axis orders x 2 channel orders x 4 sets: wrong and sure",
        lambda r: (
            f"{r['wrong_and_confident']} of {3 * r['cases']}; decided on photos: "
            f"{100 * r['photos_decided']:.0f} %"
        ),
    ),
    (
        "broken_inputs",
        "mutated files through every reader: crash, hang, or wrong result passed on",
        lambda r: f"{sum(n for o, n in r['outcomes'].items() if o not in FINE)} of {r['inputs']:,}",
    ),
    (
        "captions",
        "new captions of the real annotations: different ones (before), contradicting their labels",
        lambda r: (
            f"{r['distinct_after']:,} ({r['distinct_before']:,}), "
            f"{r['rows_that_contradict_their_labels']}"
        ),
    ),
    (
        "captions",
        "the same: rows that gain a word of pattern, fabric or cut",
        lambda r: percent(r["rows_that_gain_a_word"]),
    ),
    (
        "leakage",
        "`language_original.mat` to items, new captions, split and reports",
        lambda r: f"{r['seconds_items_captions_split_reports']:.0f} s, {r['peak_mb']} MB",
    ),
    (
        "leakage",
        "test products that are in training too: the benchmark's split, ours",
        lambda r: (
            f"{r['own']['products']['shared']:,} of {r['own']['products']['different']:,}, "
            f"{r['by_product']['products']['shared']}"
        ),
    ),
    (
        "conversion",
        "`data convert`, 1 GB and 4 GB of input: speed, peak memory",
        lambda r: "; ".join(
            f"{r[size]['convert_mb_per_s']} MB/s, {r[size]['peak_mb']} MB"
            for size in ("1 GB", "4 GB")
        ),
    ),
    (
        "conversion",
        "converted images read in random order, 128 px, one process",
        lambda r: f"{r['random_rows_per_second']:,} a second",
    ),
    (
        "conversion",
        "the same bytes after SIGKILLs at random moments",
        lambda r: f"{r['kills']} kills" if r["same_bytes_after_kills"] else "other bytes",
    ),
    (
        "real_photo_adapter",
        "adapter on 2,000 real photos, held-out fixed-noise loss against the base's",
        lambda r: f"{percent(r['reduction'])} lower, {r['minutes']:.0f} minutes on two cores",
    ),
    (
        "adapter_round_trip",
        "pictures from an adapter's two files by stock diffusers, by kohya's scripts, beside the "
        "trained model's: furthest pixel, of 0..1",
        lambda r: f"{furthest(r, 'stock diffusers'):.1g}, {furthest(r, 'scripts'):.1g}",
    ),
    (
        "adapter_round_trip",
        "a blend of two adapters beside both at once: furthest pixel, of 0..1",
        lambda r: f"{max(r['blend']['diffusers names'], r['blend']['kohya names']):.1g}",
    ),
    (
        "train_throughput",
        "LoRA, images a CPU second beside diffusers' script: SD 1.5 in small, mini",
        lambda r: times(r["models"], "cpu_second", "diffusers"),
    ),
    (
        "train_throughput",
        "step losses beside it, fed the same random numbers: largest difference",
        lambda r: f"{r['losses']['largest_difference']:.0e}, {r['losses']['steps']} steps",
    ),
    (
        "train_throughput",
        "images a second beside the paper's way (all weights, no cache): SD 1.5 in small",
        lambda r: times(r["models"], "second", "paper"),
    ),
    (
        "train_memory",
        "memory at batch 8 beside it, SD 1.5 in small, both without the libraries' own",
        lambda r: f"{percent(r['share_of_paper'])}, {r[OURS]['training_mb']:.0f} MB",
    ),
    (
        "train_throughput_gpu",
        "SD 1.5, 512 px, bfloat16, batch 8, images a second beside diffusers' script",
        lambda r: f"{times(r['models'], 'second', 'diffusers')} on {r['gpu']}",
    ),
    (
        "train_throughput_gpu",
        "there: share of the matrix peak, minutes of 50,000 image-steps with the cache",
        lambda r: "; ".join(
            f"{percent(row['share_of_matrix_peak']['ours'])}, "
            f"{row['minutes_of_50,000_image_steps_at_this_rate']:.1f}"
            for row in r["models"].values()
        ),
    ),
    (
        "train_memory_gpu",
        "there, with checkpointing: memory at batch 8, at batch 64",
        lambda r: ", ".join(f"{r[k]['training_mb'] / 1000:.1f} GB" for k in (OURS, OURS_64)),
    ),
    (
        "training_faults",
        "SIGKILL at random moments, the same command again: adapter; training lost at a kill",
        lambda r: (
            f"{r['killed']['plain']['kills']} kills, {sameness(r['killed']['plain'])}; at most "
            f"{r['killed']['plain']['seconds_lost_at_most']} s, a checkpoint every "
            f"{r['killed']['plain']['configured_seconds']} s"
        ),
    ),
    (
        "training_faults",
        "the same with accumulation; on two processes",
        lambda r: "; ".join(sameness(r["killed"][name]) for name in ("accumulation", "processes")),
    ),
    (
        "training_faults",
        "full disk; mirror that cannot be written; newest checkpoint damaged",
        lambda r: "; ".join(
            sameness(r["faults"][name])
            for name in ("full_disk", "unwritable_mirror", "damaged_newest_checkpoint")
        ),
    ),
    (
        "training_faults",
        "two processes beside one; memory that runs out, beside enough: largest loss difference",
        lambda r: (
            f"{r['two_processes_beside_one']:.0e}; "
            f"{r['faults']['memory']['largest_loss_difference']:.0e}"
        ),
    ),
    (
        "training_faults",
        "gradient norm over the limit before, after clipping",
        lambda r: (
            f"{r['clipping']['over_the_limit_before']} of {r['clipping']['steps']} steps, "
            f"{r['clipping']['over_the_limit_after']}"
        ),
    ),
    (
        "speed",
        "`import tvhelpers`, torch not loaded",
        lambda r: f"{1000 * r['import_seconds']['median']:.1f} ms",
    ),
    (
        "speed",
        "one picture of 20 steps on mini, after loading (stock pipeline beside it)",
        lambda r: (
            f"{r['generate_one_picture_20_steps_seconds']['median']:.2f} s "
            f"({r['stock_pipeline_seconds']['median']:.2f} s)"
        ),
    ),
    (
        "notebooks",
        "notebooks 01 to 06 on mini, preset smoke: first run, second run",
        lambda r: (
            f"{r['first_run_total']:.0f} s, {r['second_run_total']:.0f} s together on two cores"
        ),
    ),
    (
        "notebooks",
        "each notebook killed three times and run again: artefacts that differ",
        lambda r: f"{len(r['different_after_kills'])} of {r['artefacts']}",
    ),
    (
        "flats_speed",
        "flats drawn on one core",
        lambda r: f"{r['flats_per_second_on_one_core']:.0f} a second",
    ),
    (
        "mini_autoencoder",
        "autoencoder of mini on photos it has not seen, PSNR",
        lambda r: f"{r['photos']['psnr_db_mean']:.1f} dB, {r['photos']['n']} photos",
    ),
    (
        "mini_judge",
        "judge on fresh flats: category / colour / pattern right",
        lambda r: f"{accuracy(r['on_fresh_flats'])}, {r['fresh_flats']:,} flats",
    ),
    (
        "mini_judge",
        "judge and an eye on generated pictures: same word",
        lambda r: (
            f"{percent(r['agreement_with_the_eye']['words'])}, {r['pictures_seen_by_eye']} pictures"
        ),
    ),
    (
        "mini_prompts",
        "mini on combinations it has seen: category / colour / pattern right, by the judge",
        lambda r: accuracy(r["base_on_seen_triples"]),
    ),
    (
        "mini_prompts",
        "the same on combinations it has never seen",
        lambda r: accuracy(r["base_on_unseen_triples"]),
    ),
    (
        "mini_prompts",
        "new season, all three right: base, with the shipped adapter",
        lambda r: (
            f"{percent(r['base_on_new_season']['all'])}, "
            f"{percent(r['adapter_on_new_season']['all'])}"
        ),
    ),
    (
        "mini_prompts",
        "old concepts, all three right, same seeds: base, with the shipped adapter",
        lambda r: (
            f"{percent(r['base_on_seen_triples']['all'])}, "
            f"{percent(r['adapter_on_seen_triples']['all'])}"
        ),
    ),
    (
        "mini_prompts",
        "the demo's eight prompts, 20 seeds each, right",
        lambda r: percent(r["demo_right"]),
    ),
    (
        "mini_prompts",
        "Inception Score on the judge's classes: generated / drawn flats, equal number",
        lambda r: f"{r['inception_score']['ratio']:.2f}",
    ),
    (
        "mini_prompts",
        "median distance to the nearest training flat: generated, held-out flats",
        lambda r: (
            " / ".join(
                f"{r['nearest_training_flat'][name]:.1f}" for name in ("generated", "held_out")
            )
            + " levels RMS"
        ),
    ),
    (
        "prompt_suite",
        "pairs of words that garments can show, covered: FB-138's core, FB-138, FB-1000's core",
        lambda r: ", ".join(
            percent(r["coverage"][part]) for part in ("FB-138 core", "FB-138", "FB-1000 core")
        ),
    ),
    (
        "prompt_suite",
        "FB-138 within mini's words, all atoms right: base, with the shipped adapter",
        lambda r: ", ".join(
            percent(r["figures"][name]["atom:all"]["value"]) for name in ("base", "adapter")
        ),
    ),
    (
        "prompt_suite",
        "the same pictures nearer to a training flat than 99 % of held-out flats: base, adapter",
        lambda r: ", ".join(
            "{:.1f} % (95 % {:.1f} to {:.1f})".format(
                *(100 * x for x in (row["value"], *row["ci"]))
            )
            for row in (r["figures"][name]["copying"] for name in ("base", "adapter"))
        ),
    ),
    (
        "colour",
        "colour named without a network: right of those named, abstained; flats, real photos",
        lambda r: "; ".join(
            f"{percent(r[name]['right_of_not_abstained'])}, {percent(r[name]['abstained'])}"
            for name in ("flats", "photos")
        ),
    ),
    (
        "score_statistics",
        "95 % interval of the Inception Score, three families: coverage at 138, at 1,000 images",
        lambda r: ", ".join(
            spread(row[n]["coverage"] for row in r["coverage"].values())
            for n in ("n = 138", "n = 1000")
        ),
    ),
    (
        "score_statistics",
        "paired at 138 prompts, 4/5 (1/2) of two systems' noise in common: a gain of 15 % found",
        lambda r: f"{paired(r, 'gain of 15 %', 0.8)} ({paired(r, 'gain of 15 %', 0.5)})",
    ),
    (
        "score_statistics",
        "the same with no gain: called different",
        lambda r: f"{paired(r, 'no gain', 0.8)} ({paired(r, 'no gain', 0.5)})",
    ),
    (
        "peer_scores",
        "torch-fidelity on the same inputs, every figure: largest relative difference",
        lambda r: f"{max(differences(r)):.0e}",
    ),
    (
        "score_statistics",
        "Frechet distance, 1,000 x 2,048 features, beside SciPy's matrix root: difference, speed",
        lambda r: (
            f"{r['frechet']['relative_difference']:.0e}, {r['frechet']['times_as_fast']:.0f} times"
        ),
    ),
    (
        "clip_tuning",
        "mini's CLIP tuned on 2,000 real photos; held-out photos, points over the pretrained one: "
        "category zero-shot, caption-aware R@5",
        lambda r: gains(r, "tuned", "photos"),
    ),
    ("clip_tuning", "the same CLIP on flats", lambda r: gains(r, "tuned", "flats")),
    (
        "clip_tuning",
        "the naive recipe, as many photos seen: photos; flats",
        lambda r: f"{gains(r, 'naive', 'photos')}; {gains(r, 'naive', 'flats')}",
    ),
    (
        "clip_tuning",
        "peak memory of CLIP tuning, effective batch of 1,024 against 64",
        lambda r: f"{r['peak_mb']['ratio']:.2f} times",
    ),
    (
        "clip_decoding",
        "wrong decodings of real photos, caption-aware R@5 of mini's CLIP: points lost",
        lambda r: decoding_costs(r["pretrained"], "text to image, R@5"),
    ),
    (
        "clip_decoding",
        "the same for the CLIP that was tuned on photos",
        lambda r: decoding_costs(r["tuned"], "text to image, R@5"),
    ),
    (
        "clip_decoding",
        "the same CLIP's category zero-shot: points lost",
        lambda r: decoding_costs(r["tuned"], "category, zero-shot"),
    ),
    (
        "language",
        "sentences against classes, told the category alone, at equal steps from one start, points "
        "right by the judge: colour, pattern, category",
        lambda r: ", ".join(
            points(row["value"], row["ci"])
            for row in (
                r["paired"]["language against class"][name]
                for name in ("colour", "pattern", "category")
            )
        ),
    ),
    (
        "language",
        "Table 2 on mini, category, colour and pattern right: told nothing, + CLIP, + adapter",
        lambda r: ", ".join(
            percent(row["all"]["value"]) for row in r["table_2_on_mini"]["systems"].values()
        ),
    ),
    (
        "study_simulator",
        "human study, 5 raters, 138 prompts: two equal systems called different; a share of .6 put "
        "in order (with an interval clear of 1/2)",
        lambda r: (
            f"{r['5 raters, 138 prompts']['planted 0.5']['called_different']:.2f}; "
            f"{r['5 raters, 138 prompts']['planted 0.6']['order']:.3f} "
            f"({r['5 raters, 138 prompts']['planted 0.6']['found']:.2f})"
        ),
    ),
    (
        "study_simulator",
        "95 % interval of the study: coverage (of votes taken as independent)",
        lambda r: (
            f"{spread(row['covered'] for row in r['5 raters, 138 prompts'].values())} "
            f"({spread(row['covered'] for row in r['votes taken as independent'].values())})"
        ),
    ),
    (
        "study_votes",
        "10,000 votes cast by 8 processes at once, one after another killed: lost, doubled",
        lambda r: f"{r['lost'] + r['missing']}, {r['doubled']}; {r['kills']} kills",
    ),
    (
        "score_whole",
        "`score` of 1,000 pictures, all figures, network rows in the cache: time, peak memory",
        lambda r: (
            f"{r['runs']['cached']['seconds']:.0f} s, {r['runs']['cached']['peak_mb']:,} MB "
            "on two cores"
        ),
    ),
    (
        "score_whole",
        "the same with an empty and a full cache, in another order, in batches of 7, on a thread: "
        "variants in which a figure differs",
        lambda r: f"{r['different_figures'] - 1} of {len(r['runs'])}",
    ),
    (
        "score_statistics",
        "Inception Score against 50-digit sums: largest relative error",
        lambda r: f"{r['closed_form_relative_error']:.0e}",
    ),
]


def table() -> str:
    """Return the Markdown table."""
    lines = ["| what | measured | program |", "|---|---|---|"]
    for name, claim, figure in ROWS:
        if not (RESULTS / f"{name}.json").exists():
            continue
        result = json.loads((RESULTS / f"{name}.json").read_text())
        program = name.removesuffix("_gpu")
        lines.append(f"| {claim} | {figure(result)} | `{program}.py` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table between its marks in docs/measured.md."""
    text = DOCUMENT.read_text()
    before, rest = text.split(START)
    DOCUMENT.write_text(before + START + table() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
