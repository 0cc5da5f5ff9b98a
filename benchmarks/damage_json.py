"""How can JSON be wrong, and who reads it?

`READERS` are of work as tests/saved/work has it, with what `complete` adds; each is called in a
copy of that folder, and must return or raise an InputError.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

VALUES = (None, 0, -1, 1e308, 10**400, "", "x", "../../x", "a\0b", "\ud800", [], {}, True, [[]])
DEEP = 200


def mutations(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each mutation of a file of JSON, or of JSON lines.

    Of lines, the first is mutated, and of lists the first two elements.
    """
    first, *rest = (
        path.read_bytes().split(b"\n") if path.suffix == ".jsonl" else [path.read_bytes()]
    )
    for name, value in _changed(json.loads(first)):
        yield name, b"\n".join([json.dumps(value).encode(), *rest])
    text = path.read_text(encoding="utf-8")
    whole = {
        "empty": b"", "a list": b"[]\n", "null": b"null\n", "a number": b"3\n", "NaN": b"NaN\n",
        "half": text.encode()[: len(text) // 2], "mark": text.encode("utf-8-sig"),
        "UTF-16": text.encode("utf-16"), "no UTF-8": b"\xff" + text.encode(),
        "deep": b"[" * DEEP + b"]" * DEEP, "very deep": b'{"a":' * 10**5,
        "key twice": text.encode().replace(b"{", b'{"x": 1, "x": [],', 1), "a zero": b"\0" * 99,
        "digits": b"9" * 5000,
    }  # fmt: skip
    yield from whole.items()


def _changed(value, place: str = "") -> Iterator[tuple[str, object]]:
    """Yield (name, value) of each change of a value or of one of its parts."""
    for new in (*VALUES, json.loads("[" * DEEP + "]" * DEEP), float("nan"), float("inf")):
        yield f"{place or 'all'} = {str(new)[:9]!a}", new
    if not isinstance(value, (dict, list)):
        return
    keys = [*value] if isinstance(value, dict) else range(min(len(value), 2))
    for key in keys:
        less = copy.copy(value)
        del less[key]
        yield f"no {place}.{key}", less
        for name, part in _changed(value[key], f"{place}.{key}"):
            changed = copy.copy(value)
            changed[key] = part
            yield name, changed


def complete(work: Path) -> None:
    """Add to the saved work the JSON files that it lacks."""
    from tvhelpers.records import write_json
    from tvhelpers.score.suite import SUITES

    write_json(work / "base" / "base.json", {"trained_from": "x", "guidance": 3.0})
    row = {"attributes": ["category"], "words": [["dress"], ["skirt"]]}
    write_json(work / "base" / "classes.json", row)
    (work / "suite.jsonl").write_bytes((SUITES / "paper-8.jsonl").read_bytes())
    speed = [{"step": n, "images_per_second": 3.0, "memory_gb": 0.5} for n in (1, 2)]
    lines = "".join(json.dumps(row) + "\n" for row in speed)
    (work / "runs" / "done" / "speed.jsonl").write_text(lines, encoding="utf-8")
    write_json(work / "partial.json", {"url": "http://a/b", "version": None, "total": 3})


def _study(file: Path) -> None:
    from tvhelpers.files import content_key
    from tvhelpers.records import read_json, write_json
    from tvhelpers.study.analysis import analyse
    from tvhelpers.study.model import Study
    from tvhelpers.study.page import write_pages
    from tvhelpers.study.simulation import simulate_rater
    from tvhelpers.study.votes import VoteBox

    if file.name == "key.json":  # whoever changes it can sign it again
        about = read_json(file.with_name("study.json"))
        write_json(
            file.with_name("study.json"), {**about, "key_sha256": content_key(read_json(file))}
        )
    study = Study(file.parent)
    file.with_name("votes.sqlite").unlink(missing_ok=True)
    simulate_rater(study, "r1", dict.fromkeys(study.systems, 1.0), attentive=1.0)
    analyse(study, VoteBox(study).votes())
    write_pages(study, file.parents[1] / "pages", ["r1"])


def _votes(file: Path) -> None:
    from tvhelpers.study.model import Study
    from tvhelpers.study.votes import import_votes

    import_votes(Study(file.parent / "study"), file)


def _run(file: Path) -> None:
    from tvhelpers.records import read_record
    from tvhelpers.show.training import training_curves
    from tvhelpers.train.log import RunLog
    from tvhelpers.train.resume import run_config

    if file.name == "config.json":
        run_config(file.parent)
        run_config(file.parent, steps=16)
    elif file.name == "result.json":
        read_record(file, "result")
    else:
        training_curves(file.parent)
        RunLog(file.parent, 20, "cpu", 2)


def _gallery(file: Path) -> None:
    from tvhelpers.records import check_claim
    from tvhelpers.sample.gallery import _complete_records
    from tvhelpers.sample.request import Request
    from tvhelpers.score.image_folder import open_folder

    if file.name == "request.json":
        check_claim(file.parent, {"prompts": ["a red dress"]}, "request", file.name, ())
    _complete_records(file.parent, Request(("a red dress",), count=2, seed=3).jobs())
    open_folder(file.parent)


def _base(file: Path) -> None:
    from tvhelpers.models import architecture, base
    from tvhelpers.models.baseline import read_classes

    architecture.read_index.cache_clear()
    folder = file.parent if file.parent.name == "base" else file.parents[1]
    found = base.find_base(str(folder))
    base.own_resolution(found)
    read_classes(folder)
    if file.parent != folder:
        base.load_part(found, file.parent.name)


def _cache(file: Path) -> None:
    from tvhelpers.train.latents import read_cache

    read_cache(file.parent)


def _source(file: Path) -> None:
    from tvhelpers.data.caption_files import with_captions
    from tvhelpers.data.sources import open_source

    if file.name == "captions.jsonl":
        with_captions(open_source(file.parent / "photos"), file)
    else:
        open_source(file.parent)


def _suite(file: Path) -> None:
    from tvhelpers.sample.request import Request
    from tvhelpers.score.suite import covered, open_suite, request_of

    rows = covered(open_suite(str(file)), "mini")
    Request(tuple(row["prompt"] for row in rows), **request_of(rows)).jobs()


def _metrics(file: Path) -> None:
    from tvhelpers.score.report import read_metrics

    read_metrics(file)


def _download(file: Path) -> None:
    from tvhelpers.records import read_record

    read_record(file, "partial download")


READERS = {  # {file of the work: reader}
    "study/study.json": _study, "study/key.json": _study, "votes-r2.json": _votes,
    "runs/done/config.json": _run, "runs/done/result.json": _run, "runs/done/log.jsonl": _run,
    "runs/done/eval.jsonl": _run, "runs/done/speed.jsonl": _run, "out/half/records.jsonl": _gallery,
    "out/half/request.json": _gallery, "out/plain.json": _metrics, "base/model_index.json": _base,
    "base/base.json": _base, "base/classes.json": _base, "base/unet/config.json": _base,
    "base/vae/config.json": _base, "base/text_encoder/config.json": _base,
    "base/scheduler/scheduler_config.json": _base, "base/tokenizer/tokenizer_config.json": _base,
    "root/artifacts/cache-2eb78c3a5a22a897/about.json": _cache, "captions.jsonl": _source,
    "converted/items.jsonl": _source, "suite.jsonl": _suite, "partial.json": _download,
}  # fmt: skip
