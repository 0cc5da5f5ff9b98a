"""What was measured of training, and of its adapters in other programs?"""

from measured_words import percent, sameness

OURS = "ours, checkpointing"  # a row of train_memory


def predicted(rows: dict) -> str:
    """Return the presets with their predicted memory."""
    own = {name: row["predicted_gb"] for name, row in rows.items() if "available_gb" in row}
    return ", ".join(f"{name} {size:.1f} GB" for name, size in own.items())


def shares(rows: dict) -> list[float]:
    """Return the predicted shares of what was measured."""
    measured = [row for row in rows.values() if "measured_gb" in row]
    return [row["predicted_gb"] / row["measured_gb"] for row in measured]


def furthest(result: dict, program: str) -> float:
    """Return the largest difference of a program's images over all cases."""
    rows = result["cases"].values()
    return max(row[key] for row in rows for key in row if key.endswith(program))


def times(models: dict, unit: str, rival: str) -> str:
    """Return how many times as many images a second, or a CPU second, by model."""
    rows = [row[f"images_per_{unit}"] for row in models.values()]
    ratios = [row[key] for row in rows if (key := f"times_{rival}") in row]
    return ", ".join(f"{ratio:.2f}" for ratio in ratios) + " times as many"


ROWS = [
    (
        "sdxl_full",
        "Stable Diffusion XL's whole architecture on a CPU, 128 pixels: a training of one step, "
        "freed, and an image by the adapter in two steps: highest resident memory",
        lambda r: f"{r['train']['peak_gb']:.1f} and {r['generate']['peak_gb']:.1f} GB",
    ),
    (
        "real_photo_adapter",
        "An adapter is trained on 2,000 photos: validation loss compared with the base's",
        lambda r: f"{percent(r['reduction'])} lower, {r['minutes']:.0f} minutes on two cores",
    ),
    (
        "drive_copy",
        "Copying from a made-up Drive of 10 MB a second that fails five times and unmounts once",
        lambda r: (
            f"{r['megabytes']:.0f} MB, hash {'right' if r['hash_is_right'] else 'WRONG'}, "
            f"{percent(r['read_again_share'])} read again, the bar moves at least every "
            f"{r['longest_pause_of_the_bar_seconds']:.1f} s"
        ),
    ),
    (
        "small_data",
        "30 photos, mini: how much lower the loss of the kept adapter is than the last "
        "step's, on 200 photos that neither training nor selection saw",
        lambda r: (
            f"{r['mean_gain']:.2%} (95 % interval {r['ci'][0]:.2%} to {r['ci'][1]:.2%}, "
            f"{r['seeds']} trainings)"
        ),
    ),
    (
        "adapter_round_trip",
        "Images by an adapter's files in other programs, compared with the trained model's: "
        "largest difference of a pixel (0 to 1)",
        lambda r: (
            f"diffusers {furthest(r, 'stock diffusers'):.1g}, "
            f"kohya's scripts {furthest(r, 'scripts'):.1g}"
        ),
    ),
    (
        "adapter_round_trip",
        "A blend of two adapters compared with both adapters together: the same difference",
        lambda r: f"{max(r['blend']['diffusers names'], r['blend']['kohya names']):.1g}",
    ),
    (
        "train_throughput",
        "LoRA training compared with diffusers' script: images in a CPU second, for a small "
        "Stable Diffusion 1.5 and for mini",
        lambda r: times(r["models"], "cpu_second", "diffusers"),
    ),
    (
        "train_throughput",
        "The losses of both with the same random numbers: largest difference",
        lambda r: f"{r['losses']['largest_difference']:.0e} over {r['losses']['steps']} steps",
    ),
    (
        "train_throughput",
        "LoRA training compared with the paper's (all weights, no cache): images in a second, for "
        "a small Stable Diffusion 1.5",
        lambda r: times(r["models"], "second", "paper"),
    ),
    (
        "train_memory",
        "The same two at batch size 8: memory, without that of the libraries",
        lambda r: f"{r[OURS]['training_mb']:.0f} MB, {percent(r['share_of_paper'])} of the paper's",
    ),
    (
        "sdxl_memory",
        "Memory that is predicted for a LoRA step of Stable Diffusion XL at 1024 px with each "
        "preset; and what the same predicts of that measured for Stable Diffusion 1.5 on an H200",
        lambda r: f"{predicted(r['rows'])}; {', '.join(map(percent, shares(r['rows'])))}",
    ),
    (
        "training_failures",
        "A training is killed at random moments and resumed: its adapter",
        lambda r: (
            f"{sameness(r['killed']['plain'])} after {r['killed']['plain']['kills']} kills; a kill "
            f"cost at most {r['killed']['plain']['seconds_lost_at_most']} s, with a checkpoint "
            f"every {r['killed']['plain']['configured_seconds']} s"
        ),
    ),
    (
        "training_failures",
        "The same with gradient accumulation, and with two processes",
        lambda r: ", ".join(sameness(r["killed"][name]) for name in ("accumulation", "processes")),
    ),
    (
        "training_failures",
        "A full disk, a mirror that cannot be written, a damaged checkpoint: the adapter",
        lambda r: ", ".join(
            sameness(r["faults"][name])  # stable name
            for name in ("full_disk", "unwritable_mirror", "damaged_newest_checkpoint")
        ),
    ),
    (
        "training_failures",
        "Two processes compared with one, and too little memory with enough: largest difference "
        "of the losses",
        lambda r: (
            f"{r['two_processes_beside_one']:.0e}, "
            f"{r['faults']['memory']['largest_loss_difference']:.0e}"  # stable name
        ),
    ),
    (
        "training_failures",
        "Gradient norm over the limit, before and after clipping",
        lambda r: (
            f"{r['clipping']['over_the_limit_before']} and "
            f"{r['clipping']['over_the_limit_after']} of {r['clipping']['steps']} steps"
        ),
    ),
    (
        "notebooks",
        "Notebooks on mini with the preset smoke, together, on two cores",
        lambda r: (
            f"{r.get('notebooks', '01 to 06')}: first run {r['first_run_total']:.0f} s, second run "
            f"{r['second_run_total']:.0f} s"
        ),
    ),
    (
        "notebooks",
        "Each notebook is killed three times and run again: files that differ",
        lambda r: f"{len(r['different_after_kills'])} of {r['artefacts']}",
    ),
]
