"""Labels become captions."""

from tvhelpers.words import describe


def test_captions_from_words():
    assert describe({"category": "pants", "colour": "black"}) == "a photo of black pants"
    assert describe({"category": "dress", "colour": "olive"}) == "a photo of an olive dress"
    assert describe({"category": "outwear"}) == "a photo of outwear"
