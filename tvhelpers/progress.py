"""How does long work show its progress, log, and stop?"""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator

from tvhelpers.output import SafeStream, escaped, say

log = logging.getLogger(__name__)
WITHOUT_LEFT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # of a bar
STOPPING = (
    "stopping: the step at work, or the evaluation with its previews, is completed first; press "
    "Ctrl-C again to stop at once and resume from the last checkpoint"
)


class Interrupted(KeyboardInterrupt):
    """The work was asked to stop.

    `ways` are what can be done next, {what: options to give to the same command}.
    """

    def __init__(self, message: str, ways: dict[str, tuple[str, ...]]):
        super().__init__(message)
        self.ways = ways

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: what was done, and what can be."""
        words = [[f"{option.strip('-')}=True" for option in how] for how in self.ways.values()]
        ways = [" ".join(["with", *how, to] if how else [to]) for how, to in zip(words, self.ways)]
        return [f"{self}: run this cell again {', or '.join(ways)}"]


class _StopFlag:
    """True after a stop was requested."""

    asked = 0.0  # when

    def __bool__(self) -> bool:
        return self.asked > 0


@contextlib.contextmanager
def stop_requests() -> Iterator[_StopFlag]:
    """Turn Ctrl-C and SIGTERM into a flag, so that a step is completed; a second one, more than a
    second later, interrupts at once."""
    flag, previous = _StopFlag(), {}

    def ask(number, frame):
        now = time.monotonic()
        if flag and now - flag.asked > 1:  # a launcher repeats the signal to its processes
            raise KeyboardInterrupt
        if not flag:
            flag.asked = now
            with contextlib.suppress(RuntimeError):  # Ctrl-C came while something was printed
                log.info(STOPPING)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread: signals go elsewhere
        pass
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Printer(logging.Handler):
    """Print each message without a prefix to standard output, above a running bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        say(self.format(record))


def show_log() -> None:
    """Print the package's log; the command line and the notebooks call it once."""
    package = logging.getLogger("tvhelpers")
    if not any(isinstance(handler, _Printer) for handler in package.handlers):
        package.addHandler(_Printer())
    package.setLevel(logging.INFO)
    package.propagate = False


def progress_bar(
    what: str, total: int | None, *, done: int = 0, unit: str = "items", delay: float = 0,
    says_left: bool = True,
):  # fmt: skip
    """Return a tqdm bar on standard error; call `update(count)`, and use it as a context.

    It is a bar in a terminal and a notebook, and one line a minute elsewhere.  `unit` "B" counts
    bytes; `total`: None if unknown; `done`: the count of an earlier run; work of less than `delay`
    seconds shows none; `says_left`: false where the text beside the bar says how much time is left.
    Without a log there is no bar.
    """
    from tqdm.auto import tqdm

    stream = SafeStream(sys.stderr)
    live = stream.isatty() or in_notebook()
    how = {} if live else {"mininterval": 60, "file": _Lines(stream)}
    scaled = {"unit_scale": True, "unit_divisor": 1000} if unit == "B" else {}
    how |= {"unit": unit, "delay": delay, "bar_format": None if says_left else WITHOUT_LEFT}
    how |= {"disable": not logging.getLogger("tvhelpers").isEnabledFor(logging.INFO)}
    return tqdm(desc=escaped(what), total=total, initial=done, **how, **scaled)


def in_notebook() -> bool:
    """Return whether IPython runs this; a loaded ipykernel alone is no sign of it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return shell() is not None


class _Lines:
    """A stream on which each update of a bar is a new line."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> None:
        """Write the bar as a line; text that only erases it is ignored."""
        text = text.replace("\x1b[A", "").strip("\r\n ")  # a bar moves up where another stands
        if text:
            self.stream.write(text + "\n")

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()
