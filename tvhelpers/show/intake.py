"""How do a user's photos come into a notebook, and what would a training on them cost?"""

import contextlib
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tvhelpers.config import TrainConfig, build_config
from tvhelpers.data.captioner import caption_images
from tvhelpers.data.example import write_photos
from tvhelpers.data.intake import Intake, take_in, unpack_photos
from tvhelpers.data.items import Source
from tvhelpers.data.photo_files import is_archive, list_files
from tvhelpers.data.photo_issues import shape_of
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.files import make_dir
from tvhelpers.image import resize
from tvhelpers.models.base import find_base
from tvhelpers.output import Skipped, say
from tvhelpers.presets import PRESETS_FOR
from tvhelpers.runtime import on_colab
from tvhelpers.score.colour import SIDE, find_garment, name_colour, to_lab
from tvhelpers.show import colab, training_form
from tvhelpers.show.settings import PROJECT, NotebookSettings
from tvhelpers.train.fit import fitted
from tvhelpers.words import counted

CAPTIONER = "hub:Salesforce/blip-image-captioning-base"
CERTAIN = 0.6  # share of the garment, and of its middle, that has a colour which is certain
MIDDLE = 0.4  # half-axis of the ellipse in the middle, in half image sides
ENOUGH = {50: "enough to try the steps, and few for good designs; plan hundreds",
          200: "a good start; more photos of the same kind make designs better"}  # fmt: skip
# {preset: images a second of a training of Stable Diffusion 1.5}: estimates, none is measured
RATES = {"t4": 4.4, "l4": 9.0, "a100": 25.0}
TWIN = re.compile("^(the same photo as|nearly the same as) .*")  # issues that name another photo
TRIAL = "your-photos"  # the name of a run that is never begun


def find_photos(tv: NotebookSettings, where: str = "", name: str = "mine") -> Path:
    """Return the folder of the user's photos.

    `where`: a folder, or a zip, which is unpacked into `tv.root`/data/NAME; on Colab, a path on the
    Drive may begin below MyDrive.  "" is that folder, if it is there; else on Colab an upload is
    asked for, and elsewhere drawn examples are taken.
    Raises InputError where there is nothing of that name, and for a zip without photos.
    """
    if name != Path(name).name or not name.strip("."):
        raise InputError("bad-name.run", name=name)
    home = tv.root / "data" / name
    if where:
        path = _existing(tv, where)
        return unpack_photos(path, home) if path.is_file() else path
    if home.is_dir() and list_files(home).images:
        say(f"photos: those that are in {home} already")
        return home
    if on_colab() and not tv.quick and (found := _uploaded(home)):
        return found
    say("no photos named: drawn examples are taken, with some mistakes to find")
    return write_photos(tv.local / "artifacts" / "example-photos")


def _existing(tv: NotebookSettings, where: str) -> Path:
    """Return the folder or archive that the form means."""
    drive = [colab.DRIVE / "MyDrive"] if on_colab() else []
    folders = [Path(), *drive, tv.root / "data", tv.local / "data", PROJECT]
    for path in (folder / Path(where).expanduser() for folder in folders):
        with contextlib.suppress(OSError):  # a Drive that is gone
            if path.is_dir() or is_archive(path):
                return path.resolve()
    raise InputError("file-missing.intake", path=Path(where))


def _uploaded(home: Path) -> Path | None:
    """Ask for an upload, a zip or several photos, and return their folder; None if cancelled."""
    from google.colab import files

    say("Choose a zip of your photos, or all of the photos at once. To skip this, press Cancel.")
    saved = [Path(name) for name in files.upload()]
    try:
        archives = [path for path in saved if is_archive(path)]
        if archives:
            return unpack_photos(archives[0], home)
        for path in saved:
            (make_dir(home) / path.name).write_bytes(path.read_bytes())
    finally:
        for path in saved:
            path.unlink(missing_ok=True)
    return home if saved else None


def open_photos(
    tv: NotebookSettings, folder: Path, word: str = "garment", captions: str = "auto"
) -> Intake:
    """Return the photos of a folder with drafts, and print what is wrong with which.

    `captions`: "template", the hub id of an image captioner, or "auto": a captioner where there is
    a GPU and one can be loaded, else the template.
    """
    captioner = _captioner(tv, captions)
    intake = take_in(folder, word=word or "garment", seen=certain_colour, captioner=captioner)
    say(*summary(intake))
    return intake


