"""How is it said what is wrong with what was given?  Standard library only."""

import difflib
import errno
import functools
import numbers
import re
import string
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MESSAGE_CHARACTERS = 200
MAX_CHARACTERS = 80  # of a value, fewer where the message would be longer; a path stays whole
TEXT_LETTERS = 400  # of a text that is a part of the message
PATH = re.compile(r"(?=.{,999}$)(?:[/~.]\S*/|\S*/\S*$)")  # a text that is a path
TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table of names and values",
    type(None): "empty",
}
FULL = re.compile(  # what the system, SQLite and NumPy say of a full disk
    r"No space left on device|database or disk is full|\d requested and \d+ written"
)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, or of a user's share of it
CHOSEN = {bool | None: "true, false or auto"}  # where None means: choose


class InputError(ValueError):
    """What was given cannot be used; the message says what was seen and what to do.

    `key` is a line of messages.txt, whose braces are filled with the words `in_words` gives for
    `seen`; or the `message` is given.  `code`, the key up to its dot, names the kind of problem,
    such as "out-of-range": tests match on it.  The command line prints the message alone and exits
    with status 2; a notebook shows it alone.
    """

    def __init__(self, key: str, message: str | None = None, /, **seen):
        super().__init__(message or _filled(_messages()[key], seen))
        self.code = key.partition(".")[0]

    def __reduce__(self):
        return type(self), (self.code, str(self))

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"InputError: {self}"]


@functools.cache
def _messages() -> dict[str, str]:
    """Return {key: message} of messages.txt, which has a message a line, each after its key."""
    lines = Path(__file__).with_name("messages.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def _filled(message: str, seen: dict) -> str:
    """Return a message whose braces are filled; its values have as many letters as it has room."""
    for most in range(MAX_CHARACTERS, 10, -10):
        text = _Message(most).vformat(message, (), seen)
        if len(text) <= MESSAGE_CHARACTERS:
            break
    return text


class _Message(string.Formatter):
    """Fills the braces of a message with values of `most` letters.

    {x} as `in_words`; {x:text} without quotes; {x:and}, {x:or}, {x:long} a list; {x:image|images} a
    count with its noun; anything else as `format` does.
    """

    def __init__(self, most: int):
        self.most = most

    def format_field(self, value, spec: str) -> str:
        """Return a value as the part of a message that `spec`, after the colon, asks for."""
        if spec in ("", "and", "or", "long"):
            return in_words(value, spec or ",", self.most)
        if spec == "text" and isinstance(value, str):
            return cut(_escaped(value), TEXT_LETTERS)
        if spec == "text":
            return in_words(value, most=self.most)
        if "|" in spec:
            return f"{in_words(value)} {spec.split('|')[value != 1]}"
        return format(value, spec)


@dataclass(frozen=True)
class Choice:
    """One of `known` was meant by `given`: the nearest is asked for, or else all are named."""

    given: str
    known: Iterable[str]

    def words(self, most: int) -> str:
        """Return the choice as a message says it, with names of `most` letters."""
        known = {str(name).lower(): str(name) for name in self.known}
        near = difflib.get_close_matches(str(self.given).lower(), known, 3, 0.6)
        if near:
            return f"did you mean {in_words([known[name] for name in near], 'or', most)}?"
        return f"choose {in_words(list(known.values()), 'or', most)}" if known else "there is none"


def in_words(value, between: str = ",", most: int = MAX_CHARACTERS) -> str:
    """Return a value as a message says it.

    Names and paths are quoted, those of over `most` letters but no paths cut; a list is joined by
    `between`, "," or "or" or "and", and cut ("long": later); a tuple of whole numbers is a shape;
    errors, types and `Choice` are words.
    """
    if getattr(value, "ndim", None) == 0:  # numpy's scalars
        value = value.item()
    if isinstance(value, Path):
        return f"'{_escaped(str(value))}'"
    if isinstance(value, str):
        return f"'{_escaped(value) if PATH.match(value) else cut(_escaped(value), most)}'"
    if isinstance(value, BaseException):
        return one_line(value, most)
    if isinstance(value, Choice):
        return value.words(most)
    if isinstance(value, types.UnionType):
        return CHOSEN[value]
    if isinstance(value, type):
        return TYPES.get(value, value.__name__)
    if isinstance(value, numbers.Real):
        return _number(value)
    if isinstance(value, tuple) and all(isinstance(size, numbers.Integral) for size in value):
        return str(tuple(map(int, value)))
    if isinstance(value, bytes):
        return cut(repr(value), most)
    if isinstance(value, dict):
        return cut(_escaped(repr(value)), most)
    if isinstance(value, Iterable):
        letters = 2 * most if between == "long" else most * 3 // 4
        return _joined([in_words(part, most=most) for part in value], between, letters)
    return _escaped(str(value)) if value is not None else "nothing"


def one_line(error: BaseException, most: int = MAX_CHARACTERS) -> str:
    """Return what an error says, in one line without control characters.

    What another library says is cut; a full disk is "disk full", whoever says it.
    """
    text = _escaped(" ".join(str(error).split())) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        where = f": {in_words(error.filename)}" if error.filename else ""
        what = "disk full" if is_disk_full(error) else _escaped(str(error.strerror))
        text = what + where
    elif is_disk_full(error):
        text = f"disk full: {text}"
    return text if isinstance(error, InputError) else cut(text, most)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error means that a disk is full; not all libraries give its number."""
    return getattr(error, "errno", None) in DISK_FULL or bool(FULL.search(str(error)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is full, of a GPU or of the machine; torch has
    kinds of its own, and is not loaded here."""
    kinds = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return kinds or "DefaultCPUAllocator" in str(error)


def problem_of(error: Exception) -> str:
    """Return what a form says of an error: its text, after the kind of an unexpected one."""
    if is_out_of_memory(error):
        return str(InputError("no-memory.draw"))
    text = one_line(error)
    return text if isinstance(error, InputError | OSError) else f"{type(error).__name__}: {text}"


def _number(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Integral) or (float(value).is_integer() and abs(value) < 1e15):
        return cut(str(int(value)))
    return f"{float(value):.12g}"


def _joined(parts: list[str], between: str, most: int) -> str:
    """Return the parts of a list as text; those beyond `most` letters are counted."""
    kept = list(parts)
    while len(kept) > 1 and sum(map(len, kept)) + 2 * len(kept) > most:
        kept.pop()
    if len(kept) < len(parts):
        return f"{', '.join(kept)}, … and {len(parts) - len(kept)} more"
    if between in (",", "long") or len(kept) < 2:
        return ", ".join(kept) or "nothing"
    return f"{', '.join(kept[:-1])} {between} {kept[-1]}"


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cut(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return a text without its middle, where it is long."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[1 - half :]}"
