"""What does a layer of a UNet have as its name in Stable Diffusion's original code?

ComfyUI uses these names, and so do kohya's scripts for Stable Diffusion XL.  The original code
numbers the modules of all blocks in one row: "input_blocks.4.1" is diffusers'
"down_blocks.1.attentions.0".  The numbers hold for two layers a block, as all its UNets have.
"""

from collections.abc import Iterator

RESNET = {  # {name in the original code: diffusers' name} of a residual block's layers
    "in_layers.2": "conv1",
    "out_layers.3": "conv2",
    "emb_layers.1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
WORDS = """input_blocks output_blocks middle_block time_embed label_emb in_layers out_layers
    emb_layers skip_connection""".split()  # of these names, with underscores
LEVELS = range(4)  # at most


def _modules() -> Iterator[tuple[str, str]]:
    """Yield (name in the original code, diffusers' name) of a UNet's modules."""
    yield from (("input_blocks.0.0", "conv_in"), ("out.2", "conv_out"))
    yield "middle_block.1", "mid_block.attentions.0"
    for k in range(2):
        yield f"time_embed.{2 * k}", f"time_embedding.linear_{k + 1}"
        yield f"label_emb.0.{2 * k}", f"add_embedding.linear_{k + 1}"
        yield from _resnet(f"middle_block.{2 * k}", f"mid_block.resnets.{k}")
    for i in LEVELS:
        yield f"input_blocks.{3 * i + 3}.0.op", f"down_blocks.{i}.downsamplers.0.conv"
        for column in (2, 1):  # 1 without attention in the block, as in Stable Diffusion 1.x
            yield f"output_blocks.{3 * i + 2}.{column}.conv", f"up_blocks.{i}.upsamplers.0.conv"
        for j in range(3):
            places = [(f"output_blocks.{3 * i + j}", f"up_blocks.{i}")]
            places += [(f"input_blocks.{3 * i + j + 1}", f"down_blocks.{i}")] if j < 2 else []
            for place, block in places:
                yield from _resnet(f"{place}.0", f"{block}.resnets.{j}")
                yield f"{place}.1", f"{block}.attentions.{j}"


def _resnet(place: str, block: str) -> Iterator[tuple[str, str]]:
    """Yield the names of a residual block's layers."""
    yield from ((f"{place}.{old}", f"{block}.{new}") for old, new in RESNET.items())


MODULES = tuple(_modules())


def to_diffusers(name: str) -> str:
    """Return diffusers' name of a layer; a name that is not of the original code is returned."""
    return _renamed(name, MODULES)


def to_original(name: str) -> str:
    """Return the name in the original code of a layer with diffusers' name."""
    return _renamed(name, ((new, old) for old, new in MODULES))


def _renamed(name: str, pairs) -> str:
    for before, after in pairs:
        if name == before or name.startswith(f"{before}."):
            return after + name.removeprefix(before)
    return name
