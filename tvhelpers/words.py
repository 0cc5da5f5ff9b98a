"""How are labels and lists put into English?"""

NO_ARTICLE = ("outwear", "outerwear", "knitwear", "underwear", "swimwear")


def describe(attributes: dict[str, str]) -> str:
    """Return a caption such as "a photo of a black dress"; colour and pattern if known."""
    category = attributes["category"]
    words = " ".join(filter(None, [attributes.get("colour"), attributes.get("pattern"), category]))
    return f"a photo of {with_article(words, category)}"


def with_article(words: str, noun: str = "") -> str:
    """Return "a black dress" for "black dress".

    `noun` decides: a plural such as "trousers", or an uncountable such as "knitwear", has none.
    """
    if noun in NO_ARTICLE or is_plural(noun):
        return words
    first = words.lower()
    vowel = first[0] in "aeio" and not first.startswith("one")  # as "a one-shoulder dress"
    return f"{'an' if vowel else 'a'} {words}"


def is_plural(noun: str) -> bool:
    """Return whether a garment's name is a plural, such as "trousers"; "dress" is none."""
    return noun.endswith("s") and not noun.endswith("ss")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return "1 image" or "2,000 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(things: list[str]) -> str:
    """Return "a, b and c"."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
