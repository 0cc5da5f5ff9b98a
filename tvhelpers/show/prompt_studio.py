"""How does a widget generate images from prompts?  For Jupyter and Colab (ipywidgets 7.7 and 8).

Prompts are shown escaped, errors are shown in the widget, and generation runs in a thread so that
it can be cancelled.
"""

import html
import io
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
from tvhelpers.files import writing
from tvhelpers.image import save_png
from tvhelpers.records import add_line
from tvhelpers.sample.prompt import remarks
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler

MAX_GALLERY = 24  # images kept on the page
SAVE_SECONDS = 10.0  # how long saving waits while another program writes to the folder
FILE_NAME = re.compile(r'"file": "([^"]+)"')  # in a line of records, also a broken one
STYLE = {"description_width": "76px"}


@dataclass(frozen=True)
class Control:
    """One row of the studio: its widget for a sampler, and which fields of a `Request` its value
    changes, by default the field `name`."""

    name: str
    widget: Callable[[Sampler], W.Widget]
    changes: Callable[[Any], dict] | None = None

    def changed(self, widget: W.Widget) -> dict:
        """Return {field of a `Request`: value} of the widget."""
        return self.changes(widget.value) if self.changes else {self.name: widget.value}


def _slider(label: str, value: float, low: float, high: float, step: float) -> W.FloatSlider:
    return W.FloatSlider(value, min=low, max=high, step=step, description=label, style=STYLE)


def _lora_scale(sampler: Sampler) -> W.Widget:
    slider = _slider("LoRA scale", 1.0, 0, 1.5, 0.1)
    slider.disabled = sampler.adapter is None
    return slider


# A new control is one more row here.
CONTROLS = [
    Control("steps", lambda sampler: W.IntSlider(20, 1, 50, description="Steps", style=STYLE)),
    Control("guidance", lambda sampler: _slider("Guidance", sampler.base.guidance, 1, 15, 0.5)),
    Control("lora_scale", _lora_scale),
]


class Cancelled(Exception):
    """The user cancelled the generation."""