def _captioner(tv: NotebookSettings, choice: str) -> Callable[[Source], list[str]] | None:
    if choice in ("", "template") or (choice == "auto" and not torch.cuda.is_available()):
        return None
    model = CAPTIONER if choice == "auto" else choice

    def caption(source: Source) -> list[str]:
        """Return the model's captions of all items, none where "auto" cannot load it."""
        out = tv.local / "artifacts" / f"captions-{source.fingerprint}.jsonl"
        try:
            return caption_images(source, model, out)
        except InputError as error:
            if choice != "auto":
                raise
            say(f"captions come from the template, because {error}")
            return []

    return caption


def certain_colour(pixels: np.ndarray) -> tuple[str, float]:
    """Return the colour of the garment in pixels uint8 (H, W, 3), "" where it is not certain, and
    the share of the middle half that the garment covers, 0..1.

    It is certain where the middle of the image has the same colour as the garment that was found.
    """
    small, quarter = resize(pixels, SIDE), SIDE // 4
    covered = find_garment(to_lab(small))[quarter:-quarter, quarter:-quarter].mean()
    place = np.linspace(-1, 1, SIDE)
    middle = place[:, None] ** 2 + place**2 < MIDDLE**2
    whole, inner = name_colour(small), name_colour(small, middle)
    least = min(max(found.shares.values(), default=0) for found in (whole, inner))
    certain = whole.name == inner.name and least > CERTAIN
    return (whole.name or "") if certain else "", float(covered)


def summary(intake: Intake) -> list[str]:
    """Return lines on how many photos there are, which issues they have, and which files cannot be
    used, with the reason of each."""
    photos = intake.photos
    shapes = Counter(shape_of(photo.size) for photo in photos)
    issues = Counter(TWIN.sub(r"\1 another", issue.partition(":")[0])
                     for photo in photos for issue in photo.issues)  # fmt: skip
    products = len({photo.product for photo in photos})
    enough = next((text for count, text in ENOUGH.items() if len(photos) < count), "a good number")
    lines = [
        f"{counted(len(photos), 'photo')} of {counted(products, 'product')}: {enough}",
        f"shapes: {', '.join(f'{count} {shape}' for shape, count in shapes.most_common())}"
        " (nothing is cut or stretched: photos that are not square get margins)",
    ]
    if intake.remark:
        lines.append(intake.remark)
    if issues:
        kinds = (f"{count} x {issue}" for issue, count in issues.items())
        lines.append(f"please look at: {'; '.join(kinds)}")
    if intake.bad:
        lines.append(f"{counted(len(intake.bad), 'file')} not used:")
        lines += [f"  {one.file_name}: {one.why}" for one in intake.bad]
    return lines


def plan(tv: NotebookSettings, folder: Path) -> None:
    """Print what a training on these photos would do and cost, on this machine and, where it has no
    GPU, on a T4; nothing is trained."""
    mine = replace(tv, data=str(folder))
    with warnings.catch_warnings(action="ignore", category=Skipped):  # they are named above
        source, config = open_source(folder), mine.train_config(TRIAL)
        say(f"On this machine: base {tv.base}, preset {tv.preset} ({PRESETS_FOR[tv.preset]})")
        if Path(find_base(tv.base).path).is_dir():
            mine.plan(config, TRIAL)
        else:
            say(*_without_trial(config, len(source)))
        if tv.base == "mini":
            say("On a T4, a GPU that Colab has for free: base sd15, preset t4")
            say(*_without_trial(fitted(build_config("t4", data=str(folder)), source), len(source)))


def _without_trial(config: TrainConfig, photos: int) -> list[str]:
    """Return lines on the length and cost of a training whose base is not on this machine."""
    images, card = config.steps * config.samples_per_step, config.preset.upper()
    lines = [f"{config.steps:,} steps of {config.samples_per_step} images: each of the "
             f"{counted(photos, 'photo')} about {images / photos:.0f} times"]  # fmt: skip
    if config.preset in RATES:
        minutes = images / RATES[config.preset] / 60
        price = training_form.price_on(card, minutes)
        lines.append(f"about {minutes:.0f} minutes on a {card} (an estimate): {price}")
    return [*lines, "notebook 04 measures the minutes on its machine before the first step"]


def what_to_write(tv: NotebookSettings, folder: Path) -> str:
    """Return what to write into the form of notebook 04."""
    if tv.place:
        data = folder.name if folder.parent == tv.root / "data" else folder
        return f'in notebook 04: DATA = "{data}", and tick USE_DRIVE'
    if on_colab():
        return ("these photos are on this machine only, and notebook 04 gets another one: "
                f"tick USE_DRIVE here, and run this notebook again ({folder})")  # fmt: skip
    return f'in notebook 04: DATA = "{folder}"'
