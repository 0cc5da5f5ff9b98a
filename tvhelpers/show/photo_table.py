"""How are a user's photos shown, and their captions edited?  For Jupyter and Colab (ipywidgets 7.7
and 8): all work is done within the callbacks, none in a thread."""

import base64
import html
from collections.abc import Callable

import ipywidgets as W
from PIL import Image, ImageDraw

from tvhelpers.data.intake import THUMB, Intake, Photo
from tvhelpers.errors import InputError
from tvhelpers.image import encoded
from tvhelpers.sample.grid import font_for
from tvhelpers.words import counted

PAGE = 20  # photos shown together; more make a page slow
COLUMNS, CELL, LINE, MOST = 8, 132, 15, 400  # of the sheet: cells a row, pixels, photos
STYLE = {"description_width": "64px"}
LOOK = "Please look:"


class PhotoTable:
    """The editable table of an intake; show `table.box` in a notebook.  What is typed and ticked
    changes the photos of the intake at once, and `save` writes them."""

    def __init__(self, intake: Intake):
        self.intake, self.first = intake, 0
        self.rows, self.place = W.VBox(), W.HTML()
        self.back = _button("Previous photos", lambda: self.turn(-PAGE))
        self.on = _button("Next photos", lambda: self.turn(PAGE))
        self.save_button = _button("Save metadata.csv", self.save)
        self.save_button.button_style = "primary"
        self.status = W.HTML()
        pages = [self.back, self.on] if len(intake.photos) > PAGE else []
        below = [W.HBox([*pages, self.place]), W.HBox([self.save_button, self.status])]
        self.box = W.VBox([self.rows, *below])
        self._say("Nothing is saved yet.")
        self.turn(0)

    def turn(self, by: int) -> None:
        """Show the page of the photo that is `by` photos further."""
        count = len(self.intake.photos)
        self.first = min(max(0, self.first + by), (count - 1) // PAGE * PAGE)
        photos = self.intake.photos[self.first : self.first + PAGE]
        self.rows.children = [_row(photo, self._changed) for photo in photos]
        self.back.disabled, self.on.disabled = not self.first, self.first + PAGE >= count
        last = self.first + len(photos)
        self.place.value = f"photos {self.first + 1} to {last} of {count}"

    def save(self) -> None:
        """Write the tables, and say so, or what is wrong, in the status line."""
        try:
            path = self.intake.save()
        except InputError as error:
            self._say(f"Not saved: {error}", wrong=True)
            return
        used = sum(photo.use for photo in self.intake.photos)
        self._say(f"Saved: {counted(used, 'photo')} in {path}")

    def _changed(self) -> None:
        self._say("Changed, and not saved yet.")

    def _say(self, text: str, wrong: bool = False) -> None:
        style = f"color:{'#b00020' if wrong else 'inherit'};line-height:1.4"
        text = f"<span role='status' style='{style}'>{html.escape(text)}</span>"
        if self.status.value != text:
            self.status.value = text


def _button(label: str, work: Callable[[], None]) -> W.Button:
    button = W.Button(description=label, layout=W.Layout(width="auto", flex="0 0 auto"))
    button.on_click(lambda _: work())
    return button


def _row(photo: Photo, changed: Callable[[], None]) -> W.HBox:
    """Return the row of a photo, whose widgets write into it."""
    wide = W.Layout(width="98%")
    caption = W.Text(photo.caption, description="Caption", layout=wide, style=STYLE)
    product = W.Text(photo.product, description="Product", layout=wide, style=STYLE)
    narrow = W.Layout(width="130px", flex="0 0 auto", margin="2px 2px 2px 72px")
    use = W.Checkbox(photo.use, description="use this photo", indent=False, layout=narrow)
    note = W.HTML(_note(photo), layout=W.Layout(flex="1 1 240px", width="auto"))

    def write(field: str, value) -> None:
        """Take what was typed or ticked into the photo."""
        setattr(photo, field, value)
        photo.drafted = photo.drafted and field != "caption"
        note.value = _note(photo)
        changed()

    for field, widget in {"caption": caption, "product": product, "use": use}.items():
        widget.observe(lambda change, field=field: write(field, change["new"]), "value")
    below = W.HBox([use, note], layout=W.Layout(flex_flow="row wrap"))
    texts = W.VBox([caption, product, below], layout=W.Layout(flex="1 1 auto"))
    look = W.Layout(border="1px solid #ddd", margin="0 0 6px 0", padding="6px")
    return W.HBox([_thumbnail(photo), texts], layout=look)


def _thumbnail(photo: Photo) -> W.HTML:
    """Return the photo with its name; an HTML image has a text for those who cannot see it."""
    name = html.escape(photo.file_name, quote=True)
    jpeg = encoded(Image.fromarray(photo.thumb), "JPEG", quality=88)
    data = base64.b64encode(jpeg).decode()
    place = f"width:{CELL}px;overflow-wrap:anywhere;line-height:1.2;text-align:center"
    image = f"<img alt='{name}' src='data:image/jpeg;base64,{data}' style='max-width:{THUMB}px'>"
    return W.HTML(
        f"<div style='{place}'>{image}<br><small>{name}</small></div>",
        layout=W.Layout(flex=f"0 0 {CELL}px"),
    )


def _note(photo: Photo) -> str:
    issues = html.escape("; ".join(photo.issues))
    said = [f"<b>{LOOK}</b> {issues}{'' if issues[-1] == '?' else '.'}"] if issues else []
    said += ["This caption is a draft."] if photo.drafted else []
    return f"<div style='line-height:1.4;padding-top:4px'>{' '.join(said)}</div>"


def contact_sheet(intake: Intake) -> Image.Image:
    """Return the first 400 photos on one sheet, with their names; "!" marks those with an issue."""
    photos = intake.photos[:MOST]
    columns = min(COLUMNS, len(photos))
    high = THUMB + 2 * LINE + 12
    sheet = Image.new("RGB", (columns * CELL, -(-len(photos) // columns) * high), "white")
    draw = ImageDraw.Draw(sheet)
    for number, photo in enumerate(photos):
        left, top = number % columns * CELL, number // columns * high
        wide, tall = photo.thumb.shape[1::-1]
        place = left + (CELL - wide) // 2, top + 6 + (THUMB - tall) // 2
        sheet.paste(Image.fromarray(photo.thumb), place)
        mark = "! look" if photo.issues else ""
        for line, text in enumerate((short_name(photo.file_name), mark)):
            middle = left + CELL / 2, top + THUMB + 8 + line * LINE
            draw.text(middle, text, "#222222", font_for(text, 12), anchor="ma")
    return sheet


def short_name(name: str, most: int = 19) -> str:
    """Return the end of a file's name, which tells photos of one folder apart."""
    name = name.rpartition("/")[2]
    return name if len(name) <= most else f"…{name[1 - most :]}"
