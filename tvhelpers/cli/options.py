"""How is a verb of the command line declared, with its options and what --help says of them?"""

import argparse
from collections.abc import Callable
from importlib import import_module

from tvhelpers.config import CHOICES
from tvhelpers.errors import InputError

REQUIRED = object()  # as a default: there is none


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are InputErrors: one sentence, no usage block.

    Its `module` declares its options when they are needed first; `appendix()` returns what --help
    says after them.
    """

    module: str = ""
    appendix: Callable[[], str] | None = None

    def error(self, message):
        raise InputError("usage.words", message=message, prog=self.prog)

    def load(self) -> None:
        """Have the module declare the options, if it has not."""
        module, self.module = self.module, ""
        if module:
            import_module(module).declare(self)

    def parse_known_args(self, args=None, namespace=None):
        self.load()
        return super().parse_known_args(args, namespace)

    def format_help(self):
        return super().format_help() + (self.appendix() if self.appendix else "")


def option(
    name: str, kind: type = str, default=None, text: str = "", absent: str = "", **more
) -> tuple[str, dict]:
    """Return what add_argument takes for an option or argument `name`, such as "--out DIR".

    A former name follows a slash: "--lora-scale/--strength NUMBER".  `kind` bool is a switch.
    `absent` says in words what is done without it, where that is not the default's value; `more`
    is for argparse.
    """
    flag, _, metavar = name.partition(" ")
    if kind is bool:
        return flag, {"action": "store_true", "help": text, **more}
    if metavar:
        more["metavar"] = metavar
    if default is REQUIRED:
        more["required"] = True
    elif absent or default not in (None, "", []):
        absent = absent or (f"{default:g}" if kind is float else default)
        text, more["default"] = f"{text} (default: {absent})", default
    else:
        more["default"] = default
    return flag, {"type": kind, "help": text, **more}


def add_options(parser: Parser, run: Callable, *options: tuple[str, dict]) -> None:
    """Give a verb's parser its options, and --json; `run(options)` does the work."""
    parser.set_defaults(run=run)
    for flag, how in (JSON, *options):
        parser.add_argument(*flag.split("/"), **how)


def add_verbs(parser: Parser) -> Callable[..., Parser]:
    """Make a parser one of several verbs; return add(name, run, text, *options), which gives it one
    and returns that one's parser.  Without `run` there are no options yet."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, run: Callable | None, text: str, *options: tuple[str, dict]) -> Parser:
        verb = verbs.add_parser(name, help=text, description=text)
        if run:
            add_options(verb, run, *options)
        return verb

    return add


JSON = option("--json", bool, False, "print JSON alone on stdout")
DEVICE = option("--device", str, "auto", ", ".join(CHOICES["device"]))
BASE = option("--base", str, "mini", "mini, sd15, a pipeline folder, or a hub id")
SET = option("--set KEY=VALUE", str, [], "any of the settings below", action="append")
