"""How does a widget draw what is typed into it?  For Jupyter and Colab (ipywidgets 7.7 and 8).

What is typed is shown escaped, errors are shown in the widget, drawing runs in a thread so that it
can be cancelled.
"""

import html
import io
import json
import random
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as W
from PIL import Image

from tvhelpers.errors import InputError
from tvhelpers.files import make_dir
from tvhelpers.image import save_png
from tvhelpers.records import read_records
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

NOT_SHOWN = ("prompts", "count")  # of a request: the record has its one prompt
MAX_GALLERY = 24  # pictures kept on the page


STYLE = {"description_width": "76px"}


@dataclass(frozen=True)
class Control:
    """One row of the form: its widget for a sampler, and what its value changes in a `Request`, by
    default the field of that name."""

    name: str
    widget: Callable[[Sampler], W.Widget]
    changes: Callable[[Any], dict] | None = None

    def changed(self, widget: W.Widget) -> dict:
        """Return the fields of a `Request` that the widget sets."""
        return self.changes(widget.value) if self.changes else {self.name: widget.value}


def _slider(label: str, value: float, low: float, high: float, step: float) -> W.FloatSlider:
    return W.FloatSlider(value, min=low, max=high, step=step, description=label, style=STYLE)


def _lora_scale(sampler: Sampler) -> W.Widget:
    slider = _slider("Adapter", 1.0, 0, 1.5, 0.1)
    slider.disabled = sampler.adapter is None
    return slider


# A new control is one more row.
CONTROLS = [
    Control("steps", lambda sampler: W.IntSlider(20, 1, 50, description="Steps", style=STYLE)),
    Control("guidance", lambda sampler: _slider("Guidance", sampler.base.guidance, 1, 15, 0.5)),
    Control("lora_scale", _lora_scale),
]


class Cancelled(Exception):
    """The drawing was ended by the user."""


def with_word(prompt: str, words: Sequence[str], word: str, *, first: bool) -> str:
    """Return `prompt` with its one of `words` replaced by `word`, or `word` added.

    A word that is new goes to the start (`first`, as a colour does) or to the end; "" takes the old
    one out.  An article before it is set right.
    """
    known = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))
    old = re.compile(rf"(?<![\w-])({known})(?![\w-])", re.IGNORECASE)
    if old.search(prompt):
        prompt = old.sub(lambda _: word, prompt, count=1)
    elif first:
        article = re.match(r"(an? )?(.*)", prompt.strip(), re.IGNORECASE)
        prompt = f"{article[1] or ''}{word} {article[2]}"
    else:
        prompt = f"{prompt} {word}"
    prompt = " ".join(prompt.split())
    prompt = re.sub(r"\b([Aa])n? (?=[a-z])", r"\1 ", prompt)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", prompt)


