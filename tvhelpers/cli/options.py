"""How does a verb of the command line declare its options and their help?"""

import argparse
import re
from collections.abc import Callable
from importlib import import_module

from tvhelpers.errors import Choice, InputError
from tvhelpers.output import stdout_error
from tvhelpers.paths import AND

REQUIRED = object()  # as a default: the option must be given


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are InputErrors of one sentence, without a usage block.

    Its `module` declares the options at the first use; `appendix()` returns the end of --help;
    `only` are options that need another one, with that one; `several`: an option whose further
    values are joined, and words that are none of them.
    """

    module: str = ""
    only: tuple[tuple[argparse.Action, str], ...] = ()
    several: tuple[str, tuple[str, ...]] = ("", ())
    appendix: Callable[[], str] | None = None
    color = property(lambda self: False, lambda self, value: None)  # Python 3.14 would colour it

    def error(self, message):
        """Raise InputError with argparse's message, or with the nearest choice."""
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            choice = Choice(found[1], re.findall(r"[\w-]+", found[2]))
            raise InputError("usage.choice", prog=self.prog, value=found[1], choice=choice)
        if found := re.search(r"unrecognized arguments: (\w+=\S*)", message):
            raise InputError("usage.more-settings", rest=found[1])
        raise InputError("usage.words", message=message, prog=self.prog)

    def exit(self, status=0, message=None):
        """Exit, with status 141 where the help could not be printed."""
        super().exit(status or (141 if stdout_error() else 0), message)

    def load(self) -> None:
        """Let the module declare the options, once."""
        module, self.module = self.module, ""
        if module:
            import_module(module).declare(self)

    def parse_known_args(self, args=None, namespace=None):
        """Return (options, rest); raise InputError for an option without the one that it needs."""
        self.load()
        options, rest = super().parse_known_args(self._joined(args), namespace)
        for action, needed in self.only:
            other, _, value = needed.partition(" ")
            found = getattr(options, other[2:].replace("-", "_"))
            is_there = found == value if value else found
            if not is_there and getattr(options, action.dest) != action.default:
                raise InputError("usage.only", option=action.option_strings[0], needed=needed)
        return options, rest

    def _joined(self, words):
        """Return the command line with the values A and B of the option `several` as "A + B"."""
        flag, others = self.several
        if flag not in (words or ()):
            return words
        begin = end = words.index(flag) + 1
        while end < len(words) and words[end][:1] != "-" and words[end] not in others:
            end += 1
        return [*words[:begin], *[AND.join(words[begin:end])] * (end > begin), *words[end:]]

    def format_help(self):
        """Return the help with the appendix."""
        return super().format_help() + (self.appendix() if self.appendix else "")


def option(
    name: str, kind: type = str, default=None, text: str = "", absent: str = "", **more
) -> tuple[str, dict]:
    """Return the arguments of add_argument for an option or argument such as "--out DIR".

    A former name follows a slash, "--validation/--former DIR".  `kind` bool is a switch.
    `absent` describes the default where its value does not; `more` is for argparse, except `only`:
    another option that this one needs, such as "--train" or "--to latents".
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
    """Add the options of a verb, and --json; `run(options)` does the work."""
    parser.set_defaults(run=run, prog=parser.prog)
    for flag, how in (JSON, *options):
        more = {key: value for key, value in how.items() if key != "only"}
        action = parser.add_argument(*flag.split("/"), **more)
        parser.only += ((action, how["only"]),) if "only" in how else ()


def add_verbs(parser: Parser) -> Callable[..., Parser]:
    """Give a parser verbs; return add(name, run, text, *options), which adds one.

    `add` returns the verb's parser.  Without `run` the verb has no options yet.
    """
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable | None, text: str, *options: tuple[str, dict]) -> Parser:
        verb = verbs.add_parser(name, help=text, description=text)
        if run:
            add_options(verb, run, *options)
        return verb

    return add


JSON = option("--json", bool, False, "print the result as JSON, for programs")
DEVICE = option("--device", str, "auto", "auto (a GPU where there is one), cpu or cuda")
BASE_TEXT = (
    "a base named in data_manifest.yaml (mini, sd15, sdxl, sd14), a diffusers pipeline folder, a "
    "checkpoint (one .safetensors file), or hub:owner/name of huggingface.co"
)
BASE = option("--base", str, "mini", BASE_TEXT)
CONFIG = option("--config FOLDER", str, "", "a pipeline whose configs a checkpoint is converted "
                "with: a folder or hub:owner/name", "the usual one of its family")  # fmt: skip
APPLIED = "how much of the adapter is applied: 1 fully, 0 not at all"
LORA_SCALE = option("--lora-scale/--strength X", float, 1.0, APPLIED)  # stable name
SET = option("--set KEY=VALUE", str, [], "change a setting below, as in --set steps=1000; can "
             "be repeated", action="append")  # fmt: skip
SOURCE = (
    "a folder of photos, a table, converted data, or a name: flats, ... (all in data_manifest.yaml)"
)
