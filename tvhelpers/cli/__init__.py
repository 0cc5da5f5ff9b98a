"""The command line: python -m tvhelpers VERB ...  Each verb is thin over one function of the
package."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path

from tvhelpers.cli import adapter as cli_adapter
from tvhelpers.cli import clip as cli_clip
from tvhelpers.cli import data as cli_data
from tvhelpers.cli import score as cli_score
from tvhelpers.cli import study as cli_study
from tvhelpers.config import DEVICES, METHODS, PRESETS, InputError, parse_settings
from tvhelpers.runtime import show_log
from tvhelpers.train.resume import run_config

GROUPS = {  # of verbs, such as `data inspect`
    "data": (cli_data, "Look into data, convert and report on it."),
    "adapter": (cli_adapter, "Look into adapters, convert, blend and merge them."),
    "clip": (cli_clip, "Fine-tune a CLIP."),
    "study": (cli_study, "Ask people: make a study, collect votes, analyse."),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, 2 for input that cannot be used, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    show_log()
    warnings.showwarning = lambda message, *rest: print(f"warning: {message}", file=sys.stderr)
    try:
        options = build_parser().parse_args(arguments)
        with (
            contextlib.redirect_stdout(sys.stderr)
            if getattr(options, "json", False)
            else contextlib.nullcontext()
        ):
            result = options.run(options)
        if getattr(options, "json", False):
            print(json.dumps(result, indent=1))
        return 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stdout = None  # or Python would complain while it ends
        return 0
    except OSError as error:
        print(f"error: {_os_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or "stopped", file=sys.stderr)
        print(f"to go on: python -m tvhelpers {_shell(arguments)}", file=sys.stderr)
        return 130
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not loaded here
            raise
        advice = "train with a smaller batch_size and more accumulate, draw with --batch-size 1"
        print(f"error: the GPU has not enough memory; {advice}", file=sys.stderr)
        return 2


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are InputErrors: one sentence, no usage block."""

    def error(self, message):
        raise InputError(f"{message}; see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = Parser(
        prog="python -m tvhelpers", description="Turn a sentence into a fashion design."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_generate(verbs)
    _add_train(verbs)
    cli_score.add_verbs(partial(_verb, verbs))
    for name, (module, text) in GROUPS.items():
        group = verbs.add_parser(name, help=text).add_subparsers(required=True, metavar="VERB")
        module.add_verbs(partial(_verb, group))
    _add_mini(verbs)
    return parser


def _verb(verbs, name: str, run, text: str):
    verb = verbs.add_parser(name, help=text, description=text)
    verb.add_argument("--json", action="store_true", help="print JSON alone on stdout")
    verb.set_defaults(run=run)
    return verb


def _add_generate(verbs) -> None:
    verb = _verb(verbs, "generate", run_generate, "Draw pictures from prompts.")
    verb.add_argument("prompts", nargs="*", metavar="PROMPT")
    verb.add_argument(
        "--prompts",
        dest="suite",
        metavar="SUITE",
        help="instead: fb138, fb1000, paper-8, fb138:SEED, or a file of `prompts`; what the base "
        "has words for, each prompt on its own seeds",
    )
    verb.add_argument("--out", required=True, type=Path, metavar="DIR")
    verb.add_argument(
        "--base", default="mini", help="mini, sd15, a pipeline folder, or a hub id (default: mini)"
    )
    verb.add_argument(
        "--adapter", help="shipped, none, or a file (default: shipped where the base has one)"
    )
    verb.add_argument(
        "--text-encoder",
        default="",
        metavar="DIR",
        help="a tuned CLIP (default: the one that the adapter was trained with)",
    )
    verb.add_argument("--count", type=int, default=1, help="pictures a prompt (default: 1)")
    verb.add_argument("--seed", type=int, help="copy k of a prompt has seed + k (default: 0)")
    verb.add_argument("--steps", type=int, default=20, help="sampler steps (default: 20)")
    verb.add_argument(
        "--guidance", type=float, help="guidance scale; 1 = none (default: what suits the base)"
    )
    verb.add_argument(
        "--size", type=int, default=0, metavar="PX", help="pixels a side (default: the base's own)"
    )
    verb.add_argument("--strength", type=float, default=1.0, help="times the adapter (default: 1)")
    verb.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")
    verb.add_argument(
        "--batch-size", type=int, default=8, help="pictures drawn at once (default: 8)"
    )


def run_generate(options) -> list[dict]:
    """Draw, and return the records."""
    from tvhelpers.sample.request import Request

    rows, prompts, suite = [], tuple(options.prompts), {}
    if options.suite:
        from tvhelpers.score import suite as suites

        if prompts or options.seed is not None:
            raise InputError("a suite has prompts and seeds of its own; leave others out")
        rows = suites.covered(suites.open_suite(options.suite), options.base)
        prompts, suite = tuple(row["prompt"] for row in rows), suites.request_of(rows)
    how = {"steps": options.steps, "guidance": options.guidance, "size": options.size}
    how["strength"] = options.strength
    request = Request(prompts, options.count, options.seed or 0, **how, **suite)
    if options.batch_size < 1:
        raise InputError(f"batch-size is {options.batch_size}; give 1 or more")
    from tvhelpers.sample.sampler import Sampler, generate  # loads torch, which takes seconds

    sampler = Sampler(
        options.base, options.adapter, options.device, text_encoder=options.text_encoder
    )
    records = generate(sampler, request, options.out, batch_size=options.batch_size)
    if rows:
        suites.write(rows, options.out / suites.FILE)
    return records


def _add_train(verbs) -> None:
    verb = _verb(
        verbs, "train", run_train, "Fine-tune a base; the same command goes on where it stopped."
    )
    verb.add_argument("method", metavar="METHOD", help=", ".join(METHODS))
    verb.add_argument(
        "--data", required=True, metavar="SOURCE", help="a name in data_manifest.yaml, or a folder"
    )
    verb.add_argument("--out", required=True, type=Path, metavar="RUN")
    verb.add_argument("--preset", default="", help=f"{', '.join(PRESETS)} (default: default)")
    verb.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any field of TrainConfig"
    )


