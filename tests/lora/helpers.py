"""What tests of adapters call: random layers of the tiny base under the names of some programs,
adapters of random weights, and what a pipeline draws."""

import torch

from tvhelpers.lora.adapter import add_lora, save_adapter
from tvhelpers.lora.formats import Layer, about_family
from tvhelpers.lora.layer_names import kohya_name
from tvhelpers.models.base import find_base, load_part, unet_digest

BLOCK = "mid_block.attentions.0.transformer_blocks.0"
SIZES = {  # {layer of the tiny base: sizes of its weight}
    f"unet.{BLOCK}.attn1.to_q": (64, 64),
    f"unet.{BLOCK}.attn2.to_k": (64, 32),
    f"unet.{BLOCK}.attn2.to_out.0": (64, 64),
    f"unet.{BLOCK}.ff.net.0.proj": (512, 64),
    "unet.mid_block.attentions.0.proj_in": (64, 64, 1, 1),
    "unet.mid_block.resnets.0.conv1": (64, 64, 3, 3),
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj": (32, 32),
    "text_encoder.text_model.encoder.layers.1.self_attn.out_proj": (32, 32),
    "text_encoder.text_model.encoder.layers.1.mlp.fc1": (64, 32),
}
RANK, ALPHA = 4, 6.0


def layers(only=""):
    """Return {name: layer} of random weights, for layers with `only` in their names."""
    noise = torch.Generator().manual_seed(0)
    made = {}
    for name, (outputs, inputs, *kernel) in SIZES.items():
        down = 0.1 * torch.randn((RANK, inputs, *kernel), generator=noise)
        up = 0.1 * torch.randn((outputs, RANK, *[1] * len(kernel)), generator=noise)
        made[name] = Layer(down, up, ALPHA)
    return {name: layer for name, layer in made.items() if only in name}


def renamed(down, up, alpha="", name=str, only="", change=lambda x: x):
    """Return tensors under the names {name(layer)}{down}."""
    tensors = {}
    for layer, (a, b, scale, _) in layers(only).items():
        tensors |= {name(layer) + down: change(a), name(layer) + up: change(b)}
        tensors |= {name(layer) + alpha: change(torch.tensor(scale))} if alpha else {}
    return tensors


def kohya(name=kohya_name, **more):
    return renamed(".lora_down.weight", ".lora_up.weight", ".alpha", name, **more)


def peft(name=str, end=".weight", **more):
    return renamed(f".lora_A{end}", f".lora_B{end}", "", name, **more)


def train_at_random(base, path, *, targets="attention", text=False, use_dora=False, rank=4):
    """Return ({part: model}, path) of an adapter that changes a base visibly; alpha is not rank."""
    location = find_base(str(base))
    models = {"unet": load_part(location, "unet")}
    digest = unet_digest(models["unet"])
    weights = add_lora(models["unet"], rank, 6, 1, targets, use_dora)
    for part in location.architecture.text_encoders if text else ():
        models[part] = load_part(location, part)
        weights += add_lora(models[part], rank - 1, 1, 1, "text encoder", use_dora)
    for number, weight in enumerate(weights):
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
        weight.data += 0.1 * noise * (weight.std() if use_dora and weight.ndim == 1 else 1)
    family = about_family(location.architecture)
    save_adapter(models, path, {"base": "tiny", "base_digest": digest, **family})
    return models, path


def draw(pipe):
    size, channels = pipe.unet.config.sample_size, pipe.unet.config.in_channels
    noise = torch.randn((1, channels, size, size), generator=torch.Generator().manual_seed(3))
    return pipe(["a red dress"], num_inference_steps=3, latents=noise, output_type="np").images
