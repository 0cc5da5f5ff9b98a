"""How is a flat described in English?"""

from tvhelpers.flats.spec import (
    ATTRIBUTES,
    STYLES,
    Spec,
    cloth_of,
    is_pair,
    options,
    pick,
    rng_for,
)

SHORT = ("category", "colour", "pattern", "waist")


def phrasings(spec: Spec) -> list[tuple[str, tuple[str, ...]]]:
    """Return distinct phrasings of a spec, each with the names of the attributes that it states.

    The first is the shortest that states category, colour and pattern; all state a high waist.
    """
    noun, colour, length = spec.category, spec.colour, spec.length or ""
    pattern = "" if spec.pattern == "plain" else spec.pattern
    waist = "high-waisted" if spec.waist == "high-waisted" else ""
    neck, sleeve = _neck(spec), _sleeve(spec)
    core = _join(colour, pattern, waist, noun)
    rich = _join(length, sleeve, colour, pattern, neck, waist, noun)
    a, full = _with_article(core, noun), _with_article(rich, noun)
    stated = [
        (core, SHORT),
        (a, SHORT),
        (rich, ATTRIBUTES),
        (full, ATTRIBUTES),
        (f"a flat drawing of {a}", SHORT),
        (f"{full}, on white", ATTRIBUTES),
        (f"fashion design: {rich}", ATTRIBUTES),
        (f"{_join(pattern, waist, noun)} in {colour}", SHORT),
        *((f"{style} {core}", SHORT) for style in STYLES[len(core) % 4 :: 4]),
    ]
    if pattern:
        bare = _with_article(_join(colour, waist, noun), noun)
        stated += [
            (f"{bare} with a {pattern} pattern", SHORT),
            (_join(pattern, neck, waist, noun), ("category", "pattern", "neckline", "waist")),
        ]
    else:
        stated += [
            (_with_article(_join("plain", colour, waist, noun), noun), SHORT),
            (_join(length, neck, waist, noun), ("category", "neckline", "length", "waist")),
        ]
    if cloth_of(noun) and not pattern:
        stated.append((_join(length, colour, waist, cloth_of(noun), noun), (*SHORT, "length")))
    return list(dict(stated).items())


def captions(spec: Spec) -> list[str]:
    """Return the texts of `phrasings(spec)`."""
    return [text for text, _ in phrasings(spec)]


def caption(spec: Spec, seed: int, index: int) -> str:
    """Return the caption of flat `index`, one of `captions(spec)`."""
    return pick(rng_for(seed, index, "caption"), captions(spec))


def _neck(spec: Spec) -> str:
    """Return the neckline's words; "" where the category has only one."""
    several = len(options(spec.category, "neckline")) > 1
    return {"V-neck": "V-neck", "crew": "crew neck"}.get(spec.neckline, "") if several else ""


def _sleeve(spec: Spec) -> str:
    """Return the sleeves' words; "" where the category has only one kind."""
    if len(options(spec.category, "sleeve")) < 2:
        return ""
    return spec.sleeve if spec.sleeve == "sleeveless" else f"{spec.sleeve}-sleeved"


def _with_article(words: str, category: str) -> str:
    if is_pair(category):
        return f"a pair of {words}"
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)
