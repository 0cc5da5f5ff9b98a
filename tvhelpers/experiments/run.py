"""How is an experiment run?  Its arms become run folders, images, scores, and one file of results.

OUT/
  items/<key>/      the items that arms train on, and test items
  clips/<key>/      tuned text encoders
  runs/<key>/       ordinary folders of trainings, shared by all experiments that need the same
  images/<key>/     ordinary folders of drawn images
  scores/<key>.json what `score` writes
  arms/<key>.json   the figures of one arm and seed
  <name>.json       the results of an experiment
Whatever is there is opened, not repeated.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from tvhelpers.config import TrainConfig, to_dict
from tvhelpers.data.items import Source
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.experiments import measure, summary
from tvhelpers.experiments.items import Items, check_count, parts_of, write_items
from tvhelpers.experiments.noise import noise_scale
from tvhelpers.experiments.rows import Arm, Experiment, Scale
from tvhelpers.files import content_key, naming_full_disk, writing_beside
from tvhelpers.models.base import base_digest, find_base
from tvhelpers.models.clip import Clip
from tvhelpers.models.identity import FILES, identity
from tvhelpers.progress import progress_bar
from tvhelpers.records import read_record, write_json
from tvhelpers.runtime import versions
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.own_images import draw_own
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.score import suite
from tvhelpers.score.report import score_folders
from tvhelpers.score.request import ScoreRequest
from tvhelpers.train.clip_settings import ClipTuning
from tvhelpers.train.clip_tuning import tune_on_source
from tvhelpers.train.trainer import train
from tvhelpers.words import counted

log = logging.getLogger(__name__)
NOISE = "noise_scale"  # a figure that only the experiments have that ask for it: it takes longer
FIGURES = 2  # raise it when the figures of an arm change: they are measured again
IGNORED = ("preset", "data", "text_encoder", "mirror", "device")  # in the key of a training


@dataclass(frozen=True)
class Bench:
    """Where experiments run: on which base and items, at which scale, in which folder.

    `scored`: more arguments of a ScoreRequest, such as clip and features.
    """

    out: Path
    base: str
    data: str
    scale: Scale
    scored: tuple[tuple[str, str], ...] = ()

    @cached_property
    def source(self) -> Source:
        """The items, opened."""
        return open_source(self.data)

    @cached_property
    def parts(self) -> dict[str, list[int]]:
        """Item numbers of the test, the selection and the training part.

        Raises InputError where no test item has a caption to draw.
        """
        parts = parts_of(self.source, self.scale.test, self.scale.selection)
        captions = [self.source.captions[i] for i in parts["test"]]
        blank, count = sum(not caption.strip() for caption in captions), len(captions)
        if blank == count:
            raise InputError("no-caption.experiment", name=self.source.name)
        if blank:
            some = f"{count - blank:,} of {counted(count, 'test item')}"
            log.warning(f"images are drawn of {some}: the others have no caption")
        return parts

    @cached_property
    def identity(self) -> dict[str, str]:
        """What the base is, without its path."""
        return identity(self.base, find_base(self.base))

    @cached_property
    def base_digest(self) -> str:
        """A digest of the base's weights; of a folder, of all its files."""
        return self.identity.get(FILES) or base_digest(find_base(self.base))

    def folder(self, kind: str, key) -> Path:
        """Return the folder (or the stem of the file) of what a key identifies."""
        return (self.out / kind / content_key(key)).resolve()

    def items(self, part: str, how: Items | None = None) -> Path:
        """Return the folder of a part's items, which are written if they are missing."""
        return write_items(self.source, self.parts[part], how or Items(), self.out / "items")

    def training_items(self, arm: Arm) -> Path:
        """Return the folder of an arm's training items; a trial has only some of them."""
        return self.items("train", self._arranged(arm))

    def _arranged(self, arm: Arm) -> Items:
        how, most = Items(**arm.items), self.scale.most_items
        if most:
            how = replace(how, count=min(how.count or most, most, len(self.parts["train"])))
        return how

    def check(self, arms: Sequence[Arm]) -> None:
        """Raise InputError where an arm asks for more items than there are, or for a CLIP to tune
        that the base has not."""
        for arm in arms:
            check_count(self.source, self.parts["train"], self._arranged(arm))
        if any(arm.clip is not None for arm in arms):
            Clip(self.base)

    def text_encoder(self, arm: Arm, seed: int) -> str:
        """Return the folder of an arm's tuned CLIP, which is tuned if it is missing; "" for the
        base's own."""
        if arm.clip is None:
            return ""
        config = ClipTuning(**{**self.scale.clip, **arm.clip, "seed": seed})
        data = self.items("train")
        folder = self.folder("clips", [asdict(config), self.base_digest, data.name])
        if not (folder / "clip" / "config.json").exists():
            tune_on_source(open_source(data), config, folder, Clip(self.base))
        return str(folder)

    def config(self, arm: Arm, seed: int) -> TrainConfig:
        """Return the settings of an arm's training; in one of epochs, each ends with a loss."""
        given = {"base": self.base, "data": str(self.training_items(arm)), "seed": seed}
        config = self.scale.config(arm, **given, text_encoder=self.text_encoder(arm, seed))
        if not config.epochs:
            return config
        items = len(open_source(config.data)) * (1 - config.held_out)
        return replace(config, eval_steps=max(1, round(items / config.items_per_step)))

    def train(self, config: TrainConfig) -> Path:
        """Return the folder of a training, which is run, resumed or opened."""
        ignored = ("base", *IGNORED) if FILES in self.identity else IGNORED
        own = {key: value for key, value in to_dict(config).items() if key not in ignored}
        names = [Path(config.data).name, Path(config.text_encoder).name, self.base_digest]
        folder = self.folder("runs", [own, *names])
        if not (folder / "result.json").exists():
            train(config, folder, root=self.out, draw_own=draw_own)
        return folder

    def images(self, arm: Arm, seed: int, run: Path | None, text_encoder: str) -> Path:
        """Return the folder of an arm's images, drawn if they are missing: of test captions, from
        noise that all arms share."""
        test = open_source(self.items("test"))
        rare = measure.rare_colours(open_source(self.training_items(arm)).attributes)
        rows = measure.suite_rows(test, self.scale.images, seed, rare)
        is_pipeline = run and (run / "pipeline").is_dir()
        sampler = Sampler(
            str(run / "pipeline") if is_pipeline else self.base,
            "none" if is_pipeline or run is None else str(run),
            text_encoder="" if is_pipeline else text_encoder,
            text_conditioning=arm.text,
        )
        prompts = tuple(row["prompt"] for row in rows)
        request = Request(prompts, steps=self.scale.steps, **suite.request_of(rows))
        who = {key: value for key, value in sampler.identity.items() if key != "base"}
        folder = self.folder("images", [request.record(), who, sorted(rare)])
        generate(sampler, request, folder)
        suite.write(rows, folder / suite.FILE)
        return folder

    def score(self, images: Path, items: Path, run: Path | None) -> Path:
        """Return the file of the images' scores; copies are looked for among the items that the run
        trained on, without a run among those that other arms train on."""
        path = self.folder("scores", [images.name, (run or items).name, self.scored])
        path = path.with_suffix(".json")
        if not path.exists():
            how = {"real": self.items("test"), "cache": self.out / "cache", **dict(self.scored)}
            how |= {"attribute_classifier": "judge"} if self.base == "mini" else {}
            how |= {"train": str(run or items), "validation": str(self.items("test"))}
            score_folders(ScoreRequest([images], path, **how))
        return path

    def measured(self, arm: Arm, seed: int) -> dict:
        """Return {"arm", "seed", "figures", "curves", "folders"} of an arm and a seed."""
        key = [asdict(arm), seed, asdict(self.scale), self.base_digest, self.items("test").name]
        path = self.folder("arms", [*key, self.training_items(arm).name, self.scored, FIGURES])
        path = path.with_suffix(".json")
        if path.exists():
            return read_record(path, "arm")
        log.info(f"{arm.name}, seed {seed}")
        encoder = self.text_encoder(arm, seed)
        run = self.train(self.config(arm, seed)) if arm.train is not None else None
        images = self.images(arm, seed, run, encoder)
        scores = self.score(images, self.training_items(arm), run)
        figures, test = measure.scores_of(scores), self.items("test")
        figures["test_loss"] = measure.test_loss(self.base, test, self.out, run, encoder, arm.text)
        curves = measure.figures_of_run(run) if run else {}
        numbers = [key for key, value in curves.items() if not isinstance(value, list | dict)]
        figures |= {key: curves.pop(key) for key in numbers}
        places, top = {"run": run, "images": images, "scores": scores}, self.out.resolve()
        row = {"arm": arm.name, "seed": seed, "figures": figures, "curves": curves}
        row["folders"] = {key: str(it.relative_to(top)) for key, it in places.items() if it}
        write_json(path, row)
        return row

    def with_noise_scale(self, arm: Arm, row: dict) -> dict:
        """Return a row of `measured` with the noise scale of its gradient, if it has a training."""
        key = [row[name] for name in ("arm", "seed", "figures", "folders")]  # nothing of the clock
        path = self.folder("noise", key).with_suffix(".json")
        if arm.train is None:
            return row
        if not path.exists():
            run, items = self.out.resolve() / row["folders"]["run"], self.training_items(arm)
            encoder = self.text_encoder(arm, row["seed"])
            found = noise_scale(self.base, items, self.out, run, encoder)
            write_json(path, {**row, "figures": {**row["figures"], NOISE: found}})
        return read_record(path, "arm")


