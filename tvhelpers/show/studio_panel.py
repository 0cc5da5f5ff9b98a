"""Which values do the studio's controls have, and what is drawn from them?"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvhelpers.errors import InputError
from tvhelpers.records import as_record
from tvhelpers.sample.grid import nearly_square
from tvhelpers.sample.prompt import syntax_of
from tvhelpers.sample.request import Request
from tvhelpers.show.studio_controls import (
    MOST_CELLS,
    Control,
    Offer,
    Values,
    axis_values,
    request_of,
    size_name,
    with_value,
)
from tvhelpers.show.studio_words import word_in

VARIATIONS = 4  # images of "vary" where a click draws one
Axes = Sequence[tuple[str, str]]  # of a grid: (control, its values as a text)


@dataclass(frozen=True)
class Shot:
    """One image to draw, and what differs from the others of its job: in a grid, the values of its
    row and of its column."""

    request: Request
    label: tuple[str, ...] = ()


class Panel:
    """The controls and their values; `values` has all but those of the menus of words, which are
    read from the prompt."""

    def __init__(self, controls: Sequence[Control], offer: Offer):
        self.controls, self.offer = {row.name: row for row in controls if row.shown(offer)}, offer
        self.values: dict[str, Any] = self._defaults()

    def _defaults(self) -> dict[str, Any]:
        own = [row for row in self.controls.values() if row.kind != "words"]
        return {row.name: row.values(self.offer).default for row in own}

    def value(self, name: str):
        """Return the value of a control."""
        if self.controls[name].kind == "words":
            return word_in(self.values["prompt"], self.offer.words, name)
        return self.values[name]

    def choices(self, name: str) -> Values:
        """Return the values that a control may have; they include the one that it has."""
        values, value = self.controls[name].values(self.offer), self.value(name)
        if values.options and value not in values.options:
            return replace(values, options=(*values.options, value))
        if values.low is not None:
            return replace(values, low=min(values.low, value), high=max(values.high, value))
        return values

    def set(self, name: str, value) -> None:
        """Give a control a value."""
        self.values = with_value(self.values, self.controls[name], value, self.offer.words)

    def take(self, sampler, chosen: dict[str, Any]) -> None:
        """Offer what another sampler has, whose adapters are the `chosen` values; controls with
        their default values get the new defaults."""
        before, self.offer = self._defaults(), replace(self.offer, sampler=sampler)
        new = {k: x for k, x in self._defaults().items() if self.values[k] == before[k]}
        self.values |= new | {k: x for k, x in chosen.items() if k in self.values}

    def use(self, record: dict) -> None:
        """Give the controls the prompt, the seed and the settings of an image's record."""
        record = as_record(record, "drawn image", "the record of this image")
        sides = record.get("width", record.get("size")), record.get("height", record.get("size"))
        found = {"negative_prompt": "", **record}
        found |= {"size": size_name(*sides)} if all(sides) else {}
        self.values |= {name: found[name] for name in self.values if name in found}

    def request(self, values: dict | None = None, **changes) -> Request:
        """Return the request of one image; raises InputError for values out of range."""
        return request_of([*self.controls.values()], {**(values or self.values), **changes})

    def remarks(self, sampler) -> list[str]:
        """Return sentences on what the prompts hold that the base does not know."""
        prompts = [self.values["prompt"], self.values["negative_prompt"]]
        said = [sampler.unseen(text) for text in prompts]
        signs = dict.fromkeys(sign for text in prompts for sign in syntax_of(text))
        said += [f"{sign} is of another program, and has no effect here" for sign in signs]
        if sampler.loaded or Path(sampler.base.path).is_dir():  # else it would be downloaded
            cut = [sampler.cut_off(text) for text in prompts]
            said += [f"this is too long, its end is ignored: {end}" for end in cut if end]
        if prompts[1].strip() and self.values["guidance"] == 1:
            said.append("at guidance scale 1 the negative prompt has no effect")
        return [f"{text[0].upper()}{text[1:]}." for text in said if text]

    def shots(self, kind: str, axes: Axes, last: int | None) -> tuple[list[Shot], int]:
        """Return the shots of a job, as `Session.start` names them, and in how many columns they
        are shown.  `last`: the seed of the last job.

        Raises InputError for values out of range.
        """
        seed = self.values["seed"]
        if seed == last and not self.values["keep_seed"]:  # neither kept nor just typed
            seed = random.randrange(2**31)
        if kind == "grid":
            return self._grid(axes, seed)
        count, request = self.values["count"], self.request(seed=seed)
        if kind == "vary":
            many = count if count > 1 else VARIATIONS
            shots = [Shot(self.request(seed=random.randrange(2**31))) for _ in range(many)]
            return shots, nearly_square(many)
        seeds = [seed for _, _, seed in replace(request, count=count).jobs()]
        shots = [Shot(replace(request, seed=seed)) for seed in seeds]
        if kind == "compare":
            pairs = [half for shot in shots for half in self._compared(shot.request)]
            return pairs, 2 if count <= 2 else 4
        return shots, nearly_square(count)

    def _compared(self, request: Request) -> tuple[Shot, Shot]:
        if self.offer.sampler.adapter is None:
            raise InputError("no-adapter.compare")
        scale, name = request.lora_scale or 1.0, self.values["adapter"]
        adapted = Shot(replace(request, lora_scale=scale), (f"{name}, LoRA scale {scale:g}",))
        return Shot(replace(request, lora_scale=0.0), ("base alone",)), adapted

    def _grid(self, axes: Axes, seed: int) -> tuple[list[Shot], int]:
        if not axes:
            raise InputError("no-axis")
        cells, columns, words = [({**self.values, "seed": seed}, [])], 1, self.offer.words
        for name, text in axes:
            row = self.controls[name]
            values = axis_values(row, text, self.choices(name))
            columns = len(values)
            if len(cells) * columns > MOST_CELLS:
                raise InputError("too-many-cells", count=len(cells) * columns, most=MOST_CELLS)
            texts = [f"{x:g}" if isinstance(x, float) else str(x) for x in values]
            cells = [
                (with_value(own, row, value, words), [*label, f"{row.label} {text}"])
                for own, label in cells
                for value, text in zip(values, texts)
            ]
        return [Shot(self.request(values), tuple(label)) for values, label in cells], columns
