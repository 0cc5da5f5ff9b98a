"""What does notebook 07 show of each experiment, and where does it get the results?"""

import importlib.util
from dataclasses import replace
from pathlib import Path

from PIL import Image

import tvhelpers
from tvhelpers.experiments import summary
from tvhelpers.experiments.figures import epoch_figures, forest
from tvhelpers.experiments.report import write_report
from tvhelpers.experiments.rows import Experiment, experiments, find_experiment, find_scale
from tvhelpers.experiments.run import Bench, run_experiment
from tvhelpers.output import say
from tvhelpers.records import read_record, read_records
from tvhelpers.show.figures import systems
from tvhelpers.show.settings import NotebookSettings

COMMITTED = Path(tvhelpers.__file__).parents[1] / "benchmarks" / "results" / "experiments"
SHOWN = 6  # prompts in a grid of arms


class Lesson:
    """The experiments of a notebook: opened where they were run before, else run.

    `scale`: how much is run, "auto" for what suits the base; `results`: "stored" opens the results
    that come with the code, "own" runs all.
    """

    def __init__(self, tv: NotebookSettings, scale: str = "auto", results: str = "stored"):
        if scale == "auto":
            scale = "class" if tv.base == "mini" else "gpu"
        self.quick, self.stored = tv.quick, results == "stored" and tv.base == "mini"
        chosen = find_scale("smoke" if tv.quick else scale)
        if tv.quick:
            chosen = replace(chosen, seeds=chosen.seeds[:1])
        out = tv.root / "experiments" / f"{tv.base.replace('/', '-')}-{chosen.name}"
        self.bench = Bench(out, tv.base, tv.data, chosen)

    def overview(self) -> None:
        """Print the experiments, the number of runs of each, and what is stored."""
        if self.stored and not COMMITTED.is_dir():
            say("No results are stored with this code yet: each section runs its experiment here.")
        for name, one in experiments().items():
            count = sum(arm.train is not None for arm in one.arms) * len(self.bench.scale.seeds)
            place = "stored" if self._is_stored(name) else f"up to {count} trainings here"
            say(f"{name:10} {one.title} ({place})")

    def result(self, name: str) -> dict:
        """Return the results of an experiment; a trial has two of its arms."""
        if self._is_stored(name):
            result = read_record(COMMITTED / f"{name}.json", "experiment")
            say(f"stored results: commit {result.get('commit', 'unknown')}, base {result['base']}")
            return result
        return run_experiment(self._experiment(name), self.bench)

    def show(self, name: str) -> list[Image.Image]:
        """Print an experiment's claim, table and findings, and return its figures."""
        result = self.result(name)
        say(*summary.in_lines(result))
        arms = result["arms"]
        names = [name for name in result["figures"] if any(name in row for row in arms.values())]
        return [forest(arms, figure, result["against"]) for figure in names]

    def epochs(self, name: str) -> list[Image.Image]:
        """Return the losses of an experiment by epoch, and their distribution."""
        return epoch_figures(self.result(name))

    def images(self, name: str) -> Image.Image:
        """Return the same prompts as each arm of an experiment draws them, with its first seed."""
        if self._is_stored(name):
            return Image.open(COMMITTED / f"{name}.png")
        return arm_images(self.result(name), self.bench.out)

    def search(self, trials: int = 12, workers: int = 1) -> list[Image.Image]:
        """Search, print the comparison of the best settings, and return two figures."""
        if not importlib.util.find_spec("optuna"):
            say("no search: Optuna is not installed; run: pip install optuna")
            return []
        from tvhelpers.experiments.search import NAME, Search, run_search
        from tvhelpers.experiments.trials import importance_figure, parallel_figure

        if self._is_stored(NAME):
            result = read_record(COMMITTED / f"{NAME}.json", "experiment")
        else:
            result = run_search(Search(self.bench, 2 if self.quick else trials), workers)
        say(*summary.in_lines(result), f"trial {result['best']} is best")
        return [importance_figure(result), parallel_figure(result)]

    def report(self) -> Path:
        """Write one page of everything that was run here, and return its path."""
        out = self.bench.out / "report.html"
        found = write_report([self.bench.out], out, "Experiments")
        say(f"{out}: {found['runs']} trainings, {found['experiments']} experiments")
        return out

    def _is_stored(self, name: str) -> bool:
        return self.stored and not self.quick and (COMMITTED / f"{name}.json").is_file()

    def _experiment(self, name: str) -> Experiment:
        """Return an experiment; in a trial the arm that it compares with, and one other."""
        experiment = find_experiment(name)
        if not self.quick:
            return experiment
        others = [arm for arm in experiment.arms if arm.name != experiment.against]
        own = [arm for arm in experiment.arms if arm.name == experiment.against]
        return replace(experiment, arms=(*own, others[-1]))


def arm_images(result: dict, out: Path) -> Image.Image:
    """Return a grid: a row for each arm of a result, with images of its first seed, a column for
    each prompt."""
    shown: dict[str, list[Path]] = {}
    for row in result["rows"]:
        folder = out / row["folders"]["images"]
        records = read_records(folder / "records.jsonl", "image")[:SHOWN]
        shown.setdefault(row["arm"], [folder / record["file"] for record in records])
    return systems(shown, [record["prompt"] for record in records])
