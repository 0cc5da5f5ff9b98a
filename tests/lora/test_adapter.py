import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.helpers import refused
from tests.lora.helpers import draw, train_at_random
from tvhelpers.lora.adapter import (
    TARGETS,
    add_lora,
    check_adapter,
    kohya_path,
    load_adapter,
    save_adapter,
    trained_layers,
)
from tvhelpers.lora.find import adapter_file
from tvhelpers.lora.formats import Adapter, Layer, read_adapter, write_adapter
from tvhelpers.lora.layer_names import find_layer
from tvhelpers.manifest import entries, former_tag
from tvhelpers.models.base import find_base, load_part, load_pipeline, unet_digest

EVERYTHING = "attention+ff+conv"


@pytest.fixture(scope="module")
def adapter(tiny_base, tmp_path_factory):
    """An adapter that changes the tiny base visibly, with the models that it was made in."""
    return train_at_random(tiny_base, tmp_path_factory.mktemp("run") / "adapter.safetensors")


CASES = {
    "everything": {"targets": EVERYTHING, "text": True},
    "everything, DoRA": {"targets": EVERYTHING, "text": True, "use_dora": True},
}


def stock_reads_kohyas(case):
    """Whether diffusers' own reader takes a case under kohya's names: never DoRA, and text layers
    from 0.40 on."""
    import diffusers

    new = tuple(int(part) for part in diffusers.__version__.split(".")[:2]) >= (0, 40)
    return "use_dora" not in CASES[case] and (new or "text" not in CASES[case])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("base", ["tiny", "mini"])
def test_stock_diffusers_draws_from_both_files_what_was_trained(base, case, tiny_base, tmp_path):
    base = str(tiny_base) if base == "tiny" else base
    models, path = train_at_random(base, tmp_path / "adapter.safetensors", **CASES[case])
    check_adapter(models, path, find_base(base))
    pipe = load_pipeline(find_base(base))
    plain, digest, drawn = draw(pipe), unet_digest(pipe.unet), []
    for file in (path, kohya_path(path)):
        load_adapter(pipe, file, base, digest)
        drawn.append(draw(pipe))
        pipe.unload_lora_weights()
        if file == path or stock_reads_kohyas(case):
            pipe.load_lora_weights(str(file.parent), weight_name=file.name)
            drawn.append(draw(pipe))
            pipe.unload_lora_weights()
    for part, model in models.items():
        setattr(pipe, part, model)
    trained = draw(pipe)
    assert np.abs(trained - plain).max() > 1e-2  # the adapter is not a nothing
    assert max(np.abs(image - trained).max() for image in drawn) <= 1e-4


@pytest.mark.parametrize("file", ["adapter.safetensors", "adapter_kohya.safetensors"])
def test_a_file_that_loads_otherwise_than_trained_is_not_called_done(tiny_base, tmp_path, file):
    models, path = train_at_random(tiny_base, tmp_path / "adapter.safetensors")
    wrong = read_adapter(tmp_path / file)
    name = max(wrong.layers)
    wrong.layers[name] = wrong.layers[name]._replace(alpha=wrong.layers[name].alpha / 2)
    write_adapter(wrong, tmp_path / file, "kohya" if "kohya" in file else "diffusers")
    with refused("adapter-differs"):
        check_adapter(models, path, find_base(str(tiny_base)))


def test_each_layers_name_comes_back_from_kohyas():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    for name, module in unet.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            key = f"lora_unet_{name.replace('.', '_')}.alpha"
            assert find_layer(key) == (f"unet.{name}", "alpha")


def test_kohyas_file_has_its_names_alphas_and_shapes(tiny_base, tmp_path):
    path = tmp_path / "adapter.safetensors"
    models, _ = train_at_random(tiny_base, path, **CASES["everything"])
    weights = load_file(kohya_path(path))
    text = {name for name in weights if not name.startswith("lora_unet_")}
    assert text and all(x.startswith("lora_te_text_model_encoder_layers_") for x in text)
    alphas = {name: weight.item() for name, weight in weights.items() if name.endswith(".alpha")}
    assert {alphas[name] for name in alphas if name.startswith("lora_te_")} == {1}
    assert {alphas[name] for name in alphas if name.startswith("lora_unet_")} == {6}
    convolution = "lora_unet_mid_block_resnets_0_conv1"
    assert weights[f"{convolution}.lora_down.weight"].shape == (4, 64, 3, 3)
    assert weights[f"{convolution}.lora_up.weight"].shape == (64, 4, 1, 1)
    with safe_open(kohya_path(path), "pt") as file:
        metadata = file.metadata()
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "6.0")
    for name, layer in read_adapter(kohya_path(path)).layers.items():
        assert torch.equal(layer.up, trained_layers(models)[name].up)


def test_equal_weights_give_equal_bytes(adapter, tmp_path):
    models, path = adapter
    for number in range(5):
        again = tmp_path / f"{number}.safetensors"
        save_adapter(models, again, {**read_adapter(path).about})
        assert again.read_bytes() == path.read_bytes()
        assert kohya_path(again).read_bytes() == kohya_path(path).read_bytes()


def test_weights_are_fp32_under_the_names_of_diffusers(adapter):
    weights = load_file(adapter[1])
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    assert all(name.startswith("unet.") and "lora_" in name for name in weights)


