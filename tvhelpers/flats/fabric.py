"""Cloth and its patterns, and the display list that a garment is drawn with.

A sketch is drawn in units of its own (x = 0 is its middle, x to the right, y down); `paint` fits it
into the picture.  The pattern keeps its size on the picture whatever the garment's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING = 3
BOARD = 128  # units of a pattern's period: pixels of a picture 128 wide

Points = list[tuple[float, float]]


def smooth(*points: tuple[float, float], samples: int = 6) -> Points:
    """Return a Catmull-Rom curve through `points`."""
    p = np.array([points[0], *points, points[-1]], float)
    t = np.linspace(0, 1, samples, endpoint=False)[:, None]
    pieces = [
        0.5
        * (
            2 * p[i]
            + (p[i + 1] - p[i - 1]) * t
            + (2 * p[i - 1] - 5 * p[i] + 4 * p[i + 1] - p[i + 2]) * t**2
            + (3 * p[i] - p[i - 1] - 3 * p[i + 1] + p[i + 2]) * t**3
        )
        for i in range(1, len(p) - 2)
    ]
    return [tuple(point) for point in np.concatenate([*pieces, p[-1:]]).tolist()]


def mirror(points: Points) -> Points:
    """Return the points mirrored at x = 0, in reverse order."""
    return [(-x, y) for x, y in reversed(points)]


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


@dataclass
class Sketch:
    """Pieces of cloth, lines, discs and folds of a garment, in the order they are drawn."""

    steps: list[tuple] = field(default_factory=list)
    shadows: list[Points] = field(default_factory=list)

    def cloth(self, points: Points, angle: float = 0, tint: float = 1, plain: bool = False) -> None:
        """Add a piece and its outline; its pattern is turned by `angle` degrees.

        `tint` below 1 darkens it (the inside of a hood); `plain` leaves the pattern out (a rib).
        """
        self.steps.append(("cloth", points, angle, tint, plain))

    def pair(self, points: Points, angle: float = 0, plain: bool = False) -> None:
        """Add a piece and its mirror image."""
        self.cloth(mirror(points), angle, plain=plain)
        self.cloth(points, -angle, plain=plain)

    def line(self, points: Points, width: float = 0.9, colour=None, dashed: bool = False) -> None:
        """Add a line, in ink unless said otherwise."""
        self.steps.append(("line", points, width, colour, dashed))

    def lines(self, points: Points, width: float = 0.9, dashed: bool = False) -> None:
        """Add a line and its mirror image."""
        for side in (points, mirror(points)):
            self.line(side, width, dashed=dashed)

    def disc(self, x: float, y: float, radius: float = 1.5, colour=(226, 226, 230)) -> None:
        """Add a circle with an edge: a button."""
        self.steps.append(("disc", (x, y), radius, colour))

    def folds(self, *lines: Points) -> None:
        """Add soft folds along lines and their mirror images."""
        self.shadows += [side for points in lines for side in (points, mirror(points))]

    def box(self) -> np.ndarray:
        """Return [[left, top], [right, bottom]] of all cloth."""
        corners = np.concatenate([step[1] for step in self.steps if step[0] == "cloth"])
        return np.array([corners.min(0), corners.max(0)])


def paint(
    sketch: Sketch,
    fabric: Fabric,
    size: int,
    *,
    rotation: float = 0.0,
    share: float = 0.85,
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Return the picture uint8 (size, size, 3) of a garment on white.

    Its longer side becomes `share` (0..1) of the picture; `rotation` in degrees, `shift` from the
    middle in board units.
    """
    return _Painter(sketch, fabric, size, rotation, share, shift).picture()


