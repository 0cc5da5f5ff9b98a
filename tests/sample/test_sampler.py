"""Images from prompts: repeatable, batch-independent, never drawn twice, never overwritten."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import refused
from tvhelpers.lora.adapter import add_lora, kohya_path, save_adapter
from tvhelpers.lora.find import find_adapter
from tvhelpers.lora.formats import read_adapter, write_adapter
from tvhelpers.lora.merge import blend
from tvhelpers.models.base import base_digest, find_base, load_part, unet_digest
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler


@pytest.fixture(scope="module")
def sampler(tiny_base):
    return Sampler(str(tiny_base), device="cpu")


def test_an_image_is_the_same_alone_and_in_a_batch(sampler):
    jobs = [(0, "a red dress", 1), (1, "a blue skirt", 9), (2, "a t-shirt", 2), (3, "", 4)]
    request = Request(("a red dress",), steps=4, guidance=5.0)
    batch = list(sampler.sample(request, jobs, batch_size=4))
    for job, together in zip(jobs, batch, strict=True):
        alone = next(sampler.sample(request, [job]))
        difference = np.asarray(alone[3]).astype(int) - np.asarray(together[3])
        assert np.abs(difference).max() <= 1


def test_a_base_of_the_hub_is_known_by_its_file(tiny_base, tmp_path, monkeypatch):
    repo = tmp_path / "models--nobody--model"
    shutil.copytree(tiny_base, repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    wanted = base_digest(find_base(str(tiny_base)))
    monkeypatch.setattr("tvhelpers.models.base.load_part", None)  # it is not loaded
    assert base_digest(find_base("nobody/model")) == wanted


def test_a_base_in_several_files_is_known_without_loading_it(tiny_base, tmp_path, monkeypatch):
    base = find_base(str(shutil.copytree(tiny_base, tmp_path / "base")))
    wanted, unet = base_digest(base), load_part(base, "unet")
    shutil.rmtree(tmp_path / "base" / "unet")
    unet.save_pretrained(tmp_path / "base" / "unet", max_shard_size="500KB")
    assert len([*(tmp_path / "base" / "unet").glob("*.safetensors")]) > 2
    assert unet_digest(load_part(base, "unet")) == wanted
    monkeypatch.setattr("tvhelpers.models.base.load_part", None)
    assert base_digest(base) == wanted


def test_guidance_adapter_and_size_matter(sampler, tmp_path):
    draw = lambda **options: np.asarray(  # noqa: E731
        next(sampler.sample(Request(("a red dress",), seed=1, steps=2, **options)))[3]
    )
    assert not np.array_equal(draw(), draw(guidance=1.0))
    assert draw(size=96).shape == (96, 96, 3)
    assert draw(width=64, height=96).shape == (96, 64, 3)


def test_a_requests_record_has_the_size_of_a_square_and_the_sides_of_another():
    square, tall = Request(("a",), size=64), Request(("a",), width=64, height=96)
    assert square == Request(("a",), width=64, height=64) and square.record()["size"] == 64
    assert {"width", "height"}.isdisjoint(square.record())
    assert {"width": 64, "height": 96}.items() <= tall.record().items()
    assert replace(tall, size=32).record()["size"] == 32


def test_a_size_that_the_base_was_not_made_for_is_warned_of(sampler, tmp_path):
    with pytest.warns(UserWarning, match="size 136 is far above the 64 pixels"):
        generate(sampler, Request(("a red dress",), size=136, steps=1), tmp_path)


def test_the_end_of_a_long_prompt_is_ignored_with_a_warning(sampler, tmp_path):
    words = "red " * 80 + "striped skirt"
    with pytest.warns(UserWarning, match=r"over 77 tokens; its end is ignored: .*striped skirt"):
        records = generate(sampler, Request((words,), steps=1), tmp_path)
    assert len(records) == 1
    assert sampler.cut_off("a red dress") == ""


def test_words_that_mini_has_never_seen_are_named(tmp_path):
    sampler, prompts = Sampler("mini", "none", "cpu"), ("a Red T-shirt", "a zebra with a red belt")
    with pytest.warns(UserWarning, match="'zebra' or 'belt'") as said:  # belt: the adapter's
        generate(sampler, Request(prompts, steps=1), tmp_path)
    assert len([one for one in said if "never seen" in str(one.message)]) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"prompts": ()}, "no-prompt"),
        ({"prompts": (" ",)}, "no-prompt"),
        ({"prompts": ("a",), "steps": -3}, "out-of-range"),
        ({"prompts": ("a",), "count": 0}, "out-of-range"),
        ({"prompts": ("a",), "size": 100}, "out-of-range"),
        ({"prompts": ("a",), "width": 64, "height": 100}, "out-of-range"),
        ({"prompts": ("a",), "guidance": float("nan")}, "out-of-range"),
    ],
)
def test_requests_that_cannot_be_met(options, code):
    with refused(code):
        Request(**options)


def test_unknown_bases_and_missing_adapters(tiny_base, tmp_path):
    with refused("unknown-model"):
        find_base("sd99")
    with refused("not-a-pipeline"):
        find_base(str(tmp_path))
    with refused("base-unreadable"):
        generate(Sampler("nobody/no-such-model"), Request(("a",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with refused("no-shipped-adapter"):
        find_adapter(find_base(str(tiny_base)), "shipped")
    with refused("file-missing"):
        Sampler(str(tiny_base), str(tmp_path / "nothing.safetensors"))


def random_adapter(base, path, seed):
    """Write an adapter that changes images."""
    unet = load_part(find_base(str(base)), "unet")
    digest = unet_digest(unet)
    torch.manual_seed(seed)
    for weight in add_lora(unet, rank=2, alpha=2, seed=seed):
        weight.data.normal_(std=0.3)
    save_adapter({"unet": unet}, path, {"base": "tiny", "base_digest": digest})


def test_the_fast_adapter_is_added_to_another(tiny_base, tmp_path, monkeypatch):
    fast, own, both = (tmp_path / f"{name}.safetensors" for name in ("fast", "own", "both"))
    random_adapter(tiny_base, fast, 0)
    random_adapter(tiny_base, own, 1)
    with refused("no-shipped-adapter"):
        Sampler(str(tiny_base), fast=True)
    monkeypatch.setattr("tvhelpers.sample.sampler.find_fast", lambda base: fast)
    write_adapter(blend([read_adapter(fast), read_adapter(own)], [1, 1])[0], both)
    for adapter, same in (("none", fast), (own, both)):
        sampler = Sampler(str(tiny_base), str(adapter), device="cpu", fast=True)
        request = Request(("a red dress",), steps=3)
        assert sampler.with_defaults(request).guidance == 1
        assert sampler.identity["fast_sha256"]
        *_, image = next(sampler.sample(request))
        alone = Sampler(str(tiny_base), str(same), device="cpu")
        *_, expected = next(alone.sample(replace(request, guidance=1.0)))
        assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max() <= 1
        *_, plain = next(Sampler(str(tiny_base), device="cpu").sample(request))
        assert np.abs(np.asarray(image).astype(int) - np.asarray(plain)).max() > 1


def test_an_adapter_fits_its_base_in_bfloat16_too(tiny_base, tmp_path):
    base = find_base(str(tiny_base))
    unet = load_part(base, "unet")
    digest = unet_digest(unet)
    add_lora(unet, rank=2, alpha=2, seed=0)
    path = tmp_path / "adapter.safetensors"
    save_adapter({"unet": unet}, path, {"base": "tiny", "base_digest": digest})
    half = Sampler(str(tiny_base), str(path), device="cpu", dtype="bfloat16")
    full = Sampler(str(tiny_base), str(path), device="cpu")
    assert half.identity == full.identity
    request = Request(("a red dress",), steps=2, guidance=2)
    images = [np.asarray(next(one.sample(request))[3]) for one in (half, full)]
    assert np.abs(images[0].astype(int) - images[1]).mean() < 8


def test_generate_takes_an_adapters_lora_scale_and_kohyas_names(tiny_base, sampler, tmp_path):
    base = find_base(str(tiny_base))
    unet = load_part(base, "unet")
    digest = unet_digest(unet)
    for weight in add_lora(unet, rank=2, alpha=3, seed=0):
        weight.data += 0.1
    path = tmp_path / "adapter.safetensors"
    save_adapter({"unet": unet}, path, {"base": "tiny", "base_digest": digest})
    whole = Request(("a red dress",), steps=2)
    none = Request(("a red dress",), steps=2, lora_scale=0)
    kohya = Sampler(str(tiny_base), str(kohya_path(path)), device="cpu")
    (record,) = generate(kohya, none, tmp_path / "none")
    assert record["strength"] == 0  # stable name
    generate(sampler, whole, tmp_path / "plain")
    generate(kohya, whole, tmp_path / "kohya")
    generate(Sampler(str(tiny_base), str(path), device="cpu"), whole, tmp_path / "ours")
    none, plain, kohya, ours = (
        np.asarray(Image.open(tmp_path / name / "0000_0.png")).astype(int)
        for name in ("none", "plain", "kohya", "ours")
    )
    assert np.array_equal(none, plain) and not np.array_equal(kohya, plain)
    assert np.abs(kohya - ours).max() <= 1


def test_weights_missing_from_a_base_are_said(tiny_base, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_base, tmp_path / "base")
    for part in ("unet", "vae", "text_encoder"):
        (path,) = (folder / part).glob("*.safetensors")
        before, weights = path.read_bytes(), load_file(path)
        del weights[max(weights)]
        save_file(weights, path, {"format": "pt"})
        with refused("base-unreadable"):
            generate(Sampler(str(folder), device="cpu"), Request(("a",)), tmp_path / "out")
        assert not (tmp_path / "out").exists()
        path.write_bytes(before)


def test_a_negative_prompt_is_that_of_the_stock_pipeline(tiny_base, sampler, tmp_path):
    from diffusers import StableDiffusionPipeline

    stock = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None)
    stock.scheduler = type(sampler.pipe.scheduler).from_config(sampler.pipe.scheduler.config)
    drawn = {}
    for negative in ("", "a blue belt"):
        request = Request(("a red dress",), seed=3, steps=3, negative_prompt=f" {negative} ")
        drawn[negative] = next(sampler.sample(request))[3]
        theirs = stock(
            "a red dress",
            negative_prompt=negative,
            num_inference_steps=3,
            guidance_scale=sampler.base.guidance,
            generator=torch.Generator().manual_seed(3),
        ).images[0]
        assert np.array_equal(np.asarray(theirs), np.asarray(drawn[negative]))
    assert drawn[""].tobytes() != drawn["a blue belt"].tobytes()
    (record,) = generate(sampler, request, tmp_path)
    assert record["negative_prompt"] == "a blue belt"
    plain = replace(request, negative_prompt="")
    assert "negative_prompt" not in {**plain.record(), **plain.settings()}
    with refused("another-request"):
        generate(sampler, plain, tmp_path)
    with pytest.warns(UserWarning, match="negative prompt has no effect"):
        generate(sampler, replace(request, guidance=1), tmp_path / "no push")
    unconditional = Sampler(str(tiny_base), device="cpu", text_conditioning=False)
    with refused("no-negative"):
        next(unconditional.sample(request))


def test_a_preview_is_what_the_drawing_looks_like_so_far(sampler):
    seen = []
    request = Request(("a red dress",), steps=6, width=64, height=96)
    look = lambda step: seen.append(np.asarray(sampler.preview()).astype(int))  # noqa: E731
    drawn = next(sampler.sample(request, on_step=look))[3]
    off = [np.abs(one - np.asarray(drawn)).mean() for one in seen]
    assert len(seen) == 6 and seen[0].shape == (96, 64, 3) and off[-1] < min(off[0], 2)
    assert np.array_equal(drawn, next(sampler.sample(request))[3])  # looking changes nothing
    wide = Request(("a red dress",), steps=1, size=520)
    next(sampler.sample(wide, on_step=look))
    assert max(seen[-1].shape) <= 32 * 8


def test_two_that_draw_at_once_take_turns():
    sampler = Sampler("mini", "shipped", device="cpu")
    lora_scales, alone, together = (1.0, 0.0, 0.5), {}, {}

    def draw(lora_scale, into):
        request = Request(("green bomber jacket",), 2, steps=2, lora_scale=lora_scale)
        drawn = sampler.sample(request, batch_size=1)
        into[lora_scale] = [np.asarray(image) for *_, image in drawn]

    for lora_scale in lora_scales:
        draw(lora_scale, alone)
    threads = [threading.Thread(target=draw, args=(one, together)) for one in lora_scales]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(together[one], alone[one]) for one in lora_scales)


def test_seeds_that_torch_would_take_for_others_are_refused():
    Request(("a dress",), seed=2**32 - 2, count=2)
    with refused("out-of-range"):
        Request(("a dress",), seed=2**32)
    with refused("out-of-range"):
        Request(("a dress",), seed=2**32 - 1, count=2)


def test_an_adapters_lora_scale_leaves_no_trace():
    from diffusers import StableDiffusionPipeline

    from tvhelpers.models.mini import WEIGHTS_DIR

    def draw(sampler, lora_scale=1.0):
        request = Request(("green bomber jacket",), seed=3, steps=4, lora_scale=lora_scale)
        ((*_, image),) = sampler.sample(request)
        return np.asarray(image).astype(int)

    sampler = Sampler("mini", "shipped")
    full, half = draw(sampler), draw(sampler, 0.5)
    none, again = draw(sampler, 0.0), draw(sampler)
    assert (again == full).all()
    assert (none == draw(Sampler("mini", "none"))).all()
    assert np.abs(full - none).mean() > np.abs(half - none).mean() > 1
    stock = StableDiffusionPipeline.from_pretrained(WEIGHTS_DIR, safety_checker=None)
    stock.load_lora_weights(str(WEIGHTS_DIR), weight_name="shipped_adapter.safetensors")
    stock.scheduler = type(sampler.pipe.scheduler).from_config(sampler.pipe.scheduler.config)
    for lora_scale, ours in ((1.0, full), (0.5, half)):
        theirs = stock(
            "green bomber jacket",
            num_inference_steps=4,
            guidance_scale=2.5,
            generator=torch.Generator().manual_seed(3),
            cross_attention_kwargs={"scale": lora_scale},
            output_type="np",
        ).images[0]
        assert np.abs(theirs * 255 - ours).max() <= 1


def test_large_images_alone_are_decoded_in_tiles(sampler, monkeypatch):
    request = Request(("a red dress",), steps=2, size=128)
    whole = np.asarray(next(sampler.sample(request))[3]).astype(int)
    tiles, vae, decode = [], sampler.pipe.vae, sampler.pipe.vae.tiled_decode
    spy = lambda *one, **more: tiles.append(1) or decode(*one, **more)  # noqa: E731
    monkeypatch.setattr(vae, "tiled_decode", spy)
    assert (np.asarray(next(sampler.sample(request))[3]) == whole).all() and not tiles
    monkeypatch.setattr("tvhelpers.sample.sampler.TILED_PIXELS", 127 * 128)
    tiled = np.asarray(next(sampler.sample(request))[3]).astype(int)
    assert tiles and 0 < np.abs(tiled - whole).mean() < 12
    monkeypatch.undo()
    assert (np.asarray(next(sampler.sample(request))[3]) == whole).all()
