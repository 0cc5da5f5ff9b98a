"""How is a garment sketched, and how does a sketch become pixels?

A sketch has its own units (x = 0 is its middle, x to the right, y down); a Painter fits it into the
image.  A pattern has the same size on the image for garments of any size.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tvhelpers.flats.fabric import Fabric

SUPERSAMPLING = 3
BOARD = 128  # units of a pattern's period: pixels of an image 128 wide

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


@dataclass
class Sketch:
    """Pieces of cloth, lines, discs and folds of a garment, in the order they are drawn."""

    steps: list[tuple] = field(default_factory=list)
    shadows: list[Points] = field(default_factory=list)

    def cloth(self, points: Points, angle: float = 0, tint: float = 1, plain: bool = False) -> None:
        """Add a piece and its outline; its pattern is turned by `angle` degrees.

        `tint` below 1 darkens it (the inside of a hood); `plain` has no pattern (a rib).
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


class Painter:
    """Draws a garment on white.

    Its longer side becomes `share` (0..1) of the image; `rotation` in degrees, `shift` from the
    middle in board units.
    """

    def __init__(
        self, sketch: Sketch, fabric: Fabric, size: int, rotation=0.0, share=0.85, shift=(0.0, 0.0)
    ):
        self.sketch, self.fabric, self.size = sketch, fabric, size
        self.pixels = size * SUPERSAMPLING
        low, high = sketch.box()
        self.zoom = share * self.pixels / (high - low).max()
        self.rotation, self.middle = rotation, (low + high) / 2
        cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
        self.matrix = self.zoom * np.array([[cos, -sin], [sin, cos]])
        self.centre = self.pixels / 2 + np.array(shift) * self.pixels / BOARD
        self.image = Image.new("RGB", (self.pixels, self.pixels), "white")
        self.silhouette = Image.new("L", self.image.size)
        self.draw, self.fill = ImageDraw.Draw(self.image), ImageDraw.Draw(self.silhouette)

    def paint(self) -> np.ndarray:
        """Return pixels uint8 (size, size, 3) RGB."""
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
        """Draw a line of the sketch."""
        width = max(1, round(width * self.zoom))
        placed = self.place(points)
        parts = _dashes(placed, 2.2 * self.zoom) if dashed else [placed]
        for part in parts:
            self.draw.line(part, colour or self.fabric.ink, width, "curve")

    def disc(self, middle, radius, colour) -> None:
        """Draw a circle of the sketch, with an edge in ink."""
        (x, y), r = self.place([middle])[0], radius * self.zoom
        box = (x - r, y - r, x + r, y + r)
        self.draw.ellipse(box, colour, self.fabric.ink, round(0.5 * self.zoom))

    def _shading(self) -> np.ndarray:
        """Return float32 (size, size, 1): darker towards the edges and along folds."""
        size = (self.size, self.size)
        inside = self.silhouette.resize(size, Image.Resampling.BOX)
        blurred = inside.filter(ImageFilter.GaussianBlur(self.size * 0.05))
        depth = np.asarray(blurred, np.float32) / 255
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
        x, y = (np.interp(at, walked, p[:, k]).tolist() for k in (0, 1))
        yield list(zip(x, y))
