"""Claim: on the same probabilities and features our plain figures equal those of torch-fidelity.

python benchmarks/peer_scores.py      writes results/peer_scores.json

torch-fidelity needs torchvision, which this project does not: install both without their
dependencies into a folder of their own (pip install --no-deps --target DIR torch-fidelity
torchvision) and put it on PYTHONPATH; beside a CPU-only torch, torchvision's operators must be
declared first.  Where our figures differ on purpose, both are given.
"""

import importlib.metadata
import sys

import numpy as np
import torch
from common import write_result

from tvhelpers.score.distances import frechet_distance, kernel_distance, neighbour_scores
from tvhelpers.score.metrics import inception_score
from tvhelpers.score.peers import torchmetrics_inception_score

try:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
except ImportError as error:
    sys.exit(f"skipped: torch-fidelity is not here ({error}); see the top of this file")

IMAGES, WIDTH, NEIGHBOURS = 300, 64, 5


def row(ours: float, theirs: float) -> dict:
    return {
        "ours": ours,
        "torch_fidelity": theirs,
        "relative_difference": abs(ours / theirs - 1) if theirs else abs(ours),
    }


def on_probabilities(rng) -> dict:
    logits = torch.from_numpy(3 * rng.standard_normal((IMAGES, 40)))
    probs = logits.softmax(1).numpy()
    score = inception_score(probs)
    one = isc_features_to_metric(logits, splits=1, shuffle=False)
    ten = isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=2020)
    sure = np.eye(40)[rng.integers(0, 20, IMAGES)]  # exactly 0 and 1; 20 classes never shown
    confident = torch.from_numpy(200.0 * sure).float()
    return {
        "one split": row(score.details["plug_in"], one["inception_score_mean"]),
        "ten splits": row(score.details["ten_split_mean"], ten["inception_score_mean"]),
        "deviation of ten splits": row(score.details["ten_split_std"], ten["inception_score_std"]),
        "torchmetrics, ten splits, shuffled": torchmetrics_inception_score(probs),
        "certain probabilities": {
            "ours": inception_score(sure).details["plug_in"],
            "torch_fidelity": isc_features_to_metric(confident, 1, False)["inception_score_mean"],
            "torchmetrics": torchmetrics_of_logits(confident),
        },
    }


def torchmetrics_of_logits(logits: torch.Tensor) -> float | None:
    """Return torchmetrics' score of float32 logits, None where it gives NaN."""
    from torchmetrics.image.inception import InceptionScore

    class Given(torch.nn.Module):
        def forward(self, images):
            return logits

    metric = InceptionScore(feature=Given(), splits=1)
    metric.update(torch.zeros((len(logits), 3, 2, 2), dtype=torch.uint8))
    value = float(metric.compute()[0])
    return None if np.isnan(value) else value


def on_features(rng) -> dict:
    spectrum = np.arange(1, WIDTH + 1) ** -0.5
    real = rng.standard_normal((IMAGES, WIDTH)) * spectrum
    drawn = rng.standard_normal((IMAGES, WIDTH)) * spectrum * 0.9 + 0.05
    x, y = torch.from_numpy(drawn), torch.from_numpy(real)
    statistics = [fid_features_to_statistics(side) for side in (x, y)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)
    distance = frechet_distance(drawn, real, few=True).value
    kid = kid_features_to_metric(
        x, y, kid_subsets=1, kid_subset_size=IMAGES, kid_degree=3, kid_gamma=None, kid_coef0=1,
        rng_seed=0, verbose=False,
    )  # fmt: skip
    near = neighbour_scores(real, drawn, NEIGHBOURS)
    prc = prc_features_to_metric(
        x, y, prc_neighborhood=NEIGHBOURS, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    return {
        "frechet_distance": row(distance, theirs["frechet_inception_distance"]),
        "kernel_distance": row(
            kernel_distance(drawn, real).value, kid["kernel_inception_distance_mean"]
        ),
        "precision": row(near["precision"].value, prc["precision"]),
        "recall": row(near["recall"].value, prc["recall"]),
    }


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    result = {"images": IMAGES, **on_probabilities(rng), **on_features(rng)}
    names = ("torch-fidelity", "torchmetrics")
    result["peers"] = {name: importlib.metadata.version(name) for name in names}
    write_result("peer_scores", result)
