"""Which attributes a picture shows, by mini's judge, and how often they are the ones asked for."""

from __future__ import annotations

import numpy as np
import torch

from tvhelpers.data.photos import resize

CORE = ("category", "colour", "pattern")


class AttributeJudge:
    """mini's judge as a reader: pixels in, the word of every attribute out."""

    def __init__(self, device: str = "cpu"):
        from tvhelpers.models.mini import RESOLUTION, load_judge

        judge, self.digest = load_judge()
        self.judge, self.device, self.size = judge.to(device), device, RESOLUTION

    @torch.no_grad()
    def words(self, pixels: np.ndarray, batch_size: int = 64) -> list[dict[str, str]]:
        """Return {attribute: word} of each of pixels uint8 (N, H, W, 3); "none" if it has none."""
        found = []
        for start in range(0, len(pixels), batch_size):
            small = np.stack([resize(one, self.size) for one in pixels[start : start + batch_size]])
            images = torch.from_numpy(small).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            best = {head: rows.argmax(1).tolist() for head, rows in self.judge(images).items()}
            rows = zip(*best.values(), strict=True)
            heads = self.judge.heads
            found += [{h: heads[h][i] for h, i in zip(best, row, strict=True)} for row in rows]
        return found


def agreement(wanted: list[dict], seen: list[dict]) -> dict[str, np.ndarray]:
    """Return {attribute: bool (N,)}: whether picture i shows what was asked of it, and "all".

    An attribute that `wanted[i]` does not name counts as right.  Raises ValueError for different
    lengths.
    """
    names = sorted({name for row in wanted for name in row})
    pairs = list(zip(wanted, seen, strict=True))
    right = {name: np.array([s[name] == w.get(name, s[name]) for w, s in pairs]) for name in names}
    right["all"] = np.all(list(right.values()), axis=0)
    return right
