"""How are new captions written to a file, compared with the old ones, and used in their place?"""

import copy
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tvhelpers.data.caption_parsing import FEATURES, parse_caption
from tvhelpers.data.captions import recaption, template_captions
from tvhelpers.data.items import Source
from tvhelpers.data.lexicon import SLOTS, WORDS, facts_of
from tvhelpers.errors import InputError
from tvhelpers.files import content_key, write_once
from tvhelpers.paths import is_there
from tvhelpers.records import read_rows
from tvhelpers.runtime import seed_for
from tvhelpers.words import counted, describe

log = logging.getLogger(__name__)
SHOWN = 3  # captions that are printed before and after
MAX_TOKENS = 77  # of CLIP, with start and end


def write_captions(
    source: Source,
    out: Path,
    *,
    variants: int = 3,
    seed: int = 0,
    captioner: str | None = None,
    tokenizer=None,
) -> dict:
    """Write new captions of a source as rows {"index", "item", "captions"}, and report on them.

    `captioner`: a model of `caption_images`, whose captions replace the source's own first;
    `tokenizer`: CLIP's, with which the report counts tokens.
    Returns {"out", "items", "variants", "before", "after"}: reports of `caption_report`, "after"
    on the caption of each item that `with_captions` takes.  Raises InputError where `out` holds
    other captions.
    """
    old = source.captions
    if captioner:
        from tvhelpers.data.captioner import caption_images

        old = caption_images(source, captioner, out.with_name(f"{out.stem}.images.jsonl"))
    options, by_hand = {"seed": seed, "variants": variants}, not captioner and are_by_hand(old)
    new = _all_captions(source, old, by_hand=by_hand, **options)
    if by_hand and is_there(out):  # perhaps of a version that knew no captions by hand
        former = _all_captions(source, old, by_hand=False, **options)
        new = former if out.read_bytes() == _lines(source, former) else new
    write_once(out, _lines(source, new))
    before = caption_report(old, tokenizer)
    after = caption_report(_chosen(source.item_ids, new), tokenizer)
    different = len({text for texts in new for text in texts})
    log.info(f"{out}: {counted(different, 'different caption')} of {counted(len(new), 'item')}")
    for line in format_caption_report(before, after).split("\n"):
        log.info(line)
    for text, texts in zip(old[:SHOWN], new, strict=False):
        log.info(f"{text} -> {' | '.join(texts)}")
    if after["vocabulary"] < before["vocabulary"]:
        log.warning(
            f"the new captions have fewer different words ({after['vocabulary']}) than the old ones"
            f" ({before['vocabulary']}): read them before you train on them"
        )
    about = {"out": str(out), "items": len(new), "variants": variants}
    return {**about, "before": before, "after": after}


def _all_captions(source: Source, old: Sequence[str], **how) -> list[list[str]]:
    return [_new_captions(source, old[i], index=i, **how) for i in range(len(source))]


def _lines(source: Source, new: list[list[str]]) -> bytes:
    """Return the file of new captions: a line of JSON for each item."""
    numbered = zip(range(len(new)), source.item_ids, new, strict=True)
    rows = [{"index": i, "item": item, "captions": texts} for i, item, texts in numbered]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def are_by_hand(captions: Sequence[str]) -> bool:
    """Return whether captions are a writer's own: those of the benchmark, which a machine
    translated, say of nearly each garment that somebody wears it."""
    verbs = {*WORDS["wearing"]} - {"in", "of"}
    worn = sum(not verbs.isdisjoint(text.lower().split()) for text in captions)
    return worn < len(captions) / 2


def _new_captions(source: Source, old: str, *, index: int, by_hand: bool, **how) -> list[str]:
    labels = source.attributes[index]
    if "category" in labels and old == describe(labels):  # made from the labels, not written
        return template_captions(labels, index=index, **how)
    name = source.product_ids[index]
    return recaption(labels, name, old, index=index, by_hand=by_hand, **how)


def _chosen(item_ids: list[str], captions: list[list[str]]) -> list[str]:
    """Return one caption of each item, by a hash of its id: the same in every run and epoch."""
    pairs = zip(item_ids, captions, strict=True)
    return [texts[seed_for("caption", item) % len(texts)] for item, texts in pairs]


