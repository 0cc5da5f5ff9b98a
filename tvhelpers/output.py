"""How does text reach the screen?

All that is printed passes through here.  Printing never raises, and nothing that a file, a name or
a server says can forge a line, move the cursor or turn the order of letters.
"""

import codecs
import contextlib
import io
import json
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator

KEPT = "\t\u200c\u200d"  # Persian, Hindi and emoji need the joiners
# what libraries may not print either; progress bars need "\r" and one step up
UNSAFE = re.compile(
    "\x1b(?!\\[A)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f"
    "\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def shown(text: object) -> str:
    """Return a text as one line that can be printed; in it, unprintable characters and line breaks
    are escaped as in JSON."""
    text = str(text)
    return text if text.isprintable() else "".join(map(_shown, text))


def page(lines: Iterable[object]) -> str:
    """Return lines as a text to print; each stays one line, whatever is in it."""
    return "\n".join(map(shown, lines))


def say(*lines: object) -> None:
    """Print lines to standard output, above a running progress bar."""
    _write(sys.stdout, lines)


def note(*lines: object) -> None:
    """Print lines to standard error, above a running progress bar."""
    _write(sys.stderr, lines)


def lost() -> Exception | None:
    """Return why standard output takes no more text; None where it took all, or is not ours."""
    with contextlib.suppress(AttributeError):
        sys.stdout.flush()
    return getattr(sys.stdout, "error", None)


class Screen:
    """A stream that takes any text and never raises.

    What its encoding lacks is escaped.  After the first `error`, as where nobody reads it any more
    or the disk behind it is full, text is dropped.
    """

    def __init__(self, stream):
        self.stream = io.StringIO() if stream is None else stream  # None: it is closed
        self.error = BrokenPipeError(32, "Broken pipe") if stream is None else None

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it; return its length."""
        safe = UNSAFE.sub(lambda found: _escape(found[0]), text)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self._try(self.stream.write, safe.encode(encoding, "as JSON").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._try(self.stream.flush)

    def _try(self, work, *what) -> None:
        try:
            if not self.error:
                work(*what)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self.error = error

    def end(self) -> None:
        """Flush the stream; where it failed, let Python drop what is left in it at its end."""
        self.flush()
        if self.error:
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self.stream.fileno())


@contextlib.contextmanager
def screens() -> Iterator[None]:
    """Make standard output and error `Screen`s, and warnings single lines, as the command line
    does."""
    if None in (sys.stdin, sys.stdout, sys.stderr):  # or a file that is opened takes their place
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    mine, theirs = (Screen(sys.stdout), Screen(sys.stderr)), (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = mine
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest: note(f"warning: {message}")
        try:
            yield
        finally:
            sys.stdout, sys.stderr = theirs
            for screen in mine:
                screen.end()


class Skipped(UserWarning):
    """Files of a source were skipped for a reason; the command line says so at its end."""

    def __init__(self, source: str, reason: str, names: list[str]):
        count = f"{len(names):,} files" if len(names) > 1 else "1 file"
        first = f"{', such as' if len(names) > 1 else ':'} '{names[0][-80:]}'"
        super().__init__(f"{source}: {count} skipped{first}: {reason}")
        self.source, self.reason, self.names = source, reason, names


@contextlib.contextmanager
def skips_at_end() -> Iterator[list[Skipped]]:
    """Yield a list that takes the warnings `Skipped` of a command, which are printed at its end."""
    found, show = [], warnings.showwarning

    def take(message, *rest):
        found.append(message) if isinstance(message, Skipped) else show(message, *rest)

    with warnings.catch_warnings():
        warnings.showwarning = take
        try:
            yield found
        finally:
            note(*(f"warning: {message}" for message in found))


def _write(stream, lines: Iterable[object]) -> None:
    bars = sys.modules.get("tqdm")
    screen = stream if isinstance(stream, Screen) else Screen(stream)
    with bars.tqdm.external_write_mode(file=stream) if bars else contextlib.nullcontext():
        screen.write("".join(f"{shown(line)}\n" for line in lines))


def _shown(letter: str) -> str:
    if letter.isprintable() or letter in KEPT or unicodedata.category(letter) == "Zs":
        return letter
    return _escape(letter)


def _escape(text: str) -> str:
    return json.dumps(text)[1:-1].replace("\x7f", "\\u007f")


codecs.register_error("as JSON", lambda e: (_escape(e.object[e.start : e.end]), e.end))
