"""How were the published prompt suites made?

python -m recipes.prompt_suite      writes tvhelpers/score/suites/*.jsonl; never changes one
"""

from tvhelpers.score.draw_suite import draw_suite, make_row
from tvhelpers.score.garment_words import named
from tvhelpers.score.suite import SUITES, digest, write

PAPER = {  # the paper's figures 4 to 12
    "green bomber jacket": {"category": "bomber jacket", "colour": "green"},
    "brown leather belt": {"category": "belt", "colour": "brown", "fabric": "leather"},
    "formal black dress": {"category": "dress", "colour": "black"},
    "V-neck t-shirt": {"category": "t-shirt", "neckline": "V-neck"},
    "short overalls": {"category": "overalls", "length": "short"},
    "black sweatsuit": {"category": "sweatsuit", "colour": "black"},
    "tartan skirt": {"category": "skirt", "pattern": "tartan"},
    "black high-waisted skirt": {"category": "skirt", "colour": "black", "waist": "high-waisted"},
}


def published() -> dict[str, list[dict]]:
    """Return {file name: rows}; FB-138 is the start of FB-1000."""
    paper = [
        make_row(f"paper-{n}", "paper", 0, (shown,), prompt, named(prompt, shown))
        for n, (prompt, shown) in enumerate(PAPER.items(), 1)
    ]
    bases = {"covered_by": ["mini", "sd15"], "unseen_by": []}  # mini's adapter was trained on all
    return {"fb1000": draw_suite(0), "paper-8": [{**row, **bases} for row in paper]}


if __name__ == "__main__":
    for name, rows in published().items():
        write(rows, SUITES / f"{name}.jsonl")
        print(name, digest(rows))
