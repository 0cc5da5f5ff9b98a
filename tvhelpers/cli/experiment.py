"""How are experiments called: the compared settings of notebook 07, and the search?"""

from pathlib import Path

from tvhelpers.cli.options import REQUIRED, SOURCE, add_options, option
from tvhelpers.config import check_choice
from tvhelpers.experiments.rows import experiments, find_experiment, find_scale
from tvhelpers.output import say

SEARCH = "search"
OPTIONS = (
    option("name NAME", text="what is compared; they are listed at the end"),
    option("--out DIR", Path, REQUIRED, "folder for runs, images, scores and results; the same "
           "command resumes, and experiments in one folder share their runs"),
    option("--base", str, "mini", "base to start from, as for `generate`"),
    option("--data SOURCE", str, "flats-new-season", f"what to train on: {SOURCE}"),
    option("--scale NAME", str, "mini", "how much is run: smoke (minutes, to see that it works), "
           "class (an hour for all), mini, or gpu (Stable Diffusion)"),
    option("--trials N", int, 40, "settings that `search` tries"),
    option("--workers N", int, 1, "processes that share the trials of `search`, one core each"),
    option("--seed N", int, 0, "seed of `search`: another one tries other settings"),
    option("--clip NAME", str, "", "CLIP for CLIPScore, as for `score`"),
    option("--features NAME", str, "", "feature extractor for photos, as for `score`"),
)  # fmt: skip


def declare(parser) -> None:
    """Give `experiment` its options, and list the experiments in its help."""
    add_options(parser, run, *OPTIONS)
    parser.appendix = lambda: "".join(f"\n  {name:12} {title}" for name, title in _titles().items())


def _titles() -> dict[str, str]:
    found = {name: f"{one.title} {len(one.arms)} arms" for name, one in experiments().items()}
    return {**found, SEARCH: "Which settings are best?  A random search, and its best as a preset"}


def run(options) -> dict:
    """Run an experiment or the search, print the results, and return them."""
    check_choice("experiment", options.name, _titles())
    scale = find_scale(options.scale)
    from tvhelpers.experiments.run import Bench, run_experiment  # loads torch, which takes seconds
    from tvhelpers.experiments.summary import in_lines

    scored = {name: getattr(options, name) for name in ("clip", "features")}
    scored = tuple((name, value) for name, value in scored.items() if value)
    bench = Bench(options.out, options.base, options.data, scale, scored)
    if options.name == SEARCH:
        result = _search(bench, options)
    else:
        result = run_experiment(find_experiment(options.name), bench)
    say(*in_lines(result), f"results: {options.out / options.name}.json")
    return result


def _search(bench, options) -> dict:
    """Search, write its figures, and return its results."""
    from tvhelpers.experiments.search import Search, run_search
    from tvhelpers.experiments.trials import write_figures

    search = Search(bench, options.trials, options.seed)
    result = run_search(search, options.workers)
    paths = write_figures(result, search.folder)
    say(f"trial {result['best']} is best; as a preset: {search.folder / 'best.json'}")
    say(f"figures: {paths[0]}, {paths[1]}")
    return result
