import dataclasses

import pytest

from tests.helpers import refused
from tvhelpers.config import (
    CHOICES,
    RANGES,
    REGION_WEIGHTS,
    TrainConfig,
    build_config,
    from_settings,
    parse_settings,
)
from tvhelpers.presets import PRESETS
from tvhelpers.train.clip_settings import CLIP_CHOICES, CLIP_RANGES, ClipTuning

CLIP = CLIP_CHOICES, CLIP_RANGES


OWN = ("lora", "method", "sdxl")


def test_presets_are_rows_of_differences():
    for name, row in PRESETS.items():
        common = {key: value for key, value in row.items() if key not in OWN}
        for method, wanted in (("lora", {**common, **row.get("lora", {})}), ("full", common)):
            config = build_config(name, method=method)
            for key, value in wanted.items():
                assert getattr(config, key) == value != getattr(TrainConfig(), key), (name, key)
        for method in ("lora", "full"):
            larger = {**row, **row.get("sdxl", {}), "base": "sdxl"}
            larger |= larger.get("lora", {}) if method == "lora" else {}
            config = vars(build_config(name, method=method, base="sdxl"))
            assert all(config[key] == larger[key] for key in {*larger} - {*OWN}), name
    methods = [build_config("paper").method, build_config("paper", method="lora").method]
    assert methods == ["full", "lora"]  # what is asked for wins


def test_what_is_an_adapter_s_own_in_a_preset_is_for_no_other_method():
    for preset in ("cpu", "t4", "l4", "a100", "h100"):
        lora, full = build_config(preset), build_config(preset, method="full")
        assert lora.learning_rate > full.learning_rate and lora.base == full.base
        assert lora.steps == 0 < full.steps
    assert build_config("cpu", learning_rate=1e-5).learning_rate == 1e-5


def test_text_becomes_the_fields_type():
    config = build_config(
        "cpu", **parse_settings(["steps=7", "learning_rate=1e-4", "flip=false", "base=a=b"])
    )
    assert (config.steps, config.learning_rate, config.flip, config.base) == (7, 1e-4, False, "a=b")


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        ("unknown-key", {"step": "7"}),
        ("wrong-type", {"steps": "many"}),
        ("wrong-type", {"steps": 1.5}),
        ("wrong-type", {"flip": "maybe"}),
        ("wrong-type", {"flip": 1}),
        ("out-of-range", {"steps": "-5"}),
        ("out-of-range", {"steps": 0, "method": "full"}),
        ("out-of-range", {"held_out": 0.6}),
        ("out-of-range", {"eval_steps": -2}),
        ("out-of-range", {"learning_rate": "nan"}),
        ("out-of-range", {"resolution": "100"}),
        ("out-of-range", {"ema_decay": 1.0}),
        ("out-of-range", dict.fromkeys(REGION_WEIGHTS, 0)),
        ("unknown-choice", {"method": "lara"}),
        ("unknown-choice", {"device": "gpu"}),
        ("unknown-choice", {"prediction": "sample"}),
        ("unknown-choice", {"optimizer": "sgd"}),
        ("not-for-method", {"method": "full", "dora": "true"}),
        ("not-for-method", {"method": "baseline", "keep": "best"}),
        ("not-for-method", {"text_learning_rate": "5e-5"}),
        ("not-for-method", {"classes": "category"}),
        ("not-for-method", {"start": "unconditional"}),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_said_in_one_sentence(code, settings):
    with refused(code) as caught:
        build_config(**settings)
    said = str(caught.value)
    assert any(key in said for key in settings) and "\n" not in said


def test_former_names_are_accepted():
    for start in ("deaf", "unconditional"):  # stable name
        assert build_config(method="full", start=start).start == "unconditional"
    pairs = parse_settings(["forgotten=0.2"])
    assert from_settings(ClipTuning, pairs) == ClipTuning(max_accuracy_drop=0.2)


def test_choices_and_ranges_are_of_settings():
    for kind, choices, ranges in ((TrainConfig, CHOICES, RANGES), (ClipTuning, *CLIP)):
        fields = {field.name: field for field in dataclasses.fields(kind)}
        numbers = {key for keys in ranges for key in keys.split()}
        assert {*choices} <= {name for name, field in fields.items() if field.type is str}
        assert numbers <= {name for name, field in fields.items() if field.type in (int, float)}
        for key, words in choices.items():
            for word in words:
                kind(**{key: word}, **({"method": "full"} if key == "start" else {}))


def test_no_steps_are_needed_where_epochs_are_given():
    assert build_config(method="full", steps=0, epochs=1).steps == 0


def test_unknown_preset_and_malformed_settings():
    with refused("unknown-choice"):
        build_config("h200")
    for code, pairs in (("usage", ["steps"]), ("usage", ["=3"]), ("given-twice", ["a=1", "a=2"])):
        with refused(code):
            parse_settings(pairs)


def test_a_tuning_s_share_is_one_or_what_does_best():
    assert (ClipTuning().share, ClipTuning(share=0.5).share) == (-1, 0.5)
    for settings in ({"share": 1.5}, {"share": -0.5}, {"rank": 0}, {"max_accuracy_drop": 2}):
        with refused("out-of-range"):
            ClipTuning(**settings)
