"""What tests of reports call: `score_folders` by its request, and a quick classifier."""

import numpy as np

from tvhelpers.score.report import score_folders
from tvhelpers.score.request import ScoreRequest


class BrightnessClassifier:
    """Four classes by brightness: a stand-in whose answers are known."""

    name, digest = "brightness", "0"

    def probs(self, pixels):
        return np.eye(4)[(pixels.mean((1, 2, 3)) // 64).astype(int)]


def scored(*request, **more):
    return score_folders(ScoreRequest(*request, **more))
