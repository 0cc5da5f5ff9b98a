"""A checkpoint in one file becomes a base like any other, once; what is none is refused."""

import shutil
import signal
import subprocess
import sys

import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from tests.helpers import refused
from tests.models import original_names
from tvhelpers import cli
from tvhelpers.models.base import base_digest, find_base, load_part, load_pipeline
from tvhelpers.models.one_file import open_checkpoint
from tvhelpers.runtime import root_dir

CONVERT = "import sys; from tvhelpers.models.one_file import open_checkpoint; "
DIE = """
import os
from tvhelpers.models import one_file
write = one_file.write_json
one_file.write_json = lambda path, record: (
    os.kill(os.getpid(), 9) if path.name == "base.json" else write(path, record)
)
"""  # just before the folder is whole
CLIP = "cond_stage_model.transformer.text_model."
TEXT = {"1": original_names.clip, "2": original_names.open_clip, "xl": original_names.xl}


def without_weights(folder, out):
    """Copy a pipeline folder without its weights."""
    return shutil.copytree(folder, out, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))


def write(base, folder, version):
    """Return (one file, the folder of the same pipeline, a folder of its configs) of a version."""
    pipe = DiffusionPipeline.from_pretrained(base)
    if version == "2":
        torch.manual_seed(1)
        pipe.unet = UNet2DConditionModel.from_config(pipe.unet.config, use_linear_projection=True)
        pipe.scheduler.register_to_config(prediction_type="v_prediction")
    pipe.save_pretrained(folder / "base")
    file = original_names.write_one_file(pipe, folder / "it", TEXT[version])
    return file, folder / "base", without_weights(folder / "base", folder / "configs")


@pytest.fixture(scope="module")
def checkpoint(tiny_base, tmp_path_factory):
    """What `write` returns, of version 1."""
    return write(tiny_base, tmp_path_factory.mktemp("one"), "1")


@torch.no_grad()
def seen(base):
    """Return what the parts of a base compute from fixed inputs."""
    pipe, family = load_pipeline(base), base.architecture
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    words, how = ["a red dress", "a skirt"], {"padding": "max_length", "return_tensors": "pt"}
    ids = [getattr(pipe, part)(words, **how).input_ids for part in family.tokenizers]
    states, pooled = family.encode_text([getattr(pipe, one) for one in family.text_encoders], ids)
    more = family.unet_conditions(pooled, torch.tensor([[64, 64, 0, 0, 64, 64]] * 2))
    moments = pipe.vae.encode(pipe.vae.decode(noise).sample).latent_dist.parameters
    return states, pipe.unet(noise, 500, states, **more).sample, moments


@pytest.mark.parametrize("version", TEXT)
def test_a_file_predicts_as_the_folder_of_the_same_pipeline(
    version, tiny_base, tiny_sdxl, tmp_path
):
    base = tiny_sdxl if version == "xl" else tiny_base
    file, folder, configs = write(base, tmp_path, version)
    open_checkpoint(file, str(configs))
    base, same = find_base(str(file)), find_base(str(folder))
    for wanted, own in zip(seen(same), seen(base), strict=True):
        assert (wanted - own).abs().max() < 1e-4 * wanted.abs().max()
    assert base_digest(base) == base_digest(same) and base.name == "it"
    schedulers = [load_part(one, "scheduler").config.prediction_type for one in (base, same)]
    assert schedulers == ["v_prediction" if version == "2" else "epsilon"] * 2


def test_it_is_kept_by_content_in_its_dtype_and_with_its_configs(checkpoint, tmp_path, capsys):
    file, _, configs = checkpoint
    half = tmp_path / "half.safetensors"
    tensors = {key: x.half() for key, x in load_file(file).items()}
    tensors["alphas_cumprod"] = tensors["alphas_cumprod"].float()  # which is none of a network
    save_file(tensors, half)
    folder = open_checkpoint(half, str(configs))
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors").values()
    assert {weight.dtype for weight in weights} == {torch.float16}
    moved = half.rename(tmp_path / "moved")
    assert open_checkpoint(moved) == folder != open_checkpoint(file, str(configs))
    other = shutil.copytree(configs, tmp_path / "other")
    name = other / "scheduler" / "scheduler_config.json"
    name.write_text(name.read_text().replace("0.012", "0.013"))
    with refused("another-config"):
        open_checkpoint(moved, str(other))
    out = tmp_path / "images"
    command = ["generate", "a red dress", "--base", moved, "--out", out, "--steps", 1]
    assert cli.main(list(map(str, command))) == 0, capsys.readouterr().err


