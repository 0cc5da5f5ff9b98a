"""Of which components does the web page of the prompt studio consist?  With Gradio."""

import gradio as gr

from tvhelpers.show.studio_controls import ANY, AXES, Control, Values, axis_example
from tvhelpers.show.studio_panel import Panel

_preprocess = gr.Slider.preprocess
# An emptied slider sends None, which Gradio compares with a number: a traceback in the terminal.
gr.Slider.preprocess = lambda self, sent: None if sent is None else _preprocess(self, sent)
GALLERY = "Gallery: click an image to open it"
CSS = """
footer {display: none !important}
.gradio-container {max-width: 1500px !important; padding: 4px 6px !important}
.main.fillable {padding: 4px 6px !important}
textarea::placeholder {white-space: nowrap}
.line {min-height: 4.4em; line-height: 1.4; overflow-wrap: anywhere}
.line p, .chosen p {margin: 0; display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 3; overflow: hidden}
.line progress {appearance: none; width: 100%; height: 8px; border: 0; visibility: hidden}
.line progress.busy {visibility: visible}
.line progress::-webkit-progress-bar {background: #d4d4d8}
.line progress::-webkit-progress-value {background: #2563eb}
.line progress::-moz-progress-bar {background: #2563eb}
.remarks p {margin: 0 4px; min-height: 2.8em; line-height: 1.4; display: -webkit-box;
  -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden}
.wrong {padding-left: 8px; border-left: 4px solid #d93025; font-weight: 600}
.words > .form {display: grid !important; background: var(--block-background-fill);
  grid-template-columns: repeat(auto-fill, minmax(112px, 1fr))}
.words input {text-overflow: ellipsis; padding-right: 18px !important}
.settings .head {display: block; position: relative}
.settings .head label {display: block}
.settings .head .info-text {margin-top: 8px}
.settings .head .tab-like-container {position: absolute; top: 0; right: 0}
.seed {align-items: end}
.seed button {white-space: nowrap}
.chosen {min-height: 5.4em; overflow-wrap: anywhere}
.zip {min-height: 1.5em}
.grid-wrap {padding-top: 30px !important}
.thumbnail-lg img {position: absolute; top: 2px; left: 0; height: calc(100% - 26px) !important}
.caption-label {max-width: 100% !important; max-height: 2.6em; font-size: 11px; line-height: 1.2;
  overflow: hidden}
@media (max-width: 700px) {
  #stage {height: 300px !important}
  .remarks p {-webkit-line-clamp: 3; min-height: 4.2em}
  .jobs {display: grid !important; grid-template-columns: 1fr 1fr}
  textarea::placeholder {font-size: 11px}
  .second {flex-direction: column-reverse !important}
  .second > .column {width: 100%; max-width: none}
  .grid-container {grid-template-columns: repeat(3, minmax(0, 1fr)) !important}
}
"""


def fixed(control: Control, values: Values) -> dict:
    """Return the range or the choices of a component, as Gradio names them.

    None for a typed number: Gradio would refuse it without a word that is seen.
    """
    if values.options:
        return {"choices": [(str(one) or "any", one) for one in values.options]}
    if control.kind == "slider":
        return {"minimum": values.low, "maximum": values.high}
    return {}


def _component(control: Control, values: Values, value):
    """Return Gradio's component of a control."""
    more = {"label": control.label, "interactive": True, "value": value, "elem_id": control.name}
    if control.kind == "text":
        return gr.Textbox(lines=1, max_lines=5, placeholder=control.hint, **more)
    if control.kind in ("menu", "words"):
        return gr.Dropdown(**fixed(control, values), min_width=130, **more)
    if control.kind == "toggle":
        return gr.Checkbox(info=control.hint, min_width=160, **more)
    if control.kind == "number":
        return gr.Number(min_width=170, **more)
    return gr.Slider(
        **fixed(control, values),
        step=values.step,
        info=control.hint,
        min_width=240,
        buttons=[],
        **more,
    )


class Components:
    """The components of the page of a panel's controls, in their places; `outputs` are those that
    change.  Made within `gr.Blocks`."""

    def __init__(self, panel: Panel):
        self.panel, self.controls = panel, {}
        for left, right, name in (
            (self._build_prompts, self._build_image, "first"),
            (self._build_settings, self._build_gallery, "second"),
        ):
            with gr.Row(elem_classes=name):
                with gr.Column(scale=4, min_width=320):
                    left()
                with gr.Column(scale=5, min_width=320):
                    right()
        self.begin = [self.generate, self.vary, self.compare, self.grid]
        self.outputs = [*self.controls.values(), self.remarks, self.status, self.image,
                        self.caption, self.link, self.gallery, *self.begin, self.cancel,
                        *self.actions.values(), self.zip]  # fmt: skip

    def _build_kinds(self, *kinds: str) -> None:
        """Make the components of some kinds of controls."""
        for name, row in self.panel.controls.items():
            if row.kind in kinds:
                values, value = self.panel.choices(name), self.panel.value(name)
                self.controls[name] = _component(row, values, value)

    def _build_prompts(self) -> None:
        self._build_kinds("text")
        self.remarks = gr.HTML(elem_classes="remarks")
        with gr.Row(elem_classes="words"):
            self._build_kinds("words")
        with gr.Row(elem_classes="jobs"):
            self.generate = gr.Button("Generate", variant="primary", min_width=110)
            self.vary = gr.Button("Vary", min_width=110)
            self.compare = gr.Button("Compare", min_width=110)
            self.cancel = gr.Button("Cancel", min_width=110, interactive=False)
        self.status = gr.HTML(elem_classes="line")

    def _build_image(self) -> None:
        self.image = gr.Image(
            label="Image", show_label=False,  # it would cover the headings of a sheet
            interactive=False, height=440, elem_id="stage", format="png", buttons=["fullscreen"],
        )  # fmt: skip
        self.caption = gr.HTML(elem_classes="chosen")
        with gr.Row():
            names = ("Use again", "Favourite", "Delete", "Undo", "Save")
            small = {"min_width": 90, "size": "sm", "interactive": False}
            self.actions = {name: gr.Button(name, **small) for name in names}
            self.zip = gr.Button("Download zip", **small)
        self.link = gr.HTML(elem_classes="zip")

    def _build_settings(self) -> None:
        with gr.Row(elem_classes="settings"):
            self._build_kinds("slider", "menu")
        with gr.Row(elem_classes="seed"):
            self._build_kinds("number")
            self.dice = gr.Button("New seed", min_width=110, scale=0)
            self._build_kinds("toggle")
        self._build_grid()

    def _build_grid(self) -> None:
        rows = [self.panel.controls[name] for name in self.controls]
        names = [(row.label, row.name) for row in rows if row.axis]
        self.axes = []
        with gr.Accordion("Grid: one image for each value", open=False):
            for (label, values), first in zip(AXES, ("guidance", ANY)):
                options = names if first else [("nothing", ANY), *names]
                with gr.Row():
                    menu = gr.Dropdown(options, value=first, label=label, min_width=130)
                    text = gr.Textbox(self.example(first), label=values)
                    self.axes.append((menu, text))
            self.grid = gr.Button("Draw the grid", min_width=110)

    def _build_gallery(self) -> None:
        self.gallery = gr.Gallery(
            label=GALLERY, columns=4, height=560, buttons=[], interactive=False,
            allow_preview=False, object_fit="contain", fit_columns=False,
        )  # fmt: skip

    def example(self, name: str) -> str:
        """Return values for a grid over a control, "" for none."""
        return axis_example(self.panel.choices(name)) if name else ""
