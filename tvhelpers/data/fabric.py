"""A small drawing board for garments: smooth outlines, cloth with a pattern, seams, folds, shading.

Coordinates are in units of a 128 x 128 board, x to the right, y down, whatever the picture's size.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

BOARD = 128  # units a side
SUPERSAMPLING = 3

Points = list[tuple[float, float]]


def smooth(points: Points, samples: int = 6) -> Points:
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
    return [tuple(point) for point in np.concatenate([*pieces, p[-1:]])]


def mirror(points: Points) -> Points:
    """Return the points mirrored at the board's vertical middle, in reverse order."""
    return [(BOARD - x, y) for x, y in reversed(points)]


def stripes(u, v, period: float):
    """Return the share 0..1 of the second colour at (u, v): bands across the piece."""
    return ((v / period) % 1 < 0.42).astype(np.float32)


def dots(u, v, period: float):
    """Return the share 0..1 of the second colour at (u, v): staggered round dots."""
    row = np.floor(v / period)
    x = (u / period + 0.5 * (row % 2)) % 1 - 0.5
    y = (v / period) % 1 - 0.5
    return (x * x + y * y < 0.32**2).astype(np.float32)


def tartan(u, v, period: float):
    """Return the share 0..1 of the second colour at (u, v): crossing wide and thin bands."""

    def bands(w):
        phase = (w / (2 * period)) % 1
        return 0.5 * (phase < 0.34) + 0.6 * ((phase > 0.62) & (phase < 0.72))

    across, along = bands(v), bands(u)
    return (1 - (1 - 0.75 * across) * (1 - 0.75 * along)).astype(np.float32)


PATTERNS = {"plain": None, "striped": stripes, "dotted": dots, "tartan": tartan}


class Board:
    """A picture being drawn: cloth pieces first, then lines on them."""

    def __init__(
        self, size: int, colour, accent, pattern: str, period: float, phase: tuple[float, float]
    ):
        self.size, self.pixels = size, size * SUPERSAMPLING
        self.scale = self.pixels / BOARD
        self.colour, self.accent = np.float32(colour), np.float32(accent)
        self.pattern, self.period = PATTERNS[pattern], period
        y, x = np.mgrid[: self.pixels, : self.pixels].astype(np.float32) / self.scale
        self.x, self.y = x + phase[0], y + phase[1]
        self.image = Image.new("RGB", (self.pixels, self.pixels), "white")
        dark = float(np.dot(self.colour, (0.3, 0.59, 0.11))) < 75
        self.ink = (
            (128, 128, 134) if dark else (38, 38, 44)
        )  # of seams: they must show on black cloth
        self.edge = (20, 20, 24)

    def cloth(
        self, points: Points, angle: float = 0.0, tint: float = 1.0, plain: bool = False
    ) -> None:
        """Fill a piece with the fabric, its pattern turned by `angle` degrees, and draw its
        outline.

        `tint` below 1 darkens the piece (inside of a hood); `plain` leaves the pattern out (a rib).
        """
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        box = self._box(min(xs), min(ys), max(xs), max(ys))
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        local = [(x * self.scale - box[0], y * self.scale - box[1]) for x, y in points]
        ImageDraw.Draw(mask).polygon(local, fill=255)
        fabric = self._fabric(box, angle, plain) * tint
        width = np.linspace(-1, 1, fabric.shape[1], dtype=np.float32)
        fabric *= (1.02 - 0.13 * width**2 * np.abs(width))[None, :, None]  # rounder at the sides
        piece = Image.fromarray(np.clip(fabric, 0, 255).astype(np.uint8))
        self.image.paste(piece, box[:2], mask)
        self.line([*points, points[0]], 1.3, self.edge)

    def line(self, points: Points, width: float = 0.8, colour=None) -> None:
        """Draw a line along `points`, in the ink of seams unless said otherwise."""
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        ImageDraw.Draw(self.image).line(
            scaled, colour or self.ink, max(1, round(width * self.scale)), "curve"
        )

    def dashes(self, points: Points, colour=None) -> None:
        """Draw a line of stitches along a curve of `points`."""
        curve = np.array(smooth(points, 12))
        for start in range(0, len(curve) - 1, 3):
            self.line([tuple(p) for p in curve[start : start + 2]], 0.6, colour)

    def disc(self, x: float, y: float, radius: float, colour) -> None:
        """Draw a filled circle with a thin edge: a button."""
        box = [(v + d) * self.scale for d in (-radius, radius) for v in (x, y)]
        ImageDraw.Draw(self.image).ellipse(box, colour, self.edge, max(1, round(0.4 * self.scale)))

    def folds(self, lines: list[Points], strength: float = 0.22) -> None:
        """Darken the cloth softly along lines."""
        layer = Image.new("L", (self.pixels // 2, self.pixels // 2))
        for points in lines:
            scaled = [(x * self.scale / 2, y * self.scale / 2) for x, y in points]
            ImageDraw.Draw(layer).line(scaled, 255, max(1, round(1.1 * self.scale)), "curve")
        layer = layer.filter(ImageFilter.GaussianBlur(0.8 * self.scale)).resize(self.image.size)
        self.image.paste(
            Image.new("RGB", self.image.size, self.edge),
            mask=layer.point(lambda v: int(v * strength)),
        )

    def finish(self, rotation: float, clear_colour=(255, 255, 255)) -> np.ndarray:
        """Return the picture uint8 (size, size, 3), turned by `rotation` degrees."""
        turned = self.image.rotate(rotation, Image.Resampling.BILINEAR, fillcolor=clear_colour)
        return np.asarray(turned.reduce(SUPERSAMPLING))

    def _box(self, left, top, right, bottom) -> tuple[int, int, int, int]:
        low = [max(0, int(v * self.scale) - 1) for v in (left, top)]
        return *low, *(min(self.pixels, int(v * self.scale) + 2) for v in (right, bottom))

    def _fabric(self, box, angle: float, plain: bool) -> np.ndarray:
        """Return float32 (h, w, 3) of the cloth in a box of the board."""
        left, top, right, bottom = box
        shape = (bottom - top, right - left, 3)
        if self.pattern is None or plain:
            return np.broadcast_to(self.colour, shape).copy()
        x, y = self.x[top:bottom, left:right], self.y[top:bottom, left:right]
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        share = self.pattern(cos * x + sin * y, cos * y - sin * x, self.period)[..., None]
        return self.colour + share * (self.accent - self.colour)
