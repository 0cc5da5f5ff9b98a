"""Which controls does the studio have, and what does the value of each change in a `Request`?

Every view of the studio builds its widgets from these rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tvhelpers.errors import Choice, InputError
from tvhelpers.lora.find import has_fast
from tvhelpers.models.base import own_resolution
from tvhelpers.sample.request import FAST_STEPS, RANGES, Request
from tvhelpers.show.studio_words import MENUS, Words, options, with_word

AXES = ("Grid over", "Its values"), ("and over", "Their values")  # labels of a grid's form
ANY = ""  # the value of a menu of words that the prompt has none of
MOST_CELLS = 36  # images of a grid
SHAPES = ((1, 1), (0.75, 1), (1, 0.75), (0.5, 0.5), (1.5, 1.5))  # of an image, in own sizes


@dataclass(frozen=True)
class Offer:
    """What the controls choose from: a sampler, the words of the menus, adapters by name."""

    sampler: Any
    words: Words
    adapters: dict[str, str]


@dataclass(frozen=True)
class Values:
    """The values that a control may have: its first one, and a range or a list."""

    default: Any
    low: float | None = None
    high: float | None = None
    step: float = 1
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Control:
    """One row of the studio.

    `kind`: "text"; "number" (typed) or "slider", of whole numbers where the default is one; "menu";
    "words" (a menu that writes into the prompt); "toggle".  `values` gives its values for an offer.
    `changes` gives the fields of a `Request` that a value changes, by default the field `name`;
    `no_field` for what changes none.  `axis`: a grid can vary it.  `hint`: what it does.  `shown`:
    whether an offer has it.
    """

    name: str
    label: str
    kind: str
    values: Callable[[Offer], Values]
    changes: Callable[[Any], dict] | None = None
    axis: bool = False
    hint: str = ""
    shown: Callable[[Offer], bool] = lambda offer: True

    def changed(self, value) -> dict:
        """Return {field of a `Request`: value}."""
        return self.changes(value) if self.changes else {self.name: value}


def no_field(value) -> dict:
    """Return the changes of a control that changes no field of a `Request`."""
    return {}


def _menu_of_words(name: str) -> Control:
    def values(offer: Offer) -> Values:
        return Values(ANY, options=(ANY, *options(offer.words.get(name, {}))))

    def shown(offer: Offer) -> bool:
        return bool(offer.words.get(name))

    hint = f"Writes a {name} into the prompt, and shows the one that it has."
    return Control(name, name.capitalize(), "words", values, no_field, True, hint, shown)


def _sizes(offer: Offer) -> Values:
    own = _own_side(offer.sampler.base)
    sides = [[max(8, round(own * part / 8) * 8) for part in shape] for shape in SHAPES]
    names = [size_name(*pair) for pair in sides]
    return Values(names[0], options=names)


_own_side = cache(own_resolution)  # it reads a file


def size_name(width: int, height: int) -> str:
    """Return "128 x 128"."""
    return f"{width} x {height}"


def _sides(size: str) -> dict:
    width, height = size.split(" x ")
    return {"width": int(width), "height": int(height)}


def _adapter_of(offer: Offer) -> Values:
    return Values(name_of(offer.sampler, offer.adapters), options=tuple(offer.adapters))


def name_of(sampler, adapters: dict[str, str]) -> str:
    """Return the name of the sampler's adapter, which is added to `adapters` if it has none."""
    path = str(sampler.adapter or "none")
    shipped = sampler.base.adapter
    found = [name for name, one in adapters.items() if one == path]
    if not found and shipped and path == str(shipped):
        found = ["shipped"]
    if not found:
        found = [sampler.adapter.parent.name or sampler.adapter.name]
        adapters[found[0]] = path
    return found[0]


# A new control is one more row here.
CONTROLS = [
    Control("prompt", "Prompt", "text", lambda offer: Values("a red dress"),
            lambda value: {"prompts": (value,)}, hint="What to draw."),
    Control("negative_prompt", "Negative prompt", "text", lambda offer: Values(""),
            hint="What the image moves away from."),
    *map(_menu_of_words, MENUS),
    Control("count", "Images", "slider", lambda offer: Values(1, 1, 8), no_field,
            hint="How many images a click draws, each from a seed of its own."),
    Control("size", "Size", "menu", _sizes, _sides, True,
            "Width x height in pixels; the first one is what the base was made for."),
    Control("steps", "Inference steps", "slider",
            lambda offer: Values(FAST_STEPS if offer.sampler.fast else Request.steps, 1, 50),
            axis=True, hint="More steps take longer and add detail, up to a point."),
    Control("guidance", "Guidance scale", "slider",
            lambda offer: Values(float(offer.sampler.default_guidance), 1.0, 15.0, 0.5), axis=True,
            hint="How strongly the image follows the prompt; 1 adds no push."),
    Control("lora_scale", "LoRA scale", "slider", lambda offer: Values(1.0, 0.0, 1.5, 0.1),
            axis=True, hint="How much of the adapter is applied: 0 is none, 1 is as trained."),
    Control("adapter", "Adapter", "menu", _adapter_of, no_field,
            hint="A small file of trained weights that changes what the base draws."),
    Control("fast", "Fast", "toggle", lambda offer: Values(bool(offer.sampler.fast)), no_field,
            hint="Draws in few steps without guidance, with the base's fast adapter.",
            shown=lambda offer: has_fast(offer.sampler.base)),
    Control("seed", "Seed", "number", lambda offer: Values(1, *RANGES["seed"]), axis=True,
            hint="The number that the noise comes from; the same seed gives the same noise."),
    Control("keep_seed", "Keep the seed", "toggle", lambda offer: Values(False), no_field,
            hint="Locks the seed: the next click uses the same noise."),
]  # fmt: skip


def request_of(controls: Sequence[Control], values: dict[str, Any]) -> Request:
    """Return the request of the controls' values; raises InputError for invalid ones."""
    changes = {}
    for control in controls:
        if control.kind != "words":
            changes |= control.changed(values[control.name])
    return Request(**changes)


def axis_values(control: Control, text: str, values: Values) -> list:
    """Return the values of a grid's axis from a text, "1, 2.5, 5" or "red, blue".

    Raises InputError for a value that the control cannot have.
    """
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        if values.options:
            known = {str(one).lower(): one for one in values.options}
            if part.lower() not in known:
                choice = Choice(part, filter(None, values.options))
                raise InputError("unknown-choice", name=control.label, value=part, choice=choice)
            found.append(known[part.lower()])
            continue
        try:
            found.append(type(values.default)(part))
        except ValueError:
            raise InputError("wrong-axis", name=control.label, text=part) from None
    if not found:
        raise InputError("wrong-axis", name=control.label, text=text)
    return found


def axis_example(values: Values) -> str:
    """Return values for the axis of a grid as a text: four of a list, or across a range."""
    if values.options:
        return ", ".join([one for one in values.options if one][:4])
    first, kind = values.default, type(values.default)
    if values.high is None or values.high > 1000:  # seeds
        return ", ".join(str(first + number) for number in range(4))
    steps = (values.high - values.low) / values.step
    places = sorted({values.low + values.step * round(steps * part) for part in (0.1, 0.3, 0.6, 1)})
    return ", ".join(f"{kind(round(place, 6)):g}" for place in places)


def with_value(values: dict, control: Control, value, words: Words) -> dict:
    """Return the controls' values with another one of `control`."""
    if control.kind == "words":
        return {**values, "prompt": with_word(values["prompt"], words, control.name, value)}
    return {**values, control.name: value}
