"""The recipe makes the published prompt suites."""

from recipes.prompt_suite import published
from tvhelpers.score.suite import SUITES, text_of


def test_the_published_suites_are_made_by_the_recipe():
    made = published()
    assert {path.stem for path in SUITES.glob("*.jsonl")} == set(made)
    for name, rows in made.items():
        assert text_of(rows) == (SUITES / f"{name}.jsonl").read_text()
