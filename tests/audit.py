"""What do commands do with hostile files?  Prints, as JSON, each forbidden event of each command.

Run by `test_audit.py` as a program of its own: an audit hook cannot be removed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import sysconfig
import traceback
from pathlib import Path

from audit_cases import CASES, INPUTS, MARKER, OUT, ROOT, SECRET, TEMP, WEIGHTS_DIR, image

from tvhelpers import cli

WORD = "private-words"
REPO = Path(__file__).resolve().parents[1]
WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
STARTS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.forkpty", "pty.spawn", "socket.connect", "socket.getaddrinfo", "socket.sendto",
    "socket.bind", "ctypes.dlopen", "pickle.find_class", "webbrowser.open", "builtins.input",
)  # fmt: skip
HOMES = [
    REPO, *{Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib")},
    Path(sys.prefix), Path(sys.base_prefix),
]  # fmt: skip
READABLE = [str(path.resolve()) for path in (*HOMES, INPUTS, OUT, TEMP)] + [
    "/proc", "/sys", "/dev/urandom", "/dev/null", "/usr/share", "/usr/lib", "/usr/local/lib",
    "/etc/localtime", "/etc/mime.types", "/lib",
]  # fmt: skip
WRITABLE = [str(path) for path in (OUT, TEMP)] + ["/dev/null", "/proc/self"]
CODE_FROM = [str(path.resolve()) for path in HOMES]
events: list[str] = []
watching = False


def within(path, folders) -> bool:
    if isinstance(path, int) or path is None:
        return True
    path = os.path.realpath(os.path.abspath(os.fsdecode(path)))
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def forbidden(event: str, args: tuple) -> bool:
    if event in STARTS:
        return True
    if event == "open":
        path, mode, flags = args
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        return not within(path, WRITABLE if writes or set(mode or "") & set("wax+") else READABLE)
    if event in WRITES:
        by_name = not isinstance(args[-1], int) or args[-1] == -1  # else in an open folder
        paths = [one for one in args if isinstance(one, str | bytes)]
        return by_name and not all(within(path, WRITABLE) for path in paths)
    if event in ("exec", "compile"):
        name = args[0].co_filename if event == "exec" else args[1]
        ours = (
            event == "compile" and isinstance(args[0], str | bytes) and MARKER.name in str(args[0])
        )
        return ours or not (os.fsdecode(name).startswith("<") or within(name, CODE_FROM))
    return False


def hook(event: str, args: tuple) -> None:
    global watching
    if watching:
        watching = False  # what it does itself is not watched
        try:
            if forbidden(event, args):
                events.append(f"{event} {args!r}"[:300])
        finally:
            watching = True


def good_commands():
    """Commands that load what commands load, and make what hostile copies are made of."""
    good, names = INPUTS / "good", ("red", "blue", "green")
    for name in names:
        image(good / "photos" / f"{name}.png")
        (good / "photos" / f"{name}.txt").write_text(f"a {name} dress")
    for i, name in enumerate(("gallery", "second")):
        rows = [{"prompt": f"a {one} dress", "base": "mini", "seed": 0} for one in range(12)]
        rows = [{**row, "file": f"{n}.png"} for n, row in enumerate(rows)]
        for row in rows:
            image(good / name / row["file"], 24 + i)
        (good / name / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    photos, gallery, second = (str(good / name) for name in ("photos", "gallery", "second"))
    study, out = str(OUT / "good-study"), ["--out", str(OUT / "good")]
    yield ["data", "convert", photos, "--out", str(OUT / "good-data")]
    yield ["generate", "a red dress", "--steps", "1", "--out", str(OUT / "good-images")]
    yield ["adapter", "show", "shipped"]
    yield ["adapter", "scale", "shipped", "--by", "1", "--out", str(OUT / "good.safetensors")]
    words = ["--features", "judge", "--real", second]
    yield ["score", gallery, *words, "--out", str(OUT / "good.json")]
    yield ["score", gallery, "--out", str(OUT / "good-2.json")]
    yield ["study", "make", f"a={gallery}", f"b={second}", "--out", study]
    yield ["study", "html", study, "--raters", "r1", "--out", str(OUT / "good-pages")]
    yield ["data", "captions", photos, "--captioner", str(WEIGHTS_DIR / "clip"), *out]


def run(words: list[str], given: dict[str, str] | None = None) -> dict:
    """Run a command in this process, watched, and return what came of it."""
    global watching
    before = len(events)
    os.environ.update(given or {})
    sys.stdin, out = io.StringIO("y\n" * 999), io.StringIO()
    watching = True  # without a hook, while the libraries are loaded, nobody is called
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = cli.main(words)
    except BaseException as error:
        code = "".join(traceback.format_exception(error)[-3:])
    finally:
        watching = False
        for name in given or {}:
            del os.environ[name]
    said = out.getvalue()
    found = events[before:] + [f"said {WORD}"] * (WORD in said)
    return {"words": words, "code": code, "events": found, "said": said[-300:]}


def main() -> None:
    for path in (INPUTS, OUT, TEMP, SECRET):
        path.mkdir(parents=True)
    image(SECRET / "photo.png")
    (SECRET / "words.txt").write_text(WORD)
    image(ROOT / "secret.png")
    os.chdir(OUT)
    rows = [{**run(words), "good": "--captioner" not in words} for words in good_commands()]
    sys.addaudithook(hook)
    for case in CASES:
        for one in case():
            given, words = one if isinstance(one, tuple) else (None, one)
            rows.append(run(words, given))
    left = [str(p) for p in OUT.rglob("*") if p.is_file() and WORD.encode() in p.read_bytes()]
    json.dump({"rows": rows, "marker": MARKER.exists(), "left": left}, sys.__stdout__)


if __name__ == "__main__":
    main()
