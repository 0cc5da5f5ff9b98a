"""What does `python -m tvhelpers VERB ...` run, and how does it report errors?

Each verb, or group of verbs, is a module of the same name, which declares the options and calls one
function of the package.
"""

import contextlib
import sys
from pathlib import Path

import tvhelpers
from tvhelpers import output
from tvhelpers.cli.options import Parser, add_verbs
from tvhelpers.errors import InputError, is_disk_full, is_out_of_memory, one_line

VERBS = {
    "generate": "Generate images from prompts.",
    "train": "Train on your images; the same command resumes a stopped training.",
    "studio": "Draw in your browser: the prompt studio as a web page.",
    "prompts": "Print or write a prompt suite: a fixed list of prompts and seeds.",
    "score": "Score folders of generated images.",
    "data": "Inspect, convert, caption and split images; download data sets.",
    "adapter": "Show, convert, scale, blend and merge adapters.",
    "clip": "For specialists: train a CLIP, the network that compares images with texts.",
    "study": "Ask people which images are better, and analyse their votes.",
    "report": "Write one page of trainings, images and experiments, from their folders alone.",
    "experiment": "Compare settings, with several seeds each: the tables of notebook 07.",
    "mini": "Rebuild mini from nothing, to reproduce it; not for your garments.",
}
# Verbs whose result is what they print.
PRINTED = {"prompts", "data inspect", "data split", "data coverage", "adapter show", "study power"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status: 0; 2 for an error of the input or the machine; 70
    for a bug; 130 after Ctrl-C; 141 where the result is printed to a pipe that was closed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with output.safe_streams():
        return _status(arguments)


def _status(arguments: list[str]) -> int:
    try:
        run_command(arguments)
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt as error:
        import shlex

        ways = getattr(error, "ways", {"to resume": ()}).items()
        lines = [f"{what}: python -m tvhelpers {shlex.join([*arguments, *x])}" for what, x in ways]
        output.note(str(error) or "stopped", *lines)
        return 130
    except Exception as error:
        message = _message(error)
        output.note(f"error: {message or _reported(error)}")
        return 2 if message else 70  # EX_SOFTWARE of sysexits.h
    return 0


def run_command(arguments: list[str]) -> None:
    """Run a command, and print its result as JSON where it has --json."""
    options = build_parser().parse_args(arguments)
    from tvhelpers.progress import show_log  # imported late: a wrong argument is refused at once

    show_log()
    quiet = contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext()
    with quiet, output.skips_at_end() as skipped:
        if getattr(options, "config", ""):
            _convert_base(options)
        result = options.run(options)
    if skipped and isinstance(result, dict):
        result = {**result, "skipped": {one.reason: one.names for one in skipped}}
    if options.json:
        import json

        output.say(*json.dumps(result, indent=1).split("\n"))
    _check_printed(options)


def _convert_base(options) -> None:
    """Convert the checkpoint that is the base with the configs of --config; raises InputError for
    another base."""
    from tvhelpers.config import parse_settings
    from tvhelpers.models.one_file import open_checkpoint

    base = options.base if "base" in options else parse_settings(options.set).get("base", "mini")
    if not Path(base or "").is_file():
        raise InputError("not-with-config", base=base or "mini")
    open_checkpoint(Path(base), options.config)


def _check_printed(options) -> None:
    """Raise the error of standard output, if printing was all that the command had to do.

    Other commands succeed although nobody reads what they print, as in `train ... | head`.
    """
    error = output.stdout_error()
    written = getattr(options, "out", None) or getattr(options, "image", None)
    if error and options.prog.partition("tvhelpers ")[2] in PRINTED and not written:
        raise error
    if error and options.json and not isinstance(error, BrokenPipeError):
        raise error


def build_parser() -> Parser:
    """Return the parser of all verbs; the module of a verb is loaded when it is used."""
    parser = Parser(
        prog="python -m tvhelpers",
        description="Generate fashion designs from prompts; train the model on your garments.",
        epilog="python -m tvhelpers COMMAND --help explains one of them.",
    )
    parser.add_argument("--version", action="version", version=f"tvhelpers {tvhelpers.__version__}")
    add = add_verbs(parser)
    for verb, text in VERBS.items():
        add(verb, None, text).module = f"tvhelpers.cli.{verb}"
    return parser


def _message(error: Exception) -> str:
    """Return the message of an error of the input or machine, "" for one of the program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) or is_disk_full(error):
        return f"{one_line(error)}; finished work is kept; fix this and run the same command again"
    smaller = "use a smaller batch_size, or generate with --batch-size 1"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not loaded here
        return f"the GPU is out of memory; {smaller}"
    if is_out_of_memory(error):
        return f"the memory of this machine is full; {smaller}, or close other programs"
    return ""


def _reported(error: Exception) -> str:
    """Write the traceback of a bug to a file; return a message with the path of that file."""
    import tempfile
    import traceback

    lines = "".join(traceback.format_exception(error))
    try:
        handle, path = tempfile.mkstemp(".txt", "tvhelpers-error-")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(lines)
    except OSError:  # a full or read-only disk
        output.note(*lines.split("\n"))
        path = "above"
    what = f"{type(error).__name__}: {one_line(error)}"
    return str(InputError("internal-error", what=what, path=Path(path)))
