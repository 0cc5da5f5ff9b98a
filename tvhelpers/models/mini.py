"""Where are the weights of mini, the embedded base, and how does its judge classify attributes?

Its parts have the classes of Stable Diffusion 1.x, so that other code treats mini like it: 128 px,
8x downsampling, 8 latent channels.  `recipes/mini` of a checkout trains them.
"""

import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

WEIGHTS_DIR = Path(__file__).parent / "mini_weights"
RESOLUTION = 128  # pixels


class Judge(nn.Module):
    """A CNN that classifies the attributes of a flat; trained separately, used only to score."""

    def __init__(self, heads: dict[str, tuple[str, ...]], width: int = 28):
        super().__init__()
        self.heads = {name: tuple(labels) for name, labels in heads.items()}
        sizes = [3, width, 2 * width, 3 * width, 4 * width, 4 * width]
        blocks = [_judge_block(*pair) for pair in pairwise(sizes)]
        self.trunk = nn.Sequential(*blocks)  # 128 px -> 4 x 4
        self.out = nn.ModuleDict(
            {name: nn.Linear(8 * width, len(labels)) for name, labels in heads.items()}
        )

    def forward(self, images):
        """Return {head: logits (N, labels)} of images float -1..1 (N, 3, 128, 128)."""
        features = self.features(images)
        return {name: layer(features) for name, layer in self.out.items()}

    def features(self, images):
        """Return the features (N, 8 * width) that the heads use, of images as in `forward`."""
        maps = self.trunk(images)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


def _judge_block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, stride=2, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def load_judge(path: Path = WEIGHTS_DIR / "judge.safetensors") -> tuple[Judge, str]:
    """Return (judge in evaluation mode, SHA-256 of its file)."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    from tvhelpers.files import file_sha256

    with safe_open(path, "pt") as file:
        heads = json.loads(file.metadata()["heads"])
    judge = Judge(heads)
    judge.load_state_dict(load_file(path))
    return judge.float().eval(), file_sha256(path)