def with_word(prompt: str, words: Sequence[str], word: str, *, first: bool) -> str:
    """Return `prompt` with the first of `words` in it replaced by `word`, or with `word` added.

    A word is added at the start (`first`, as for a colour) or at the end; "" removes the old one.
    The article before it ("a", "an") is adapted.
    """
    pattern = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))
    old = re.compile(rf"(?<![\w-])({pattern})(?![\w-])", re.IGNORECASE)
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
    """The widget; show `studio.box` in a notebook.  `studio.draw()` works without a click.

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
        self.history: list[dict] = []  # {"record", "image"} of this session, newest first
        self._drawn: int | None = None  # the seed of the last image, cancelled or not
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._controls(prompt)
        self._wire()
        self._show_status("Describe a garment, then press Generate.")

    def _controls(self, prompt: str) -> None:
        wide, narrow = W.Layout(width="98%"), W.Layout(width="190px")
        self.prompt = W.Text(prompt, description="Prompt", layout=wide, style=STYLE)
        self.menus = {}
        for name, words in self.words.items():
            options = [(f"any {name}", ""), *zip(words, words)]
            menu = W.Dropdown(options=options, description=name.capitalize(), style=STYLE)
            self.menus[name] = menu
        self.seed = W.IntText(1, description="Seed", style=STYLE, layout=narrow)
        self.keep_seed = W.Checkbox(False, description="keep the seed", indent=False)
        self.controls = {control.name: control.widget(self.sampler) for control in CONTROLS}
        self.generate_button = W.Button(description="Generate", button_style="primary")
        self.cancel_button = W.Button(description="Cancel", disabled=True)
        self.save_button = W.Button(description="Save", disabled=True)
        self.progress = W.IntProgress(0, 0, 20, layout=narrow)
        self.status, self.caption = W.HTML(), W.HTML()
        self.image = W.Image(format="png", layout=W.Layout(width="320px", height="320px"))
        self.image.layout.display = "none"
        self.gallery = W.HBox(layout=W.Layout(flex_flow="row wrap", width="98%"))
        above = [W.HBox([*self.menus.values()]), W.HBox([self.seed, self.keep_seed])]
        buttons = W.HBox([self.generate_button, self.cancel_button, self.save_button])
        below = [buttons, W.HBox([self.progress, self.status])]
        rows = [*above, *self.controls.values(), *below]
        beside = W.Layout(margin="0 0 0 16px", flex="0 0 330px")
        shown = W.VBox([self.image, self.caption], layout=beside)
        self.box = W.VBox([self.prompt, W.HBox([W.VBox(rows), shown]), self.gallery])

    def _wire(self) -> None:
        for name, menu in self.menus.items():
            menu.observe(lambda change, name=name: self._pick(name, change.new), "value")
        self.generate_button.on_click(lambda _: self.start())
        self.cancel_button.on_click(lambda _: self.cancel())
        self.save_button.on_click(lambda _: self._guarded(self.save))

    def _pick(self, name: str, word: str) -> None:
        words, first = self.words[name], name == "colour"
        self.prompt.value = with_word(self.prompt.value, words, word, first=first)

    def start(self) -> None:
        """Generate in a thread; do nothing while one is running."""
        if self._thread and self._thread.is_alive():
            return
        self._cancel.clear()
        self._thread = threading.Thread(target=self._guarded, args=(self.draw,), daemon=True)
        self._busy(True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop the generation after its current step, or after loading."""
        self._cancel.set()
        self.cancel_button.disabled = True
        self._show_status("Cancelling…")

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the running generation."""
        if self._thread:
            self._thread.join(timeout)

    def request(self) -> Request:
        """Return the request of the controls; a seed that is neither kept nor just typed is random.

        Raises InputError for invalid values.
        """
        typed = self.seed.value != self._drawn
        seed = self.seed.value if self.keep_seed.value or typed else random.randrange(2**31)
        changes = {}
        for control in CONTROLS:
            changes |= control.changed(self.controls[control.name])
        return Request((self.prompt.value,), seed=seed, **changes)

    def draw(self) -> Image.Image:
        """Generate the request of the controls, show the image, and return it."""
        request = self.request()
        self.seed.value = self._drawn = request.seed
        self.progress.max, self.progress.value = request.steps, 0
        self._show_status("Generating…" if self.sampler.loaded else "Loading the model…")
        _, prompt, seed, image = next(self.sampler.sample(request, on_step=self._after_step))
        settings = self.sampler.with_defaults(request).settings()
        record = {"prompt": prompt, "seed": seed, **settings, **self.sampler.identity}
        self._show({"record": record, "image": image})
        cut = self.sampler.cut_off(prompt)
        said = [f"The prompt is too long; this part was ignored: {cut}"] if cut else []
        found = filter(None, [*remarks([prompt]), self.sampler.unseen(prompt)])
        said += [f"{text[0].upper()}{text[1:]}." for text in found]
        self._show_status(" ".join(said) or "Done.", bool(said))
        return image

    def save(self) -> Path:
        """Write the newest image and its record into the folder; return the image's path."""
        newest, folder = self.history[0], self.folder
        with writing(folder, wait=SAVE_SECONDS):
            path = folder / f"{_next_number(folder):04d}_{newest['record']['seed']}.png"
            save_png(newest["image"], path)
            add_line(folder / "records.jsonl", {"file": path.name, **newest["record"]})
        self._show_status(f"Saved as {path}")
        return path

    def _after_step(self, step: int) -> None:
        self.progress.value = step
        if self._cancel.is_set():
            raise Cancelled

    def _guarded(self, work: Callable) -> None:
        try:
            work()
        except Cancelled:
            self._show_status("Cancelled.")
        except Exception as error:  # shown to the user, instead of only in a log
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            self._show_status(f"{kind}{error}", True)
        finally:
            self._busy(False)

    def _busy(self, busy: bool) -> None:
        self.generate_button.disabled, self.cancel_button.disabled = busy, not busy
        self.save_button.disabled = busy or not self.history

    def _show_status(self, text: str, wrong: bool = False) -> None:
        colour = "#b00020" if wrong else "inherit"
        style = f"color:{colour};display:inline-block;line-height:1.3"
        self.status.value = f"<span style='{style}'>{html.escape(text)}</span>"

    def _show(self, entry: dict) -> None:
        self.history.insert(0, entry)
        self.image.value = _png(entry["image"], 512)
        self.image.layout.display = ""
        self.caption.value = _caption(entry["record"], 320)
        small = W.Image(value=_png(entry["image"], 160), format="png", width=112, height=112)
        tile = W.VBox([small, W.HTML(_caption(entry["record"], 112))])
        self.gallery.children = (tile, *self.gallery.children)[:MAX_GALLERY]


def _next_number(folder: Path) -> int:
    """Return a number above those of all images and records, deleted images included."""
    records = folder / "records.jsonl"
    names = [path.name for path in folder.glob("*_*.png")]
    lines = records.read_text(encoding="utf-8", errors="replace") if records.exists() else ""
    names += FILE_NAME.findall(lines)
    numbers = [name.partition("_")[0] for name in names]
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _caption(record: dict, width: int) -> str:
    style = f"width:{width}px;line-height:1.25;overflow-wrap:anywhere"
    text = f"{html.escape(record['prompt'])}<br><small>seed {record['seed']}</small>"
    return f"<div style='{style}'>{text}</div>"


def _png(image: Image.Image, least: int) -> bytes:
    """Return PNG bytes of an image, enlarged until its longer side has `least` pixels."""
    longer = max(image.size)
    if longer < least:
        sides = [round(side * least / longer) for side in image.size]
        image = image.resize(sides, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
