import pytest

from tvhelpers.config import (
    PRESETS,
    REGION_WEIGHTS,
    InputError,
    TrainConfig,
    build_config,
    parse_settings,
)


def test_presets_are_rows_of_differences():
    for name, row in PRESETS.items():
        common = {key: value for key, value in row.items() if key not in ("lora", "method")}
        for method, wanted in (("lora", {**common, **row.get("lora", {})}), ("full", common)):
            config = build_config(name, method=method)
            for key, value in wanted.items():
                assert getattr(config, key) == value != getattr(TrainConfig(), key), (name, key)
    methods = [build_config("paper").method, build_config("paper", method="lora").method]
    assert methods == ["full", "lora"]  # what is asked for wins


def test_what_is_an_adapter_s_own_in_a_preset_is_for_no_other_method():
    for preset in ("cpu", "t4", "l4", "a100", "h100"):
        lora, full = build_config(preset), build_config(preset, method="full")
        assert lora.learning_rate > full.learning_rate and lora.steps == full.steps
    assert build_config("cpu", learning_rate=1e-5).learning_rate == 1e-5


def test_text_becomes_the_fields_type():
    config = build_config(
        "cpu", **parse_settings(["steps=7", "learning_rate=1e-4", "flip=false", "base=a=b"])
    )
    assert (config.steps, config.learning_rate, config.flip, config.base) == (7, 1e-4, False, "a=b")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"step": "7"}, "unknown key 'step'"),
        ({"steps": "many"}, "steps takes int, not 'many'"),
        ({"steps": "-5"}, "steps is -5"),
        ({"steps": 1.5}, "steps takes int"),
        ({"flip": "maybe"}, "true or false"),
        ({"learning_rate": "nan"}, "learning_rate is nan"),
        ({"method": "lara"}, "unknown method 'lara'; choose one of lora"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"resolution": "100"}, "multiple of 8"),
        ({"prediction": "sample"}, "unknown prediction 'sample'"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'; choose one of adamw, adam, adamw8bit"),
        ({"method": "full", "dora": "true"}, "dora is for method lora, not for full"),
        ({"text_learning_rate": "5e-5"}, "text_learning_rate is for text_rank above 0"),
        (dict.fromkeys(REGION_WEIGHTS, 0), "are all 0"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        build_config(**settings)


def test_unknown_preset_and_malformed_settings():
    with pytest.raises(InputError, match="unknown preset 'h200'"):
        build_config("h200")
    for pairs in (["steps"], ["=3"], ["steps=1", "steps=2"]):
        with pytest.raises(InputError):
            parse_settings(pairs)
