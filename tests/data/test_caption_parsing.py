"""What captions state, and their repair; on the real files where present."""

import pytest

from tvhelpers.data.caption_parsing import contradictions, parse_caption, repair_caption


@pytest.mark.parametrize(
    ("caption", "stated"),
    [
        ("the lady wore a black long-sleeved jacker.", "jacket black long female"),
        ("a man in a khaki sleeveless caot", "coat khaki sleeveless male"),
        ("1. the lady is wearing a red short-sleeved junpsuit.", "jumpsuit red short female"),
        ("the girl wore a long blouse of olives.", "blouse olive - female"),
        ("ms. wearing a plain gray long-sleeved tee.", "tee gray long female"),
        ("a long-sleeved blazer khaki", "blazer khaki long -"),
        ("a tee with black letters", "tee - - -"),
        ("a white tee with black letters", "tee white - -"),
        ("the girl wore a blouse with a multicolor long sleeve.", "blouse multicolour long female"),
        ("a tank with white letters and sleeveless letters", "tank white sleeveless -"),
        ("a man wearing a gray tee with a black owl", "tee gray - male"),
        ("a woman in a dress in floral jersey", "dress - - female"),
        ("men's navy bomber jacket, long-sleeved", "bomber blue long male"),
        ("a black sweater dress with long bell sleeves", "dress black long -"),
        ("a coat of arms", "coat - - -"),
        ("a photo of the sea", "- - - -"),
        ("a long coat with short sleeves", "coat - short -"),
        ("a men's t-shirt, grey", "tee gray - male"),
        ("the black man wore a green tank top", "tank green - male"),
    ],
)
def test_what_a_caption_states(caption, stated):
    words = dict(zip(("category", "colour", "sleeve", "gender"), stated.split(), strict=True))
    assert parse_caption(caption) == {key: word for key, word in words.items() if word != "-"}


def test_odd_captions_are_repaired_and_good_ones_left_alone():
    for odd, corrected in (
        (
            "her friend wore a blue short-sleeved blosue.",
            "her friend wore a blue short-sleeved blouse.",
        ),
        ("a blouse with a multicolor long sleeve.", "a multicolor long-sleeved blouse."),
        ("a tee with black letters and letters", "a tee with black letters"),
        ("a tee with a black short-sleeved owl.", "a black short-sleeved tee with an owl."),
        ("the man wore a orange coat", "the man wore an orange coat"),
        ("a blouse of olives", "an olive blouse"),
    ):
        assert repair_caption(odd) == corrected
        assert repair_caption(corrected) == corrected
    for good in (
        "A woman in an ultra-light one-shoulder dress, photographed in an hourglass pose.",
        "a white dress with long sleeves and a bow",
        "a boat, a racket and a packet",  # near to coat and jacket
        "Women's black T-shirt with an X-ray print in a European cut",
    ):
        assert repair_caption(good) == good


def test_real_captions_agree_with_their_labels(real_captions):
    """The parser against labels that others wrote."""
    wrong, stated = 0, 0
    for labels, text in zip(real_captions.attributes, real_captions.captions, strict=True):
        wrong += bool(contradictions(labels, text))
        stated += parse_caption(text).keys() >= {"category", "gender"}
    assert wrong / len(real_captions) < 0.002
    assert stated / len(real_captions) > 0.999
