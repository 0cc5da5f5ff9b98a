"""How does a spec become pixels?"""

import re

import numpy as np

from tvhelpers.flats import bottoms, tops
from tvhelpers.flats.fabric import Fabric
from tvhelpers.flats.sketch import Painter, Sketch
from tvhelpers.flats.spec import COLOURS, SHADES, Spec, pick, rng_for

# Identifies the drawings in the keys of caches and runs.  The first drawings were named by digests;
# when a drawing changes, write a version number instead.
DRAWING = (
    "0750e9396274c6e3 2bfedc8a58df468c ecd2ae18ebdfa39d 7b34b50d3a048ea5 a6fdf973fba3040e".split()
)
# The same of the drawings that came later, which only flats with a shade have.
LATER_DRAWING = 1
# Second colours of stripes, dots, checks and flowers.  A pair of colours has one ground: red and
# white is red, so that white needs another second colour.
ACCENTS = {"white": (0, 122, 128), "yellow": COLOURS["black"], "beige": COLOURS["brown"]}
# Third colours: of tartan's thin lines.
LINES = {"white": ["red"], "yellow": ["red", "white"], "beige": ["red", "white"], "pink": ["white"]}


def render(spec: Spec, seed: int, index: int, size: int = 128) -> np.ndarray:
    """Draw a spec; pose, proportions and fabric vary with (seed, index).

    Returns pixels uint8 (size, size, 3) RGB on white.
    """
    rng = rng_for(seed, index, "draw")
    fabric = _fabric(spec, rng)
    sketch = Sketch()
    _function_of(spec)(sketch, spec, rng)
    return Painter(
        sketch,
        fabric,
        size,
        rotation=rng.normal(0, 1.5),
        share=rng.uniform(0.8, 0.91),
        shift=rng.uniform(-2.5, 2.5, 2),
    ).paint()


def _function_of(spec: Spec):
    """Return the function that draws the cut, where it has one of its own, or the category."""
    names = [f"draw_{re.sub(r'[ -]', '_', word or '')}" for word in (spec.cut, spec.category)]
    return next(getattr(m, name) for name in names for m in (tops, bottoms) if hasattr(m, name))


def _fabric(spec: Spec, rng) -> Fabric:
    """Return cloth of the spec's pattern, in colours that vary a little around the named ones."""
    hue = 1.2 if spec.colour in ("black", "white", "gray") else 3.0  # more would tint a gray
    shade = SHADES.get(spec.shade, COLOURS[spec.colour])
    ground = np.array(shade) + rng.normal(0, hue, 3) + rng.normal(0, 4)
    second = np.array(ACCENTS.get(spec.colour, COLOURS["white"]))
    # after yellow lines on black, a decoder drew all light lines on black yellow
    bright = LINES | {"black": ["white", "red"]} if spec.shade else LINES
    red = spec.colour in ("yellow", "orange") or (spec.colour == "black" and spec.shade)
    third = np.array(COLOURS["red" if red else "yellow"])
    if spec.pattern == "tartan":
        second = ground + 50 if spec.colour == "black" else ground * 0.25
        third = np.array(COLOURS[pick(rng, bright.get(spec.colour, ["white", "yellow"]))])
    colours = np.clip([ground, second, third], 16, 250).astype(np.float32)
    return Fabric(colours, spec.pattern, rng.uniform(11, 14), tuple(rng.uniform(0, 40, 2)))
