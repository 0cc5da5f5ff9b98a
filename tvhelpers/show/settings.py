"""What does a notebook work with, and what does a line of a cell do with it?"""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from tvhelpers import manifest
from tvhelpers.config import PRESETS, TrainConfig
from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.flats_source import FlatsSource
from tvhelpers.data.items import Source, Subset
from tvhelpers.data.sources import open_source
from tvhelpers.data.split import split_items
from tvhelpers.errors import InputError
from tvhelpers.lora.formats import adapter_file
from tvhelpers.models.base import find_base
from tvhelpers.models.baseline import find_classes
from tvhelpers.records import TakenError, read_record
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import generate
from tvhelpers.score.colour import EXAMPLES, name_colour
from tvhelpers.score.copying import MIN_HELD_OUT
from tvhelpers.train.resume import run_config

Outcome = TypeVar("Outcome")
SHIPPED_DATA = "flats-new-season"  # what mini's own adapter was trained on
TRIAL_TRAIN = 600  # training pictures that copies are looked for among, in a trial


@dataclass(frozen=True)
class Settings:
    """What a notebook works with: names of base, preset and data, and the folder of results."""

    base: str
    preset: str
    data: str
    root: Path
    place: Path | None = None  # on this machine, where `root` is on a Drive

    @property
    def quick(self) -> bool:
        """Whether this is a trial of the notebook itself (preset "smoke")."""
        return self.preset == "smoke"

    def few(self, count: int, when_quick: int = 16) -> int:
        """Return `count`, or less in a trial."""
        return min(count, when_quick) if self.quick else count

    @property
    def local(self) -> Path:
        """The folder of what is large or read all the time: on this machine, also where results go
        to a Drive, which may be gone in the middle of a read."""
        return self.place or self.root

    def run_dir(self, name: str, preset: str = "") -> Path:
        """Return the folder of a run of this base and, where no other is given, this preset.

        Raises InputError for a name that is no name of a folder.
        """
        if name != Path(name).name:
            raise InputError("bad-name.run-dir", name=name)
        return self.root / "runs" / f"{name}-{self.base.replace('/', '-')}-{preset or self.preset}"

    def train_dir(self, name: str) -> Path:
        """Return the folder to train in: on this machine, where `run_dir` is but a mirror on a
        Drive."""
        return self.local / "runs" / self.run_dir(name).name

    def presets_of(self, name: str, *markers: str) -> list[str]:
        """Return the presets with which runs NAME of this base hold all files `markers`; the newest
        first."""
        times = {}
        for preset in PRESETS:
            files = [self.run_dir(name, preset) / marker for marker in markers]
            if all(file.exists() for file in files):
                times[preset] = files[0].stat().st_mtime
        return sorted(times, key=times.__getitem__, reverse=True)

    def adapter(self, given: str = "", or_none: bool = False) -> str:
        """Return the adapter `given`, or that of the newest finished run of that name, by default
        "lora", whatever its preset; else the one that the base comes with.  Prints which.

        Where there is none, "none" is returned if `or_none`, else InputError raised.
        """
        name = given or "lora"
        if own := self._trained(name):
            config = read_record(own.with_name("config.json"), "training")
            print(f"adapter {own}: {config['steps']} steps on {config['data']}")
            return str(own)
        if given:
            if given not in ("none", "shipped") and not adapter_file(Path(given)).is_file():
                raise InputError("no-adapter.given", given=given, value=self.root / "runs")
            print(f"adapter {given}, as given")
            return given
        missing = f'no run "{name}" of it is finished in {self.root / "runs"}'
        if find_base(self.base).adapter:
            print(f"adapter: the one that {self.base} comes with, since {missing}")
            return "shipped"
        missing = f"base {self.base} comes with no adapter, and {missing}; train one in notebook 04"
        if or_none:
            print(f"no adapter: {missing}, with USE_DRIVE there and here where it is on Colab")
            return "none"
        raise InputError("no-adapter.none", missing=missing)

    def first_adapter(self) -> str:
        """Return the adapter that the base comes with, else notebook 04's, else "none": what a
        notebook before 04 draws with stays the same after it."""
        return "shipped" if find_base(self.base).adapter else str(self._trained("lora") or "none")

    def _trained(self, name: str) -> Path | None:
        if name != Path(name).name:  # a path, not a run's name
            return None
        presets = self.presets_of(name, "result.json", "adapter.safetensors", "config.json")
        return self.run_dir(name, presets[0]) / "adapter.safetensors" if presets else None

    def trained_on(self, adapter: str) -> str:
        """Return the data that an adapter was trained on, as its run says, else the form's; "" if
        it holds out too few pictures to tell copies by.  Prints which."""
        config = adapter_file(Path(adapter)).with_name("config.json")
        data = SHIPPED_DATA if adapter == "shipped" else ""
        data = read_record(config, "training")["data"] if config.exists() else data
        if data not in manifest.entries() and not (data and Path(data).exists()):
            print(f"what {adapter} was trained on is not at hand; {self.data} stands in for it")
            data = self.data
        _, held_out = split_items(open_source(data), TrainConfig(eval_items=MIN_HELD_OUT))
        enough = len(held_out) == MIN_HELD_OUT
        few = "" if enough else f", whose {len(held_out)} held-out pictures are too few for copies"
        print(f"trained on {data}{few}")
        return data if enough else ""

    @property
    def drawn(self) -> bool:
        """Whether the data are drawings, on which the judge can be asked."""
        return manifest.entries().get(self.data, {}).get("kind") == "flats"

    def examples(self, seed: int, count: int, season="all", stating="category") -> Source:
        """Return pictures to test with that no training saw: of drawings, others drawn anew; else
        held-out items that have a caption and state an attribute, by their labels or, where the
        data have none of that kind, by their captions; a colour only if it can be measured.

        Where these are too few, trained ones join them, which is said.  Raises InputError where
        there are none.
        """
        if self.drawn:
            return FlatsSource(seed, count, season=season)
        source = open_source(self.data)
        labelled, rows = {name for row in source.attributes for name in row}, []
        for text, stated in zip(source.captions, source.attributes, strict=True):
            said = parse_caption(text).items()
            rows.append({**{k: word for k, word in said if k not in labelled}, **stated})
        source.attributes = rows
        if stating == "colour":
            source.attributes = [_measurable(row) for row in source.attributes]
        told = zip(source.captions, source.attributes, strict=True)
        usable = [i for i, (text, row) in enumerate(told) if stating in row and text.strip()]
        held = {*split_items(source, TrainConfig(eval_items=len(source)))[1].tolist()}
        found = [i for i in usable if i in held]
        if len(found) < min(count, MIN_HELD_OUT) and found != usable:
            few = f"{self.data} holds out {len(found)} pictures with a caption and a {stating}"
            print(f"{few} that can be used: trained ones stand in too")
            found = usable
        if not found:
            raise InputError("not-stated.examples", data=self.data, stating=stating)
        return Subset(source, found[:: max(1, len(found) // count)][:count])

    def requests(self, seed: int, count: int, season="base") -> tuple[list, list, list]:
        """Return (sentences, their classes as prompts, {attribute: word} that the judge can look
        for in each): of drawings category, colour and pattern; of photographs nothing.

        Raises InputError where no item of the data states a category.
        """
        from tvhelpers.score import language

        if self.drawn:
            sentences, asked = language.requests(seed, count, season)
            return sentences, [f"category={row['category']}" for row in asked], asked
        find_classes("category", open_source(self.data).attributes)  # says what the items state
        items = self.examples(seed, count)
        classes = [f"category={row['category']}" for row in items.attributes]
        return items.captions, classes, [{}] * len(items)

    def right(self, real: Source, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return {question: bool (N,)}: whether pixels uint8 (N, H, W, 3) show what the items of
        `real` state: of drawings by the judge, and of all the colour, measured."""
        from tvhelpers.score.attributes import CORE, AttributeJudge, agreement

        colours = [name_colour(one).name for one in pixels]
        measured = [a == row["colour"] for a, row in zip(colours, real.attributes, strict=True)]
        wanted = [{name: row[name] for name in CORE if name in row} for row in real.attributes]
        judged = agreement(wanted, AttributeJudge().words(pixels)) if self.drawn else {}
        return {**judged, "colour, measured": np.array(measured)}

    def draw(self, name: str, sampler, prompts: Sequence[str], **options) -> list[Path]:
        """Return the pictures of a run, drawn or opened; `options` as in `Request`."""
        request = Request(tuple(prompts), **options)

        def pictures(folder: Path) -> list[Path]:
            return [folder / record["file"] for record in generate(sampler, request, folder)]

        return self.apart(name, pictures)

    def score(self, name: str, dirs: Sequence[Path], **options) -> dict:
        """Return the figures of folders, kept beside them; `options` as in `ScoreRequest`."""
        from tvhelpers.score.report import score_folders
        from tvhelpers.score.request import ScoreRequest

        if self.quick and options.get("train"):  # the first of them: all take their time to read
            source = open_source(options["train"])
            options["train"] = Subset(source, [*range(min(len(source), TRIAL_TRAIN))])
        cache = self.local / "artifacts" / "scores"

        def figures(folder: Path) -> dict:
            out = folder.with_name(folder.name + ".json")
            return score_folders(ScoreRequest(dirs, out, cache=cache, **options))

        return self.apart(name, figures)

    def apart(self, name: str, work: Callable[[Path], Outcome]) -> Outcome:
        """Return `work(folder)` in the first run folder of NAME, NAME-2, ... that holds the same or
        nothing: other settings get another folder, and what is there stays."""
        for number in itertools.count(1):
            with contextlib.suppress(TakenError):
                return work(self.run_dir(name if number == 1 else f"{name}-{number}"))

    def train_config(self, name: str = "lora", **changes) -> TrainConfig:
        """Return the config of run NAME: the preset's on this base and data, with `changes`, or
        what the run was begun with.

        Of data with more items than samples are drawn, that many are used, unmirrored: each would
        be seen once at most, and all are encoded first.  Prints so.
        """
        own = {"base": self.base, "data": self.data}
        own |= {"mirror": str(self.root / "runs")} if self.place else {}
        config = run_config(self.train_dir(name), self.preset, **{**own, **changes})
        drawn = config.steps * config.batch_size * config.accumulate
        items = len(open_source(self.data))
        if config.limit or config.epochs or items <= drawn:
            return config
        print(f"{drawn:,} samples are drawn: of {items:,} items, the first {drawn:,} are used")
        return replace(config, limit=drawn, flip=False)


def _measurable(row: dict[str, str]) -> dict[str, str]:
    """Return a row's attributes with its colour as a measured one is named, or without it."""
    colour = row.get("colour", "").lower()
    rest = {name: word for name, word in row.items() if name != "colour"}
    return {**rest, "colour": colour} if colour in EXAMPLES else rest
