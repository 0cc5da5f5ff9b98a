"""How are the parts of the prompt studio's widget made?  (ipywidgets 7.7 and 8)"""

import base64
import contextlib
import html
from collections.abc import Callable, Iterator

import ipywidgets as W
from PIL import Image

from tvhelpers.image import encoded
from tvhelpers.show.studio_controls import AXES, Control, Values, axis_example
from tvhelpers.show.studio_folder import Entry
from tvhelpers.show.studio_panel import Panel

THUMB = 128  # pixels a side


class Tile:
    """One thumbnail of the gallery, with a button that opens it."""

    def __init__(self, entry: Entry, image: Image.Image | None, opened: Callable[[Entry], None]):
        text = html.escape(entry.record["prompt"], quote=True)
        inside = img(image, text, THUMB) if image else "<div class='tv-gone'>File is gone</div>"
        below = html.escape(entry.label, quote=True) or text
        self.button = button("Open", f"Show large: {entry.record['prompt'][:200]}")
        self.button.on_click(lambda _: opened(entry))
        self.box = W.VBox([W.HTML(f"{inside}{clipped(below, text, 2)}"), self.button])
        self.box.add_class("tv-tile")

    def name(self, entry: Entry) -> None:
        """Name the button by the number of the entry's file."""
        number = entry.file.partition("_")[0].lstrip("0") or "0"
        mark = "★ " if entry.favourite else ""
        give(self.button, "description", f"{mark}Open {number if entry.file else 'unsaved'}")


class Axis:
    """The form of a grid's axis: a control, and its values as a text."""

    def __init__(self, panel: Panel, number: int):
        names = [(row.label, name) for name, row in panel.controls.items() if row.axis]
        over, values = AXES[number - 1]
        self.menu = W.Dropdown(options=[("nothing", ""), *names], description=over)
        self.text = W.Text(description=values, placeholder="1, 2.5, 5")
        self.menu.observe(lambda change: self._suggest(panel, change["new"]), "value")

    def _suggest(self, panel: Panel, name: str) -> None:
        self.text.value = axis_example(panel.choices(name)) if name else ""

    @property
    def given(self) -> tuple[str, str]:
        """(control, its values), the control "" for none."""
        return self.menu.value, self.text.value


@contextlib.contextmanager
def clicks_let_through() -> Iterator[Callable[[], None]]:
    """Yield a function that lets the kernel take clicks, such as Cancel, while a callback draws.

    It does nothing where jupyter-ui-poll is not installed, or does not work with this kernel: there
    the kernel's interrupt cancels.
    """
    poll = None
    with contextlib.suppress(Exception):
        from jupyter_ui_poll import ui_events

        events = ui_events()
        release = events._post_run_cell  # which it calls at the end of a cell, not of a callback
        poll = events.__enter__()

    def let_through() -> None:
        """Let waiting clicks through, a few at once."""
        if poll:
            with contextlib.suppress(Exception):
                poll(4)

    try:
        yield let_through
    finally:
        if poll:
            with contextlib.suppress(Exception):
                events.__exit__(None, None, None)
                release()


def kind_of(row: Control, values: Values) -> type:
    """Return the class of a control's widget."""
    if row.kind == "slider":  # a number field is labelled, and takes less room on a phone
        return W.BoundedIntText if isinstance(values.default, int) else W.BoundedFloatText
    kinds = {"text": W.Text, "number": W.IntText, "toggle": W.Checkbox}
    return kinds.get(row.kind, W.Dropdown)


def named(widget: W.Widget, row: Control) -> W.Widget:
    """Give a widget its label and its hint."""
    widget.description = row.label
    name = "tooltip" if widget.has_trait("tooltip") else "description_tooltip"  # of 7.7
    setattr(widget, name, row.hint)
    if isinstance(widget, W.Checkbox):
        widget.indent = False
    return widget


def options_of(values: Values) -> tuple:
    """Return the (text, value) of a menu; no word is "any"."""
    return tuple((str(one) or "any", one) for one in values.options)


def give(widget: W.Widget, name: str, value) -> None:
    """Set a trait if it differs: each change is a message to the browser."""
    if getattr(widget, name) != value:
        setattr(widget, name, value)


def button(text: str, hint: str) -> W.Button:
    """Return a button with a hint."""
    primary = "primary" if text == "Generate" else ""
    layout = W.Layout(width="auto", flex="0 0 auto", min_width="0")
    return W.Button(description=text, tooltip=hint, button_style=primary, layout=layout)


def of_class(name: str, box: W.Box) -> W.Box:
    """Return a box after it has got a class of prompt_studio.html."""
    box.add_class(name)
    return box


def row_of(*children: W.Widget) -> W.Box:
    """Return widgets side by side; where the page is narrow, they continue below."""
    return of_class("tv-row", W.Box(children))


def fields(*children: W.Widget) -> W.Box:
    """Return widgets in columns of one width, each below its label."""
    return of_class("tv-fields", W.Box(children))


def title(text: str) -> W.HTML:
    """Return the heading of a part of the studio."""
    return W.HTML(f"<div class='tv-title' role='heading' aria-level='3'>{text}</div>")


def clipped(inside: str, title: str, lines: int) -> str:
    """Return HTML of so many lines, always as high; the whole text is its title."""
    return f"<div class='tv-clip tv-lines{lines}' title='{title}'>{inside}</div>"


def img(image: Image.Image, alt: str, least: int = 0) -> str:
    """Return HTML of an image, reduced to twice `least` pixels; `alt` is escaped."""
    if least and max(image.size) > 2 * least:
        image = image.copy()
        image.thumbnail((2 * least, 2 * least))
    data = base64.b64encode(encoded(image, compress_level=1)).decode()
    return f"<img alt='{alt}' src='data:image/png;base64,{data}'>"
