"""What was measured of reading, captioning, splitting and converting data?"""

from measured_words import percent

FINE = ("right result", "named error")

ROWS = [
    (
        "photo_intake",
        "A zip of 40 files, 8 of them bad, is taken in by notebook 00",
        lambda r: (
            f"{r['in_the_table']} in the table, {r['named_with_reasons']} named with reasons; "
            "metadata.csv reads back " + ("equal" if r["reads_back_equal"] else "otherwise")
        ),
    ),
    (
        "decode_truth",
        "Photos in the benchmark's format are decoded: largest error of a pixel",
        lambda r: f"{r['worst_difference_in_levels']} of 255 levels, {r['photos']:,} photos",
    ),
    (
        "verdicts",
        "`data inspect` names encoding, axes and channels of files in 6 encodings, 4 axis orders "
        "and 2 channel orders",
        lambda r: (
            f"{r['wrong_and_confident']} of {3 * r['cases']} answers confident and wrong; "
            f"{100 * r['photos_decided']:.0f} % decided on photos"
        ),
    ),
    (
        "broken_inputs",
        "Damaged files, folders, JSON and adapters are read: a crash, over 10 s or 2 GB, or "
        "a wrong result without an error",
        lambda r: f"{sum(n for o, n in r['outcomes'].items() if o not in FINE)} of {r['inputs']:,}",
    ),
    (
        "races",
        "Two commands work on one folder: wrong bytes, or exit status 0 without the result",
        lambda r: (
            f"{r['all']['problems']} in {r['all']['races']} interleavings of {r['all']['pairs']} "
            f"pairs and {r['all']['kills']} kills"
        ),
    ),
    (
        "icc",
        "Photos with an ICC profile become sRGB: largest difference from littleCMS in floating "
        "point, 6 profiles",
        lambda r: (
            f"{max(p['photos']['max_levels'] for p in r['profiles'].values())} of 255 levels on "
            f"{r['photos']} photos, "
            f"{max(p['all colours']['max_levels'] for p in r['profiles'].values())} on all colours"
        ),
    ),
    (
        "captions",
        "New captions for the benchmark's real annotations",
        lambda r: (
            f"{r['distinct_after']:,} different captions (before: {r['distinct_before']:,}); "
            f"{r['rows_that_contradict_their_labels']} contradict their labels; "
            f"{percent(r['rows_that_gain_a_word'])} gain a word of pattern, fabric or cut"
        ),
    ),
    (
        "leakage",
        "`language_original.mat` becomes items, new captions, a split and reports",
        lambda r: f"{r['seconds_items_captions_split_reports']:.0f} s, {r['peak_mb']} MB of memory",
    ),
    (
        "leakage",
        "Leakage: products of the test set that are in the training set too",
        lambda r: (
            f"{r['own']['products']['shared']:,} of {r['own']['products']['different']:,} in the "
            f"benchmark's split; {r['by_product']['products']['shared']} in our split"
        ),
    ),
    (
        "conversion",
        "`data convert`: speed and peak memory",
        lambda r: "; ".join(
            f"{size}: {r[size]['convert_mb_per_s']} MB/s, {r[size]['peak_mb']} MB"
            for size in ("1 GB", "4 GB")
        ),
    ),
    (
        "conversion",
        "Converted images of 128 pixels are read in random order by one process",
        lambda r: f"{r['random_rows_per_second']:,} images a second",
    ),
    (
        "conversion",
        "`data convert` is killed at random moments and repeated: the result",
        lambda r: (
            ("the same bytes" if r["same_bytes_after_kills"] else "other bytes")
            + f" after {r['kills']} kills"
        ),
    ),
    (
        "colour",
        "Colours are named without a network",
        lambda r: "; ".join(
            f"{name}: {percent(r[name]['right_of_not_abstained'])} correct, "
            f"{percent(r[name]['abstained'])} left open"
            for name in ("flats", "photos")
        ),
    ),
    (
        "flats_speed",
        "Flats are drawn on one core",
        lambda r: f"{r['flats_per_second_on_one_core']:.0f} a second",
    ),
]