def test_the_command_line_takes_the_configs(checkpoint, tmp_path, capsys):
    file, _, configs = checkpoint
    command = ["generate", "a dress", "--base", file, "--steps", 1, "--out", tmp_path / "images"]
    assert cli.main(list(map(str, command))) == 2  # offline
    error = capsys.readouterr().err
    assert "--config FOLDER" in error and "cannot be reached" in error
    assert cli.main(list(map(str, [*command, "--config", configs]))) == 0


def cut_short(file, out):
    """Half of a file."""
    out.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of(change):
    """A function that writes the changed tensors of a file."""
    return lambda file, out: save_file(change(load_file(file)), out)


def without(start):
    """A function that drops tensors by the beginning of their names."""
    return of(lambda tensors: {k: x for k, x in tensors.items() if not k.startswith(start)})


ONE = torch.ones(2)
FIRST = "model.diffusion_model.input_blocks.0.0.weight"
BAD = {  # {what: (how it is made from a checkpoint, code)}
    "no VAE": (without("first_stage_model."), "checkpoint-incomplete"),
    "no text encoder": (without("cond_stage_model."), "checkpoint-incomplete"),
    "half a UNet": (without("model.diffusion_model.output_blocks.1."), "base-unreadable"),
    "half a VAE": (without("first_stage_model.decoder.up."), "base-unreadable"),
    "half a text encoder": (without(f"{CLIP}encoder"), "base-unreadable"),
    "truncated": (cut_short, "not-whole"),
    "adapter": (of(lambda x: {"lora_unet_a.lora_down.weight": torch.ones(4, 4)}), "no-checkpoint"),
    "embedding": (of(lambda x: {"emb_params": torch.ones(2, 32)}), "no-checkpoint"),
    "a UNet": (of(lambda x: {"down_blocks.0.resnets.0.conv1.weight": ONE}), "no-checkpoint"),
    "FLUX": (of(lambda x: {"double_blocks.0.img_attn.qkv.weight": ONE}), "no-checkpoint"),
    "inpainting": (of(lambda x: x | {FIRST: torch.ones(32, 9, 3, 3)}), "no-checkpoint"),
    "a vector": (of(lambda x: x | {FIRST: ONE}), "no-checkpoint"),
    "other sizes": (of(lambda x: x | {FIRST: torch.ones(16, 4, 3, 3)}), "base-unreadable"),
    "pickle": (lambda file, out: torch.save(load_file(file), out), "pickle"),
    "a web page": (lambda file, out: out.write_text("<html>" + " " * 300), "not-safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_whole_checkpoint_is_refused(what, checkpoint, tmp_path):
    file, _, configs = checkpoint
    make, code = BAD[what]
    make(file, bad := tmp_path / "bad.safetensors")
    with refused(code) as caught:
        open_checkpoint(bad, str(configs))
    assert len(str(caught.value)) <= 200 + len(str(bad))
    assert not list((root_dir() / "artifacts").glob("*base-*"))


def test_configs_from_outside_run_nothing_and_must_be_whole(checkpoint, tiny_clip, tmp_path):
    file, _, configs = checkpoint
    unsafe = shutil.copytree(configs, tmp_path / "unsafe")
    name = unsafe / "text_encoder" / "config.json"
    name.write_text(name.read_text().replace("{", '{"attn_implementation": "owner/code",', 1))
    index = unsafe / "model_index.json"
    index.write_text(index.read_text().replace('"diffusers"', '"antigravity"'))
    with refused("unsafe-model"):
        open_checkpoint(file, str(unsafe))
    with refused("no-config"):
        open_checkpoint(file, str(tiny_clip(tmp_path, "clip")))
    assert "antigravity" not in sys.modules


def start(code, *arguments):
    """Start a process that runs CONVERT and `code`."""
    return subprocess.Popen([sys.executable, "-c", CONVERT + code, *map(str, arguments)])


def test_two_processes_at_once_and_one_that_is_killed(checkpoint, tmp_path):
    file, _, configs = checkpoint
    convert = "from pathlib import Path; open_checkpoint(Path(sys.argv[1]), sys.argv[2])"
    killed = start(DIE + convert, file, configs)
    artifacts = root_dir() / "artifacts"
    assert killed.wait() == -signal.SIGKILL
    assert not list(artifacts.glob("base-*"))
    both = [start(convert, file, configs) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert [one.name for one in artifacts.glob("*base-*")] == [open_checkpoint(file).name]


def test_a_revision_of_a_model_of_the_hub():
    base = find_base("hub:owner/name@v1.5")
    assert (base.name, base.path, base.revision) == ("owner/name@v1.5", "owner/name", "v1.5")
    with refused("not-a-hub-id"):
        find_base("hub:owner@v1.5")
    with refused("file-missing"):
        find_base("nothing/here.safetensors")
