"""Files of new captions: written from a source, and taken in place of its own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

from tvhelpers.config import InputError
from tvhelpers.data.caption_report import caption_report, format_caption_report
from tvhelpers.data.captions import recaption, template_captions
from tvhelpers.data.fashion_synthesis import read_language, read_partition
from tvhelpers.data.items import Source, read_rows
from tvhelpers.data.sources import beside, open_source
from tvhelpers.files import atomic_path, content_key
from tvhelpers.runtime import seed_for
from tvhelpers.words import describe


def open_captioned(name_or_path: str | Path, bare: bool = False) -> Source:
    """Open what `open_source` opens, or a language_original.mat alone: a source without pixels."""
    path = Path(name_or_path)
    if path.suffix != ".mat":
        return open_source(name_or_path, bare=bare)
    notes = read_language(path)
    columns = [notes.captions, notes.names, notes.products, notes.attributes()]
    partition = beside(path, "Eval", "ind.mat")
    splits = read_partition(partition, len(notes)) if partition else [""] * len(notes)
    return Source(path.stem, content_key([columns, splits]), *columns, splits)


def write_captions(
    source: Source,
    out: Path,
    *,
    variants: int = 3,
    seed: int = 0,
    captioner: str | None = None,
    tokenizer=None,
    say: Callable[[str], None] = print,
) -> dict:
    """Write new captions of a source as rows {"index", "item", "captions"}, and report on them.

    `captioner` is a model of `caption_images`, whose captions stand in for the source's own; with a
    `tokenizer` of CLIP's the report counts tokens.
    Returns {"out", "items", "variants", "before", "after"}; "after" is of the one caption of each
    item that `with_captions` takes.  Raises InputError where `out` holds other captions.
    """
    old = source.captions
    if captioner:
        from tvhelpers.data.captioner import caption_images

        old = caption_images(source, captioner, out.with_name(f"{out.stem}.images.jsonl"), say=say)
    new = [_new_captions(source, old[i], i, seed, variants) for i in range(len(source))]
    rows = [
        {"index": i, "item": item, "captions": texts}
        for i, (item, texts) in enumerate(zip(source.item_ids, new, strict=True))
    ]
    _write_once(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    before, after = (
        caption_report(texts, tokenizer) for texts in (old, _chosen(source.item_ids, new))
    )
    different = len({text for texts in new for text in texts})
    say(f"{out}: {different:,} different captions of {len(new):,} items")
    say(format_caption_report(before, after))
    return {
        "out": str(out),
        "items": len(new),
        "variants": variants,
        "before": before,
        "after": after,
    }


def _new_captions(source: Source, old: str, index: int, seed: int, variants: int) -> list[str]:
    labels, options = source.attributes[index], {"seed": seed, "index": index, "variants": variants}
    if "category" in labels and old == describe(labels):  # made from the labels, not written
        return template_captions(labels, **options)
    return recaption(labels, source.product_ids[index], old, **options)


def _write_once(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{path} holds something else; choose another name, or remove it")
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _chosen(item_ids: list[str], captions: list[list[str]]) -> list[str]:
    """Return one caption of each item, by a hash of its id: the same in every run and epoch."""
    pairs = zip(item_ids, captions, strict=True)
    return [texts[seed_for("caption", item) % len(texts)] for item, texts in pairs]


def with_captions(source: Source, path: Path) -> Source:
    """Return the source with one caption of each item from a file of `write_captions`.

    Its fingerprint stands for the new captions too.  Raises InputError where the file is of other
    items, or a row has no captions.
    """
    rows = read_rows(Path(path))
    if [row.get("item") for row in rows] != source.item_ids:
        raise InputError(
            f"{path} has captions of {len(rows)} items that are not the {len(source)} of "
            f"{source.name}, in their order; write it anew from that source"
        )
    captions = [row.get("captions") for row in rows]
    for i, texts in enumerate(captions):
        if not (isinstance(texts, list) and texts and all(isinstance(x, str) for x in texts)):
            raise InputError(f"{path}: row {i} has no list of captions; write the file anew")
    new = copy.copy(source)
    new.captions = _chosen(source.item_ids, captions)
    new.fingerprint = content_key([source.fingerprint, new.captions])
    return new
