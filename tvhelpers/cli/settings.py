"""How does --help list the settings that --set can change?"""

import argparse
import inspect
import re

FIELD = re.compile(r" {4}(\w+): \w+ = .*?  # (.*)")
GROUP = re.compile(r" {4}# (.*)")


def settings_help(
    kind: type, choices: dict[str, tuple], presets: dict[str, dict] | None = None
) -> str:
    """Return the settings of a dataclass as text: default, choices, and the comment beside each.

    A comment on its own line begins a group.  `presets` are listed with the settings that they
    change.  The layout is argparse's.
    """
    title = "settings with their defaults; --set KEY=VALUE changes one:"
    page = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=title, add_help=False)
    group = page.add_argument_group()
    for line in inspect.getsource(kind).splitlines():
        if found := FIELD.fullmatch(line):
            name, meaning = found.groups()
            _add(group, _pair(name, getattr(kind, name)), _with(choices.get(name, ()), meaning))
        elif found := GROUP.fullmatch(line):
            group = page.add_argument_group(found[1])
    group = page.add_argument_group("presets with the settings that they change; --preset NAME")
    for name, row in (presets or {}).items():
        _add(group, name, _changes(row) or "nothing")
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
    """Return a preset's changes as KEY=VALUE; those for LoRA come last."""
    pairs = [_pair(key, value) for key, value in row.items() if key != "lora"]
    return " ".join(pairs + (["and for lora", _changes(row["lora"])] if "lora" in row else []))


def _pair(key: str, value) -> str:
    """Return KEY=VALUE as --set takes it."""
    if isinstance(value, bool):
        return f"{key}={str(value).lower()}"
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
