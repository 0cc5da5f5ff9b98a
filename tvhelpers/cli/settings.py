"""How does --help list the settings that --set can change?"""

import argparse
import inspect
import re
from collections.abc import Sequence

from tvhelpers.cli.options import Parser

FIELD = re.compile(r" {4}(\w+): \w[\w |]* = .*?  # (.*)")
CONTINUED = re.compile(r"\n {4}# {3}(?=\S)")
GROUP = re.compile(r" {4}# (.*)")


def settings_help(
    kind: type,
    choices: dict[str, tuple],
    common: Sequence[str] = (),
    presets: dict[str, tuple[str, dict]] | None = None,
) -> str:
    """Return the settings of a dataclass as text: default, choices, and the comment beside each.

    A comment on its own line begins a group; those named in `common` come first.  `presets`
    {name: (what for, settings)} are listed with the settings that they change.  The layout is
    argparse's.
    """
    title = "Settings with their defaults; --set changes one, as in --set steps=1000"
    page = Parser(usage=argparse.SUPPRESS, description=title, add_help=False)
    group = page.add_argument_group()
    first = page.add_argument_group("Settings that most people change") if common else group
    lines = CONTINUED.sub(" ", inspect.getsource(kind)).splitlines()
    fields = {found[1]: found[2] for line in lines if (found := FIELD.fullmatch(line))}
    for name in common:
        _add(first, _pair(name, getattr(kind, name)), _with(choices.get(name, ()), fields[name]))
    for line in lines:
        if (found := FIELD.fullmatch(line)) and found[1] not in common:
            name, meaning = found.groups()
            _add(group, _pair(name, getattr(kind, name)), _with(choices.get(name, ()), meaning))
        elif found := GROUP.fullmatch(line):
            group = page.add_argument_group(f"For specialists: {found[1][0].lower()}{found[1][1:]}")
    group = page.add_argument_group("Presets for --preset, with the settings that they change")
    for name, (use, row) in (presets or {}).items():
        _add(group, name, f"{use}: {_changes(row)}" if row else use)
    return "\n" + page.format_help()


def _add(group, name: str, text: str) -> None:
    group.add_argument(name, metavar=name, help=text.replace("%", "%%"))


def _with(words: tuple[str, ...], meaning: str) -> str:
    """Return a comment with the choices of its setting, each beside its part of the comment if that
    has as many parts."""
    words, parts = [word or '""' for word in words], meaning.split(" | ")
    if len(parts) == len(words):
        return " | ".join(f"{word}: {part}" for word, part in zip(words, parts, strict=True))
    return f"{meaning} ({' | '.join(words)})" if words else meaning


def _changes(row: dict) -> str:
    """Return a preset's changes as KEY=VALUE; those for LoRA and for a base come last."""
    parts = {key: value for key, value in row.items() if isinstance(value, dict)}
    text = " ".join(_pair(key, value) for key, value in row.items() if key not in parts)
    own = [f"with {key}: {_changes(parts[key])}" for key in sorted(parts)]
    return "; ".join(part for part in (text, *own) if part)


def _pair(key: str, value) -> str:
    """Return KEY=VALUE as --set takes it."""
    if value is None or isinstance(value, bool):
        return f"{key}={'auto' if value is None else str(value).lower()}"
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
