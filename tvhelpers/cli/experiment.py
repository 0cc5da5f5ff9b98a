"""How are experiments called: the compared settings of notebook 07, and the search?"""

from pathlib import Path

from tvhelpers.cli.options import REQUIRED, SOURCE, add_options, option
from tvhelpers.experiments.rows import experiments, find_experiment, find_scale
from tvhelpers.output import say

OPTIONS = (
    option("name NAME", text="what is compared; they are listed at the end"),
    option("--out DIR", Path, REQUIRED, "folder for runs, images, scores and results; the same "
           "command resumes, and experiments in one folder share their runs"),
    option("--base", str, "mini", "base to start from, as for `generate`"),
    option("--data SOURCE", str, "flats-new-season", f"what to train on: {SOURCE}"),
    option("--scale NAME", str, "mini", "how much is run: smoke (minutes, to see that it works), "
           "mini, or gpu (Stable Diffusion)"),
    option("--clip NAME", str, "", "CLIP for CLIPScore, as for `score`"),
    option("--features NAME", str, "", "feature extractor for photos, as for `score`"),
)  # fmt: skip


def declare(parser) -> None:
    """Give `experiment` its options, and list the experiments in its help."""
    add_options(parser, run, *OPTIONS)
    parser.appendix = lambda: "\n" + "\n".join(
        f"  {name:12} {one.title} {len(one.arms)} arms" for name, one in experiments().items()
    ) + "\n"  # fmt: skip


def run(options) -> dict:
    """Run an experiment, print its results, and return them."""
    experiment, scale = find_experiment(options.name), find_scale(options.scale)
    from tvhelpers.experiments.run import Bench, run_experiment  # loads torch, which takes seconds
    from tvhelpers.experiments.summary import in_lines

    scored = {name: getattr(options, name) for name in ("clip", "features")}
    scored = tuple((name, value) for name, value in scored.items() if value)
    bench = Bench(options.out, options.base, options.data, scale, scored)
    result = run_experiment(experiment, bench)
    say(*in_lines(result), f"results: {options.out / experiment.name}.json")
    return result