def run_experiment(experiment: Experiment, bench: Bench) -> dict:
    """Run, resume or open an experiment; write OUT/<name>.json, and return its content.

    Raises InputError before anything is trained where the data have too few items, the base has no
    CLIP to tune, or another process runs the same; and where the disk is full.
    """
    out = bench.out / f"{experiment.name}.json"
    with naming_full_disk(bench.out), writing_beside(out):
        if not out.exists():
            bench.check(experiment.arms)
        result = results_of(experiment, bench)
        write_json(out, result)
    return result


def results_of(experiment: Experiment, bench: Bench) -> dict:
    """Run, resume or open the arms of an experiment, and return its results."""
    jobs = [(arm, seed) for arm in experiment.arms for seed in bench.scale.seeds]
    rows, is_asked = [], NOISE in experiment.figures
    with progress_bar(experiment.name, len(jobs), unit="arms") as bar:
        for arm, seed in jobs:
            row = bench.measured(arm, seed)
            rows.append(bench.with_noise_scale(arm, row) if is_asked else row)
            bar.update(1)
    found = summary.summarised(rows, experiment.against)
    return {**about(experiment, bench), **found, "rows": rows}


def about(experiment: Experiment, bench: Bench) -> dict:
    """Return what a file of results says of how they were made."""
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "claim": experiment.claim,
        "against": experiment.against,
        "figures": [*experiment.figures],
        "base": bench.identity["base"],
        "base_digest": bench.base_digest,
        "data": bench.data,
        "data_fingerprint": bench.source.fingerprint,
        "scale": bench.scale.name,
        "seeds": [*bench.scale.seeds],
        "settings": asdict(bench.scale),
        "versions": versions(),
    }


def image_steps(config: TrainConfig, num_items: int) -> int:
    """Return how many images a training draws, of `num_items` training items."""
    if config.epochs:
        return math.ceil(num_items * config.epochs)
    return config.steps * config.samples_per_step
