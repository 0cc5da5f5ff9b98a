"""Draw docs/images/lora.png, which notebook 04 shows: what LoRA adds to a layer.

python notebooks/lora_diagram.py
"""

from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

PATH = Path(__file__).parents[1] / "docs" / "images" / "lora.png"
INK, FROZEN, TRAINED = "#222222", "#dfe3e8", "#f3c6c1"
RANK, SIDE = 16, 320  # of an attention layer of Stable Diffusion 1.5


def box(ax, x: float, y: float, wide: float, high: float, colour: str, text: str) -> None:
    """Draw a box around (x, y) with a text in it."""
    how = {"boxstyle": "round,pad=0,rounding_size=0.12", "fc": colour, "ec": INK, "lw": 1.2}
    ax.add_patch(FancyBboxPatch((x - wide / 2, y - high / 2), wide, high, **how))
    ax.text(x, y, text, ha="center", va="center", fontsize=12, color=INK, linespacing=1.4)


def arrow(ax, *points: tuple[float, float]) -> None:
    """Draw an arrow through points."""
    for start, end in pairwise(points):
        style = "-|>" if end == points[-1] else "-"
        look = {"arrowstyle": style, "mutation_scale": 16, "color": INK, "lw": 1.4}
        ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **look))


def diagram() -> Figure:
    """Return the figure: a frozen layer, and beside it the two matrices that are trained."""
    figure = Figure(figsize=(9.4, 4.2))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 9.4), ylim=(0, 4.2))
    ax.axis("off")
    box(
        ax,
        4.7,
        3.2,
        3.0,
        1.3,
        FROZEN,
        f"a layer of the base\n{SIDE} x {SIDE} = {SIDE**2:,} weights\nstays as it is",
    )
    box(ax, 3.7, 0.95, 1.5, 1.1, TRAINED, f"A\n{SIDE} x {RANK}")
    box(ax, 5.7, 0.95, 1.5, 1.1, TRAINED, f"B\n{RANK} x {SIDE}")
    box(ax, 7.75, 2.1, 0.55, 0.55, "white", "+")
    arrow(ax, (0.75, 2.1), (1.75, 2.1))
    arrow(ax, (1.75, 2.1), (1.75, 3.2), (3.2, 3.2))
    arrow(ax, (1.75, 2.1), (1.75, 0.95), (2.95, 0.95))
    arrow(ax, (4.45, 0.95), (4.95, 0.95))
    arrow(ax, (6.2, 3.2), (7.75, 3.2), (7.75, 2.375))
    arrow(ax, (6.45, 0.95), (7.75, 0.95), (7.75, 1.825))
    arrow(ax, (8.025, 2.1), (8.6, 2.1))
    ax.text(0.7, 2.1, "input", ha="right", va="center", fontsize=12, color=INK)
    ax.text(8.65, 2.1, "output", ha="left", va="center", fontsize=12, color=INK)
    few = 2 * SIDE * RANK
    note = f"the adapter: {few:,} weights are trained, a tenth of the layer's; {RANK} is the rank"
    ax.text(4.7, 0.18, note, ha="center", va="center", fontsize=11, color="#8a1c14")
    ax.text(7.1, 1.08, "x LoRA scale", ha="center", va="bottom", fontsize=10, color=INK)
    return figure


def main() -> None:
    PATH.parent.mkdir(exist_ok=True)
    diagram().savefig(PATH, dpi=100, facecolor="white", metadata={"Software": None})
    print(f"{PATH.name}: {PATH.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
