"""How does cloth look: its patterns and colours?"""

from dataclasses import dataclass

import numpy as np

# Patterns: (u, v, period) in board units -> shares 0..1 of the second and of the third colour.


def stripes(u, v, period):
    """Return bands across the piece."""
    return (v / period) % 1 < 0.42, 0


def dots(u, v, period):
    """Return staggered round dots."""
    x, y, _ = _staggered(u, v, period)
    return x * x + y * y < 0.32**2, 0


def checks(u, v, period):
    """Return gingham: crossing bands, darker where they meet."""
    across, along = (v / period) % 1 < 0.42, (u / period) % 1 < 0.42
    return 0.5 * across + 0.5 * along, 0


def tartan(u, v, period):
    """Return a sett twice as wide as the period: dark bands, and thin bright lines between them."""
    across, along = (v / (2 * period)) % 1, (u / (2 * period)) % 1
    bands = 0.4 * (across < 0.4) + 0.4 * (along < 0.4)
    lines = (np.abs(across - 0.7) < 0.055) | (np.abs(along - 0.7) < 0.055)
    return bands, 0.95 * lines


def flowers(u, v, period):
    """Return staggered flowers of five petals around a centre of the third colour."""
    x, y, row = _staggered(u, v, 1.45 * period)
    radius, turn = np.hypot(x, y), 1.3 * row
    petals = radius < 0.43 * (0.72 + 0.28 * np.cos(5 * np.arctan2(y, x) + turn))
    return petals, radius < 0.12


def _staggered(u, v, period):
    row = np.floor(v / period)
    return (u / period + 0.5 * (row % 2)) % 1 - 0.5, (v / period) % 1 - 0.5, row


PATTERNS = {
    "plain": None,
    "striped": stripes,
    "dotted": dots,
    "checked": checks,
    "tartan": tartan,
    "floral": flowers,
}


@dataclass(frozen=True)
class Fabric:
    """Three colours (RGB 0..255) and the pattern that they make; period, phase in board units."""

    colours: np.ndarray  # float32 (3, 3): ground, second, third
    pattern: str = "plain"
    period: float = 12.0
    phase: tuple[float, float] = (0.0, 0.0)

    @property
    def dark(self) -> bool:
        """Whether black lines would not show on it."""
        return float(self.colours[0] @ (0.3, 0.59, 0.11)) < 62

    @property
    def ink(self) -> tuple[int, int, int]:
        """The colour of outlines and seams."""
        return (124, 124, 132) if self.dark else (24, 24, 28)

    def at(self, u, v) -> np.ndarray:
        """Return float32 (h, w, 3) of the cloth at board coordinates u, v (h, w)."""
        second, third = PATTERNS[self.pattern](u + self.phase[0], v + self.phase[1], self.period)
        ground, *others = self.colours
        for share, colour in zip((second, third), others, strict=True):
            ground = ground + np.asarray(share, np.float32)[..., None] * (colour - ground)
        return ground