class PromptStudio:
    """The widget: `studio.box` is what a notebook shows; `studio.draw()` works without a click.

    `save` writes into `folder`; `categories` and `colours` fill the menus.
    """

    def __init__(
        self,
        sampler: Sampler,
        folder: Path,
        *,
        categories: Sequence[str],
        colours: Sequence[str],
        prompt: str = "a red dress",
    ):
        self.sampler, self.folder = sampler, Path(folder)
        self.words = {"category": tuple(categories), "colour": tuple(colours)}
        self.made: list[dict] = []  # records of this sitting, newest first, with their pictures
        self._drawn: int | None = None  # the seed of the last drawing, cancelled or not
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._controls(prompt)
        self._wire()
        self._say("Describe a garment, then press Generate.")

    def _controls(self, prompt: str) -> None:
        wide, narrow = W.Layout(width="98%"), W.Layout(width="190px")
        self.prompt = W.Text(prompt, description="Prompt", layout=wide, style=STYLE)
        self.menus = {}
        for name, words in self.words.items():
            options = [(f"any {name}", ""), *zip(words, words)]
            menu = W.Dropdown(options=options, description=name.capitalize(), style=STYLE)
            self.menus[name] = menu
        self.seed = W.IntText(1, description="Seed", style=STYLE, layout=narrow)
        self.lock = W.Checkbox(False, description="keep the seed", indent=False)
        self.controls = {control.name: control.widget(self.sampler) for control in CONTROLS}
        self.go = W.Button(description="Generate", button_style="primary")
        self.stop = W.Button(description="Cancel", disabled=True)
        self.keep = W.Button(description="Save", disabled=True)
        self.progress = W.IntProgress(0, 0, 20, layout=narrow)
        self.status, self.caption = W.HTML(), W.HTML()
        self.image = W.Image(format="png", layout=W.Layout(width="320px", height="320px"))
        self.image.layout.display = "none"
        self.gallery = W.HBox(layout=W.Layout(flex_flow="row wrap", width="98%"))
        above = [W.HBox([*self.menus.values()]), W.HBox([self.seed, self.lock])]
        below = [W.HBox([self.go, self.stop, self.keep]), W.HBox([self.progress, self.status])]
        rows = [*above, *self.controls.values(), *below]
        beside = W.Layout(margin="0 0 0 16px", flex="0 0 330px")
        shown = W.VBox([self.image, self.caption], layout=beside)
        self.box = W.VBox([self.prompt, W.HBox([W.VBox(rows), shown]), self.gallery])

    def _wire(self) -> None:
        for name, menu in self.menus.items():
            menu.observe(lambda change, name=name: self._pick(name, change.new), "value")
        self.go.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: self.cancel())
        self.keep.on_click(lambda _: self._guarded(self.save))

    def _pick(self, name: str, word: str) -> None:
        words, first = self.words[name], name == "colour"
        self.prompt.value = with_word(self.prompt.value, words, word, first=first)

    def start(self) -> None:
        """Draw in a thread; does nothing while a drawing is under way."""
        if self._thread and self._thread.is_alive():
            return
        self._cancel.clear()
        self._thread = threading.Thread(target=self._guarded, args=(self.draw,), daemon=True)
        self._busy(True)
        self._thread.start()

    def cancel(self) -> None:
        """Have the drawing end after its step, or after the loading."""
        self._cancel.set()
        self.stop.disabled = True
        self._say("Cancelling…")

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the drawing under way."""
        if self._thread:
            self._thread.join(timeout)

    def request(self) -> Request:
        """Return what the controls say; a seed that is not kept or typed anew is drawn at random.

        Raises InputError for what cannot be drawn.
        """
        typed = self.seed.value != self._drawn
        seed = self.seed.value if self.lock.value or typed else random.randrange(2**31)
        changes = {}
        for control in CONTROLS:
            changes |= control.changed(self.controls[control.name])
        return Request((self.prompt.value,), seed=seed, **changes)

    def draw(self) -> Image.Image:
        """Draw what the controls say, show it, and return the image."""
        request = self.request()
        self.seed.value = self._drawn = request.seed
        self.progress.max, self.progress.value = request.steps, 0
        self._say("Drawing…" if self.sampler.loaded else "Loading the model, then drawing…")
        _, prompt, seed, picture = next(self.sampler.sample(request, on_step=self._after_step))
        asked = {key: value for key, value in request.record().items() if key not in NOT_SHOWN}
        asked = {"strength" if k == "lora_scale" else k: v for k, v in asked.items()}  # stable name
        record = {"prompt": prompt, "seed": seed, **asked, **self.sampler.identity}
        self._show({"record": record, "picture": picture})
        cut = self.sampler.cut_off(prompt)
        self._say(f"Not read, over the text encoder's limit: {cut}" if cut else "Done.", cut)
        return picture

    def save(self) -> Path:
        """Write the newest picture and its record into the folder; return the picture's path."""
        newest = self.made[0]
        folder = make_dir(self.folder)
        names = [path.name for path in folder.glob("*_*.png")]
        names += [row["file"] for row in read_records(folder / "records.jsonl", "image")]
        numbers = [name.partition("_")[0] for name in names]  # what was deleted frees no number
        number = 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
        path = folder / f"{number:04d}_{newest['record']['seed']}.png"
        save_png(newest["picture"], path)
        with open(folder / "records.jsonl", "a") as file:
            file.write(json.dumps({"file": path.name, **newest["record"]}) + "\n")
        self._say(f"Saved as {path}")
        return path

    def _after_step(self, step: int) -> None:
        self.progress.value = step
        if self._cancel.is_set():
            raise Cancelled

    def _guarded(self, work: Callable) -> None:
        try:
            work()
        except Cancelled:
            self._say("Cancelled.")
        except Exception as error:  # shown where the user looks, instead of being lost in a log
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            self._say(f"{kind}{error}", True)
        finally:
            self._busy(False)

    def _busy(self, busy: bool) -> None:
        self.go.disabled, self.stop.disabled = busy, not busy
        self.keep.disabled = busy or not self.made

    def _say(self, text: str, wrong: bool = False) -> None:
        colour = "#b00020" if wrong else "inherit"
        style = f"color:{colour};display:inline-block;line-height:1.3"
        self.status.value = f"<span style='{style}'>{html.escape(text)}</span>"

    def _show(self, made: dict) -> None:
        self.made.insert(0, made)
        self.image.value = _png(made["picture"], 512)
        self.image.layout.display = ""
        self.caption.value = _caption(made["record"], 320)
        small = W.Image(value=_png(made["picture"], 160), format="png", width=112, height=112)
        tile = W.VBox([small, W.HTML(_caption(made["record"], 112))])
        self.gallery.children = (tile, *self.gallery.children)[:MAX_GALLERY]


def _caption(record: dict, width: int) -> str:
    style = f"width:{width}px;line-height:1.25;overflow-wrap:anywhere"
    text = f"{html.escape(record['prompt'])}<br><small>seed {record['seed']}</small>"
    return f"<div style='{style}'>{text}</div>"


def _png(picture: Image.Image, least: int) -> bytes:
    """Return PNG bytes of a picture, enlarged until its longer side has `least` pixels."""
    longer = max(picture.size)
    if longer < least:
        sides = [round(side * least / longer) for side in picture.size]
        picture = picture.resize(sides, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
