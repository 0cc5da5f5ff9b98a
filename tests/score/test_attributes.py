"""The reader of attributes agrees with drawings; the share of right ones is counted per word."""

import numpy as np
import pytest

from tvhelpers import flats
from tvhelpers.score.attributes import CORE, AttributeJudge, agreement

SPECS = [flats.random_spec(91, i) for i in range(60)]
PIXELS = np.stack([flats.render(spec, 91, i) for i, spec in enumerate(SPECS)])


def wanted(names):
    return [{name: getattr(spec, name) or "none" for name in names} for spec in SPECS]


def test_the_judge_reads_drawings():
    seen = AttributeJudge().words(PIXELS, batch_size=25)
    right = agreement(wanted(flats.ATTRIBUTES), seen)
    assert set(right) == {*flats.ATTRIBUTES, "all"}
    assert min(right[name].mean() for name in CORE) >= 0.93
    assert right["waist"].mean() >= 0.9 and right["neckline"].mean() >= 0.9


def test_size_and_batch_do_not_matter():
    judge = AttributeJudge()
    big = np.stack([flats.render(spec, 91, i, 256) for i, spec in enumerate(SPECS[:8])])
    alone = [judge.words(picture[None])[0]["category"] for picture in big]
    assert alone == [spec.category for spec in SPECS[:8]]


def test_only_what_was_asked_counts():
    seen = [{"category": "dress", "colour": "red"}, {"category": "coat", "colour": "red"}]
    right = agreement([{"category": "dress"}, {"category": "dress", "colour": "red"}], seen)
    assert right["category"].tolist() == [True, False] and right["colour"].tolist() == [True, True]
    assert right["all"].tolist() == [True, False]
    with pytest.raises(ValueError):
        agreement([{}], seen)
