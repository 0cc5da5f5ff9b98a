"""Which garments can be drawn, with category, colour, pattern and cut known exactly?

An image is a function of (spec, seed, index), and a spec one of (seed, index).
"""

from tvhelpers.flats.draw import DRAWING, LATER_DRAWING, render
from tvhelpers.flats.phrases import caption, captions, phrasings
from tvhelpers.flats.shop import SHADE_NAMES, STATED, shop_caption, shop_phrase, shop_spec
from tvhelpers.flats.shop import WORDS as SHOP_WORDS
from tvhelpers.flats.spec import (
    ALL_ATTRIBUTES,
    ATTRIBUTES,
    CATEGORIES,
    COLOURS,
    FILLERS,
    NEW_CATEGORIES,
    NEW_PATTERNS,
    OPTIONAL,
    PATTERNS,
    SEASONS,
    SHADES,
    STYLES,
    Spec,
    cloth_of,
    is_unseen,
    options,
    random_spec,
    words_of,
)
