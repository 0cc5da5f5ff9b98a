"""What does a notebook work with?  The choices of its form, as one object that its cells call.

A `TrainConfig` says how to train; the prompt studio's controls change one `Request`.
"""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from tvhelpers import manifest
from tvhelpers.config import TrainConfig
from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.items import Source, Subset
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.errors import InputError
from tvhelpers.lora.find import adapter_file
from tvhelpers.models.base import find_base
from tvhelpers.models.baseline import find_classes
from tvhelpers.output import say
from tvhelpers.presets import PRESETS
from tvhelpers.records import TakenError, read_record
from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.score import language
from tvhelpers.score.attributes import CORE, agreement
from tvhelpers.score.colour import EXAMPLES, name_colour
from tvhelpers.score.copying import MIN_VALIDATION, data_of, is_run, open_trained
from tvhelpers.score.report import score_folders
from tvhelpers.score.request import ScoreRequest
from tvhelpers.show import drive, take_away, training_form
from tvhelpers.train.fit import fitted, resumed
from tvhelpers.train.resume import run_config

Outcome = TypeVar("Outcome")
SHIPPED_DATA = "flats-new-season"  # what mini's own adapter was trained on
PROJECT = Path("..")  # as notebooks run in their own folder; the README's commands run in this one
TRIAL_TRAIN = 600  # training images that copies are looked for among, in a trial


def at_hand(path: str) -> str:
    """Return a path of the form, which may begin in this folder or in that of the project."""
    inner = Path(path).expanduser()
    places = [place for place in (inner, PROJECT / inner) if place.exists()]
    return str(places[0].resolve()) if places else path


