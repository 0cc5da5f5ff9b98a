"""Systems compared: attributes correct, the score, and paired differences."""

import numpy as np
import pytest
from PIL import Image

from tvhelpers import flats
from tvhelpers.score import language
from tvhelpers.score.features import JudgeClassifier


@pytest.fixture(scope="module")
def drawn():
    """Flats as three systems would draw them: all as asked, the colour of another, another flat."""
    specs = [flats.random_spec(41, i, season="base") for i in range(24)]
    own = [flats.render(spec, 41, i) for i, spec in enumerate(specs)]
    return {"nothing": own[1:] + own[:1], "class": own, "language": own}


def test_prompts_name_their_attributes():
    prompts, asked = language.requests(41, 40, "all")
    assert len({*prompts}) > 30
    for prompt, row in zip(prompts, asked, strict=True):
        assert row["category"] in prompt and set(row) == {"category", "colour", "pattern"}
        assert row["colour"] in prompt
    assert language.requests(41, 40, "all") == (prompts, asked)


def test_systems_are_scored_and_compared_in_pairs(drawn, tmp_path):
    _, asked = language.requests(41, 24)
    paths = []
    for i, pixels in enumerate(drawn["language"]):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    systems = {**drawn, "language": paths}
    rows, pairs = language.compare_systems(systems, asked, range(24), JudgeClassifier())
    assert rows["class"]["all"].value >= 0.9 > 0.3 > rows["nothing"]["all"].value
    assert list(pairs) == ["class against nothing", "language against class"]
    gain = pairs["class against nothing"]["category"]
    expected = rows["class"]["category"].value - rows["nothing"]["category"].value
    assert gain.value == pytest.approx(expected) and gain.ci[0] > 0
    assert pairs["language against class"]["colour"].value == 0
    same = rows["class"]["inception_score"].value
    assert same == pytest.approx(rows["language"]["inception_score"].value)
    text = language.format_systems(rows, pairs)
    assert "class against nothing" in text and "inception_score" in text


def test_the_judge_scores_drawings_alone_whatever_was_asked(drawn):
    nothing, judge = [{}] * 24, JudgeClassifier()
    mud = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8)
    systems = {"drawn": drawn["class"], "mud": mud}
    rows, pairs = language.compare_systems(systems, nothing, range(24), judge)
    assert {*rows["drawn"]} == {"inception_score"} and rows["mud"] == {}
    assert pairs == {"mud against drawn": {}}
    _, asked = language.requests(41, 24)
    rows, _ = language.compare_systems(systems, asked, range(24), judge)
    assert "inception_score" not in rows["mud"] and rows["mud"]["all"].value < 0.3


def test_nothing_is_compared_where_images_are_too_few(drawn):
    _, asked = language.requests(41, 24)
    few = {name: shown[:4] for name, shown in drawn.items()}
    rows, pairs = language.compare_systems(few, asked[:4], range(4), JudgeClassifier())
    assert pairs["class against nothing"] == {} and rows["class"]["category"].ci is None
    assert np.isfinite(rows["class"]["category"].value)
