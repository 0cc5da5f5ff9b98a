"""How is the prompt studio shown as a web page on this machine?  With Gradio, an optional extra."""

import html
import itertools
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tvhelpers.errors import InputError
from tvhelpers.show.studio_controls import ANY, Control, Values, axis_example
from tvhelpers.show.studio_folder import Entry
from tvhelpers.show.studio_session import Session
from tvhelpers.words import counted

GALLERY = "Gallery: click an image to open it"
MOST_SHOWN = 60  # thumbnails on the page
PARTS = ("controls", "status", "progress", "stage", "gallery", "busy")  # as Session tells them
HOST, HOSTS = "127.0.0.1", ["127.0.0.1", "localhost"]
CSS = """
footer {display: none !important}
.gradio-container {max-width: 1500px !important; padding: 8px 16px !important}
textarea::placeholder {white-space: nowrap}
.line {min-height: 4.4em; line-height: 1.4; overflow-wrap: anywhere}
.line p, .chosen p {margin: 0; display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 3; overflow: hidden}
.line progress {appearance: none; width: 100%; height: 8px; border: 0; visibility: hidden}
.line progress.busy {visibility: visible}
.line progress::-webkit-progress-bar {background: #d4d4d8}
.line progress::-webkit-progress-value {background: #2563eb}
.line progress::-moz-progress-bar {background: #2563eb}
.remarks p {margin: 0 4px}
.wrong {color: #b00020; font-weight: 600}
.dark .wrong {color: #ff8a80}
.chosen {min-height: 5.4em; overflow-wrap: anywhere}
.caption-label {max-width: 100% !important; max-height: 2.6em; font-size: 11px; line-height: 1.2;
  overflow: hidden}
@media (max-width: 700px) {
  .gradio-container {padding: 4px 6px !important}
  .second {flex-direction: column-reverse !important}
  .grid-container {grid-template-columns: repeat(3, minmax(0, 1fr)) !important}
}
"""
PLAIN = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
GREY = {"block_info_text_color": "#52525b", "block_label_text_color": "#3f3f46",
        "input_placeholder_color": "#6b7280"}  # fmt: skip
CLICK = "() => document.querySelector('.zip a')?.click()"


def _fixed(values: Values) -> dict:
    """Return the range or the choices of a component."""
    if values.options:
        return {"choices": [(str(one) or "any", one) for one in values.options]}
    if values.high is None:
        return {}
    return {"minimum": values.low, "maximum": values.high}


def _component(control: Control, values: Values, value):
    """Return Gradio's component of a control."""
    more = {"label": control.label, "interactive": True, "value": value, "elem_id": control.name}
    if control.kind == "text":
        return gr.Textbox(lines=1, max_lines=5, placeholder=control.hint, **more)
    if control.kind in ("menu", "words"):
        return gr.Dropdown(**_fixed(values), min_width=130, **more)
    if control.kind == "toggle":
        return gr.Checkbox(info=control.hint, min_width=200, **more)
    if control.kind == "number":
        return gr.Number(precision=0, min_width=130, **more)
    return gr.Slider(
        **_fixed(values), step=values.step, info=control.hint, min_width=240, buttons=[], **more
    )


