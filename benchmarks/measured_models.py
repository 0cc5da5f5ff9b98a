"""What was measured of mini, of its adapter, and of CLIP?"""

from measured_words import accuracy, between, percent, points

SKILLS = {"category_zero_shot": "naming", "aware_recall_at_5": "finding"}


def gains(result: dict, recipe: str, where: str) -> str:
    """Return the gains in points over the pretrained CLIP: naming, then finding."""
    rows = {word: result[recipe][f"{where}, {name}"] for name, word in SKILLS.items()}
    return ", ".join(f"{word} {points(row['gain'], row['gain_95'])}" for word, row in rows.items())


def decoding_costs(rows: dict, check: str) -> str:
    """Return what each wrong decoding costs in points, with its interval."""
    costs = []
    for name, row in list(rows.items())[1:]:
        cost, (low, high) = (row[check][key] for key in ("cost", "cost_95"))
        name = name.split(":")[0].split(",")[0]
        costs.append(f"{name} {100 * cost:.0f} ({100 * low:.0f} to {100 * high:.0f})")
    return "; ".join(costs)


def both(result: dict, key: str, name: str) -> str:
    """Return a share of the base and of the shipped adapter."""
    base, adapter = (percent(result[f"{side}_{key}"][name]) for side in ("base_on", "adapter_on"))
    return f"base {base}, with its adapter {adapter}"


ROWS = [
    (
        "speed",
        "`import tvhelpers`, which does not load torch",
        lambda r: f"{1000 * r['import_seconds']['median']:.1f} ms",
    ),
    (
        "speed",
        "mini generates one image in 20 steps, after loading",
        lambda r: (
            f"{r['generate_one_picture_20_steps_seconds']['median']:.2f} s "  # stable name
            f"(diffusers' own pipeline: {r['stock_pipeline_seconds']['median']:.2f} s)"
        ),
    ),
    (
        "studio",
        "The prompt studio's image and preview after a click on mini",
        lambda r: (
            f"{r['next click, image, seconds']:.2f} and {r['next click, preview, seconds']:.2f} s "
            f"at a load of {r['load']:g} on two cores; with loading "
            f"{r['first click, image, seconds']:.2f} and {r['first click, preview, seconds']:.2f} s"
        ),
    ),
    (
        "mini_autoencoder",
        "mini's autoencoder on photos that it was not trained on: PSNR (higher is better)",
        lambda r: f"{r['photos']['psnr_db_mean']:.1f} dB, {r['photos']['n']} photos",
    ),
    (
        "mini_judge",
        "mini's judge on new flats: accuracy",
        lambda r: f"{accuracy(r['on_fresh_flats'])}; {r['fresh_flats']:,} flats",
    ),
    (
        "mini_judge",
        "The judge and a person look at generated images: same word",
        lambda r: (
            f"{percent(r['agreement_with_the_eye']['words'])}, "
            f"{r['pictures_seen_by_eye']} images"  # stable name
        ),
    ),
    (
        "mini_prompts",
        "mini's images match prompts of combinations that it was trained on, by the judge",
        lambda r: accuracy(r["base_on_seen_triples"]),
    ),
    (
        "mini_prompts",
        "The same for combinations that it was not trained on",
        lambda r: accuracy(r["base_on_unseen_triples"]),
    ),
    (
        "mini_prompts",
        "New garments, category, colour and pattern all correct",
        lambda r: both(r, "new_season", "all"),
    ),
    (
        "mini_prompts",
        "Garments that the base knows, all correct, same seeds",
        lambda r: both(r, "seen_triples", "all"),
    ),
    (
        "mini_prompts",
        "The eight prompts of `make demo`, 20 seeds each: correct",
        lambda r: percent(r["demo_right"]),
    ),
    (
        "mini_prompts",
        "Inception Score of generated flats divided by that of drawn flats (judge's classes)",
        lambda r: f"{r['inception_score']['ratio']:.2f}",
    ),
    (
        "mini_prompts",
        "Median distance to the nearest training flat, in levels of 255",
        lambda r: (
            f"generated {r['nearest_training_flat']['generated']:.1f}, "
            f"validation flats {r['nearest_training_flat']['held_out']:.1f}"
        ),
    ),
    (
        "mini_words",
        "300 prompts as shops write them, with synonyms and fillers, by the judge",
        lambda r: ", ".join(
            f"{name} {percent(r['right'][name]['value'])}" for name in ("category", "colour")
        ),
    ),
    (
        "prompt_suite",
        "Prompts of FB-138 that mini knows the words of: all attributes correct",
        lambda r: "base {}, with its adapter {}".format(
            *(
                percent(r["figures"][name]["atom:all"]["value"])  # stable name
                for name in ("base", "adapter")
            )
        ),
    ),
    (
        "prompt_suite",
        "The same images: nearer to a training flat than 99 % of validation flats are (95 % "
        "interval)",
        lambda r: "base {}, with its adapter {}".format(
            *(between(r["figures"][name]["copying"]) for name in ("base", "adapter"))
        ),
    ),
    (
        "language",
        "Text conditioning compared with class conditioning on the category, equal steps: more "
        "images correct, in points (95 % interval)",
        lambda r: ", ".join(
            f"{name} {points(row['value'], row['ci'])}"
            for name, row in r["paired"]["language against class"].items()
            if name in ("colour", "pattern", "category")
        ),
    ),
    (
        "language",
        "Table 2 of the paper on mini: category, colour and pattern all correct",
        lambda r: "unconditional {}, with text {}, with an adapter {}".format(
            *(percent(row["all"]["value"]) for row in r["table_2_on_mini"]["systems"].values())
        ),
    ),
    (
        "clip_tuning",
        "mini's CLIP, tuned on 2,000 photos, on validation photos: gain over the pretrained CLIP "
        "in naming the category and finding the caption (R@5), in points (95 % interval)",
        lambda r: gains(r, "tuned", "photos"),
    ),
    ("clip_tuning", "The same CLIP on flats", lambda r: gains(r, "tuned", "flats")),
    (
        "clip_tuning",
        "A simple recipe with as many photos: photos; flats",
        lambda r: f"{gains(r, 'naive', 'photos')}; {gains(r, 'naive', 'flats')}",
    ),
    (
        "clip_tuning",
        "Peak memory of CLIP tuning: effective batch size 1,024 compared with 64",
        lambda r: f"{r['peak_mb']['ratio']:.2f} times",
    ),
    (
        "clip_decoding",
        "Photos are decoded wrongly: points that mini's CLIP loses in finding images (R@5)",
        lambda r: decoding_costs(r["pretrained"], "text to image, R@5"),
    ),
    (
        "clip_decoding",
        "The same for the CLIP tuned on photos",
        lambda r: decoding_costs(r["tuned"], "text to image, R@5"),
    ),
    (
        "clip_decoding",
        "The same CLIP in naming the category",
        lambda r: decoding_costs(r["tuned"], "category, zero-shot"),
    ),
]