class _Painter:
    def __init__(self, sketch, fabric, size, rotation, share, shift):
        self.sketch, self.fabric, self.size = sketch, fabric, size
        self.pixels = size * SUPERSAMPLING
        low, high = sketch.box()
        self.zoom = share * self.pixels / (high - low).max()
        turn = np.radians(rotation)
        self.rotation, self.middle = rotation, (low + high) / 2
        self.matrix = self.zoom * np.array(
            [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        )
        self.centre = self.pixels / 2 + np.array(shift) * self.pixels / BOARD
        self.image = Image.new("RGB", (self.pixels, self.pixels), "white")
        self.silhouette = Image.new("L", self.image.size)
        self.draw, self.fill = ImageDraw.Draw(self.image), ImageDraw.Draw(self.silhouette)

    def picture(self) -> np.ndarray:
        for kind, *step in self.sketch.steps:
            getattr(self, kind)(*step)
        flat = np.asarray(self.image.reduce(SUPERSAMPLING), np.float32)
        return np.clip(flat * self._shading(), 0, 255).astype(np.uint8)

    def place(self, points) -> list[tuple[float, float]]:
        """Return points of the sketch in pixels."""
        placed = (np.asarray(points, float) - self.middle) @ self.matrix.T + self.centre
        return [tuple(point) for point in placed.tolist()]

    def cloth(self, points, angle, tint, plain) -> None:
        """Fill an outline with the fabric, turned by `angle`, or with its first colour alone."""
        outline = self.place(points)
        self.fill.polygon(outline, 255)
        if plain or self.fabric.pattern == "plain":
            colour = self.fabric.colours[0] * tint
            self.draw.polygon(outline, tuple(colour.astype(int).tolist()))
        else:
            self._patterned(outline, angle + self.rotation)
        self.line([*points, points[0]], 1.25)

    def _patterned(self, outline, angle) -> None:
        left, top = (max(0, int(min(values))) for values in zip(*outline, strict=True))
        right, bottom = (min(self.pixels, int(max(v)) + 2) for v in zip(*outline, strict=True))
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        x, y = ((v - c) * (BOARD / self.pixels) for v, c in zip((x, y), self.centre, strict=True))
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        cloth = self.fabric.at(cos * x + sin * y, cos * y - sin * x)
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], 255)
        self.image.paste(Image.fromarray(cloth.astype(np.uint8)), (left, top), mask)

    def line(self, points, width=0.9, colour=None, dashed=False) -> None:
        width = max(1, round(width * self.zoom))
        placed = self.place(points)
        parts = _dashes(placed, 2.2 * self.zoom) if dashed else [placed]
        for part in parts:
            self.draw.line(part, colour or self.fabric.ink, width, "curve")

    def disc(self, middle, radius, colour) -> None:
        (x, y), r = self.place([middle])[0], radius * self.zoom
        self.draw.ellipse(
            (x - r, y - r, x + r, y + r), colour, self.fabric.ink, round(0.5 * self.zoom)
        )

    def _shading(self) -> np.ndarray:
        """Return float32 (size, size, 1): darker towards the edges and along folds."""
        size = (self.size, self.size)
        inside = self.silhouette.resize(size, Image.Resampling.BOX)
        depth = (
            np.asarray(inside.filter(ImageFilter.GaussianBlur(self.size * 0.05)), np.float32) / 255
        )
        layer = Image.new("L", size)
        for points in self.sketch.shadows:
            scaled = [(x / SUPERSAMPLING, y / SUPERSAMPLING) for x, y in self.place(points)]
            ImageDraw.Draw(layer).line(scaled, 255, max(1, round(self.size / 60)), "curve")
        layer = layer.filter(ImageFilter.GaussianBlur(self.size / 90))
        fold = np.asarray(layer, np.float32) / 255
        amount = 0.16 * (1 - np.clip(2 * depth - 0.9, 0, 1)) + 0.3 * fold
        if self.fabric.dark:
            amount = -1.4 * 0.3 * fold  # on black cloth a fold shines
        return (1 - amount * (np.asarray(inside, np.float32) / 255))[..., None]


def _dashes(points, length: float):
    """Cut a polyline into dashes of `length` pixels with gaps as long."""
    p = np.asarray(points)
    walked = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
    for start in np.arange(0, walked[-1] - length / 2, 2 * length):
        at = np.array([start, min(start + length, walked[-1])])
        yield [
            tuple(q) for q in np.stack([np.interp(at, walked, p[:, k]) for k in (0, 1)], 1).tolist()
        ]
