"""Which garments can be drawn, with category, colour, pattern and cut known exactly?

An image is a function of (spec, seed, index), and a spec one of (seed, index).
"""

from tvhelpers.flats.draw import DRAWING, render
from tvhelpers.flats.phrases import caption, captions, phrasings
from tvhelpers.flats.spec import (
    ATTRIBUTES,
    CATEGORIES,
    COLOURS,
    FILLERS,
    NEW_CATEGORIES,
    NEW_PATTERNS,
    OPTIONAL,
    PATTERNS,
    SEASONS,
    STYLES,
    Spec,
    cloth_of,
    is_unseen,
    options,
    random_spec,
    words_of,
)
