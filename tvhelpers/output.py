"""How does text reach the screen?

All that is printed passes through here.  Printing never raises.  Text from a file, a name or a
server cannot forge a line, move the cursor or reverse the order of characters.
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

KEPT = "\t\u200c\u200d"  # the joiners of Persian, Hindi and emoji
# what libraries may not print; progress bars need "\r" and one step up
UNSAFE = re.compile(
    "\x1b(?!\\[A)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f"
    "\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: object) -> str:
    """Return a text as one line: unprintable characters and line breaks are escaped as in JSON."""
    text = str(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def escaped_lines(lines: Iterable[object]) -> str:
    """Return the escaped lines, joined by line breaks."""
    return "\n".join(map(escaped, lines))


def say(*lines: object) -> None:
    """Print lines to standard output, above a running progress bar."""
    _write(sys.stdout, lines)


def note(*lines: object) -> None:
    """Print lines to standard error, above a running progress bar."""
    _write(sys.stderr, lines)


def note_warning(message, *rest) -> None:
    """Print a warning in one line, without path and code; set it as `warnings.showwarning`."""
    note(f"warning: {message}")


def stdout_error() -> Exception | None:
    """Return the first error of writing to standard output, if it is a `SafeStream`; else None."""
    with contextlib.suppress(AttributeError):
        sys.stdout.flush()
    return getattr(sys.stdout, "error", None)


class SafeStream:
    """A stream that takes any text and never raises.

    Characters that its encoding lacks are escaped.  After the first `error`, such as a closed pipe
    or a full disk, text is dropped.
    """

    def __init__(self, stream):
        self.stream = io.StringIO() if stream is None else stream  # None: closed
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
        except (OSError, ValueError) as error:  # ValueError: closed
            self.error = error

    def end(self) -> None:
        """Flush the stream; after an error, discard what is still in its buffer."""
        self.flush()
        if self.error:
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self.stream.fileno())


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Make standard output and error `SafeStream`s, and print each warning as one line."""
    if None in (sys.stdin, sys.stdout, sys.stderr):  # else the next opened file gets its number
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    mine, theirs = (SafeStream(sys.stdout), SafeStream(sys.stderr)), (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = mine
    with warnings.catch_warnings():
        warnings.showwarning = note_warning
        try:
            yield
        finally:
            sys.stdout, sys.stderr = theirs
            for safe in mine:
                safe.end()


class Skipped(UserWarning):
    """Files of a source were skipped for a reason; the command line says so at its end."""

    def __init__(self, source: str, reason: str, names: list[str]):
        count = f"{len(names):,} files" if len(names) > 1 else "1 file"
        first = f"{', such as' if len(names) > 1 else ':'} '{names[0][-80:]}'"
        super().__init__(f"{source}: {count} skipped{first}: {reason}")
        self.source, self.reason, self.names = source, reason, names


@contextlib.contextmanager
def skips_at_end() -> Iterator[list[Skipped]]:
    """Collect the warnings `Skipped` of a block in the yielded list; print them at its end."""
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
    safe = stream if isinstance(stream, SafeStream) else SafeStream(stream)
    with bars.tqdm.external_write_mode(file=stream) if bars else contextlib.nullcontext():
        safe.write("".join(f"{escaped(line)}\n" for line in lines))


def _escaped(char: str) -> str:
    if char.isprintable() or char in KEPT or unicodedata.category(char) == "Zs":
        return char
    return _escape(char)


def _escape(text: str) -> str:
    return json.dumps(text)[1:-1].replace("\x7f", "\\u007f")


codecs.register_error("as JSON", lambda e: (_escape(e.object[e.start : e.end]), e.end))