@dataclass(frozen=True)
class NotebookSettings:
    """The choices of a notebook's form: names of base, preset and data, and the results folder."""

    base: str
    preset: str
    data: str
    root: Path
    place: Path | None = None  # a folder on this machine, if `root` is on a Drive

    @property
    def quick(self) -> bool:
        """Whether this is a trial of the notebook itself (preset "smoke")."""
        return self.preset == "smoke"

    def few(self, count: int, when_quick: int = 16) -> int:
        """Return `count`, or at most `when_quick` in a trial."""
        return min(count, when_quick) if self.quick else count

    @property
    def local(self) -> Path:
        """The folder for files that are large or read often: on this machine, even if results go to
        a Drive, which may disconnect."""
        return self.place or self.root

    def run_dir(self, name: str, preset: str = "") -> Path:
        """Return the folder of a run of this base and, where no other is given, this preset.

        Raises InputError where `name` is not a folder's name.
        """
        if not name:
            raise InputError("bad-name.empty")
        if name != Path(name).name:
            raise InputError("bad-name.run", name=name)
        return self.root / "runs" / f"{name}-{self.base.replace('/', '-')}-{preset or self.preset}"

    def train_dir(self, name: str) -> Path:
        """Return the folder to train in: on this machine, even if `run_dir` is a mirror on a
        Drive."""
        return self.local / "runs" / self.run_dir(name).name

    def preset_of(self, name: str) -> str:
        """Return the preset of the newest run NAME of this base that was started, but not as a
        trial; "" without one."""
        configs = {preset: self.run_dir(name, preset) / "config.json" for preset in PRESETS}
        started = [key for key, path in configs.items() if key != "smoke" and path.exists()]
        return max(started, key=lambda key: configs[key].stat().st_mtime, default="")

    def adapter(self, given: str = "", or_none: bool = False) -> str:
        """Return an adapter's path or name, and print which it is.

        `given` is the name of a run (its newest finished training counts, whatever the preset),
        else a path, "none" or "shipped".  By default it is the newest finished training of this
        base, whatever its name; without one, the adapter that the base comes with.  Where it has
        none, "none" is returned if `or_none`; else InputError is raised.
        """
        if own := self.newest(given):
            config = read_record(own.with_name("config.json"), "training")
            newest = "" if given else ", the newest that was finished"
            say(f"adapter {own}{newest}: {config['steps']} steps on {config['data']}")
            return str(own)
        if given:
            named = given in ("none", "shipped")
            given = given if named else at_hand(given)
            if not named and not adapter_file(Path(given)).is_file():
                raise InputError("no-adapter.given", given=given, folder=self.root / "runs")
            say(f"adapter {given}, as chosen in the form")
            return given
        missing = f"{self.root / 'runs'} holds no finished run of this base"
        if find_base(self.base).adapter:
            say(f"adapter: the one that {self.base} comes with, because {missing}")
            return "shipped"
        missing = f"{self.base} comes without one, and {missing}; train one in notebook 04"
        if or_none:
            say(f"no adapter: {missing} (on Colab, tick USE_DRIVE there and here)")
            return "none"
        raise InputError("no-adapter.none", base=self.base, folder=self.root / "runs")

    def first_adapter(self) -> str:
        """Return the adapter that the base comes with, else the newest finished one, else "none": a
        notebook before 04 draws the same images before and after it."""
        return "shipped" if find_base(self.base).adapter else str(self.newest() or "none")

    def newest(self, name: str = "", data: str = "") -> Path | None:
        """Return the adapter of the newest finished training of this base, None without one; of the
        run `name` or of any, on `data` or on any."""
        markers = ("result.json", "adapter.safetensors", "config.json")
        runs, own, found = self.root / "runs", self.base.replace("/", "-"), {}
        names = {name, *(f"{name}-{own}-{preset}" for preset in PRESETS)}
        for run in runs.iterdir() if runs.is_dir() else ():
            if not all((run / marker).is_file() for marker in markers):
                continue
            config = read_record(run / "config.json", "training")
            wanted = config.get("base") == self.base and (not name or run.name in names)
            if wanted and data in ("", config["data"], data_of(run)):
                found[run / "adapter.safetensors"] = (run / "result.json").stat().st_mtime
        return max(found, key=found.__getitem__, default=None)

    def trained_data(self, adapter: str) -> str:
        """Return what `adapter` (as given to `adapter`) was trained on, "" where nothing says it:
        a name, or a path, which may be no more there."""
        own = self.newest(adapter)
        if own is None and adapter in ("", "none", "shipped"):
            ships = adapter != "none" and find_base(self.base).adapter
            return SHIPPED_DATA if ships else ""
        run = (own or adapter_file(Path(at_hand(adapter)))).parent
        if not is_run(run):
            return ""
        return data_of(run) or read_record(run / "config.json", "training")["data"]

    def labels(self, adapter: str) -> list[dict[str, str]]:
        """Return the attributes of the items that `adapter` (as given to `adapter`) was trained on,
        whose words the prompt studio offers; none where they are not found."""
        data = self.trained_data(adapter)
        with contextlib.suppress(InputError):
            return open_source(data).attributes if data else []
        return []

    def trained_on(self, adapter: str) -> str:
        """Return the folder of the run that made an adapter, which says what it was trained on,
        else the name of its data; "" if they are not found, or have too few validation images to
        find copies.  Prints which."""
        run = adapter_file(Path(adapter)).parent
        data = self.trained_data(adapter)
        if not data or (is_run(run) and not data_of(run)):
            missing = f"the training data of {adapter}{f', {data},' if data else ''} were not found"
            say(f"{missing}: copies of them cannot be looked for")
            return ""
        trained = str(run) if is_run(run) else data
        _, validation = split_items(*open_trained(trained))
        enough = len(validation) >= MIN_VALIDATION
        few = f"; {len(validation)} validation images are too few to find copies"
        say(f"trained on {data}{'' if enough else few}")
        return trained if enough else ""

    @property
    def data_is_flats(self) -> bool:
        """Whether the data are flats, whose attributes mini's judge can name."""
        return manifest.entries().get(self.data, {}).get("kind") == "flats"

    def examples(self, seed: int, count: int, season="all", stating="category") -> Source:
        """Return items to test with that no training has seen.

        Of flats these are new ones; else validation items with a caption and the attribute
        `stating` ("": none is needed), from their labels or, where the data have no such label,
        from their captions; a colour only if it can be measured.  If they are too few, training
        items are added, and a line is printed.  Raises InputError where there are none.
        """
        if self.data_is_flats:
            return FlatsSource(seed, count, season=season)
        source = self.labelled()
        if stating == "colour":
            source.attributes = [_measurable(row) for row in source.attributes]
        rows = zip(source.captions, source.attributes, strict=True)
        usable = [i for i, (text, row) in enumerate(rows) if text.strip() and
                  (not stating or stating in row)]  # fmt: skip
        own, split = self.newest(data=self.data), TrainConfig()
        if own:
            _, split = open_trained(str(own.parent))
        split = replace(split, eval_items=len(source))
        validation = {*split_items(source, split)[1].tolist()}
        found = [i for i in usable if i in validation]
        if len(found) < min(count, MIN_VALIDATION) and found != usable:
            what = f"a caption and a {stating}" if stating else "a caption"
            few = f"{len(found)} validation images of {self.data} have {what}"
            say(f"only {few}; training images are added")
            found = usable
        if not found:
            raise InputError("not-stated.examples", data=self.data, stating=stating)
        return Subset(source, found[:: max(1, len(found) // count)][:count])

    def labelled(self) -> Source:
        """Return the data, each with the attributes of its labels and, where the data have no such
        label, of its caption."""
        source = open_source(self.data)
        labelled, rows = {name for row in source.attributes for name in row}, []
        for text, stated in zip(source.captions, source.attributes, strict=True):
            parsed = parse_caption(text).items()
            rows.append({**{k: word for k, word in parsed if k not in labelled}, **stated})
        source.attributes = rows
        return source

    def requests(self, seed: int, count: int, season="base") -> tuple[list, list, list]:
        """Return (prompts, the same as class prompts, {attribute: value} to look for in each
        image): of flats category, colour and pattern, which the judge knows; of photos nothing.

        Raises InputError where no item of the data states a category.
        """
        if self.data_is_flats:
            prompts, asked = language.requests(seed, count, season)
            return prompts, [f"category={row['category']}" for row in asked], asked
        find_classes("category", open_source(self.data).attributes)  # InputError where none is
        items = self.examples(seed, count)
        classes = [f"category={row['category']}" for row in items.attributes]
        return items.captions, classes, [{}] * len(items)

    def correct(self, real: Source, pixels: np.ndarray, classifier=None) -> dict[str, np.ndarray]:
        """Return {attribute: bool (N,)}: whether pixels uint8 (N, H, W, 3) show what the items of
        `real` state: the measured colour and, where there is an attribute classifier, what that
        names.  Words that it does not know are not checked."""
        colours = [name_colour(one).name for one in pixels]
        measured = [a == row["colour"] for a, row in zip(colours, real.attributes, strict=True)]
        correct = {"colour, measured": np.array(measured)}
        if classifier is None:
            return correct
        words = {name: classifier.heads[name] for name in CORE if name in classifier.heads}
        wanted = [
            {name: row[name] for name in words if row.get(name) in words[name]}
            for row in real.attributes
        ]
        return {**agreement(wanted, classifier.words(pixels)), **correct}

    def draw(self, name: str, sampler, prompts: Sequence[str], **options) -> list[Path]:
        """Return the images of a run, generated or opened; `options` as in `Request`."""
        request = Request(tuple(prompts), **options)

        def images(folder: Path) -> list[Path]:
            """Return the images in `folder`, which are generated there if they are missing."""
            with drive.gallery(folder, self.local / "runs") as here:
                return [here / record["file"] for record in generate(sampler, request, here)]

        return self.in_own_folder(name, images)

    def score(self, name: str, dirs: Sequence[Path], **options) -> dict:
        """Return the scores of galleries, stored in this run; `options` as in `ScoreRequest`."""
        if self.quick and options.get("train"):  # the first of them: reading all takes long
            source, _ = open_trained(options["train"])
            options["train"] = Subset(source, [*range(min(len(source), TRIAL_TRAIN))])
        cache = self.local / "artifacts" / "scores"

        def scores(folder: Path) -> dict:
            """Return the scores, stored beside where `folder` would be."""
            out = folder.with_name(folder.name + ".json")
            return score_folders(ScoreRequest(dirs, out, cache=cache, **options))

        return self.in_own_folder(name, scores)

    def in_own_folder(self, name: str, work: Callable[[Path], Outcome]) -> Outcome:
        """Return `work(folder)` in the first run folder NAME, NAME-2, ... that is new or holds the
        same request: other settings get another folder, and existing results stay."""
        for number in itertools.count(1):
            with contextlib.suppress(TakenError):
                return work(self.run_dir(name if number == 1 else f"{name}-{number}"))

    def train_config(
        self, name: str = "lora", steps=0, resolution=0, rank=0, rate=0, **changes
    ) -> TrainConfig:
        """Return the config of run NAME: that of the run if it was started, else the preset with
        this base and data, what the form says (0 and "auto": the preset's) and `changes`, its
        numbers chosen for the data where the preset says so.

        If the data have more items than the training draws, only a random sample of so many is
        encoded and used, unmirrored, since each would be seen at most once.  Prints so.
        """
        form = dict(STEPS=steps, RESOLUTION=resolution, RANK=rank, RATE=rate)
        own = {"base": self.base, "data": self.data, **training_form.form_changes(**form)}
        own |= {"mirror": str(self.root / "runs")} if self.place else {}
        config = run_config(self.train_dir(name), self.preset, **{**own, **changes})
        source = open_source(self.data)
        config = fitted(resumed(config, self.train_dir(name)), source)
        drawn, items = int(config.steps * config.items_per_step), len(source)
        if config.limit or config.sample or config.epochs or items <= drawn:
            return config
        say(f"this training draws {drawn:,} items: a random sample of so many of {items:,} is used")
        return replace(config, sample=drawn, flip=False)

    def plan(self, config: TrainConfig, name: str, release: bool = False) -> None:
        """Print what a training would do and cost, as `training_form.plan`."""
        training_form.plan(self, config, name, release)

    def train(self, config: TrainConfig, name: str, prompts: list[str], finish=False) -> dict:
        """Train run NAME and show previews as they come, as `training_form.train_here`."""
        return training_form.train_here(self, config, name, prompts, finish)

    def take_away(self, name: str, release: bool = False) -> Path:
        """Zip the adapter of run NAME, and download it on Colab, as `take_away.take_away`."""
        return take_away.take_away(self, name, release)


def _measurable(row: dict[str, str]) -> dict[str, str]:
    """Return a row's attributes, its colour in lower case, or removed if not measurable."""
    colour = row.get("colour", "").lower()
    rest = {name: word for name, word in row.items() if name != "colour"}
    return {**rest, "colour": colour} if colour in EXAMPLES else rest
