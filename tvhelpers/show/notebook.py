"""What every notebook does first: say what machine it is on, and settle its settings."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from tvhelpers import manifest
from tvhelpers.config import PRESETS, InputError, TrainConfig, build_config
from tvhelpers.data.caption_parsing import parse_caption
from tvhelpers.data.items import Part, Source
from tvhelpers.data.sources import FlatsSource, open_source
from tvhelpers.models.base import find_base
from tvhelpers.models.baseline import find_classes
from tvhelpers.runtime import (
    TakenError,
    atomic_path,
    choose_device,
    choose_dtype,
    computes_bfloat16,
    make_dir,
    quiet_libraries,
    read_json,
    versions,
)
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import generate
from tvhelpers.train.adapter_names import adapter_file
from tvhelpers.train.trainer import split_items

Outcome = TypeVar("Outcome")
FEW_HELD_OUT = 20  # score.copying wants as many; it loads what most notebooks do not need
SHIPPED_DATA = "flats-new-season"  # what mini's own adapter was trained on
TRIAL_TRAIN = 600  # training pictures that copies are looked for among, in a trial
_OURS: dict[str, str] = {}  # environment variables that we set ourselves
COLAB_ROOT, DRIVE = Path("/content/textile-vision-work"), Path("/content/drive")
FOLDER_ON_DRIVE = Path("MyDrive", "textile-vision")


@dataclass(frozen=True)
class Settings:
    """What a notebook works with: names of base, preset and data, and the folder of results."""

    base: str
    preset: str
    data: str
    root: Path
    drive: bool = False  # whether `root` is on a Drive

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
        return COLAB_ROOT if self.drive else self.root

    def run_dir(self, name: str, preset: str = "") -> Path:
        """Return the folder of a run of this base and, where no other is given, this preset."""
        return self.root / "runs" / f"{name}-{self.base.replace('/', '-')}-{preset or self.preset}"

    def train_dir(self, name: str) -> Path:
        """Return the folder to train in: on this machine, where `run_dir` is but a mirror on a
        Drive."""
        return self.local / "runs" / self.run_dir(name).name

    def presets_of(self, name: str, *markers: str) -> list[str]:
        """Return the presets with which runs NAME of this base hold all files `markers`; the newest
        first."""
        folders = {preset: self.run_dir(name, preset) for preset in PRESETS}
        times = {
            preset: (folder / markers[0]).stat().st_mtime
            for preset, folder in folders.items()
            if all((folder / marker).exists() for marker in markers)
        }
        return sorted(times, key=times.__getitem__, reverse=True)

    def adapter(self, given: str = "") -> str:
        """Return the adapter `given`, or that of the newest finished run of that name, by default
        "lora", whatever its preset; else the one that the base comes with.  Prints which.

        Raises InputError where there is none.
        """
        name = given or "lora"
        if own := self._trained(name):
            config = read_json(own.with_name("config.json"))
            print(f"adapter {own}: {config['steps']} steps on {config['data']}")
            return str(own)
        if given:
            print(f"adapter {given}, as given")
            return given
        missing = f'no run "{name}" of it is finished in {self.root / "runs"}'
        if find_base(self.base).adapter:
            print(f"adapter: the one that {self.base} comes with, since {missing}")
            return "shipped"
        raise InputError(
            f"base {self.base} comes with no adapter, and {missing}; train one in notebook 04, or "
            "give ADAPTER the name of a run, a path, or none"
        )

    def first_adapter(self) -> str:
        """Return the adapter that the base comes with, else notebook 04's, else "none": what a
        notebook before 04 draws with stays the same after it."""
        return "shipped" if find_base(self.base).adapter else str(self._trained("lora") or "none")

    def _trained(self, name: str) -> Path | None:
        presets = self.presets_of(name, "result.json", "adapter.safetensors", "config.json")
        return self.run_dir(name, presets[0]) / "adapter.safetensors" if presets else None

    def trained_on(self, adapter: str) -> str:
        """Return the data that an adapter was trained on, as its run says, else the form's; "" if
        it holds out too few pictures to tell copies by.  Prints which."""
        config = adapter_file(Path(adapter)).with_name("config.json")
        data = SHIPPED_DATA if adapter == "shipped" else ""
        data = read_json(config)["data"] if config.exists() else data
        if data not in manifest.entries() and not (data and Path(data).exists()):
            print(f"what {adapter} was trained on is not at hand; {self.data} stands in for it")
            data = self.data
        _, held_out = split_items(open_source(data), TrainConfig(eval_items=FEW_HELD_OUT))
        if len(held_out) == FEW_HELD_OUT:
            print(f"trained on {data}")
            return data
        print(f"trained on {data}, whose {len(held_out)} held-out pictures are too few for copies")
        return ""

    @property
    def drawn(self) -> bool:
        """Whether the data are drawings, on which the judge can be asked."""
        return manifest.entries().get(self.data, {}).get("kind") == "flats"

    def examples(
        self, seed: int, count: int, season: str = "all", stating: str = "category"
    ) -> Source:
        """Return pictures to test with that no training saw: of drawings, others drawn anew; else
        held-out items that have a caption and state an attribute, by their labels or, where the
        data have none of that kind, by their captions.

        Where these are too few, trained ones join them, which is said.  Raises InputError where
        there are none.
        """
        if self.drawn:
            return FlatsSource(seed, count, season=season)
        source = open_source(self.data)
        labelled = {name for row in source.attributes for name in row}
        said = [
            {name: word for name, word in parse_caption(text).items() if name not in labelled}
            for text in source.captions
        ]
        source.attributes = [{**a, **b} for a, b in zip(said, source.attributes, strict=True)]
        usable = [i for i, row in enumerate(source.attributes) if stating in row]
        usable = [i for i in usable if source.captions[i].strip()]
        held = {*split_items(source, TrainConfig(eval_items=len(source)))[1].tolist()}
        found = [i for i in usable if i in held]
        if len(found) < min(count, FEW_HELD_OUT) and found != usable:
            print(f"{self.data} holds out {len(found)} such pictures: trained ones stand in too")
            found = usable
        if not found:
            raise InputError(
                f"no item of {self.data} has a caption and states its {stating}; label some, or "
                "choose other DATA in the form"
            )
        return Part(source, found[:: max(1, len(found) // count)][:count])

    def requests(
        self, seed: int, count: int, season: str = "base"
    ) -> tuple[list[str], list[str], list[dict[str, str]]]:
        """Return (sentences, their classes as prompts, what the judge can look for): of drawings
        category, colour and pattern; of photographs nothing.

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
        from tvhelpers.score.colour import name_colour

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
        """Return the figures of folders, kept beside them; `options` as in `score_folders`."""
        from tvhelpers.score.folder import score_folders

        if self.quick and options.get("train"):  # the first of them: all take their time to read
            source = open_source(options["train"])
            options["train"] = Part(source, [*range(min(len(source), TRIAL_TRAIN))])
        cache = self.root / "artifacts" / "scores"
        score = partial(score_folders, dirs, cache=cache, **options)
        return self.apart(name, lambda folder: score(folder.with_name(folder.name + ".json")))

    def apart(self, name: str, work: Callable[[Path], Outcome]) -> Outcome:
        """Return `work(folder)` in the first run folder of NAME, NAME-2, ... that holds the same or
        nothing: other settings get another folder, and what is there stays."""
        for number in itertools.count(1):
            with contextlib.suppress(TakenError):
                return work(self.run_dir(name if number == 1 else f"{name}-{number}"))

    def train_config(self, **changes) -> TrainConfig:
        """Return the preset's training config on this base and data, with `changes`."""
        own = {"base": self.base, "data": self.data}
        own |= {"mirror": str(self.root / "runs")} if self.drive else {}
        return build_config(self.preset, **{**own, **changes})


