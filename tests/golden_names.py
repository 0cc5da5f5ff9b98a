"""What has another name now: goldens compare the older tree's findings under today's names."""

import re

KEYS: dict[str, str] = {  # {old key of a JSON object: key}
    "strength": "lora_scale",
    "strengths": "preference_scores",  # analysis.json of a study
    "log_strength": "log_odds",
    "less_real": "difference_from_real",
    "less_real_ci": "difference_from_real_ci",
    "held_out": "validation",
    "held_out_items": "validation_items",
    "forgotten": "max_accuracy_drop",
    "held_out_loss": "validation_loss",
    "reader": "attribute_classifier",  # metrics.json
    "known": "calibration",
    "left_out": "skipped",
    "n_known": "n_calibration",
    "right_where_named": "accuracy_where_named",
    "median_held_out": "median_validation",
    "nearer_than_held_out": "nearer_than_validation",
    "n_held_out": "n_validation",
    "held_out_as_near": "validation_as_near",
    "picture": "image",
    "atom.png": "attribute.png",  # of the figures beside it
}
VALUES: dict[str, dict[str, str]] = {  # {key, by today's name: {old value: value}}
    "start": {"deaf": "unconditional"},
    "base": dict.fromkeys(("base", "inputs/base"), "base (folder)"),  # of an image
    "name": {
        f"atom:{name}{end}": f"attribute:{name}{end}"
        for name in "category colour pattern sleeve neckline fabric length waist all".split()
        for end in ("", ", difference")
    },
    "chosen": {"its weights are at hand": "its weights were found"},
    "calibration": {"flats drawn anew": "fresh flats"},
}
# Keys whose values are sentences for people, which may be reworded.
NUMBERED = {"event", "faults"}  # their numbers are compared
COUNTED = {"evidence", "notes"}  # there are as many as before
ENGLISH = {*NUMBERED, *COUNTED, "warnings", "card"}


def _of_sentences(key: str, value):
    """Return what is compared of a sentence, or of a list of sentences."""
    if key in COUNTED:
        return len(value) if isinstance(value, list) else None
    if key not in NUMBERED | {"method"}:
        return None
    sentences = value if isinstance(value, list) else [value]
    return [re.findall(r"\d+(?:[.,]\d+)*", str(sentence)) for sentence in sentences]


def today(value, key: str = ""):
    """Return JSON under today's names, without the words of sentences for people."""
    if isinstance(value, dict):
        pairs = ((KEYS.get(key, key), one) for key, one in value.items())
        english = ENGLISH | {"method"} if "ci" in value else ENGLISH  # how a figure was computed
        return {
            key: _of_sentences(key, one) if key in english else today(one, key)
            for key, one in pairs
        }
    if isinstance(value, list):
        return [today(one, key) for one in value]
    return VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value
