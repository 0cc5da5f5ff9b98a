"""What happens in a sitting at the prompt studio?  Its state, and what a click changes.

No widgets: a view builds its own from the controls, calls the methods here, and shows what changed
when `tell` is called with its name: "controls", "status", "progress", "stage", "gallery" or "busy".
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image

from tvhelpers.errors import InputError, one_line, problem_of
from tvhelpers.files import file_sha256
from tvhelpers.lora.find import find_adapter, finished_adapters
from tvhelpers.runtime import root_dir, versions
from tvhelpers.show.studio_controls import CONTROLS, Control, Offer
from tvhelpers.show.studio_folder import Entry, StudioFolder
from tvhelpers.show.studio_panel import Axes, Panel, Shot
from tvhelpers.show.studio_stage import Stage
from tvhelpers.show.studio_words import menu_words
from tvhelpers.words import counted

IN_MEMORY = 48  # entries whose images stay in memory
LOOK_STEPS, LOOK_SECONDS = 4, 0.5  # between two previews of a drawing
CHOOSES = ("adapter", "fast")  # controls whose values load weights
DIGESTS = ("adapter_sha256", "fast_sha256")  # of the records of images
RETRY = "It is kept here; press Save to try again."
READY = "Describe a garment, then press Enter or Generate."


class Cancelled(Exception):
    """The user cancelled the drawing."""


class Session:
    """The state of a sitting; all of its public methods may be called by a view."""

    def __init__(
        self,
        sampler,
        folder: Path,
        *,
        labels: Iterable[dict[str, str]] = (),
        adapters: dict[str, str] | None = None,
        controls: Sequence[Control] = (),
        threaded: bool = True,
    ):
        """Open the folder, and what was drawn in it before.

        `labels`: attributes of items, whose words the menus offer.  `adapters`: {name: path} of the
        menu, beside none and the shipped one; by default all finished trainings.  `threaded`: draw
        in a thread; else `start` returns when all is drawn.
        """
        self.sampler, self.folder, self.threaded = sampler, StudioFolder(folder), threaded
        if adapters is None:
            adapters = finished_adapters(root_dir() / "runs")
        known = {"none": "none", **({"shipped": "shipped"} if sampler.base.adapter else {})}
        known |= {name: str(path) for name, path in adapters.items()}
        offer = Offer(sampler, menu_words(sampler, labels), known)
        self.panel = Panel(controls or CONTROLS, offer)
        self.entries = self.folder.restore()  # newest first
        self.stage = Stage(self.entries[:1], [()])
        self.status, self.wrong, self.busy = READY, False, False
        self.progress = 0, 1  # inference steps done, and of the whole job
        self.tell: Callable[[str], None] = lambda what: None
        self.poll: Callable[[], None] = lambda: None  # lets clicks through while a callback draws
        self.deleted: tuple[int, Entry] | None = None  # what `undo` brings back
        self._drawn: int | None = None  # the seed of the last job that drew an image
        self._cancel, self._lock = threading.Event(), threading.RLock()
        self._thread: threading.Thread | None = None
        if self.entries:
            self.status = f"{counted(len(self.entries), 'design')} of before. {READY}"

    def say(self, text: str, wrong: bool = False) -> None:
        """Show a sentence in the status line; `wrong`: as an error."""
        self._note(text, wrong)
        self.tell("status")

    def _note(self, text: str, wrong: bool) -> None:
        self.status, self.wrong = f"{text[:1].upper()}{text[1:]}", wrong

    def set(self, name: str, value) -> None:
        """Give a control a value; an adapter that cannot be used is refused in the status line."""
        if value == self.panel.value(name):
            return
        if name in CHOOSES:
            self._guarded(lambda: self._choose(**{name: value}))
        else:
            with self._lock:
                self.panel.set(name, value)
        self.tell("controls")

    def dice(self) -> None:
        """Give the seed a random value."""
        self.set("seed", random.randrange(2**31))

    def remarks(self) -> list[str]:
        """Return sentences on what the prompts hold that the base does not know."""
        return self.panel.remarks(self.sampler)

    def _choose(self, **chosen) -> None:
        """Load an adapter by its name in the menu, or add or remove the fast one; raises
        InputError, and the old ones stay."""
        self._check_idle()
        values = {name: self.panel.values.get(name) for name in CHOOSES} | chosen
        adapter, fast = values["adapter"], bool(values["fast"])
        new = self.sampler.with_adapter(self.panel.offer.adapters[adapter], fast)
        self.say(f"Loading adapter {adapter}…")
        self.sampler.unload()  # two bases may not fit into memory; if need be it is loaded again
        new.pipe  # noqa: B018 - refuses an adapter of another base
        self.sampler = new
        self.panel.take(new, chosen)
        self.say(f"Adapter: {adapter}{', with the fast one' * fast}.")

    def _check_idle(self) -> None:
        if self.busy:
            raise InputError("still-drawing")

    def _guarded(self, work: Callable):
        """Return what `work` returns; None where it fails, which the status line says."""
        try:
            return work()
        except Exception as error:  # shown to the user, instead of only in a log
            self.say(problem_of(error), True)

    def start(self, kind: str = "generate", axes: Axes = ()) -> bool:
        """Draw: "generate", "vary" (the same prompt, new seeds), "compare" (base and adapter from
        the same seed), or "grid" over one or two `axes`, (control, text of values).

        Return whether the job began: it does not from values out of range, nor while another job
        draws, and the status line says so.
        """
        with self._lock:
            if not (job := self._guarded(lambda: self._job(kind, axes))):
                return False
            self._cancel.clear()
            self.busy = True
        shots, columns = job
        before, labels = self.stage, [shot.label for shot in shots]
        self.stage = Stage([None] * len(shots), labels, columns)
        self.progress = 0, sum(shot.request.steps for shot in shots)
        if self.threaded:
            self._thread = threading.Thread(target=self._run, args=(shots, before), daemon=True)
            self._thread.start()
        else:
            self._run(shots, before)
        return True

    def _job(self, kind: str, axes: Axes) -> tuple[list[Shot], int]:
        self._check_idle()
        return self.panel.shots(kind, axes, self._drawn)

    def _tell(self, *names: str) -> None:
        for name in names:
            self.tell(name)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the running job."""
        if self._thread:
            self._thread.join(timeout)

    def cancel(self) -> None:
        """Stop the job after its current step, or after loading; what is drawn stays."""
        if self.busy:
            self._cancel.set()
            self.say("Cancelling…")

    def _run(self, shots: list[Shot], before: Stage) -> None:
        """Draw the shots of a job, and say how it ended; `before`: the stage to return to where
        nothing is drawn."""
        problem, cancelled = "", False
        try:
            self._tell("busy", "progress", "stage")
            self.say("Drawing…" if self.sampler.loaded else "Loading the model…")
            for number, shot in enumerate(shots):
                which = f" image {number + 1} of {len(shots)}" * (len(shots) > 1)
                self._add(self._draw(shot, f"Drawing{which}…"), number)
        except (Cancelled, KeyboardInterrupt):  # the latter where the kernel was interrupted
            problem, cancelled = "Cancelled.", True
        except Exception as error:  # shown to the user, instead of only in a log
            problem = problem_of(error)
        try:
            self._conclude(len(shots), before, problem, cancelled)
        except KeyboardInterrupt:  # again, or while an image was saved
            self._note("Cancelled. Save writes what is not saved yet.", False)
        finally:
            self.busy = False  # the last: who waits for it finds how the job ended
            self._tell("status", "controls", "stage", "busy")

    def _conclude(self, many: int, before: Stage, problem: str, cancelled: bool) -> None:
        """Note how a job of so many images ended, and what is not saved."""
        self.stage.preview, drawn = None, len(self.stage.drawn)
        if not drawn:
            self.stage = before
            if cancelled and self._drawn is not None:
                self.set("seed", self._drawn)
        elif problem:
            problem += f" {drawn} of {counted(many, 'image')} drawn; they stay."
        text = problem or f"Done: {counted(drawn, 'image')}."
        if unsaved := self._save():
            self._note(f"{text} Not saved: {unsaved}. {RETRY}", True)
        else:
            self._note(text, bool(problem) and not cancelled)

    def _draw(self, shot: Shot, text: str) -> Entry:
        """Return the image of a shot, after its first step with a status; raises Cancelled."""
        looked, identity = time.monotonic(), self.sampler.identity  # files may be removed meanwhile

        def after_step(step: int) -> None:
            """Show how far the drawing is; end it where the user has cancelled it."""
            nonlocal looked
            if step == 1:
                self.say(text)
            self.progress = self.progress[0] + 1, self.progress[1]
            self.tell("progress")
            self.poll()
            if self._cancel.is_set():
                raise Cancelled
            late = time.monotonic() - looked >= LOOK_SECONDS
            if step < shot.request.steps and (step % LOOK_STEPS == 0 or late):
                self._look()
                looked = time.monotonic()

        # One at a time: in a batch, an image may differ by a rounding from the same one alone.
        [(_, prompt, seed, image)] = self.sampler.sample(shot.request, on_step=after_step)
        settings = self.sampler.with_defaults(shot.request).settings()
        record = {"prompt": prompt, "seed": seed, **settings, **identity}
        return Entry({**record, "versions": versions()}, image, ", ".join(shot.label))

    def _look(self) -> None:
        """Show what is being drawn; a preview that fails must not end the drawing."""
        with contextlib.suppress(Exception):
            self.stage.preview = self.sampler.preview()
        self.tell("stage")

    def _add(self, entry: Entry, number: int) -> None:
        """Add a drawn image to the gallery and the stage, and save it."""
        self.stage.preview, self.stage.entries[number] = None, entry
        self.entries = [entry, *self.entries]
        if number == 0:
            self._drawn = entry.record["seed"]
            self.set("seed", self._drawn)
        self._save()
        for old in self.entries[IN_MEMORY:]:
            old.image = None if old.file else old.image
        self._tell("stage", "gallery")

    def _save(self) -> str:
        """Write what is not saved yet; return what is wrong, "" for nothing."""
        try:
            for entry in reversed(self.entries):
                self.folder.keep(entry)
        except (OSError, InputError) as error:
            return one_line(error)
        return ""

    def save(self) -> Path | None:
        """Write what is not saved yet, and say where the newest image is; return its path."""
        if wrong := self._save():
            self.say(f"Not saved: {wrong}. {RETRY}", True)
            return None
        if not self.entries:
            self.say("Nothing is drawn yet.")
            return None
        path = self.folder.path / self.entries[0].file
        self.say(f"All is saved; the newest is {path}")
        self.tell("gallery")
        return path

    def open(self, entry: Entry) -> None:
        """Show one image of the gallery large."""
        self._guarded(lambda: self._open(entry))

    def _open(self, entry: Entry) -> None:
        self._check_idle()
        self.folder.image(entry)  # refuses one that another studio has deleted
        self.stage = Stage([entry], [()])
        self.tell("stage")

    def use(self, entry: Entry) -> None:
        """Give the controls what an image was drawn with: prompts, seed, all settings, adapter."""
        self._guarded(lambda: self._use(entry))

    def _use(self, entry: Entry) -> None:
        self._check_idle()
        found = self._use_adapter(entry.record)
        self.panel.use(entry.record)
        self._drawn = None  # the seed counts as typed: the next job takes it
        self.tell("controls")
        other = "The adapter of that image is not in the menu: others will be drawn."
        self.say("These settings draw that image again." if found else other)

    def _use_adapter(self, record: dict) -> bool:
        """Choose the adapters that an image was drawn with; return whether they were found."""
        adapter, fast = (record.get(key) for key in DIGESTS)
        for name, path in self.panel.offer.adapters.items():
            if [adapter, fast] == [self.sampler.identity.get(key) for key in DIGESTS]:
                return True
            with contextlib.suppress(InputError, OSError):  # another one's file is gone
                file = find_adapter(self.sampler.base, path)
                if (file and file_sha256(file)) == adapter:
                    self._choose(adapter=name, fast=bool(fast))
        return [adapter, fast] == [self.sampler.identity.get(key) for key in DIGESTS]

    def favourite(self, entry: Entry) -> None:
        """Make an image a favourite, or none any more."""
        self._guarded(lambda: self.folder.mark(entry, not entry.favourite))
        self._tell("gallery", "stage")

    def delete(self, entry: Entry) -> None:
        """Delete an image and its file; `undo` brings it back."""
        self._guarded(lambda: self._delete(entry))

    def _delete(self, entry: Entry) -> None:
        place = self.entries.index(entry)
        self.folder.delete(entry)
        self.deleted = (place, entry) if entry.image else None
        self.entries = [one for one in self.entries if one is not entry]
        if entry in self.stage.entries and not self.busy:
            self.stage = self.stage.without(entry, self.entries[place:])
        self._tell("gallery", "stage")
        self.say("Deleted; Undo brings it back." if entry.image else "Deleted.")

    def undo(self) -> None:
        """Bring back what was deleted last."""
        if self.deleted:
            (place, entry), self.deleted = self.deleted, None
            self.entries = [*self.entries[:place], entry, *self.entries[place:]]
            self.stage = self.stage if self.busy else Stage([entry], [()])
            self._tell("gallery", "stage")
            self.save()

    def zip(self) -> Path | None:
        """Write the favourites, or without any all images, to a zip in the folder; return it."""
        chosen = [entry for entry in self.entries if entry.favourite] or self.entries
        if not chosen:
            return self.say("Nothing is drawn yet.")
        path, count = self._guarded(lambda: self.folder.zip(chosen)) or (None, 0)
        if path:
            what = "favourite" if chosen[0].favourite else "design"
            self.say(f"{counted(count, what)} in {path}")
        return path

    def stage_image(self) -> Image.Image | None:
        """Return what is shown large; None for nothing."""
        return self.stage.image(self.folder.seen)
