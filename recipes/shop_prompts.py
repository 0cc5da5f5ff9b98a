"""How was the fixed list of shop-like prompts made?

python -m recipes.shop_prompts      writes benchmarks/shop_prompts.json
"""

from pathlib import Path

from tvhelpers import flats
from tvhelpers.flats.spec import rng_for
from tvhelpers.records import write_json

SEED, COUNT = 901, 300
FILE = Path(__file__).parents[1] / "benchmarks" / "shop_prompts.json"


def shop_prompts() -> list[dict]:
    """Return 300 rows {prompt, category, colour, pattern or None, new}, each prompt once.

    The prompts are of the twentieth of texts that no training uses, and each states a colour; a
    pattern is expected where the garment is not plain, as these prompts always state it.  `new`
    says whether mini's base never sees such a garment, but its adapter does.
    """
    rows: dict[str, dict] = {}
    for index in range(0, 100 * COUNT, 2):  # the odd ones may be alike
        spec = flats.shop_spec(SEED, index)
        text, stated = flats.shop_phrase(spec, rng_for(SEED, index, "prompt"), reserved=True)
        rare = spec.pattern != "plain" and index % 4  # shops have more plain garments
        if "colour" in stated and not rare:
            plain = spec.pattern == "plain"
            shown = {"category": spec.category, "colour": spec.colour}
            shown |= {"pattern": None if plain else spec.pattern, "new": spec.is_new}
            rows.setdefault(text.lower(), {"prompt": text, **shown})
        if len(rows) == COUNT:
            break
    return [*rows.values()]


if __name__ == "__main__":
    write_json(FILE, shop_prompts())
