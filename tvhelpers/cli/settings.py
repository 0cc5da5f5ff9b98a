"""What does --help say of the settings that --set reaches?"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap

FIELD = re.compile(r" {4}(\w+): \w+ = .*?  # (.*)")
GROUP = re.compile(r" {4}# (.*)")


def settings_help(kind: type, choices: dict[str, tuple], presets: dict[str, dict] | None = None):
    """Return every setting of a dataclass as text: default, choices, and the comment beside it.

    A comment of its own begins a group.  `presets` are listed with what they change.
    """
    lines = ["", "settings, each with its default; `--set KEY=VALUE` gives another:"]
    for line in inspect.getsource(kind).splitlines():
        if found := FIELD.fullmatch(line):
            name, meaning = found.groups()
            meaning = _with_choices(meaning, choices.get(name, ()))
            lines += _row(f"{name}={_value(getattr(kind, name))}", meaning)
        elif found := GROUP.fullmatch(line):
            lines += ["", f"  {found[1]}"]
    if presets:
        lines += ["", "presets, each with what it changes; `--preset NAME` takes one:"]
        for name, row in presets.items():
            lines += _row(name, _changes(row) or "nothing")
    return "\n".join(lines) + "\n"


def _with_choices(meaning: str, words: tuple[str, ...]) -> str:
    """Return a comment with the choices that it is about, each beside its own part if it has so."""
    words, parts = [word or '""' for word in words], meaning.split(" | ")
    if len(parts) == len(words):
        return " | ".join(f"{word}: {part}" for word, part in zip(words, parts, strict=True))
    return f"{meaning} ({' | '.join(words)})" if words else meaning


def _row(name: str, text: str) -> list[str]:
    """Return a name and what is said of it, in lines as wide as the terminal."""
    width = shutil.get_terminal_size().columns - 2
    indent = " " * 28
    start = f"    {name:<23} " if len(name) <= 23 else f"    {name}\n{indent}"
    rows = textwrap.wrap(text, width - 28, break_on_hyphens=False) or [""]
    return [start + rows[0], *(indent + row for row in rows[1:])]


def _changes(row: dict) -> str:
    """Return a preset's changes as KEY=VALUE; those of LoRA alone last."""
    words = [f"{key}={_value(value)}" for key, value in row.items() if key != "lora"]
    if "lora" in row:
        words.append(f"and for lora {_changes(row['lora'])}")
    return " ".join(words)


def _value(value) -> str:
    """Return a value as --set takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