def start() -> None:
    """Print versions, device, dtype and why; raise InputError where a library would break later."""
    quiet_libraries()
    _check_torchao()
    device = choose_device()
    dtype, reason = choose_dtype("auto", device)
    found = "  ".join(f"{name} {number}" for name, number in versions().items())
    print(f"python {platform.python_version()}  {found}")
    print(f"device {_device_name(device)}, {str(dtype).removeprefix('torch.')}: {reason}")


def settings(
    base: str = "auto",
    preset: str = "auto",
    data: str = "",
    use_drive: bool = False,
    run: str = "",
    gpu_gb: float = 0,
) -> Settings:
    """Return the settings of the form; TV_BASE, TV_PRESET, TV_DATA and TV_ROOT override it.

    "auto" is what suits the machine: Stable Diffusion on a GPU of `gpu_gb` at least, else mini; the
    benchmark where it is at hand, else flats.  A training `run` goes on with the preset that it was
    begun with.  `use_drive` keeps the results on Google Drive, and looks for data there; raises
    InputError where it cannot be mounted.
    """
    base = os.environ.get("TV_BASE") or (base if base != "auto" else _base(gpu_gb))
    preset = os.environ.get("TV_PRESET") or preset
    data = os.environ.get("TV_DATA") or data
    root = make_dir(_root(use_drive).resolve())
    drive = root.is_relative_to(DRIVE)
    if drive:
        _bring_data("fashion-synthesis" if data == "auto" else data)
    data = data if data != "auto" else _data()
    if not _given_root():
        _OURS["TV_ROOT"] = str(root)
    os.environ["TV_ROOT"] = str(root)
    if base != "mini" and on_colab():
        _take_token()
    chosen = Settings(base, preset, data, root, drive)
    if preset == "auto":
        chosen = replace(chosen, preset=_preset(chosen, run))
    print(f"base {base}, preset {chosen.preset}, data {data or 'none'}; results in {root}")
    if chosen.quick:
        print("a trial of the notebook, in seconds: too short to learn or to measure anything")
    return chosen


