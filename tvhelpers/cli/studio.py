"""Which page does the verb `studio` open, and where does it keep what is drawn?"""

import importlib.util
import threading
from pathlib import Path

from tvhelpers.cli.options import BASE, CONFIG, DEVICE, add_options, option
from tvhelpers.config import check_range
from tvhelpers.errors import InputError
from tvhelpers.output import say
from tvhelpers.words import counted

OPTIONS = (
    BASE,
    CONFIG,
    option("--adapter", str, None, "the adapter that is chosen at first: a LoRA file, the folder "
           "of a training, shipped, or none; the page's menu has all finished trainings",
           "shipped for mini, else none"),
    option("--out DIR", Path, None, "folder that keeps the designs; what is in it is shown again",
           "runs/studio"),
    option("--port N", int, 0, "port of the page's address", "7860, or the next free one"),
    option("--share", bool, text="also give the page a public address, through a server of "
           "Gradio's makers; whoever has that address can draw and see your designs"),
    DEVICE,
)  # fmt: skip


def declare(parser) -> None:
    """Give `studio` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> dict:
    """Serve the page until Ctrl-C; return how many designs the folder holds."""
    if options.port:
        check_range("port", options.port, 1024, 65535)
    if not importlib.util.find_spec("gradio"):
        raise InputError("no-gradio")
    from tvhelpers.runtime import root_dir
    from tvhelpers.sample.sampler import Sampler  # loads torch, which takes seconds
    from tvhelpers.show.studio_page import launch
    from tvhelpers.show.studio_session import Session

    folder = options.out or root_dir() / "runs" / "studio"
    session = Session(Sampler(options.base, options.adapter, options.device), folder)
    page, address = launch(session, options.port, options.share)
    try:
        say(f"the studio is at {address} until you press Ctrl-C; designs are kept in {folder}")
        threading.Event().wait()
    except KeyboardInterrupt:  # how it is meant to end
        say("closing, which takes seconds while the page is open")
        session.cancel()
        session.wait(30)
    page.blocks.close(verbose=False)
    count = len(session.entries)
    say(f"closed; {counted(count, 'design')} in {folder}")
    return {"designs": count, "folder": str(folder)}
