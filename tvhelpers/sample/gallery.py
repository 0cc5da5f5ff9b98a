"""How is a gallery of images written, and how does a stopped one resume?"""

import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tvhelpers.errors import InputError
from tvhelpers.files import no_link, write_text
from tvhelpers.image import read_photo
from tvhelpers.models.identity import FILES, shown
from tvhelpers.paths import inside
from tvhelpers.progress import progress_bar
from tvhelpers.records import claimed, read_record, read_records
from tvhelpers.runtime import versions
from tvhelpers.sample.grid import save_grid
from tvhelpers.sample.parameters import save_drawn
from tvhelpers.sample.prompt import remarks_on
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler
from tvhelpers.words import counted

log = logging.getLogger(__name__)


def generate(
    sampler: Sampler, request: Request, out_dir: Path, *, batch_size: int = 8
) -> list[dict]:
    """Draw the images of a request that `out_dir` lacks, and return the records of all of them.

    Writes <index>_<seed>.png, records.jsonl (one line for each image), request.json and grid.png
    (for many images also grid-2.png and so on).
    Raises InputError where `out_dir` holds anything else.
    """
    out_dir = Path(out_dir)
    chosen = ("dtype",)  # not by the user
    if request.guidance is None:
        chosen += ("guidance",)
        request = replace(request, guidance=sampler.default_guidance)
    if sampler.classes:
        for prompt in request.prompts:
            sampler.classes.label_of(prompt)  # refuses an unknown class before anything is written
    dtype = str(sampler.dtype).removeprefix("torch.")
    # With lists instead of tuples, as the file has it.
    request_json = json.loads(json.dumps({**request.record(), **sampler.identity, "dtype": dtype}))
    exists = (out_dir / "request.json").exists()
    if not exists:
        _warn(sampler, request)  # loads the base: if that fails, no folder
    lines = out_dir / "records.jsonl"
    scratch = (lines.name,) if lines.exists() and not lines.stat().st_size else ()
    how = {"ignore": _may_differ(out_dir, sampler), "scratch": scratch, "chosen": chosen}
    with claimed(out_dir, request_json, "request", **how):
        records = _complete_records(out_dir, request.jobs())
        todo = [job for job in request.jobs() if job[0] not in records]
        if not todo and (out_dir / "grid.png").exists():
            log.info("%s has all images of this request already", out_dir)
            return list(records.values())
        if exists and todo:
            _warn(sampler, request)
        total, done = len(request.jobs()), len(records)
        with progress_bar("generating", total, done=done, unit="images") as bar:
            for record in _draw(sampler, request, todo, out_dir, batch_size):
                records[record["index"]] = record
                drawn = len(records) - bar.n
                if drawn == batch_size or len(records) == total:  # time is of batches, not images
                    bar.update(drawn)
        records = [record for _, record in sorted(records.items())]
        sheets = save_grid(
            [(out_dir / record["file"], record["prompt"]) for record in records],
            out_dir / "grid.png",
            columns=request.count if request.count > 1 else 0,
        )
        last = f" to {sheets[-1].name} show all" if len(sheets) > 1 else " shows all"
        log.info("%s in %s; grid.png%s", counted(total, "image"), out_dir, last)
    return records


def _may_differ(out_dir: Path, sampler: Sampler) -> tuple[str, ...]:
    """Return the keys of a request that do not say which base it has: the name of a folder beside
    the digest of its files, or else, in older requests, its path."""
    path = out_dir / "request.json"
    if FILES not in sampler.identity or not path.exists():
        return ()
    if FILES in (seen := read_record(path, "request")):
        return ("base",)
    same = shown(str(seen.get("base", ""))) == sampler.identity["base"]
    return (FILES, "base") if same else (FILES,)


def _draw(
    sampler: Sampler, request: Request, jobs: list, out_dir: Path, batch_size: int
) -> Iterator[dict]:
    """Draw the jobs and yield the record of each image, once both are on the disk."""
    ids = {
        i * request.count + k: id for i, id in enumerate(request.ids) for k in range(request.count)
    }
    request = sampler.with_defaults(request)
    fixed = {**request.settings(), **sampler.identity, "versions": versions()}
    with open(out_dir / "records.jsonl", "a", encoding="utf-8", opener=no_link) as file:
        for *job, image in sampler.sample(request, jobs, batch_size=batch_size):
            (index, prompt, seed), name = job, _file_name(job)
            record = {"index": index, "file": name, "prompt": prompt, "seed": seed, **fixed}
            record |= {"prompt_id": ids[index]} if ids else {}
            save_drawn(image, out_dir / name, record)
            file.write(json.dumps(record) + "\n")
            file.flush()
            yield record


def _warn(sampler: Sampler, request: Request) -> None:
    for text in remarks_on(sampler, request):
        warnings.warn(text, stacklevel=3)


def _complete_records(out_dir: Path, jobs: list[tuple[int, str, int]]) -> dict[int, dict]:
    """Return {index: record} of the readable images of `jobs`; drop all other lines."""
    path = out_dir / "records.jsonl"
    names = {(_file_name(job), *job) for job in jobs}
    rows = {row["index"]: row for row in read_records(path, "generated image")}
    kept = {
        index: row
        for index, row in rows.items()
        if (row["file"], index, row["prompt"], row.get("seed")) in names
        and _is_readable(inside(out_dir, row["file"]))
    }
    if path.exists():
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept.values()))
    return kept


def _file_name(job: tuple[int, str, int]) -> str:
    index, _, seed = job
    return f"{index:04d}_{seed}.png"


def _is_readable(path: Path) -> bool:
    try:
        read_photo(path)
    except InputError:
        return False
    return True