def with_captions(source: Source, path: Path) -> Source:
    """Return the source with one caption of each item from a file of `write_captions`.

    Its fingerprint changes with them.  Raises InputError where the file is of other items, or a row
    has no captions.
    """
    rows = read_rows(Path(path))
    if [row.get("item") for row in rows] != source.item_ids:
        raise InputError(
            "file-differs.captions", path=Path(path), count=len(rows), name=source.name
        )
    captions = [row.get("captions") for row in rows]
    for i, texts in enumerate(captions):
        if not (isinstance(texts, list) and texts and all(isinstance(x, str) for x in texts)):
            raise InputError("file-damaged.captions", path=path, row=i)
    new = copy.copy(source)
    new.captions = _chosen(source.item_ids, captions)
    new.fingerprint = content_key([source.fingerprint, new.captions])
    return new


# ------------------------------------------------------------------------------------- the report


def caption_report(captions: Sequence[str], tokenizer=None) -> dict:
    """Return how rich captions are, as JSON-able figures; shares are of all captions, 0..1.

    `tokenizer`: CLIP's; "tokens" counts start and end tokens too, of at most 77.  "states": share
    that states category, colour ...; "words_of": share with a word of pattern, fabric or cut.
    Raises InputError for no captions.
    """
    if not captions:
        raise InputError("no-caption.report")
    counts = Counter(captions)
    total, common = len(captions), [count for _, count in counts.most_common(50)]
    words = {text: re.findall(r"[\w'-]+", text.lower()) for text in counts}
    lengths = {text: len(found) for text, found in words.items()}
    stated = {text: parse_caption(text).keys() for text in counts}
    groups = {text: {SLOTS[slot]["group"] for slot, _ in facts_of(text)} for text in counts}

    def share(of_text: dict, *wanted: str) -> float:
        return (
            sum(counts[x] for x, found in of_text.items() if not found.isdisjoint(wanted)) / total
        )

    shown = ("pattern", "fabric", "cut")
    report = {
        "n": total,
        "distinct": len(counts),
        "top_10_share": sum(common[:10]) / total,
        "top_50_share": sum(common) / total,
        "words_mean": _mean(lengths, counts),
        "words_max": max(lengths.values()),
        "vocabulary": len(set().union(*words.values())),
        "states": {key: share(stated, key) for key in FEATURES},
        "words_of": {
            **{group: share(groups, group) for group in shown},
            "any": share(groups, *shown),
        },
    }
    return {**report, "tokens": _token_report(counts, tokenizer)} if tokenizer else report


def _mean(sizes: dict[str, int], counts: Counter) -> float:
    return sum(sizes[text] * count for text, count in counts.items()) / counts.total()


def _token_report(counts: Counter, tokenizer) -> dict:
    texts = list(counts)
    blocks = [tokenizer(texts[at : at + 4096])["input_ids"] for at in range(0, len(texts), 4096)]
    sizes = dict(zip(texts, (len(ids) for block in blocks for ids in block), strict=True))
    over = sum(count for text, count in counts.items() if sizes[text] > MAX_TOKENS)
    most = max(sizes.values())
    return {"mean": _mean(sizes, counts), "max": most, "over_77_share": over / counts.total()}


def _flat(report: dict) -> list[tuple[str, float]]:
    """Return (name, figure) of a report and its parts."""
    rows = [(key, value) for key, value in report.items() if not isinstance(value, dict)]
    parts = [(key, value) for key, value in report.items() if isinstance(value, dict)]
    return rows + [(f"{part} {key}", x) for part, figures in parts for key, x in figures.items()]


def format_caption_report(before: dict, after: dict) -> str:
    """Return two reports of `caption_report` side by side, as text."""
    lines = [f"{'':28}{'before':>10}{'after':>10}"]
    for (name, old), (_, new) in zip(_flat(before), _flat(after), strict=True):
        form = ",.1%" if name.endswith("_share") or name.startswith(("states", "words_of")) else ","
        name = name.replace("_", " ")
        lines.append(f"{name:28}{round(old, 4):>10{form}}{round(new, 4):>10{form}}")
    return "\n".join(lines)
