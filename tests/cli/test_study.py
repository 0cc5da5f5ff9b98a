"""The verbs of `study`: what cannot be a study is refused with a reason."""


def test_study_refuses_what_cannot_be_asked(refuse, tmp_path):
    out = ["--out", tmp_path / "study"]
    refuse("usage", "study", "make", "images", *out)
    refuse("usage", "study", "make", "a=x", "a=y", *out)
    refuse("unknown-choice", "study", "make", "a=x", "b=y", "--tasks", "pair,smell", *out)
    refuse("not-a-study", "study", "analyse", tmp_path / "none", *out)
    refuse("not-a-study", "study", "html", tmp_path / "none", "--raters", "r1", *out)
    refuse("not-a-study", "study", "import", tmp_path / "none", tmp_path / "votes.json")
    size = ["study", "power", "--raters", "5", "--prompts", "9", "--effect", "0.6"]
    for name, value in (("raters", 0), ("prompts", 9999), ("effect", 0.2), ("ties", 1.5)):
        assert name in refuse("out-of-range", *size, f"--{name}", value)
    assert not (tmp_path / "study").exists()
