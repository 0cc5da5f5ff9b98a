"""How the original code of Stable Diffusion names what diffusers' pipelines hold, written down from
its own modules (ldm/modules/diffusionmodules and encoders), so that no converter checks itself."""

import re

import torch
from safetensors.torch import save_file

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}  # fmt: skip


def write_one_file(pipe, path, text, dtype=torch.float32):
    """Write a pipeline as one file; `text(encoders)` gives the names of its text encoders."""
    tensors = {f"model.diffusion_model.{key}": x for key, x in unet(pipe.unet).items()}
    tensors |= {f"first_stage_model.{key}": x for key, x in vae(pipe.vae).items()}
    tensors |= text(pipe)
    tensors["alphas_cumprod"] = torch.ones(1000)  # which files of model sites hold too
    save_file({key: x.to(dtype).contiguous() for key, x in tensors.items()}, path)
    return path


def unet(model):
    """Return {original name: weight} of a UNet."""
    per, places = model.config.layers_per_block, dict(UNET_ENDS)
    number = 1
    for i, block in enumerate(model.down_blocks):
        for j in range(per):
            places[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{number}.0"
            places[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers:
            places[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
            number += 1
    for name, k in (("resnets.0", 0), ("attentions.0", 1), ("resnets.1", 2)):
        places[f"mid_block.{name}"] = f"middle_block.{k}"
    number = 0
    for i, block in enumerate(model.up_blocks):
        for j in range(per + 1):
            places[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{number}.0"
            places[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers:
            after = 2 if hasattr(block, "attentions") else 1
            places[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{number - 1}.{after}.conv"
    return {renamed(key, places): x for key, x in model.state_dict().items()}


def renamed(key, places):
    """Return the original name of a weight, by the longest place that it begins with."""
    place = max((one for one in places if key.startswith(one + ".")), key=len)
    rest = key.removeprefix(place + ".")
    if "resnets" in place:
        module, _, kind = rest.rpartition(".")
        rest = f"{RESNET[module]}.{kind}"
    return f"{places[place]}.{rest}"


def vae(model):
    """Return {original name: weight} of an autoencoder; its attention is of 1 x 1 convolutions."""
    found, last = {}, len(model.config.up_block_types) - 1
    for key, x in model.state_dict().items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", key)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        up = re.search(r"up_blocks\.(\d+)", name)
        if up:
            name = name.replace(up[0], f"up.{last - int(up[1])}")
            name = name.replace("resnets", "block").replace("upsamplers.0", "upsample")
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if "mid_block.attentions.0" in name:
            for ours, theirs in ATTENTION.items():
                name = name.replace(f"attentions.0.{ours}.", f"attentions.0.{theirs}.")
            name = name.replace("mid_block.attentions.0", "mid.attn_1")
            x = x[..., None, None] if x.ndim == 2 else x
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        found[name] = x
    return found


def clip(pipe, prefix="cond_stage_model.transformer.", part="text_encoder"):
    """Return {original name: weight} of a text encoder by OpenAI, as in SD 1.x."""
    state = getattr(pipe, part).state_dict()
    found = {f"{prefix}text_model.{k.removeprefix('text_model.')}": x for k, x in state.items()}
    return found | {f"{prefix}text_model.embeddings.position_ids": torch.arange(77.0)[None]}


def open_clip(pipe, prefix="cond_stage_model.model.", part="text_encoder"):
    """Return {original name: weight} of a text encoder by OpenCLIP, as in SD 2.x."""
    state = getattr(pipe, part).state_dict()
    state = {key.removeprefix("text_model."): x for key, x in state.items()}
    width = state["final_layer_norm.weight"].numel()
    found = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state.get("text_projection.weight", torch.zeros(width, width)).T,
        "logit_scale": torch.tensor(4.6),
    }
    for key, x in state.items():
        if layer := re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)$", key):
            number, module, kind = layer.groups()
            stem = f"transformer.resblocks.{number}"
            if module in OPEN_CLIP:
                found[f"{stem}.{OPEN_CLIP[module]}.{kind}"] = x
            elif module == "self_attn.q_proj":
                three = [state[key.replace("q_proj", f"{one}_proj")] for one in "qkv"]
                found[f"{stem}.attn.in_proj_{kind}"] = torch.cat(three)
    return {prefix + key: x for key, x in found.items()}


def xl(pipe):
    """Return {original name: weight} of both text encoders, as in SD XL."""
    first = clip(pipe, "conditioner.embedders.0.transformer.")
    return first | open_clip(pipe, "conditioner.embedders.1.model.", "text_encoder_2")
