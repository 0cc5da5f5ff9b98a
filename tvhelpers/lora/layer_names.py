"""Which names do other programs give to an adapter's layers, and which names are used here?

Here, a layer's name is its part of the pipeline and its torch module, such as
"unet.mid_block.attentions.0.proj_in" or "text_encoder.text_model.encoder.layers.0.mlp.fc1".
"""

import re

from tvhelpers.lora import original_names
from tvhelpers.models.architecture import FAMILIES, Architecture

KOHYA_PREFIXES = {
    prefix: part for family in FAMILIES for prefix, part in family.kohya_prefixes.items()
}
PARTS = tuple(dict.fromkeys(KOHYA_PREFIXES.values()))  # of a pipeline, which an adapter changes
# prefixes of peft, torch.compile, DDP and ComfyUI
WRAPPERS = ("base_model.model.", "_orig_mod.", "module.", "diffusion_model.")
# Words of module names; kohya's and LyCORIS's names write the dots as underscores too.
UNET_WORDS = """down_blocks up_blocks mid_block attentions resnets downsamplers upsamplers
    transformer_blocks attn1 attn2 to_q to_k to_v to_out ff net proj proj_in proj_out conv conv1
    conv2 conv_in conv_out conv_shortcut time_emb_proj time_embedding add_embedding linear_1
    linear_2""".split()
TEXT_WORDS = """text_model encoder layers self_attn q_proj k_proj v_proj out_proj mlp fc1
    fc2""".split()
UNDERSCORED = [word for word in UNET_WORDS + TEXT_WORDS + original_names.WORDS if "_" in word]
KINDS = {  # {end of a tensor's name: field of `Layer`}
    "A": "down", "B": "up", "down": "down", "up": "up", "mid": "mid",
    "magnitude_vector": "magnitude", "alpha": "alpha", "dora_scale": "dora_scale",
}  # fmt: skip
# peft may insert an adapter's name: lora_A.default_0.weight.  Old diffusers: to_q_lora.up.weight,
# to_q.lora.up.weight, q_proj.lora_linear_layer.up.weight.
TENSOR = re.compile(
    r"(?P<module>.+?)(?:"
    r"\.lora_(?P<peft>A|B|down|up|mid|magnitude_vector)(?:\.(?!weight$|bias$)[\w-]+)?(?:\.weight)?"
    r"|(?:_lora|\.lora|\.lora_linear_layer)\.(?P<old>down|up)\.weight"
    r"|\.(?P<own>alpha|dora_scale)"
    r")"
)
OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
EMBEDDED = "bundle_emb."  # a textual inversion in an adapter's file
MAX_NAME = 300  # characters of a tensor's name


def find_layer(key: str) -> tuple[str, str] | None:
    """Return (layer, field: "down", "up", "mid", "alpha", "magnitude" or "dora_scale") of a
    tensor's name; None if it is not a weight of a LoRA or DoRA for Stable Diffusion."""
    match = TENSOR.fullmatch(key) if len(key) <= MAX_NAME else None
    name = _layer(match["module"]) if match else None
    return (name, KINDS[match["peft"] or match["old"] or match["own"]]) if name else None


def _layer(module: str) -> str | None:
    module = _without_wrappers(module)
    part, _, rest = module.partition(".")
    for prefix, own in KOHYA_PREFIXES.items():
        if module.startswith(prefix):
            part, rest = own, _dotted(module.removeprefix(prefix))
    if module.startswith("lycoris_"):
        part, rest = "", _dotted(module.removeprefix("lycoris_"))
    elif part not in PARTS:
        rest, part = rest if part in KOHYA_PREFIXES.values() else module, ""
    rest = _without_wrappers(rest).replace(".processor.", ".")
    words = original_names.to_diffusers(rest).split(".")
    part = part or ("text_encoder" if words[0] in TEXT_WORDS else "unet")
    if part != "unet":
        words = [OLD_TEXT.get(word, word) for word in words]
    elif words[-1] == "to_out":
        words.append("0")
    known = UNET_WORDS if part == "unet" else TEXT_WORDS
    fits = all(word in known or re.fullmatch(r"\d{1,3}", word, re.A) for word in words)
    return layer_name(part, ".".join(words)) if fits else None


def _without_wrappers(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.removeprefix(next(x for x in WRAPPERS if name.startswith(x)))
    return name


def _dotted(name: str) -> str:
    """Return a module's name with dots, from its name with underscores."""
    name = name.replace("_", ".")
    for word in UNDERSCORED:
        name = name.replace(word.replace("_", "."), word)
    return name


def kohya_name(layer: str, family: Architecture = FAMILIES[0]) -> str:
    """Return the name that kohya's scripts give to a layer of a family's base."""
    part, _, module = layer.partition(".")
    if part == "unet" and family.kohya_original_names:
        module = original_names.to_original(module)
    prefix = next(prefix for prefix, own in family.kohya_prefixes.items() if own == part)
    return prefix + module.replace(".", "_")


def layer_name(part: str, module: str) -> str:
    """Return the name of a part's layer.

    A text encoder's has the level `text_model`, which transformers 5.6 and later lack.
    """
    if part == "unet":
        return f"unet.{module}"
    return f"{part}.text_model.{module.removeprefix('text_model.')}"
