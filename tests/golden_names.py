"""What has another name now: goldens compare the older tree's findings under today's names."""

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
}
VALUES: dict[str, dict[str, str]] = {  # {key, by today's name: {old value: value}}
    "start": {"deaf": "unconditional"},
}
ENGLISH = {
    "warnings",
    "event",
    "evidence",
    "faults",
}  # keys whose values are sentences for people, which may be reworded


def today(value, key: str = ""):
    """Return JSON under today's names, without sentences for people."""
    if isinstance(value, dict):
        pairs = ((KEYS.get(key, key), one) for key, one in value.items())
        return {key: today(one, key) for key, one in pairs if key not in ENGLISH}
    if isinstance(value, list):
        return [today(one, key) for one in value]
    return VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value
