"""What is scored, and with what?  A request is checked before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvhelpers.config import CHOICES, check_choice
from tvhelpers.errors import InputError

CLASSIFIERS = ("auto", "inception", "judge")
READERS = ("judge", "clip")


@dataclass(frozen=True)
class ScoreRequest:
    """Folders of pictures to score, and what they are measured by.

    Instead of a name, `classifier` may be an object with name, digest and probs; `train` and
    `held_out` may be sources.  Raises InputError for a setting that cannot be met.
    """

    dirs: Sequence[Path]  # each is compared with the first, pair by pair
    out_path: Path  # metrics.json; what is there already stays
    classifier: object = "auto"  # auto, inception or judge
    device: str = "auto"
    real: Path | None = None  # real pictures to measure distances from
    features: str = ""  # judge, pixels, or a vision model; "" = judge with real, else none
    clip: str = ""  # CLIPScore by this CLIP, not the drawing one
    cache: Path | None = None  # folder that keeps what networks gave
    reader: str = ""  # of a suite's atoms: judge, or clip; "" = judge for what mini drew
    known: str = ""  # pictures with attributes, to tell how often the reader errs
    train: object = ""  # look for copies of its training pictures
    held_out: object = ""  # real ones that no training saw; "" = what a training holds out of train
    copies: str = "pixels"  # what copies are looked for in: pixels, or as features

    def __post_init__(self):
        check_choice("device", self.device, CHOICES["device"])
        check_choice("reader", self.reader or READERS[0], READERS)
        if isinstance(self.classifier, str):
            check_choice("classifier", self.classifier, CLASSIFIERS)
        if self.reader == "clip" and not (self.clip and self.known):
            raise InputError("not-enough-given.reader")
        if Path(self.out_path).exists() and not Path(self.out_path).is_file():
            raise InputError("not-a-file", path=self.out_path)
