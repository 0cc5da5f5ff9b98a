"""How does a widget generate images from prompts?  For Jupyter and Colab (ipywidgets 7.7 and 8).

A view of `studio_session`: a widget for each control, and whatever the session says has changed.
Where a thread's changes are not shown, as in Colab, it draws within the callback.
"""

import base64
import html
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import ipywidgets as W
from PIL import Image

from tvhelpers.runtime import on_colab
from tvhelpers.show import colab
from tvhelpers.show.studio_controls import Control
from tvhelpers.show.studio_folder import Entry
from tvhelpers.show.studio_session import CHOOSES, Session
from tvhelpers.show.studio_widgets import (
    Axis,
    Tile,
    button,
    clicks_let_through,
    clipped,
    fields,
    give,
    img,
    kind_of,
    named,
    of_class,
    options_of,
    row_of,
    title,
)

PAGE = 24  # thumbnails shown together; more make a page slow
MOST_IN_PAGE = 30 << 20  # bytes of a zip that the page offers as a link
CSS = Path(__file__).with_name("prompt_studio.html").read_text(encoding="utf-8")
STOP = " To stop it, interrupt the kernel (in Colab: Runtime > Interrupt execution)."
BUTTONS = {  # {name: (text, what it does)}
    "generate": ("Generate", "Draw what the controls say; Enter in the prompt does the same."),
    "vary": ("Vary", "Draw the same prompt from new seeds."),
    "compare": ("Compare", "Draw the base alone and with its adapter, from the same seed."),
    "cancel": ("Cancel", "Stop after the current step; what is drawn stays."),
    "dice": ("New seed", "Give the seed a random value."),
    "grid": (
        "Draw the grid",
        "Draw an image for each value, or pair of values, of controls.",
    ),
    "use": ("Use again", "Give the controls the prompt, seed and settings of this image."),
    "favourite": (
        "Favourite",
        "Mark this image, or unmark it; the zip holds the marked ones.",
    ),
    "delete": ("Delete", "Delete this image and its file; Undo brings it back."),
    "undo": ("Undo", "Bring back what was deleted last."),
    "save": ("Save", "Write what could not be saved while it was drawn."),
    "zip": ("Download zip", "Pack the favourites, or all images if there are none."),
    "newer": ("Newer", "Show newer images."),
    "older": ("Older", "Show older images."),
}


