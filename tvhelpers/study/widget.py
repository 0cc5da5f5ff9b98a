"""How does a rater take part in a notebook?  For Jupyter and Colab (ipywidgets 7.7 and 8).

The page shows images, prompts and buttons; it names no system and no file.
"""

import html
import time
from collections.abc import Callable, Sequence

import ipywidgets as W

from tvhelpers.errors import InputError
from tvhelpers.study.model import SCALES, TEXTS, Study, Trial, check_code
from tvhelpers.study.votes import VoteBox, vote_of

LARGE, MIDDLE, SMALL = 380, 280, 150  # pixels
SOFT = "#6b7075"


class StudyApp:
    """The widget; show `app.box` in a notebook.  A rater who returns with the same code continues
    where they stopped."""

    def __init__(self, study: Study, source: str = "app"):
        self.study, self.votes, self.source = study, VoteBox(study), source
        self.rater, self.todo = "", []
        self.status = W.HTML()
        self.code = W.Text(placeholder="your code, for example r7", layout=W.Layout(width="260px"))
        self.begin = _button("I agree, begin", "primary", lambda: self._guarded(self._enter))
        self.progress = W.IntProgress(0, 0, 1, layout=W.Layout(width=f"{2 * LARGE}px"))
        self.stage = W.VBox(layout=_centre())
        self.stage.layout.min_height = "600px"  # so that the page stays where it was scrolled to
        self.box = W.VBox([self.stage, self.status], layout=_centre())
        self._welcome()

    def _welcome(self) -> None:
        about = self.study.about
        text = f"<h2>{html.escape(about['title'])}</h2><p>{html.escape(about['consent'])}</p>"
        style = "max-width:620px;line-height:1.5;font-size:15px"
        text = W.HTML(f"<div style='{style}'>{text}</div>")
        self.stage.children = [text, _row([self.code, self.begin])]

    def _enter(self) -> None:
        """Take the rater's code, and show the first trial that has no answer."""
        rater = check_code(self.code.value.strip())
        trials = self.study.trials(rater)
        done = self.votes.done(rater)
        self.rater, self.progress.max = rater, len(trials)
        self.todo = [trial for trial in trials if trial.number not in done]
        self._show_message(f"Welcome back: {len(done)} answers are saved." if done else "")
        self._next()

    def _next(self) -> None:
        self.progress.value = self.progress.max - len(self.todo)
        if not self.todo:
            text = "<h2>Thank you.</h2><p>That was the last question. Your answers are saved.</p>"
            self.stage.children = [self.progress, W.HTML(text)]
            return
        trial, number = self.todo[0], self.progress.value + 1
        count = _text(f"{number} of {self.progress.max}", 13, SOFT)
        heading = _text(self.study.about["questions"][trial.kind], 17)
        prompt = [_text(f"“{trial.prompt}”", 22)] if trial.prompt else []
        images = self._images(trial.shown, MIDDLE if trial.references else LARGE)
        if trial.references:
            note = _text("real ones, for comparison", 13, SOFT)
            images.append(W.VBox([note, _row(self._images(trial.references, SMALL))]))
        answers = self._grades(trial) if trial.kind == "rating" else self._choices(trial)
        self.stage.children = [self.progress, count, heading, *prompt, _row(images), answers]
        self.began = time.monotonic()

    def _images(self, names: Sequence[str], side: int) -> list[W.Image]:
        look = {"width": side, "layout": {"margin": "8px", "border": "1px solid #e4e1dc"}}
        return [W.Image(value=self.study.image(name), format="png", **look) for name in names]

    def _choices(self, trial: Trial) -> W.Box:
        buttons = [
            _button(TEXTS["labels"][answer], "", lambda answer=answer: self._answer(trial, answer))
            for answer in trial.answers
        ]
        return _row(buttons)

    def _grades(self, trial: Trial) -> W.Box:
        """Return a row of grades for each scale, and a button that waits for all of them."""
        style = {"button_width": "44px"}
        rows = [W.ToggleButtons(options=list("12345"), value=None, style=style) for _ in SCALES]
        lines = [
            W.HBox([W.HTML(f"<div style='width:150px;text-align:right'>{name}</div>"), row])
            for name, row in zip(SCALES.values(), rows, strict=True)
        ]
        go = _button("Next", "primary", lambda: self._answer(trial, "".join(r.value for r in rows)))
        go.disabled = True
        for row in rows:
            row.observe(lambda _: setattr(go, "disabled", not all(r.value for r in rows)), "value")
        hint = _text("1 = far worse than the real ones, 5 = as good", 13, SOFT)
        return W.VBox([hint, *lines, go], layout=_centre())

    def _answer(self, trial: Trial, answer: str) -> None:
        if not self.todo or self.todo[0] is not trial:  # a second click, while the first was saved
            return
        seconds = time.monotonic() - self.began
        self._guarded(lambda: self._save(trial, answer, seconds))

    def _save(self, trial: Trial, answer: str, seconds: float) -> None:
        """Save the answer and show the next trial; where saving fails, the trial stays."""
        self.votes.cast([vote_of(self.rater, trial, answer, seconds, self.source)])
        self.todo.pop(0)
        self._show_message("")
        self._next()

    def _guarded(self, work: Callable) -> None:
        try:
            work()
        except Exception as error:  # shown to the rater, instead of only in a log
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            self._show_message(f"{kind}{error}", True)

    def _show_message(self, text: str, wrong: bool = False) -> None:
        colour = "#b00020" if wrong else SOFT
        self.status.value = f"<span style='color:{colour}'>{html.escape(text)}</span>"


def _centre() -> W.Layout:
    return W.Layout(align_items="center", justify_content="center", width="100%")


def _row(widgets: Sequence[W.Widget]) -> W.HBox:
    return W.HBox(widgets, layout=_centre())


def _button(label: str, style: str, work: Callable) -> W.Button:
    layout = W.Layout(width="160px", height="38px", margin="6px")
    button = W.Button(description=label, button_style=style, layout=layout)
    button.on_click(lambda _: work())
    return button


def _text(text: str, size: int, colour: str = "inherit") -> W.HTML:
    style = f"font-size:{size}px;line-height:1.4;color:{colour};text-align:center"
    return W.HTML(f"<div style='{style};max-width:{2 * LARGE}px'>{html.escape(text)}</div>")
