"""Claims: FB-138 covers most pairs of words that garments can have, FB-1000's core all of them; on
the prompts that mini knows, the shipped adapter is compared with mini's base prompt by prompt;
neither copies its training flats.

python benchmarks/prompt_suite.py WORK_DIR      writes results/prompt_suite.json

WORK_DIR keeps images, charts and metrics; with two cores it takes 5 minutes.
"""

import sys
from pathlib import Path

from common import write_result

from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score import garment_words
from tvhelpers.score import suite as prompts
from tvhelpers.score.report import format_table, score_folders
from tvhelpers.score.request import ScoreRequest
from tvhelpers.show.scores import write_figures

KEPT = ("value", "ci", "n")


def coverage(rows: list[dict]) -> dict:
    def shown(some):
        worn = (garment for row in some for garment in row["spec"]["garments"])
        return {pair for garment in worn for pair in garment_words.pairs_of(garment)}

    every = [g for name in garment_words.GARMENTS for g in garment_words.garments(name)]
    feasible = {pair for garment in every for pair in garment_words.pairs_of(garment)}
    core = [row for row in rows if row["stratum"] == "core"]
    parts = {"FB-138 core": core[:84], "FB-138": rows[:138], "FB-1000 core": core}
    shares = {name: len(feasible & shown(some)) / len(feasible) for name, some in parts.items()}
    return {"pairs": len(feasible), **shares}


def key_of(row: dict) -> str:
    return row["name"].replace("attribute:", "atom:")  # stable name


def main(work: Path) -> None:
    rows = prompts.open_suite("fb1000")
    some = prompts.covered(rows[:138], "mini")
    request = Request(tuple(row["prompt"] for row in some), **prompts.request_of(some))
    dirs = {"base": work / "base", "adapter": work / "adapter"}
    for folder, adapter in zip(dirs.values(), ("none", "shipped"), strict=True):
        generate(Sampler("mini", adapter), request, folder)
        prompts.write(some, folder / prompts.FILE)
    request = ScoreRequest([*dirs.values()], work / "metrics.json", train="flats-base")
    result = score_folders(request)
    print(format_table(result))
    write_figures(result, work / "figures")
    figures = {
        name: {key_of(row): {key: row[key] for key in KEPT} for row in scored["metrics"]}
        for name, scored in zip(dirs, result["folders"], strict=True)
    }
    (pair,) = result["pairs"]
    gains = {
        key_of(r): {**{k: r[k] for k in KEPT}, "p": r["details"]["p"]} for r in pair["metrics"]
    }
    about = {"sha256": prompts.SHA256, "coverage": coverage(rows), "prompts_on_mini": len(some)}
    write_result("prompt_suite", {**about, "figures": figures, "adapter_less_base": gains})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
