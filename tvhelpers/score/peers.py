"""Which results do other libraries give for the same inputs?

How the Inception Score of torchmetrics 1.9.0, the tested version, differs:

* It shuffles by torch's global generator: without a seed each `compute()` gives another score.
* `torch.chunk` makes its splits: of 138 images nine of 14 and one of 12, of 55 a last one of one
  image, of 21 seven instead of ten.
* The deviation over splits divides by nine, not ten; with `splits=1` it is NaN.
* Confident logits in float32 give NaN (0 times the logarithm of 0).
* `normalize=True` truncates to bytes without rounding, and values outside 0..1 wrap: images in
  -1..1 are scored wrongly without a warning.
* It resizes with antialiasing (since 1.8), which published scores did not, and has no argument for
  a file of weights.
"""

import warnings

import numpy as np
import torch


def torchmetrics_inception_score(probs: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Return torchmetrics' Inception Score (mean, deviation over splits) of probabilities (N, K).

    It shuffles by torch's global generator, which is seeded here and restored afterwards.
    """
    from torchmetrics.image.inception import InceptionScore

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about its buffer and about single splits
        metric = InceptionScore(feature=_Logits(probs), splits=splits)
        torch.manual_seed(0)
        metric.update(torch.zeros((len(probs), 3, 2, 2), dtype=torch.uint8))
        mean, deviation = metric.compute()
    return mean.item(), deviation.item()


class _Logits(torch.nn.Module):
    """A feature extractor that returns the logits of given probabilities."""

    def __init__(self, probs: np.ndarray):
        super().__init__()
        self.logits = torch.from_numpy(np.log(np.maximum(probs, 1e-12)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, whatever the images are."""
        return self.logits
