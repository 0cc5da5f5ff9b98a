"""Which images are scored, and with which networks and data?  Checked before anything loads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvhelpers.config import CHOICES, check_choice
from tvhelpers.errors import InputError

CLASSIFIERS = ("auto", "inception", "judge")
ATTRIBUTE_CLASSIFIERS = ("judge", "clip")


@dataclass(frozen=True)
class ScoreRequest:
    """Folders of images to score, with the networks and data to score them by.

    `classifier` may be an object with name, digest and probs instead of a name; `train` and
    `validation` may be sources.  Raises InputError for invalid settings.
    """

    dirs: Sequence[Path]  # each is compared with the first, prompt by prompt
    out_path: Path  # metrics.json; an existing file is not overwritten
    classifier: object = "auto"  # auto (the judge for drawings), inception or judge
    device: str = "auto"
    real: Path | None = None  # folder of real images for KID, precision, recall, ...
    features: str = ""  # judge, pixels, or a vision model; "" = judge with real, else none
    clip: str = ""  # for CLIPScore; not the CLIP of the base that generated the images
    cache: Path | None = None  # folder for the networks' outputs
    attribute_classifier: str = ""  # judge, or clip; "" = judge for drawings by mini
    calibration: str = ""  # images with attributes, to measure the attribute classifier's errors
    train: object = ""  # look for copies of the images of this training set
    validation: object = ""  # images that no training saw; "" = the validation items of train
    copies: str = "pixels"  # features in which copies are looked for: pixels, or as for features

    def __post_init__(self):
        check_choice("device", self.device, CHOICES["device"])
        name = self.attribute_classifier or ATTRIBUTE_CLASSIFIERS[0]
        check_choice("attribute classifier", name, ATTRIBUTE_CLASSIFIERS)
        if isinstance(self.classifier, str):
            check_choice("classifier", self.classifier, CLASSIFIERS)
        if self.attribute_classifier == "clip" and not (self.clip and self.calibration):
            raise InputError("not-enough-given.classifier")
        if Path(self.out_path).exists() and not Path(self.out_path).is_file():
            raise InputError("not-a-file", path=Path(self.out_path))
