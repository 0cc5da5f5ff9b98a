"""How does an image-to-text model of transformers, such as BLIP, caption images?"""

import json
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from tvhelpers.data.items import Source
from tvhelpers.errors import InputError
from tvhelpers.files import no_link, remove_temporary, write_text, writing_beside
from tvhelpers.hub import HUB, Unreadable, find_model, load, readable
from tvhelpers.progress import progress_bar
from tvhelpers.records import read_records
from tvhelpers.runtime import choose_device, quiet_libraries


def caption_images(
    source: Source,
    model: str,
    out: Path,
    *,
    batch_size: int = 8,
    device: str = "auto",
    max_new_tokens: int = 40,
) -> list[str]:
    """Return a caption of each image by an image-to-text model such as BLIP.

    `model` is a folder or hub id.  Captions are appended to the file `out`, from which a second
    call resumes.  Raises InputError where the model cannot be loaded, or `out` is of another source
    or model, or another process writes to it.
    """
    request = {
        "source": source.fingerprint,
        "model": str(model).removeprefix(HUB),
        "max_tokens": max_new_tokens,
    }
    with writing_beside(out):
        done, total = _resume(out, request, source.item_ids), len(source)
        if len(done) == total:
            return done
        caption = _load_captioner(str(model), choose_device(device), max_new_tokens)
        bar = progress_bar("captions", total, done=len(done))
        with bar, open(out, "a", encoding="utf-8", opener=no_link) as file:
            for start in range(len(done), total, batch_size):
                indices = range(start, min(start + batch_size, total))
                texts = caption([source.pixels(i) for i in indices])
                for i, text in zip(indices, texts, strict=True):
                    file.write(json.dumps({"item": source.item_ids[i], "caption": text}) + "\n")
                file.flush()
                done += texts
                bar.update(len(texts))
    return done


def _resume(out: Path, request: dict, item_ids: list[str]) -> list[str]:
    """Return the captions of the first items that `out` has so far.

    Other lines are removed: half a line, and lines that two processes wrote at once.
    """
    remove_temporary(out.parent)
    rows = read_records(out, "captions")
    if rows and rows[0] != request:
        raise InputError("another-request.captioner", path=out)
    if any("caption" not in row for row in rows[1:]):
        raise InputError("file-damaged.conversion", path=out)
    kept = list(takewhile(lambda pair: pair[0].get("item") == pair[1], zip(rows[1:], item_ids)))
    lines = [request, *(row for row, _ in kept)]
    write_text(out, "".join(json.dumps(row) + "\n" for row in lines))
    return [row["caption"] for row, _ in kept]


def _load_captioner(model: str, device: str, max_new_tokens: int) -> Callable[[list], list[str]]:
    """Return a function from pixels (list of uint8 (H, W, 3)) to captions."""
    import numpy as np
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    quiet_libraries("transformers")
    path = find_model(model)

    @torch.inference_mode()
    def caption(pixels: list) -> list[str]:
        inputs = processor(images=pixels, return_tensors="pt").to(device)
        # generation_config.json may ask for a compiler
        how = {"max_new_tokens": max_new_tokens, "do_sample": False, "disable_compile": True}
        ids = network.generate(**inputs, **how)
        return [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]

    try:
        processor = load(AutoProcessor, path)
        network = load(AutoModelForImageTextToText, path).to(device).eval()
        with readable(path):
            caption([np.zeros((8, 8, 3), np.uint8)])
    except Unreadable as error:
        raise InputError("captioner-unreadable", name=model, error=error) from None
    return caption
