"""Which networks judge a notebook's images, and how does a notebook get them?

For drawings it is mini's judge.  For photographs it is Inception-v3 and a CLIP: on Colab they are
fetched where they are wanted, elsewhere a line says how.  Where one is missing, the other figures
stay.
"""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tvhelpers.data.download import obtain
from tvhelpers.data.items import Source, Subset
from tvhelpers.errors import InputError
from tvhelpers.hub import offline
from tvhelpers.image import read_photo
from tvhelpers.models.clip import Clip
from tvhelpers.output import say
from tvhelpers.runtime import on_colab
from tvhelpers.score.attributes import ClipAttributeClassifier, JudgeAttributeClassifier
from tvhelpers.score.features import choose_classifier, missing_for_inception
from tvhelpers.score.looks import Look, looks_drawn, misfit
from tvhelpers.score.metrics import Result, inception_score
from tvhelpers.show.settings import NotebookSettings

FASHION_CLIP = "hub:patrickjohncyh/fashion-clip"
MIN_LABELLED = 20  # images with a category, to calibrate a CLIP and to measure its errors
LOOKED_AT = 32  # images of a source that are looked at


def get_inception(tv: NotebookSettings) -> None:
    """Fetch Inception-v3 for data that are photographs: on Colab its package and, with a bar, its
    weights; torch and torchvision stay as they are.  Prints a line where it is missing."""
    missing = [] if tv.data_is_flats or tv.quick else missing_for_inception()
    if not missing:
        return
    if not on_colab():
        say("no Inception-v3 here, so no Inception Score: `pip install torch-fidelity` and "
            "`python -m tvhelpers data get inception` add it")  # fmt: skip
        return
    try:
        if "torch_fidelity" in missing:  # what it needs is on Colab already
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "torch-fidelity"]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        if "weights" in missing:
            obtain("inception")
    except (InputError, OSError, subprocess.SubprocessError) as error:
        say(f"Inception-v3 could not be fetched ({error}): no Inception Score, all else is there")


def inception_scores(
    pixels: dict[str, np.ndarray], captions: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, Result], str]:
    """Return ({name: probabilities (N, K)}, {name: Inception Score}, by which classifier and why)
    of {name: pixels uint8 (N, H, W, 3)}; two times {}, and why, where no classifier that is here
    knows such images."""
    looks = [look_of(name, images) for name, images in pixels.items()]
    drawn = all(look.is_drawn for look in looks)
    classifier, why = choose_classifier(drawings=drawn)
    refused, text = misfit(classifier, "probs", looks)
    if refused:
        return {}, {}, text
    probs = {name: classifier.probs(images) for name, images in pixels.items()}
    scores = {name: inception_score(rows, captions) for name, rows in probs.items()}
    return probs, scores, f"on {classifier.name}: {why}"


def look_of(name: str, images: Sequence[np.ndarray]) -> Look:
    """Return how many of some images, pixels uint8 (H, W, 3), look like drawings."""
    return Look(name, sum(map(looks_drawn, images)), len(images))


def attribute_classifier(tv: NotebookSettings, shown: Source, clip: str = "auto"):
    """Return what names the attributes of images: for flats mini's judge, for photographs a CLIP
    that learns the words from the labels of the data; None, and a printed line, where there is
    none.

    `shown` are the images to compare with, which do not calibrate the CLIP; `clip` is "auto"
    (FashionCLIP), "none", a folder or a hub id.  Only on Colab is it downloaded.
    """
    if tv.data_is_flats:
        return JudgeAttributeClassifier()
    if clip == "none":
        return None
    source, own = tv.labelled(), {*shown.item_ids}
    known = [i for i, row in enumerate(source.attributes)
             if "category" in row and source.item_ids[i] not in own]  # fmt: skip
    kinds = {source.attributes[i]["category"] for i in known}
    if len(known) < MIN_LABELLED or len(kinds) < 2:
        say(f"{len(known)} other photos name a category, of {len(kinds)} kinds: too few to teach a "
            "CLIP the words, so only the colour is measured")  # fmt: skip
        return None
    name = FASHION_CLIP if clip == "auto" else clip
    try:
        with contextlib.nullcontext() if on_colab() and not tv.quick else offline():
            return ClipAttributeClassifier(Clip(name), Subset(source, known))
    except InputError as error:
        say(f"only the colour is measured, because CLIP is missing: {error}")
        return None


def alike(real: Source, generated: dict[str, Sequence[Path]]) -> Source | None:
    """Return the real images, or None and a printed line where some images are photographs and
    others drawings: raters would tell them apart at once."""
    step = max(1, len(real) // LOOKED_AT)
    looks = [look_of("the real images", [real.pixels(i) for i in range(0, len(real), step)])]
    for name, paths in generated.items():
        looks.append(look_of(name, [read_photo(path) for path in paths[:LOOKED_AT]]))
    if len({look.is_drawn for look in looks}) == 1:
        return real
    drawn = [look.folder for look in looks if look.is_drawn]
    say(f"drawings only in {' and '.join(drawn)}: photographs and drawings are not shown side by "
        "side, so raters see no real images and compare pairs alone")  # fmt: skip
    return None