class StudioPage:
    """The page of a session: `blocks` is its Gradio app."""

    def __init__(self, session: Session):
        self.session, self.panel = session, session.panel
        self.chosen: Entry | None = None  # what the buttons under the image are for
        self.shown: list[Entry] = []  # thumbnails, as last sent
        self._numbers = itertools.count(1)
        self._changed = dict.fromkeys(PARTS, 0)
        self._news = threading.Condition()
        session.tell = self._note
        with gr.Blocks(title="Prompt studio", analytics_enabled=False) as self.blocks:
            self.controls = {}
            for left, right, name in (
                (self._build_prompts, self._build_image, "first"),
                (self._build_settings, self._build_gallery, "second"),
            ):
                with gr.Row(elem_classes=name):
                    with gr.Column(scale=4, min_width=320):
                        left()
                    with gr.Column(scale=5, min_width=320):
                        right()
            begin = [self.generate, self.vary, self.compare, self.grid]
            self.outputs = [*self.controls.values(), self.remarks, self.status, self.image,
                            self.caption, self.link, self.gallery, *begin, self.cancel,
                            *self.actions.values(), self.zip]  # fmt: skip
            self._wire()

    # ------------------------------------------------------------------------------------- parts

    def _build_kinds(self, *kinds: str) -> None:
        """Make the components of some kinds of controls; a menu without words is left out."""
        for name, row in self.panel.controls.items():
            values = self.panel.choices(name)
            if row.kind in kinds and values.options != (ANY,):
                self.controls[name] = _component(row, values, self.panel.value(name))

    def _build_prompts(self) -> None:
        self._build_kinds("text")
        self.remarks = gr.HTML(elem_classes="remarks")
        with gr.Row():
            self._build_kinds("words")
        with gr.Row():
            self.generate = gr.Button("Generate", variant="primary", min_width=110)
            self.cancel = gr.Button("Cancel", min_width=110, interactive=False)
            self.vary = gr.Button("Vary", min_width=110)
            self.compare = gr.Button("Compare", min_width=110)
        self.status = gr.HTML(elem_classes="line")

    def _build_image(self) -> None:
        self.image = gr.Image(
            label="Image", interactive=False, height=440, format="png", buttons=["fullscreen"]
        )
        self.caption = gr.HTML(elem_classes="chosen")
        with gr.Row():
            names = ("Use again", "Favourite", "Delete", "Undo", "Save")
            self.actions = {name: gr.Button(name, min_width=90, size="sm") for name in names}
            self.zip = gr.Button("Download zip", min_width=110, size="sm")
        self.link = gr.HTML(elem_classes="zip")

    def _build_settings(self) -> None:
        with gr.Row():
            self._build_kinds("slider", "menu")
        with gr.Row():
            self._build_kinds("number", "toggle")
            self.dice = gr.Button("Dice: a new seed", min_width=130, size="sm")
        self._build_grid()

    def _build_grid(self) -> None:
        rows = [self.panel.controls[name] for name in self.controls]
        names = [(row.label, row.name) for row in rows if row.axis]
        self.axes = []
        with gr.Accordion("Grid: one image for each value", open=False):
            for label, first in (("Grid over", "guidance"), ("and over", ANY)):
                options = names if first else [("nothing", ANY), *names]
                with gr.Row():
                    menu = gr.Dropdown(options, value=first, label=label, min_width=130)
                    text = gr.Textbox(self._example(first), label=f"Values, {label.lower()}")
                    self.axes.append((menu, text))
            self.grid = gr.Button("Draw the grid", min_width=110)

    def _build_gallery(self) -> None:
        self.gallery = gr.Gallery(
            label=GALLERY, columns=4, height=560, buttons=[], interactive=False,
            allow_preview=False, object_fit="contain", fit_columns=False,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------ events

    def _wire(self) -> None:
        now = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
        later = {**now, "queue": True, "concurrency_limit": None}
        typed = [self.controls[name] for name in self._typed()]
        for name, part in self.controls.items():
            change = part.release if isinstance(part, gr.Slider) else part.input
            # What is being typed is not sent back: it would undo the next letters.
            others = self.outputs
            if isinstance(part, gr.Textbox | gr.Number):
                others = [one for one in self.outputs if one is not part]
            keys = {one._id for one in others}
            change(self._setter(name, keys), [part], others, **now, trigger_mode="always_last")
        axes = [part for pair in self.axes for part in pair]
        for menu, text in self.axes:
            menu.input(self._example, [menu], [text], **now)
        jobs = [(self.generate.click, "generate"), (self.vary.click, "vary")]
        jobs += [(self.compare.click, "compare"), (self.grid.click, "grid")]
        enter = [part for part in typed if isinstance(part, gr.Textbox)]
        jobs += [(part.submit, "generate") for part in enter]
        for trigger, kind in jobs:
            begun = trigger(self._starter(kind), [*typed, *axes], self.outputs, **now)
            begun.then(self.follow, None, self.outputs, **later)
        simple = {self.cancel: self.session.cancel, self.dice: self.session.dice}
        simple |= {self.actions["Undo"]: self.session.undo, self.actions["Save"]: self.session.save}
        for name, do in (("Use again", "use"), ("Favourite", "favourite"), ("Delete", "delete")):
            simple[self.actions[name]] = self._for_chosen(getattr(self.session, do))
        for button, work in simple.items():
            button.click(self._handler(work), None, self.outputs, **now)
        self.gallery.select(self._open, None, self.outputs, **now)
        self.zip.click(self._zip, None, self.outputs, **now).then(None, None, None, js=CLICK)
        self.blocks.load(self.follow, None, self.outputs, **later)

    def _typed(self) -> list[str]:
        """Return the names of the controls whose values a click sends: all but what the prompt
        says."""
        return [name for name, row in self.panel.controls.items() if row.kind != "words"]

    def _example(self, name: str) -> str:
        return axis_example(self.panel.choices(name)) if name else ""

    def _setter(self, name: str, keys: set[int]) -> Callable:
        def change(value) -> dict:
            news = self._news_of(lambda: self._set(name, value))
            return {part: update for part, update in news.items() if part._id in keys}

        return change

    def _set(self, name: str, value) -> None:
        """Give a control the value that the browser sends; an emptied number changes nothing."""
        if value is not None:
            self.session.set(name, type(self.panel.value(name))(value))

    def _starter(self, kind: str) -> Callable:
        def start(*values):
            def work() -> None:
                names = self._typed()
                for name, value in zip(names, values):
                    self._set(name, value)
                pairs = zip(values[len(names) :: 2], values[len(names) + 1 :: 2])
                self.chosen = None
                self.session.start(kind, [pair for pair in pairs if pair[0]])

            return self._news_of(work)

        return start

    def _handler(self, work: Callable) -> Callable:
        return lambda: self._news_of(work)

    def _for_chosen(self, work: Callable[[Entry], None]) -> Callable:
        def act() -> None:
            if entry := self._current():
                work(entry)
                self._note("stage")

        return act

    def _open(self, event: gr.SelectData):
        def work() -> None:
            if event.index < len(self.shown):
                self.chosen = self.shown[event.index]
                self.session.open(self.chosen)
                self._note("stage")

        return self._news_of(work)

    def _zip(self):
        found = {}
        news = self._news_of(lambda: found.update(path=self.session.zip()))
        if not (path := found["path"]):
            return news
        address = quote(str(path.resolve()))
        text = f"Your zip is ready: {html.escape(path.name)}"
        link = f"<a href='gradio_api/file={address}' download='{path.name}'>{text}</a>"
        return {**news, self.link: link}

    # ------------------------------------------------------------------------------------- views

    def _note(self, part: str) -> None:
        with self._news:
            self._changed[part] = next(self._numbers)
            self._news.notify_all()

    def _news_of(self, work: Callable) -> dict:
        """Do `work`, and return {component: update} of all that it changed."""
        before = max(self._changed.values())
        work()
        return self._views(before)

    def follow(self) -> Iterator[dict]:
        """Yield {component: update}: of all, then of what changes until nothing is drawn."""
        last = -1
        while True:
            busy, now = self.session.busy, max(self._changed.values())
            yield self._views(last)
            if not busy:
                return
            last = now
            with self._news:
                self._news.wait_for(lambda n=now: max(self._changed.values()) > n, 5)

    def _views(self, last: int) -> dict:
        """Return {component: update} of the parts that changed after number `last`."""
        found = {self.status: self._status()}
        for part in ("controls", "stage", "gallery", "busy"):
            if self._changed[part] > last:
                found |= getattr(self, f"_{part}")()
        return found

    def _controls(self) -> dict:
        found = {}
        for name, part in self.controls.items():
            fixed = _fixed(self.panel.choices(name))
            found[part] = gr.update(value=self.panel.value(name), **fixed)
            if name == "lora_scale":
                found[part]["interactive"] = self.session.sampler.adapter is not None
        lines = "".join(f"<p>{html.escape(text)}</p>" for text in self.session.remarks())
        return found | {self.remarks: lines}

    def _status(self) -> str:
        done, total = self.session.progress if self.session.busy else (0, 1)
        text = html.escape(self.session.status)
        text = f"<p class='wrong'>⚠ {text}</p>" if self.session.wrong else f"<p>{text}</p>"
        busy = "busy" if self.session.busy else "idle"
        bar = f"<progress class='{busy}' aria-label='Progress' value='{done}' max='{total}'>"
        return f"<div role='status'>{text}</div>{bar}</progress>"

    def _stage(self) -> dict:
        entry = self._current()
        alt = entry.record["prompt"] if entry else "no image yet"
        image = gr.update(value=self.session.stage_image(), alt_text=alt)
        return {self.image: image, self.caption: self._caption(entry)}

    def _current(self) -> Entry | None:
        """Return the entry that the buttons are for: the one opened, else the newest."""
        if self.chosen not in self.session.entries:
            drawn = self.session.stage.drawn or self.session.entries
            self.chosen = drawn[0] if drawn else None
        return self.chosen

    def _caption(self, entry: Entry | None) -> str:
        if not entry:
            return ""
        record, star = entry.record, "★ " if entry.favourite else ""
        text = ", ".join(filter(None, [star + record["prompt"], entry.label]))
        more = f"seed {record['seed']}, {record['steps']} steps, guidance {record['guidance']:g}"
        return f"<p>{html.escape(text)}</p><small>{html.escape(more)}</small>"

    def _gallery(self) -> dict:
        self.shown = self.session.entries[:MOST_SHOWN]
        tiles = []
        for entry in self.shown:
            file = self.session.folder.path / entry.file
            picture = str(file) if entry.file and file.is_file() else self.session.image(entry)
            star = "★ " if entry.favourite else ""
            tiles.append((picture, f"{star}{entry.record['prompt']}, seed {entry.record['seed']}"))
        more = len(self.session.entries) - len(self.shown)
        label = GALLERY
        label += f"; {counted(more, 'older one')} in the folder" if more else ""
        pairs = [tile for tile in tiles if tile[0] is not None]
        return {self.gallery: gr.update(value=pairs, label=label), **self._buttons()}

    def _busy(self) -> dict:
        return self._buttons()

    def _buttons(self) -> dict:
        busy, some = self.session.busy, bool(self.session.entries)
        begin = (self.generate, self.vary, self.compare, self.grid)
        found = {part: gr.update(interactive=not busy) for part in begin}
        found |= {part: gr.update(interactive=some) for part in (*self.actions.values(), self.zip)}
        found[self.actions["Undo"]] = gr.update(interactive=self.session.deleted is not None)
        return {**found, self.cancel: gr.update(interactive=busy)}


def launch(session: Session, port: int = 0, share: bool = False) -> tuple[StudioPage, str]:
    """Start the page's server; return the page and its address, https where it is shared.

    The server is reached from this machine alone, and answers to no other name: a web page that
    is open in the same browser must not draw with it.  Raises InputError for a port in use.
    """
    page = StudioPage(session)
    guard = [] if share else [Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)]
    try:
        _, local, public = page.blocks.queue(api_open=False).launch(
            server_name=HOST, server_port=port or None, share=share, quiet=True, ssr_mode=False,
            footer_links=[], run_history=False, show_error=False, max_file_size=1,
            theme=gr.themes.Base(**PLAIN).set(**GREY), css=CSS,
            allowed_paths=[str(session.folder.path.resolve())], prevent_thread_lock=True,
            app_kwargs={"middleware": guard, "docs_url": None, "redoc_url": None},
        )  # fmt: skip
    except OSError:
        raise InputError("port-taken", port=port) from None
    return page, public or local
