"""What does `python -m tvhelpers VERB ...` do, and how does it end?

Each verb, or group of verbs, is a module of the same name, which declares its options and is thin
over one function of the package.
"""

import contextlib
import sys
import warnings

import tvhelpers
from tvhelpers.cli.options import Parser, add_verbs
from tvhelpers.errors import InputError

VERBS = {
    "generate": "Draw pictures from prompts.",
    "train": "Fine-tune a base; the same command goes on where it stopped.",
    "prompts": "Print or write a suite of prompts, as JSON lines.",
    "score": "Score folders of pictures.",
    "data": "Look into data, convert and report on it.",
    "adapter": "Look into adapters, convert, blend and merge them.",
    "clip": "Fine-tune a CLIP.",
    "study": "Ask people: make a study, collect votes, analyse.",
    "mini": "Work on the embedded base.",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, 2 for what cannot be done, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = lambda message, *rest: print(f"warning: {message}", file=sys.stderr)
    try:
        run_command(arguments)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stdout = None  # or Python would complain while it ends
    except KeyboardInterrupt as error:
        import shlex

        print(str(error) or "stopped", file=sys.stderr)
        print(f"to go on: python -m tvhelpers {shlex.join(arguments)}", file=sys.stderr)
        return 130
    except (InputError, OSError, RuntimeError) as error:
        sentence = _sentence(error)
        if not sentence:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    return 0


def run_command(arguments: list[str]) -> None:
    """Do what the words of a command line ask for, and print its result where they have --json."""
    options = build_parser().parse_args(arguments)
    from tvhelpers.progress import show_log  # here: what is refused above is refused at once

    show_log()
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        result = options.run(options)
    if options.json:
        import json

        print(json.dumps(result, indent=1))


def build_parser() -> Parser:
    """Return the parser of all verbs; the module of one is loaded when it is asked for."""
    parser = Parser(
        prog="python -m tvhelpers", description="Turn a sentence into a fashion design."
    )
    parser.add_argument("--version", action="version", version=f"tvhelpers {tvhelpers.__version__}")
    add = add_verbs(parser)
    for verb, text in VERBS.items():
        add(verb, None, text).module = f"tvhelpers.cli.{verb}"
    return parser


def _sentence(error: Exception) -> str:
    """Return what to tell the user of an error that is not the program's own; "" of another."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        what = f"{error.strerror or error}{where}"
        return f"{what}; nothing finished is lost: mend that and run the same command again"
    if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not loaded here
        return ""
    advice = "train with a smaller batch_size and more accumulate, draw with --batch-size 1"
    return f"the GPU has not enough memory; {advice}"
