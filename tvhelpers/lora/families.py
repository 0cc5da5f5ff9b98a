"""Is a safetensors file an adapter for a family of our bases, and if not, what is it?

The names of its tensors tell; dots and underscores in them count as equal.
"""

import re

from tvhelpers.errors import InputError
from tvhelpers.lora.layer_names import EMBEDDED, MAX_NAME, find_layer
from tvhelpers.models import architecture
from tvhelpers.tensors import Contents

START = r"^(?:base_model_model_|lora_|unet_|diffusion_model_|transformer_|model_|lycoris_)*"
BLOCKS = START + r"(?:(?:down|up)_blocks_\d|mid_block)_"
# the same in ComfyUI and in the original code of Stable Diffusion
COMFY_BLOCKS = START + r"(?:(?:input|output)_blocks_\d+|middle_block)_"
REFINER = "the refiner of Stable Diffusion XL"
# {pattern of a tensor's name: method of adapters that are not supported}
METHODS = {
    r"_hada_[wt]\d": "LoHa",
    r"_lokr_[wt]\d": "LoKr",
    r"_b?oft_(blocks|diag|[rR])": "OFT",
    r"_(a2|b2)_weight$": "GLoRA",
    r"_on_input$|_ia3_l": "IA3",
    r"_vera_lambda": "VeRA",
    r"_lora_E(_|$)": "AdaLoRA",
    r"_diff(_b)?$|_[wb]_norm$": "full weight differences (LyCORIS Full)",
}
# {pattern: family}; the first match counts
FAMILIES = {
    r"joint_transformer_blocks_\d|(double|single)_layers_\d": "AuraFlow",
    r"img_mod_linear|modulation_linear|token_refiner": "HunyuanVideo",
    r"(double|single)_stream_blocks_\d": "HiDream",
    r"(img_mod|modulation)_lin_": "FLUX",
    r"single_transformer_blocks_\d|(double|single)_blocks_\d": "FLUX or HunyuanVideo",
    r"joint_blocks_\d|^text_encoder_3_": "Stable Diffusion 3",
    r"transformer_blocks_\d+_(img|txt)_(mlp|mod)_": "Qwen-Image",
    START + r"blocks_\d+_attn_add_[qkv]_proj": "FLUX, Stable Diffusion 3 or Qwen-Image",
    r"^lora_te3_": "FLUX or Stable Diffusion 3",
    START + r"blocks_\d+_(cross_attn|self_attn|ffn)_": "Wan",
    r"(noise|context)_refiner_\d|" + START + r"layers_\d+_(attention|feed_forward)_":
        "Lumina or Z-Image",
    START + r"layers_\d+_(self_attn|mlp)_": "a language model",
    r"prior_unet_": "Stable Cascade",
    r"motion_modules_\d": "AnimateDiff",
    r"^lora_te2_|^text_encoder_2_|^lora_unet_(input|middle|output)_|_add_embedding_|label_emb_|"
    + BLOCKS + r"attentions_\d_transformer_blocks_[1-9]|"
    + COMFY_BLOCKS + r"1_transformer_blocks_[1-9]": "Stable Diffusion XL",
    r"vision_model_": "the image encoder of CLIP",
    START + r"blocks_\d|^(lora_)?transformer_": "a diffusion transformer (DiT)",
    r"^lora_te_": "Stable Diffusion 1.x / 2.x",  # lora_te1_ for all others
}  # fmt: skip
OTHERS = {  # {pattern: what a file holds}
    r"lora_controlnet|control_model_|controlnet_|input_hint_block|zero_convs|lllite_":
        "a ControlNet",
    r"^image_proj_|^ip_adapter_": "an IP-Adapter",
    r"^emb_params$|^string_to_param|^clip_[lg]$": "a textual inversion",
}  # fmt: skip
WHOLE = {  # the same, for files without LoRA weights
    r"^model_diffusion_model_|^first_stage_model_|^cond_stage_model_|^conditioner_":
        "a whole model (checkpoint)",
    f"{BLOCKS}|{COMFY_BLOCKS}": "a whole UNet",
    r"^(text_model_)?(encoder_layers|embeddings)_": "a whole text encoder",
    r"^(encoder|decoder)_(conv|down|up|mid)_": "an image autoencoder (VAE)",
}  # fmt: skip
ADVICE = {  # on what a file holds; "use a LoRA" on all else
    "a whole model (checkpoint)": "give it as --base",
    "a textual inversion": "give it as --embedding",
    "a whole UNet": "give the folder of its pipeline as --base",
}
VERSIONS = {  # {beginning of the family's name in metadata: family}; the longest counts
    "sdxl": "Stable Diffusion XL",
    "stable-diffusion-xl": "Stable Diffusion XL",
    "sdxl_refiner": REFINER,
    "stable-diffusion-xl-v1-refiner": REFINER,
    "sd_v": "Stable Diffusion 1.x / 2.x",
    "stable-diffusion-v": "Stable Diffusion 1.x / 2.x",
    "sd3": "Stable Diffusion 3",
    "stable-diffusion-3": "Stable Diffusion 3",
    "flux": "FLUX",
    "hunyuan": "HunyuanVideo",
    "wan": "Wan",
}
VERSION_KEYS = ("modelspec.architecture", "ss_base_model_version")
EMBEDDING_WIDTHS = (768, 1024, 1280, 2048, 4096)  # of a textual inversion
# {(width of the text states in cross-attention,): family}
WIDTHS = {(width,): own.name for own in architecture.FAMILIES for width in own.text_widths}
WIDTHS |= {(1280,): REFINER}