def test_an_adapter_of_another_base_is_refused_by_name(adapter, tiny_base):
    pipe = load_pipeline(find_base(str(tiny_base)))
    with torch.no_grad():
        pipe.unet.conv_in.weight[0, 0, 0, 0] += 1  # other weights, same shapes
    with refused("another-base"):
        load_adapter(pipe, adapter[1], "other", unet_digest(pipe.unet))


def test_an_adapter_of_a_former_base_is_refused_with_its_tag(adapter, tiny_base, tmp_path):
    own = read_adapter(adapter[1])
    former = next(iter(entries()["mini"]["former"]))
    old = tmp_path / "old.safetensors"
    write_adapter(Adapter(own.layers, {**own.about, "base_digest": former}), old)
    with refused("another-base") as error:
        load(tiny_base, old)
    assert former_tag(former) in str(error.value)


def test_a_foreign_adapter_that_does_not_fit_is_refused(adapter, tiny_base, tmp_path):
    weights = {name: torch.zeros(3, 3) for name in load_file(adapter[1])}
    save_file(weights, tmp_path / "foreign.safetensors")
    with refused("adapter-unfit"):
        load(tiny_base, tmp_path / "foreign.safetensors")


def load(tiny_base, path):
    pipe = load_pipeline(find_base(str(tiny_base)))
    load_adapter(pipe, path, "tiny", unet_digest(pipe.unet))


def damaged(weights, damage):
    """Return an adapter's weights with a defect, and the code of the error."""
    first = min(weights)
    if damage == "nan":
        return {**weights, first: weights[first] * float("nan")}, "not-finite"
    if damage == "half a pair":
        return {name: weights[name] for name in weights if name != first}, "adapter-damaged"
    if damage == "a layer":
        block = first.rpartition("lora_")[0]
        return {name: weights[name] for name in weights if block not in name}, "adapter-damaged"
    return {}, "adapter-damaged"


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("damage", ["nan", "half a pair", "a layer", "nothing"])
def test_a_file_that_is_no_whole_adapter_is_refused(adapter, tmp_path, damage, ours):
    with safe_open(adapter[1], "pt") as file:
        metadata = file.metadata() if ours else None
    weights, said = damaged(load_file(adapter[1]), damage)
    save_file(weights, tmp_path / "damaged.safetensors", metadata)
    if damage == "a layer" and not ours:  # a foreign file may have fewer layers
        return
    with refused(said, *(["adapter-damaged"] if ours else [])):
        read_adapter(tmp_path / "damaged.safetensors")


def test_missing_and_broken_files_are_refused(adapter, tmp_path):
    with refused("file-missing"):
        read_adapter(tmp_path / "nothing.safetensors")
    (tmp_path / "config.json").write_text("{}")  # of a training that has not ended
    with refused("file-missing") as seen:
        adapter_file(tmp_path)
    assert "resume" in str(seen.value)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(adapter[1].read_bytes()[:200])
    with refused("not-whole"):
        read_adapter(broken)


def test_no_path_and_no_date_in_the_metadata(adapter, tmp_path):
    with safe_open(adapter[1], "pt") as file:
        text = str(file.metadata())
    assert str(tmp_path) not in text and "202" not in text


@pytest.mark.parametrize("targets", TARGETS)
def test_lora_is_on_the_targets_and_nowhere_else(tiny_base, targets):
    unet = load_part(find_base(str(tiny_base)), "unet")
    plain = sum(w.numel() for w in unet.parameters())
    add_lora(unet, rank=2, alpha=2, seed=0, targets=targets)
    layers = {name.split(".lora_")[0] for name, w in unet.named_parameters() if w.requires_grad}
    assert all(name.endswith(tuple(TARGETS[targets])) for name in layers)
    assert {end for end in TARGETS[targets] for name in layers if name.endswith(end)} == set(
        TARGETS[targets]
    )
    assert sum(w.numel() for w in unet.parameters() if not w.requires_grad) == plain


def test_both_files_have_the_metadata_that_other_programs_show(tmp_path):
    about = {
        "title": "Summer 26", "trigger_words": "loomwear", "resolution": 512,
        "prediction_type": "v_prediction", "licences": {"base": "MIT", "data": "CC0"},
    }  # fmt: skip
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    for width, architecture in ((768, "v1"), (1024, "v2-768-v"), (64, None)):
        layer = Layer(torch.ones(2, width), torch.ones(8, 2), 2.0)
        for format in ("diffusers", "kohya"):
            write_adapter(Adapter({name: layer}, about), tmp_path / "it.safetensors", format)
            with safe_open(tmp_path / "it.safetensors", "pt") as file:
                own = {k: v for k, v in file.metadata().items() if k.startswith("modelspec.")}
            wanted = {
                "sai_model_spec": "1.0.0", "title": "Summer 26", "resolution": "512x512",
                "trigger_phrase": "loomwear", "prediction_type": "v", "license": "CC0; MIT",
            }  # fmt: skip
            if architecture:
                wanted["architecture"] = f"stable-diffusion-{architecture}/lora"
            assert own == {f"modelspec.{key}": value for key, value in wanted.items()}
