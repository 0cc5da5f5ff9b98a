"""How is the prompt studio shown as a web page on this machine?  With Gradio, an optional extra."""

import html
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tvhelpers.errors import InputError
from tvhelpers.show.studio_components import CSS, GALLERY, Components, fixed
from tvhelpers.show.studio_folder import Entry
from tvhelpers.show.studio_session import Session
from tvhelpers.words import counted

MOST_SHOWN = 60  # thumbnails on the page
PARTS = ("controls", "status", "progress", "stage", "gallery", "busy")  # as Session tells them
KEPT = 3600, 86400  # seconds: how often Gradio's copies of images are removed, and how old ones
HOST, HOSTS = "127.0.0.1", ["127.0.0.1", "localhost"]
PLAIN = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
GREY = {"block_info_text_color": "#52525b", "block_label_text_color": "#3f3f46",
        "input_placeholder_color": "#6b7280",
        "input_placeholder_color_dark": "#a1a1aa"}  # fmt: skip
# of events: one that is answered at once, and one that continues, for any number of tabs
NOW = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
LATER = {**NOW, "queue": True, "concurrency_limit": None}
CLICK = "() => document.querySelector('.zip a')?.click()"


class StudioPage:
    """The page of a session: `blocks` is its Gradio app."""

    def __init__(self, session: Session):
        self.session, self.panel = session, session.panel
        self.shown: list[Entry] = []  # thumbnails, as last sent
        self._sent: dict[str, tuple] = {}  # {control: the value and range that the browser has}
        self._numbers = itertools.count(1)
        self._changed = dict.fromkeys(PARTS, 0)
        self._news = threading.Condition()
        session.tell = self._note
        how = {"title": "Prompt studio", "analytics_enabled": False, "delete_cache": KEPT}
        with gr.Blocks(**how) as self.blocks:
            self.parts = Components(self.panel)
            self._wire()

    # ------------------------------------------------------------------------------------ events

    def _wire(self) -> None:
        self._wire_controls()
        self._wire_jobs()
        self._wire_buttons()
        self.blocks.load(self._load, None, self.parts.outputs, **LATER)

    def _wire_controls(self) -> None:
        for name, part in self.parts.controls.items():
            change = part.release if isinstance(part, gr.Slider) else part.input
            if isinstance(part, gr.Textbox):
                change = part.change  # its `input` is not sent after the server set the text
            change(
                self._setter(name), [part], self.parts.outputs, **NOW, trigger_mode="always_last"
            )
        axes = [name for name, row in self.panel.controls.items() if row.axis]
        examples = json.dumps({name: self.parts.example(name) for name in axes})
        for menu, text in self.parts.axes:  # in the browser: an answer could undo what is typed
            menu.input(None, [menu], [text], js=f"name => ({examples})[name] || ''", **NOW)

    def _wire_jobs(self) -> None:
        """Let buttons and Enter begin a job; the page then follows it, as one that is reloaded."""
        parts = self.parts
        typed = [parts.controls[name] for name in self._typed()]
        jobs = [(parts.generate.click, "generate"), (parts.vary.click, "vary")]
        jobs += [(parts.compare.click, "compare"), (parts.grid.click, "grid")]
        jobs += [(part.submit, "generate") for part in typed if isinstance(part, gr.Textbox)]
        sent = [*typed, *(part for pair in parts.axes for part in pair)]
        for trigger, kind in jobs:
            begun = trigger(self._starter(kind), sent, parts.outputs, **NOW)
            begun.then(self.follow, None, parts.outputs, **LATER)

    def _wire_buttons(self) -> None:
        parts, session = self.parts, self.session
        works = {parts.cancel: session.cancel, parts.dice: session.dice}
        works |= {parts.actions["Undo"]: session.undo, parts.actions["Save"]: session.save}
        for name, work in (
            ("Use again", session.use),
            ("Favourite", session.favourite),
            ("Delete", session.delete),
        ):
            works[parts.actions[name]] = self._for_chosen(work)
        for button, work in works.items():
            button.click(self._handler(work), None, parts.outputs, **NOW)
        parts.gallery.select(self._open, None, parts.outputs, **NOW)
        zipped = parts.zip.click(self._zip, None, parts.outputs, **NOW)
        zipped.then(None, None, None, js=CLICK)

    def _typed(self) -> list[str]:
        """Return the names of the controls whose values a click sends: all but what the prompt
        says."""
        return [name for name, row in self.panel.controls.items() if row.kind != "words"]

    def _setter(self, name: str) -> Callable:
        return lambda value: self._news_of(lambda: self._set(name, value))

    def _set(self, name: str, value) -> None:
        """Give a control the value that the browser has, cut to a whole number where the control
        has those alone; an emptied one changes nothing."""
        if value is None:
            self._emptied(name)
        else:
            own = type(self.panel.value(name))(value)
            self._sent[name] = value, self._fixed(name)
            self.session.set(name, own)
            if own != value:
                self._note("controls")

    def _emptied(self, name: str) -> None:
        """Let an emptied slider show its value again, and say so; a number may still be typed."""
        control = self.panel.controls[name]
        if control.kind == "slider":
            self._sent.pop(name, None)
            self.session.say(f"{control.label} was empty: {self.panel.value(name)} is kept.")
            self._note("controls")

    def _fixed(self, name: str) -> dict:
        return fixed(self.panel.controls[name], self.panel.choices(name))

    def _starter(self, kind: str) -> Callable:
        return lambda *values: self._news_of(lambda: self._start(kind, values))

    def _start(self, kind: str, values: tuple) -> None:
        """Draw with what the browser has: values of controls, then (control, values) of axes."""
        names = self._typed()
        for name, value in zip(names, values):
            self._set(name, value)
        pairs = zip(values[len(names) :: 2], values[len(names) + 1 :: 2])
        self.session.start(kind, [pair for pair in pairs if pair[0]])

    def _handler(self, work: Callable) -> Callable:
        return lambda: self._news_of(work)

    def _for_chosen(self, work: Callable[[Entry], None]) -> Callable:
        def act() -> None:
            if entry := self.session.stage.single:
                work(entry)

        return act

    def _open(self, event: gr.SelectData):
        def work() -> None:
            if event.index < len(self.shown):
                self.session.open(self.shown[event.index])

        return self._news_of(work)

    def _zip(self):
        found = {}
        news = self._news_of(lambda: found.update(path=self.session.zip()))
        if not (path := found["path"]):
            return news
        address = quote(str(path.resolve()))
        text = f"Your zip is ready: {html.escape(path.name)}"
        link = f"<a href='gradio_api/file={address}' download='{path.name}'>{text}</a>"
        return {**news, self.parts.link: link}

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

    def _load(self) -> Iterator[dict]:
        """Yield as `follow`; a page that is opened again has none of the values."""
        self._sent.clear()
        yield from self.follow()

    def follow(self) -> Iterator[dict]:
        """Yield {component: update}: of all, then of what changes until nothing is drawn."""
        last = -1
        while True:
            busy, now = self.session.busy, max(self._changed.values())
            if not busy:
                self.session.wait(60)  # it is still to say how the job ended
            yield self._views(last)
            if not busy:
                return
            last = now
            with self._news:
                self._news.wait_for(lambda n=now: max(self._changed.values()) > n, 5)

    def _views(self, last: int) -> dict:
        """Return {component: update} of the parts that changed after number `last`."""
        found = {self.parts.status: self._status()}
        shows = {"controls": self._controls, "stage": self._stage, "gallery": self._gallery}
        for part, show in {**shows, "busy": self._buttons}.items():
            if self._changed[part] > last:
                found |= show()
        return found

    def _controls(self) -> dict:
        """Return the updates of the controls that the browser shows otherwise, and no others: those
        would undo what is being typed."""
        found = {}
        for name, part in self.parts.controls.items():
            own = self.panel.value(name), self._fixed(name)
            if own != self._sent.get(name):
                found[part] = gr.update(value=own[0], **own[1])
            self._sent[name] = own
        scale = gr.update(interactive=self.session.sampler.adapter is not None)
        part = self.parts.controls["lora_scale"]
        found[part] = {**scale, **found.get(part, {})}
        text = html.escape(" ".join(self.session.remarks()), quote=True)
        mark = "<b>Note:</b> " if text else ""
        return found | {self.parts.remarks: f"<p title='{text}'>{mark}{text}</p>"}

    def _status(self) -> str:
        done, total = self.session.progress if self.session.busy else (0, 1)
        text = html.escape(self.session.status)
        text = f"<p class='wrong'>⚠ {text}</p>" if self.session.wrong else f"<p>{text}</p>"
        busy = "busy" if self.session.busy else "idle"
        bar = f"<progress class='{busy}' aria-label='Progress' value='{done}' max='{total}'>"
        return f"<div role='status'>{text}</div>{bar}</progress>"

    def _stage(self) -> dict:
        text = self.session.stage.caption
        image = gr.update(value=self.session.stage_image(), alt_text=text or "no image yet")
        caption = f"<p title='{html.escape(text, quote=True)}'>{html.escape(text)}</p>"
        return {self.parts.image: image, self.parts.caption: caption, **self._buttons()}

    def _gallery(self) -> dict:
        entries = self.session.entries[:MOST_SHOWN]
        pairs = [(entry, image) for entry in entries if (image := self._image(entry))]
        self.shown = [entry for entry, _ in pairs]
        tiles = []
        for entry, image in pairs:
            special, record = f"{entry.label} · " * bool(entry.label), entry.record
            text = f"{special}{record['prompt']}, seed {record['seed']}"
            tiles.append((image, f"{'★ ' * entry.favourite}{text}"))
        more = len(self.session.entries) - len(entries)
        label = f"{GALLERY}; {counted(more, 'older one')} in the folder" if more else GALLERY
        return {self.parts.gallery: gr.update(value=tiles, label=label), **self._buttons()}

    def _image(self, entry: Entry):
        """Return the file of an image, which carries its record; the image where it has none."""
        file = self.session.folder.path / entry.file
        return str(file) if entry.file and file.is_file() else self.session.folder.seen(entry)

    def _buttons(self) -> dict:
        parts, busy, some = self.parts, self.session.busy, bool(self.session.entries)
        chosen = self.session.stage.single is not None and not busy
        usable = dict.fromkeys(parts.begin, not busy) | {parts.cancel: busy, parts.zip: some}
        usable |= dict.fromkeys(parts.actions.values(), chosen)
        usable[parts.actions["Undo"]] = self.session.deleted is not None
        usable[parts.actions["Save"]] = not all(entry.file for entry in self.session.entries)
        found = {part: gr.update(interactive=able) for part, able in usable.items()}
        found[parts.actions["Favourite"]]["value"] = self.session.stage.mark
        return found


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