class PromptStudio:
    """The widget; show `studio.box` in a notebook.  `studio.draw()` works without a click.

    What is drawn is saved in `folder`, and is there when a studio of the same folder is opened
    again.  `session` holds the state; `how` are its other arguments.  `threaded` is False where
    what a thread changes is not shown, by default on Colab.
    """

    def __init__(self, sampler, folder: Path, *, threaded: bool | None = None, **how):
        threaded = not on_colab() if threaded is None else threaded
        self.session = Session(sampler, folder, threaded=threaded, **how)
        self.rows = self.session.panel.controls
        self.first = 0  # entry of the gallery's page
        self._tiles: dict[int, tuple[Entry, Tile]] = {}
        self._showing = False  # a widget that is given its value must not give it back
        self._lock = threading.RLock()  # of the controls: a thread shows them, the user types
        self.controls = {name: self._widget(row) for name, row in self.rows.items()}
        self.buttons = {name: button(*texts) for name, texts in BUTTONS.items()}
        self.axes = [Axis(self.session.panel, number) for number in (1, 2)]
        self.progress = W.IntProgress(0, 0, 1)
        self.remarks, self.status, self.stage, self.caption, self.place, self.link = (
            W.HTML() for _ in range(6)
        )
        self.gallery = of_class("tv-gallery", W.Box())
        self.box = self._laid_out()
        self._wire()
        self.session.tell = self._show
        self._show("controls", "status", "progress", "stage", "gallery", "busy")

    def _widget(self, row: Control) -> W.Widget:
        values = self.session.panel.choices(row.name)
        kind = kind_of(row, values)
        if kind is W.Dropdown:
            return named(W.Dropdown(options=options_of(values)), row)
        if values.low is not None and kind is not W.IntText:
            span = {"min": values.low, "max": values.high, "step": values.step}
            return named(kind(values.default, **span), row)
        return named(kind(values.default), row)

    def _laid_out(self) -> W.VBox:
        def of(*kinds: str) -> list[W.Widget]:
            return [self.controls[name] for name, row in self.rows.items() if row.kind in kinds]

        def buttons(*names: str) -> list[W.Widget]:
            return [self.buttons[name] for name in names]

        axes = [part for axis in self.axes for part in (axis.menu, axis.text)]
        draw = buttons("generate", "vary", "compare", "cancel")
        left = [title("Words of the prompt"), fields(*of("words"))] if of("words") else []
        left += [title("Settings"), fields(*of("slider", "menu"))]
        left += [fields(*of("number"), *buttons("dice"), *of("toggle"))]
        left += [
            title("Grid: an image for each value"),
            of_class("tv-axes", fields(*axes, *buttons("grid"))),
        ]
        right = [self.stage, self.caption, row_of(*buttons("use", "favourite", "delete"))]
        columns = [of_class("tv-left", W.VBox(left)), of_class("tv-right", W.VBox(right))]
        keep = row_of(*buttons("zip", "save", "undo", "newer", "older"), self.place, self.link)
        prompts = of_class("tv-prompts", fields(*of("text")))
        above = [W.HTML(CSS), prompts, self.remarks, row_of(*draw, self.progress), self.status]
        below = [title("Gallery"), keep, self.gallery]
        columns = of_class("tv-columns", W.Box(columns))
        return of_class("tv-studio", W.VBox([*above, columns, *below]))

    def _wire(self) -> None:
        session, buttons = self.session, self.buttons
        for name, widget in self.controls.items():
            widget.observe(lambda change, name=name: self._typed(name, change["new"]), "value")
            if self.rows[name].kind == "text":
                with warnings.catch_warnings():  # ipywidgets 8 would rather have no Enter
                    warnings.simplefilter("ignore")
                    widget.on_submit(lambda _: self.start())
        for name in ("generate", "vary", "compare"):
            buttons[name].on_click(lambda _, name=name: self.start(name))
        buttons["grid"].on_click(lambda _: self.start("grid"))
        for name in ("cancel", "save", "undo", "dice"):
            buttons[name].on_click(lambda _, name=name: getattr(session, name)())
        for name in ("use", "favourite", "delete"):
            buttons[name].on_click(lambda _, name=name: self._with_chosen(getattr(session, name)))
        buttons["zip"].on_click(lambda _: self.zip())
        buttons["newer"].on_click(lambda _: self._turn(-PAGE))
        buttons["older"].on_click(lambda _: self._turn(PAGE))

    def _typed(self, name: str, value) -> None:
        """Pass a value that the user gave on to the session."""
        with self._lock:
            if not self._showing:
                self.session.set(name, value)

    def start(self, kind: str = "generate") -> None:
        """Draw a job, as `Session.start`; the grid's axes are those of the form."""
        axes = [axis.given for axis in self.axes if axis.given[0]]
        if self.session.threaded:
            self.session.start(kind, axes)
            return
        with clicks_let_through() as self.session.poll:
            self.session.start(kind, axes)

    def draw(self) -> Image.Image | None:
        """Draw what the controls say, without a click, and return it; None where that fails."""
        self.start()
        self.session.wait()
        return None if self.session.wrong else self.session.stage_image()

    def save(self) -> Path | None:
        """Save what is not saved yet, as `Session.save`."""
        return self.session.save()

    def zip(self) -> None:
        """Pack the designs, and offer the zip: as a download on Colab, as a link elsewhere."""
        path = self.session.zip()
        if path is None:
            return
        colab.download(path)
        content = path.read_bytes() if path.stat().st_size <= MOST_IN_PAGE else b""
        data = f"data:application/zip;base64,{base64.b64encode(content).decode()}"
        look = "text-decoration:underline;color:#0b57d0"  # JupyterLab's own rules win over a class
        link = f"<a style='{look}' download='{path.name}' href='{data}'>Save {path.name}</a>"
        self.link.value = link if content else ""

    def _with_chosen(self, work: Callable[[Entry], None]) -> None:
        if entry := self.session.stage.single:
            work(entry)

    def _turn(self, by: int) -> None:
        self.first = max(0, self.first + by)
        self._show("gallery")

    def _show(self, *names: str) -> None:
        """Show what has changed."""
        for name in names:
            getattr(self, f"_show_{name}")()

    def _show_controls(self) -> None:
        with self._lock:
            self._showing = True
            try:
                for name, widget in self.controls.items():
                    self._show_control(name, widget)
            finally:
                self._showing = False
        self._able("lora_scale", self.session.sampler.adapter is not None)
        text = html.escape(" ".join(self.session.remarks()), quote=True)
        mark = "<b>Note:</b> " if text else ""
        give(self.remarks, "value", clipped(f"{mark}{text}", text, 2))

    def _show_control(self, name: str, widget: W.Widget) -> None:
        values = self.session.panel.choices(name)
        if isinstance(widget, W.Dropdown):
            give(widget, "options", options_of(values))
        elif hasattr(widget, "max"):
            give(widget, "max", values.high)
            give(widget, "min", values.low)
        give(widget, "value", self.session.panel.value(name))

    def _able(self, name: str, able: bool) -> None:
        if name in self.controls:
            self.controls[name].disabled = not able

    def _show_status(self) -> None:
        waits = self.session.busy and not self.session.threaded
        text = html.escape(f"{self.session.status}{STOP if waits else ''}", quote=True)
        look, sign = ("tv-wrong", "⚠ ") if self.session.wrong else ("", "")
        shown = f"<span role='status' aria-live='polite' class='{look}'>{sign}{text}</span>"
        give(self.status, "value", clipped(shown, text, 2))

    def _show_progress(self) -> None:
        self.progress.value, self.progress.max = self.session.progress
        self.progress.value = self.session.progress[0]

    def _show_stage(self) -> None:
        image, stage = self.session.stage_image(), self.session.stage
        text = html.escape(stage.caption, quote=True)
        inside = (
            img(image, text)
            if image
            else "Drawing…"
            if stage.entries
            else "Your design appears here."
        )
        self.stage.value = f"<div class='tv-stage'>{inside}</div>"
        give(self.caption, "value", clipped(text, text, 3))
        self._show_chosen()

    def _show_chosen(self) -> None:
        entry, busy = self.session.stage.single, self.session.busy
        for name in ("use", "favourite", "delete"):
            self.buttons[name].disabled = entry is None or busy
        self.buttons["favourite"].description = self.session.stage.mark

    def _show_busy(self) -> None:
        busy = self.session.busy
        for name in ("generate", "vary", "compare", "grid"):
            self.buttons[name].disabled = busy
        self.buttons["cancel"].disabled = not busy
        self.progress.layout.visibility = "visible" if busy else "hidden"
        for name in CHOOSES:
            self._able(name, not busy)
        self._show_chosen()

    def _show_gallery(self) -> None:
        entries, session = self.session.entries, self.session
        self.first = min(self.first, max(0, (len(entries) - 1) // PAGE * PAGE))
        page = entries[self.first : self.first + PAGE]
        old, self._tiles = self._tiles, {}
        for entry in page:
            _, tile = old.get(id(entry)) or (
                entry,
                Tile(entry, session.folder.seen(entry), session.open),
            )
            tile.name(entry)
            self._tiles[id(entry)] = entry, tile
        self.gallery.children = [tile.box for _, tile in self._tiles.values()]
        self.buttons["newer"].disabled = not self.first
        self.buttons["older"].disabled = self.first + PAGE >= len(entries)
        self.buttons["zip"].disabled = not entries
        self.buttons["save"].disabled = all(entry.file for entry in entries)
        self.buttons["undo"].disabled = session.deleted is None
        last = self.first + len(page)
        self.link.value = ""  # a zip of what was there before
        empty = f"What you draw is kept in {session.folder.path}, and shown here."
        found = f"{self.first + 1} to {last} of {len(entries)}"
        self.place.value = found if entries else html.escape(empty)
        self._show_chosen()
