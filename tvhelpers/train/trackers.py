"""Which trackers beside TensorBoard get the figures of a training, such as Weights & Biases?

They are those of accelerate, by name.  A tracker that fails is dropped with a warning: a training
never ends, or waits for long, because of one.
"""

import contextlib
import logging
import netrc
import os
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from tvhelpers.config import check_choice
from tvhelpers.errors import InputError, one_line
from tvhelpers.files import content_key

log = logging.getLogger(__name__)
OWN = "tensorboard"  # written by `log.Board` in every training
SECONDS = 30  # to wait for a tracker to begin or to end
WANDB = "https://api.wandb.ai"


def find_trackers(names: str) -> dict[str, type]:
    """Return {name: class of accelerate} of names such as "tensorboard,wandb", without OWN.

    Raises InputError for an unknown name, and for one whose package is missing.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip() not in ("", OWN)]
    if not wanted:
        return {}
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    there = {str(name) for name in get_available_trackers()}
    for name in wanted:
        check_choice("trackers", name, LOGGER_TYPE_TO_CLASS)
        if name not in there:
            raise InputError("not-installed.tracker", name=name)
    return {name: LOGGER_TYPE_TO_CLASS[name] for name in wanted}


class Trackers:
    """The trackers of one run, which begin when they are made."""

    def __init__(self, names: str, run_dir: Path, settings: dict):
        self.trackers = {}
        for name, kind in find_trackers(names).items():
            self.trackers[name] = None
            self._each(lambda _, kind=kind, name=name: _begun(kind, name, run_dir, settings), name)

    def log(self, step: int, values: dict[str, float | None]) -> None:
        """Add the values that are not None to the curves."""
        there = {key: value for key, value in values.items() if value is not None}
        self._each(lambda tracker: tracker.log(there, step=step))

    def finish(self) -> None:
        """End all trackers."""
        self._each(lambda tracker: tracker.finish())
        self.trackers = {}

    def _each(self, call, only: str = "") -> None:
        """Call a function with each tracker, or that of one name, whose result replaces it; drop
        those that fail or take too long."""
        for name in [only] if only else [*self.trackers]:
            try:
                result = _within(SECONDS, call, self.trackers[name])
                self.trackers[name] = result if only else self.trackers[name]
            except Exception as error:
                del self.trackers[name]
                log.warning(f"no more figures go to {name} ({one_line(error)}); training continues")


def _begun(kind: type, name: str, run_dir: Path, settings: dict):
    """Return a tracker of accelerate that has begun, with the settings of the training."""
    from accelerate import PartialState

    how = {"logging_dir": str(run_dir)} if kind.requires_logging_directory else {}
    if name == "wandb":
        how |= {"dir": str(run_dir), "name": run_dir.name, "resume": "allow"}
        how |= {"id": content_key(str(run_dir.resolve())), **_wandb_mode()}
    PartialState()  # which accelerate's loggers need
    tracker = kind("tvhelpers", **how)
    if hasattr(tracker, "start"):  # since accelerate 1.8
        tracker.start()
    tracker.store_init_configuration(settings)
    return tracker


def _wandb_mode() -> dict:
    """Return {"mode": "offline"} where wandb would ask for a key or wait for the network; what
    $WANDB_MODE says counts first."""
    if os.environ.get("WANDB_MODE"):
        return {}
    host = urlsplit(os.environ.get("WANDB_BASE_URL", WANDB)).hostname
    key = os.environ.get("WANDB_API_KEY")
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        key = key or netrc.netrc().authenticators(host)
    with contextlib.suppress(OSError):
        if key:
            socket.create_connection((host, 443), timeout=5).close()
            return {}
    log.info(
        "wandb writes offline, as there is no key or no network: `wandb sync` uploads it later"
    )
    return {"mode": "offline"}


def _within(seconds: float, call, *arguments):
    """Return what a function returns; raises TimeoutError if it takes longer, and its errors."""
    found = {}

    def run():
        """Keep the result or the error."""
        try:
            found["result"] = call(*arguments)
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {seconds:g} seconds")
    if "error" in found:
        raise found["error"]
    return found["result"]
