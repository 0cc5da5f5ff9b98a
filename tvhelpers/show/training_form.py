"""What do the fields of a training's form mean, what will it cost, and how does a cell train?"""

import gc
import logging

from tvhelpers import runtime
from tvhelpers.config import TrainConfig, build_config, check_range
from tvhelpers.data.sources import open_source
from tvhelpers.errors import InputError
from tvhelpers.image import encoded
from tvhelpers.models.base import find_base, own_resolution
from tvhelpers.output import say
from tvhelpers.progress import Interrupted, in_notebook
from tvhelpers.sample.own_images import draw_own
from tvhelpers.sample.preview import Previews, sheet, strips_of
from tvhelpers.train.cost import in_minutes, session_limit
from tvhelpers.train.disk import in_size, shortages
from tvhelpers.train.dry_run import dry_run
from tvhelpers.train.resume import resumes_at
from tvhelpers.train.trainer import is_finished, train
from tvhelpers.words import counted

# {field of the form: (setting, what it is, smallest, largest)}
FIELDS = {
    "STEPS": ("steps", "a whole number", 1, 100_000),
    "RESOLUTION": ("resolution", "a multiple of 8", 64, 2048),
    "RANK": ("rank", "a whole number", 1, 1024),
    "RATE": ("learning_rate", "a number", 1e-7, 1.0),
}
EMPTY = ("", "0", "0.0", "auto")  # what leaves a field to the preset
# Compute units an hour, the highest that users reported (colabtools issues 3326 and 3709 among
# them); Colab publishes none, and has been cheaper since.  100 units cost 9.99 US dollars.
UNITS_AN_HOUR, DOLLARS_A_UNIT = {"T4": 2.0, "A100": 13.8}, 0.1
FREE = "T4"  # a GPU that Colab gives without pay too


def form_changes(**fields) -> dict:
    """Return the settings that fields of a form change, {"learning_rate": 1e-4}.

    Raises InputError that names the field, for a value that is no number of its range.
    """
    changes = {}
    for field, seen in fields.items():
        key, what, low, high = FIELDS[field]
        text = str(seen).strip().lower()
        if text in EMPTY:
            continue
        try:
            changes[key] = getattr(build_config(**{key: text}), key)
            check_range(field, changes[key], low, high)
        except InputError:
            raise InputError(
                "form-field", field=field, value=seen, what=what, low=low, high=f"{high:g}"
            ) from None
    return changes


def plan(tv, config: TrainConfig, name: str, release: bool = False) -> None:
    """Print in two lines what run `name` has to learn from and what it will take, and below them
    what could spoil it.  Nothing is trained; `release`: whether the machine is to be given back."""
    package = logging.getLogger("tvhelpers")
    level = package.level
    package.setLevel(logging.WARNING)  # what is tried is said in these lines
    try:
        found = dry_run(config, tv.train_dir(name), root=tv.local)
    finally:
        package.setLevel(level)
        gc.collect()  # its networks, which would take memory from the training
    if found["finished"]:
        say(f"this training is finished already; its result is in {found['run']}")
        return
    minutes = sum(found["minutes"].values())
    ends = session_limit(minutes, bool(config.mirror))
    say(_lesson(config, found), _cost(found, minutes), *_doubts(config, found["disk"]))
    say(*filter(None, [ends]))
    if release and runtime.on_colab() and not tv.place:
        say(
            "RELEASE needs USE_DRIVE: without it the adapter is only on this machine, which is kept"
        )


def _lesson(config: TrainConfig, found: dict) -> str:
    items, steps = found["items"], counted(found["steps"], "step")
    source = open_source(config.data, captions_optional=bool(config.captions))
    passes = found["steps"] * config.items_per_step / items["training"]
    passes = f"{passes:.{0 if passes >= 10 else 1}f} passes over them"
    at = f"; it resumes at step {found['resumes_at']:,}" if found["resumes_at"] else ""
    images = f"{counted(len(source), 'image')} of {counted(len({*source.product_ids}), 'product')}"
    if 0 < (used := config.sample or config.limit) < len(source):
        images = f"{used:,} of {counted(len(source), 'image')}"
    return (
        f"{images}: {items['training']:,} to train on, {items['validation']:,} kept for "
        f"validation; {steps} = {passes}{at}"
    )


def _cost(found: dict, minutes: float) -> str:
    memory = found["memory"]
    of = f" of {memory['available_gb']:.0f}" if memory["available_gb"] else ""
    disk = in_size(sum(found["disk"][key] for key in ("cache_gb", "checkpoints_gb", "result_gb")))
    text = f"{in_minutes(minutes)} on this machine, {memory['predicted_gb']:.1f}{of} GB of memory"
    paid = runtime.on_colab() and runtime.choose_device() == "cuda"
    price = f"; {price_on(runtime.device_name('cuda'), minutes)}" if paid else ""
    return f"{text}, {disk} of disk{price}"


def price_on(gpu: str, minutes: float) -> str:
    """Return what Colab takes at most for so many minutes on a GPU, such as "Tesla T4"."""
    card = next((card for card in UNITS_AN_HOUR if card in gpu), None)
    if not card:
        return "what an hour of it costs stands in Runtime > View resources"
    units = minutes / 60 * UNITS_AN_HOUR[card]
    cost = f"at most about {units:.1f} compute units ({units * DOLLARS_A_UNIT:.2f} US dollars)"
    return f"free, or if you pay, {cost}" if card == FREE else cost


def _doubts(config: TrainConfig, disk: dict) -> list[str]:
    own = own_resolution(find_base(config.base))
    lines = [f"warning: {line}" for line in shortages(disk)]
    if config.resolution and not own / 2 <= config.resolution <= 2 * own:
        lines.append(
            f"warning: RESOLUTION is {config.resolution}, but {config.base} was made for {own} "
            "pixels, and its designs fall apart at others; 0 takes its own"
        )
    return lines


class ShownPreviews(Previews):
    """Previews that a notebook shows while it trains, in one figure that is replaced each time.

    It is shown by the thread that trains: Colab shows nothing that another one changes.
    """

    handle = None  # of the figure in the cell's output

    def __call__(self, step: int, parts: dict) -> None:
        """Draw as `Previews`, and show what there is so far."""
        super().__call__(step, parts)
        self.show()

    def show(self) -> None:
        """Show the previews so far, if this is a notebook and there are any."""
        strips = strips_of(self.folder)
        if not strips or not in_notebook():
            return
        from IPython import display

        jpeg = encoded(sheet(strips), "JPEG", quality=88)
        image = display.Image(jpeg, format="jpeg")
        if self.handle:
            self.handle.update(image)
        else:
            self.handle = display.display(image, display_id=True)


def train_here(tv, config: TrainConfig, name: str, prompts: list[str], finish=False) -> dict:
    """Train run `name` in a cell that shows previews of `prompts` as they come; return its result.

    `finish` ends a stopped training with its best adapter so far, without another step.  Raises
    Interrupted, which a notebook shows as one sentence, when the cell is interrupted.
    """
    run, folder = tv.train_dir(name), tv.run_dir(name) / "previews"
    shown = ShownPreviews(config.base, prompts, folder, seed=7)
    shown.show()
    finish = finish and not is_finished(run, config.method)
    try:
        return train(config, run, root=tv.local, preview=shown, draw_own=draw_own, finish=finish)
    except Interrupted:
        raise
    except KeyboardInterrupt:  # not between two steps
        step = resumes_at(run)
        again = f"to resume at step {step}" if step else "to begin again"
        raise Interrupted("stopped", {again: ()}) from None