def run_train(options) -> dict:
    """Train, and return the result."""
    settings = parse_settings(options.set)
    clash = {"method", "data", "preset"} & set(settings)
    if clash:
        raise InputError(f"{min(clash)} has an argument of its own; do not give it with --set")
    given = {"method": options.method, "data": options.data, **settings}
    config = run_config(options.out, options.preset, **given)
    from tvhelpers.train.trainer import train

    result = train(config, options.out)
    if int(os.environ.get("RANK", 0)) == 0:  # of the processes of `accelerate launch`, the first
        from tvhelpers.show.training import training_curves

        training_curves(options.out)
        print(f"curves: {options.out / 'figures' / 'training.png'}")
    return result


def _add_mini(verbs) -> None:
    mini = verbs.add_parser("mini", help="Work on the embedded base.").add_subparsers(
        required=True, metavar="VERB"
    )
    train = _verb(
        mini,
        "train",
        run_mini_train,
        "Train mini from nothing; the same command goes on where it stopped.",
    )
    train.add_argument(
        "--work", required=True, type=Path, metavar="DIR", help="folder for checkpoints and caches"
    )
    train.add_argument(
        "--scale", type=float, default=1.0, help="multiply all step counts (default: 1)"
    )
    train.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")


def run_mini_train(options) -> dict:
    """Run the recipe of mini, which a checkout has beside the package, and say where its weights
    are; raises InputError where there is no checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "recipes" / "mini").is_dir():
        raise InputError(
            "no-checkout",
            "mini is trained by recipes/mini of the repository, which an installed package lacks; "
            "clone the repository and run this there",
        )
    sys.path.insert(0, str(checkout))
    recipe = importlib.import_module("recipes.mini.train")
    return recipe.train_mini(options.work, scale=options.scale, device=options.device)


def _os_sentence(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    what = f"{error.strerror or error}{where}"
    return f"{what}; nothing finished is lost: mend that and run the same command again"


def _shell(arguments: list[str]) -> str:
    import shlex

    return shlex.join(arguments)
