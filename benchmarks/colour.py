"""Claims: colours named without a network are the colours that flats are drawn in, and those that a
person sees on photos; unclear colours are left open.

A person's colours of the first 150 validation photos are in benchmarks/eye_colours.json.

python benchmarks/colour.py        writes results/colour.json
"""

import json
from collections import Counter
from pathlib import Path

from common import shared_folder, write_result

from tvhelpers import flats
from tvhelpers.image import read_photo
from tvhelpers.score.colour import ColourName, name_colour

LABELS = Path(__file__).with_name("eye_colours.json")
NUM_FLATS, SEED = 1000, 203


def rates(names: list[ColourName], truths: list[list[str]]) -> dict:
    """Return the share left open, and the share of the rest that is a colour of its image."""
    pairs = list(zip(names, truths, strict=True))
    said = [(colour.name, truth) for colour, truth in pairs if colour.name]
    wrong = Counter(f"{truth[0]} called {name}" for name, truth in said if name not in truth)
    return {
        "pictures": len(names),  # stable name
        "abstained": 1 - len(said) / len(names),
        "right_of_not_abstained": 1 - wrong.total() / len(said),
        "most_mistaken": dict(wrong.most_common(5)),
    }


def on_flats() -> dict:
    specs = [flats.random_spec(SEED, i) for i in range(NUM_FLATS)]
    names = [name_colour(flats.render(spec, SEED, i)) for i, spec in enumerate(specs)]
    return rates(names, [[spec.colour] for spec in specs])


def on_photos(folder: Path) -> dict:
    """Rate the photos; one that the eye calls "multi" has no right name but its alternatives."""
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["labels"]
    return rates([name_colour(read_photo(folder / file)) for file in labels], [*labels.values()])


if __name__ == "__main__":
    photos = on_photos(shared_folder() / "data" / "clothing")
    write_result("colour", {"flats": on_flats(), "photos": photos})