def on_colab() -> bool:
    """Return whether this is a Colab kernel."""
    return "google.colab" in sys.modules


def _base(gpu_gb: float) -> str:
    if choose_device() != "cuda":
        return "mini"
    memory = _gpu_memory()
    if memory < 0.95 * gpu_gb:  # a card of 24 GB shows a little less
        print(f"mini, since Stable Diffusion takes {gpu_gb:g} GB here and the GPU has {memory:.0f}")
        return "mini"
    return "sd15"


def _gpu_memory() -> float:
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 2**30


def _preset(chosen: Settings, run: str) -> str:
    """Return the preset that a training `run` was begun with, but for a trial; else what suits the
    machine."""
    suits = _preset_of_machine(chosen.base)
    begun = [preset for preset in chosen.presets_of(run, "config.json") if preset != "smoke"]
    if run and begun and begun[0] != suits:
        name = chosen.run_dir(run, begun[0]).name
        print(f"{name} goes on with its preset; {suits}, chosen in the form, begins another one")
        return begun[0]
    return suits


def _preset_of_machine(base: str) -> str:
    import torch

    if base == "mini" or not torch.cuda.is_available():
        return "cpu"
    if not computes_bfloat16("cuda"):
        return "t4"
    memory = _gpu_memory()
    if memory < 30:
        return "l4"
    return "h100" if memory > 60 and torch.cuda.get_device_capability()[0] >= 9 else "a100"


def _data() -> str:
    try:
        manifest.local_path("fashion-synthesis")
    except InputError:
        return "flats-new-season"
    return "fashion-synthesis"


def _bring_data(name: str) -> None:
    """Copy a data set from the Drive's textile-vision/data to this machine, where it is there: what
    a training reads all the time cannot be read from a Drive."""
    here, there = COLAB_ROOT / "data", DRIVE / FOLDER_ON_DRIVE / "data" / name
    if os.environ.get("TV_DATA_DIR") not in (None, "", str(here)):
        return
    os.environ["TV_DATA_DIR"] = str(here)
    if name not in manifest.entries() or not there.is_dir():
        return
    for path in sorted(path for path in there.rglob("*") if path.is_file()):
        target, size = here / name / path.relative_to(there), path.stat().st_size
        if not target.exists() or target.stat().st_size != size:
            print(f"{path} comes to this machine ({size / 1e9:.1f} GB)")
            with atomic_path(target) as aside:
                shutil.copyfile(path, aside)


def _given_root() -> str:
    """Return the user's TV_ROOT, "" where there is none but what this cell set when it ran."""
    given = os.environ.get("TV_ROOT", "")
    return given if given != _OURS.get("TV_ROOT") else ""


def _root(use_drive: bool) -> Path:
    if given := _given_root():
        return Path(given)
    if not on_colab():
        return Path("work")
    return _mount_drive() / FOLDER_ON_DRIVE if use_drive else COLAB_ROOT


def _mount_drive() -> Path:
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # ValueError, NotImplementedError, MessageError, as it likes
        raise InputError(
            f"Google Drive was not mounted ({error}); allow it, or untick USE_DRIVE: results then "
            "stay on this machine and go with it"
        ) from None
    return DRIVE


def _take_token() -> None:
    """Put Colab's secret HF_TOKEN, where there is one, where huggingface_hub looks first."""
    from google.colab import userdata

    if os.environ.get("HF_TOKEN"):
        return
    try:
        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    except Exception as error:  # no such secret, no access, no answer: open models need none
        print(f"no HF_TOKEN among the secrets ({type(error).__name__}); open models need none")


def _device_name(device: str) -> str:
    if device == "cpu":
        return f"cpu ({os.cpu_count()} cores)"
    import torch

    return f"{torch.cuda.get_device_name(0)} ({_gpu_memory():.0f} GB)"


def _check_torchao() -> None:
    """peft refuses to add any LoRA beside a torchao older than 0.16, as Colab has it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("torchao")
    except PackageNotFoundError:
        return
    if tuple(int(part) for part in found.split(".")[:2]) < (0, 16):
        raise InputError(
            f"torchao {found} breaks peft; run: pip uninstall -y torchao, and restart the session"
        )