def find_family(contents: Contents) -> str:
    """Return the name of the family of bases that an adapter is for, "" where its file does not
    tell.

    Raises InputError, which says what a file is, unless it may be an adapter of our families.
    """
    path = contents.path
    names = "\n".join(name[:MAX_NAME].replace(".", "_") for name in contents.shapes)
    if kind := _found(METHODS, names):
        raise InputError("adapter-kind.method", path=path, kind=kind)
    what = _found(OTHERS, names) or ("lora" not in names and _found(WHOLE, names))
    if what := what or (_are_vectors(contents.shapes) and "a textual inversion"):
        advice = ADVICE.get(what, "use a LoRA")
        raise InputError("adapter-kind.no-adapter", path=path, what=what, advice=advice)
    family, known = _family(contents, names), [own.name for own in architecture.FAMILIES]
    if "tvhelpers" not in contents.metadata and family and family not in known:
        raise InputError("unknown-family.adapter", path=path, family=family, known=known)
    return family


def _found(table: dict, names: str):
    return next((value for pattern, value in table.items() if re.search(pattern, names, re.M)), "")


def _family(contents: Contents, names: str) -> str:
    """Return the family of a file, "" if none is recognised."""
    if family := _found(FAMILIES, names):
        return family
    for key, shape in contents.shapes.items():
        layer, field = find_layer(key) or ("", "")
        if field == "down" and layer.endswith("attn2.to_k") and (own := WIDTHS.get(shape[1:2])):
            return own
    known = [contents.metadata.get(key, "").lower() for key in VERSION_KEYS]
    starts = [start for text in known for start in VERSIONS if text.startswith(start)]
    return VERSIONS[max(starts, key=len)] if starts else ""


def _are_vectors(shapes: dict) -> bool:
    """Return whether a file holds only embeddings of words: a textual inversion."""
    own = [shape for name, shape in shapes.items() if not find_layer(name)]
    fit = all(len(shape) in (1, 2) and shape[-1] in EMBEDDING_WIDTHS for shape in own)
    embedded = all(name.startswith(EMBEDDED) for name in shapes)
    return bool(shapes) and len(own) == len(shapes) and ((fit and len(own) <= 2) or embedded)
